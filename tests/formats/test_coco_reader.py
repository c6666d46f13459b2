"""COCO files as others write them, read record by record; what is skipped is reported and counted."""

import json
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from pycocotools import mask as coco

from autolabel.errors import InputError
from autolabel.formats.coco.reader import CocoReader
from autolabel.formats.problems import Findings, Rule
from autolabel.geometry import rle
from tests.datasets import photo
from tests.formats.support import detection, image, random_masks, write
from tests.nasty import nasty_masks

SQUARE = [[5, 5, 25, 5, 25, 25, 5, 25]]


def annotation(number: object = 1, **changes: object) -> dict:
    return {
        "id": number, "image_id": 1, "category_id": 1, "segmentation": SQUARE, "bbox": [5, 5, 20, 20],
        "area": 400, "iscrowd": 0, **changes,
    }  # fmt: skip


def dataset(annotations: list, **changes: object) -> dict:
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "dog"}],
        **changes,
    }


def put(path: Path, data: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def read(path: Path) -> tuple[CocoReader, list, Findings]:
    problems = Findings()
    found = CocoReader.find(path)
    assert found is not None
    reader = CocoReader(found, problems)
    return reader, list(reader.images()), problems


def one(tmp_path: Path, *annotations: dict, **changes: object) -> tuple[list, Findings]:
    """The instances of one image in one file."""
    photo(tmp_path / "a.jpg")
    put(tmp_path / "annotations.json", dataset(list(annotations), **changes))
    _, images, problems = read(tmp_path)
    return [each for image_ in images for each in image_.instances], problems


# --- layouts


def test_the_official_layout(tmp_path):
    """instances_*.json beside other annotation kinds, images in folders named as the split."""
    for split in ("train2017", "val2017"):
        photo(tmp_path / split / "a.jpg")
        put(tmp_path / f"annotations/instances_{split}.json", dataset([annotation()]))
        put(
            tmp_path / f"annotations/captions_{split}.json", {"images": [], "annotations": [{"caption": "x"}]}
        )
        put(tmp_path / f"annotations/person_keypoints_{split}.json", dataset([annotation()]))
    reader, images, problems = read(tmp_path)
    assert (reader.splits, reader.classes) == (["train", "val"], ["car", "dog"])
    assert [(each.split, each.path.relative_to(tmp_path).as_posix()) for each in images] == [
        ("train", "train2017/a.jpg"),
        ("val", "val2017/a.jpg"),
    ]
    assert not problems.counts


@pytest.mark.parametrize(
    ("file", "picture", "split"),
    [
        ("annotations/instances_default.json", "images/a.jpg", "train"),
        ("annotations/instances_default.json", "images/default/a.jpg", "train"),
        ("labels.json", "data/a.jpg", "train"),
        ("_annotations.coco.json", "a.jpg", "train"),
        ("valid/_annotations.coco.json", "valid/a.jpg", "val"),
        ("result.json", "images/a.jpg", "train"),
        ("annotations/test-dev.json", "images/test-dev/a.jpg", "test"),
        ("annotations/instances_minival.json", "images/minival/a.jpg", "minival"),
        ("lvis_v1_val.json", "images/val/a.jpg", "val"),
        ("val.json", "val/a.jpg", "val"),
    ],
)
def test_layouts_of_other_tools(tmp_path, file, picture, split):
    """CVAT, FiftyOne, Roboflow, Label Studio and hand-made trees are found, with their images."""
    photo(tmp_path / picture)
    put(tmp_path / file, dataset([annotation()]))
    for path in (tmp_path, tmp_path / file):
        reader, images, problems = read(path)
        assert reader.splits == [split]
        assert [(each.file_name, each.path) for each in images] == [("a.jpg", tmp_path / picture)]
        assert not problems.counts


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dataset.json", '{"images": {"labelled": 3}, "classes": []}'),
        ("empty.json", ""),
        ("list.json", "[1, 2]"),
        ("notes.txt", '"annotations": ['),
    ],
)
def test_what_is_no_coco_is_not_found(tmp_path, name, text):
    """Other JSON files are not taken for COCO, nor is a folder of them."""
    put(tmp_path / name, text)
    assert CocoReader.find(tmp_path) is None
    assert CocoReader.find(tmp_path / name) is None
    assert CocoReader.find(tmp_path / "gone") is None


def test_two_files_of_one_split_stay_apart(tmp_path):
    """train.json and train2017.json are both read, each under its own name."""
    photo(tmp_path / "a.jpg")
    for name in ("train", "train2017"):
        put(tmp_path / f"{name}.json", dataset([annotation()]))
    reader, images, _ = read(tmp_path)
    assert reader.splits == ["train", "train2017"]
    assert [each.split for each in images] == ["train", "train2017"]


def test_classes_come_by_id_and_from_all_files(tmp_path):
    """Sparse ids in any order: the class list is by id; a later file adds its names, and ids may differ."""
    photo(tmp_path / "a.jpg")
    put(
        tmp_path / "train.json",
        dataset([annotation(category_id=90)], categories=[{"id": 90, "name": "z"}, {"id": 3, "name": "b"}]),
    )
    put(
        tmp_path / "val.json",
        dataset([annotation(category_id=0)], categories=[{"id": 0, "name": "z"}, {"id": 5, "name": "a"}]),
    )
    reader, images, _ = read(tmp_path)
    assert reader.classes == ["b", "z", "a"]
    assert [each.instances[0].class_id for each in images] == [1, 1]


# --- masks


@pytest.mark.parametrize("segmentation", ["polygon", "rle"])
def test_our_own_files_come_back_exactly(tmp_path, segmentation):
    """Every nasty and random mask that the writer holds is the same when it is read."""
    size = (48, 64)
    masks = [*nasty_masks(*size).values(), *random_masks(60, size)]
    write(
        "coco",
        tmp_path,
        [image([detection(m, 1, 0.5, "car") for m in masks], size=size)],
        segmentation=segmentation,
    )
    [found] = read(tmp_path)[1]
    assert [each.mask for each in found.instances] == [rle.from_bitmap(mask) for mask in masks]
    assert {(each.class_id, each.confidence, each.prompt, each.crowd) for each in found.instances} == {
        (1, 0.5, "car", False)
    }
    assert all(each.area == mask.sum() for each, mask in zip(found.instances, masks, strict=True))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    rings=st.lists(
        st.lists(st.tuples(st.floats(-20, 90), st.floats(-20, 70)), min_size=3, max_size=9),
        min_size=1,
        max_size=3,
    ),
    step=st.sampled_from([0.01, 0.5, 1.0]),
)
def test_polygons_are_what_pycocotools_paints(tmp_path_factory, rings, step):
    """Any polygons, several to an instance, inside and outside of the image."""
    flat = [[float(round(v / step) * step) for point in ring for v in point] for ring in rings]
    wanted = coco.merge(coco.frPyObjects(flat, 48, 64))
    [found], problems = one(tmp_path_factory.mktemp("p"), annotation(segmentation=flat))
    if coco.area(wanted):
        assert found.mask.counts == wanted["counts"]
    else:
        assert found.mask is None
        assert problems.counts[Rule.EMPTY_MASK] == 1


def test_run_lengths_in_every_form(tmp_path):
    """Compressed text, a list of runs, as a crowd or not: the mask of pycocotools."""
    mask = random_masks(1, (48, 64))[0]
    text = rle.from_bitmap(mask)
    runs = rle.decode_counts(text.counts).tolist()
    packed = {"size": [48, 64], "counts": text.counts.decode()}
    listed = {"size": [48, 64], "counts": runs}
    found, problems = one(
        tmp_path,
        *(annotation(i, segmentation=s, iscrowd=i % 2) for i, s in enumerate([packed, listed, listed])),
    )
    assert [each.mask for each in found] == [text] * 3
    assert [each.crowd for each in found] == [False, True, False]
    assert problems.counts == {Rule.CROWD: 1}


# --- records

BROKEN = [
    # (what is changed in an annotation, the rules, instances yielded, instances reported)
    ({"segmentation": [[5, 5, 25, 5, 25, 25], [1, 1, 2, 2]]}, {Rule.DEGENERATE_RING}, 1, 0),
    ({"segmentation": [[5, 5, 25, 5, 25, 25, 9]]}, {Rule.DEGENERATE_RING}, 1, 0),
    ({"segmentation": [[[5, 5], [25, 5], [25, 25]]]}, {Rule.BAD_GEOMETRY}, 0, 1),
    ({"segmentation": [[5, 5, 25, None, 25, 25]]}, {Rule.BAD_GEOMETRY}, 0, 1),
    ({"segmentation": [[5, 5, True, 5, 25, 25]]}, {Rule.BAD_GEOMETRY}, 0, 1),
    ({"segmentation": "5,5"}, {Rule.BAD_GEOMETRY}, 0, 1),
    ({"segmentation": {"size": [48, 64], "counts": "~~"}}, {Rule.BAD_GEOMETRY}, 0, 1),
    ({"segmentation": {"size": [48, 64], "counts": [1, 2]}}, {Rule.BAD_GEOMETRY}, 0, 1),
    ({"segmentation": {"size": [48, 64], "counts": [-1, 3073]}}, {Rule.BAD_GEOMETRY}, 0, 1),
    ({"segmentation": {"size": [48, 64], "counts": [10**30]}}, {Rule.BAD_GEOMETRY}, 0, 1),
    ({"segmentation": {"size": [10**9, 10**9], "counts": [10**18]}}, {Rule.BAD_GEOMETRY}, 0, 1),
    ({"segmentation": {"size": [48, 64], "counts": [3072]}}, {Rule.EMPTY_MASK}, 1, 0),
    ({"segmentation": {}}, {Rule.BAD_GEOMETRY}, 0, 1),
    ({"segmentation": None}, set(), 1, 0),
    ({"segmentation": []}, {Rule.EMPTY_MASK}, 1, 0),
    ({"segmentation": [[-9, -9, 25, 5, 25, 25]]}, {Rule.OUTSIDE_FRAME}, 1, 0),
    ({"segmentation": [[1e300, 5, 25, 5, 25, 25]]}, {Rule.OUTSIDE_FRAME}, 1, 0),
    ({"bbox": [1, 2, 3]}, {Rule.MISSING_KEY}, 1, 0),
    ({"bbox": [1e308, 0, 1e308, 1]}, {Rule.MISSING_KEY}, 1, 0),
    ({"bbox": [9, 9, -5, -5]}, {Rule.MISSING_KEY}, 1, 0),
    ({"bbox": None, "segmentation": None}, {Rule.BAD_RECORD}, 0, 1),
    ({"iscrowd": 7}, {Rule.MISSING_KEY}, 1, 0),
    ({"track_id": 10**30, "score": 10**400}, set(), 1, 0),
    ({"bbox": "x", "area": [], "score": "high", "prompt": 5, "track_id": 1.5}, {Rule.MISSING_KEY}, 1, 0),
    ({"bbox": None}, {Rule.MISSING_KEY}, 1, 0),
    ({"category_id": None}, {Rule.UNKNOWN_CLASS}, 0, 1),
    ({"category_id": [1]}, {Rule.UNKNOWN_CLASS}, 0, 1),
    ({"image_id": {}}, {Rule.UNKNOWN_IMAGE}, 0, 1),
    ({"category_id": 7}, {Rule.UNKNOWN_CLASS}, 0, 1),
    ({"category_id": "1"}, {Rule.UNKNOWN_CLASS}, 0, 1),
    ({"image_id": 7}, {Rule.UNKNOWN_IMAGE}, 0, 1),
    ({"image_id": True}, {Rule.UNKNOWN_IMAGE}, 0, 1),
    ({"image_id": 1.0, "category_id": 2.0}, set(), 1, 0),
    ({"id": None}, {Rule.MISSING_ID}, 1, 0),
    ({"id": "a"}, set(), 1, 0),
    ({"iscrowd": True}, {Rule.CROWD}, 1, 0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "rules", "yielded", "skipped"), BROKEN, ids=[str(b[0])[:50] for b in BROKEN]
)
def test_one_bad_record_costs_itself_alone(tmp_path, changes, rules, yielded, skipped):
    """The record is yielded, or reported with its id and counted, and the one after it is read."""
    found, problems = one(tmp_path, annotation(**changes), annotation(2))
    assert set(problems.counts) == rules
    assert (len(found), problems.instances) == (yielded + 1, skipped)
    assert found[-1].mask is not None
    for problem in (each for examples in problems.examples.values() for each in examples):
        number = changes.get("id", 1)
        names = (
            f"annotations.json: annotation {number}",
            "annotations.json: annotations[0]",
            "annotations.json",
        )
        assert problem.where in names
        assert problem.what


IMAGES = [
    ({"file_name": "../a.jpg"}, Rule.PATH_OUTSIDE),
    ({"file_name": "/a.jpg"}, Rule.PATH_OUTSIDE),
    ({"file_name": "C:\\a.jpg"}, Rule.PATH_OUTSIDE),
    ({"file_name": ""}, Rule.BAD_RECORD),
    ({"file_name": None}, Rule.BAD_RECORD),
    ({"file_name": 5}, Rule.BAD_RECORD),
    ({"id": None}, Rule.MISSING_ID),
    ({"file_name": "gone.jpg", "width": -5}, Rule.BAD_RECORD),
    ({"width": 10**9, "height": 10**9}, Rule.BAD_RECORD),
]


@pytest.mark.parametrize(("changes", "rule"), IMAGES, ids=[str(each[0]) for each in IMAGES])
def test_an_image_that_cannot_be_used_is_reported_with_its_labels(tmp_path, changes, rule):
    """The image is skipped under its name; its annotations are counted there or as of an unknown image."""
    first = {"id": 1, "file_name": "a.jpg", "width": 64, "height": 48, **changes}
    photo(tmp_path / "b.jpg")
    second = {"id": 2, "file_name": "b.jpg", "width": 64, "height": 48}
    found, problems = one(tmp_path, annotation(), annotation(2, image_id=2), images=[first, second])
    assert len(found) == 1
    assert problems.instances == 1
    assert set(problems.counts) - {Rule.UNKNOWN_IMAGE} == {rule}
    assert len(problems.images) == 1


def test_a_size_that_is_not_stated_is_that_of_the_file(tmp_path):
    """Without width and height the upright image's are taken; 64.0 is 64."""
    for changes in ({"width": None}, {}, {"height": 48.0, "width": 64.0}):
        [found], problems = one(tmp_path, annotation(), images=[{"id": 1, "file_name": "a.jpg", **changes}])
        assert found.mask.size == (48, 64)
        assert set(problems.counts) == (set() if changes.get("width") else {Rule.MISSING_SIZE})


def test_names_with_backslashes_are_found(tmp_path):
    """What a tool on Windows wrote is a path below the images all the same."""
    photo(tmp_path / "images/sub/a.jpg")
    put(
        tmp_path / "x.json",
        dataset([], images=[{"id": 1, "file_name": "sub\\a.jpg", "width": 64, "height": 48}]),
    )
    [found] = read(tmp_path)[1]
    assert (found.file_name, found.path) == ("sub/a.jpg", tmp_path / "images/sub/a.jpg")


# --- files


def test_nan_is_pointed_out_and_the_rest_is_read(tmp_path):
    """Python writes NaN: no strict JSON, but every other record of the file is read."""
    text = json.dumps(dataset([annotation(area=float("nan")), annotation(2)])).replace("48", "48.0")
    photo(tmp_path / "a.jpg")
    put(tmp_path / "x.json", text)
    _, [found], problems = read(tmp_path)
    assert len(found.instances) == 2
    assert problems.counts == {Rule.NOT_STRICT_JSON: 1, Rule.MISSING_KEY: 1}


DAMAGED = [
    '{"annotations": [',
    '{"annotations": [] "images": []}',
    '{"annotations": [' + "[" * 100_000,
    '{"annotations": [], "categories": 7}',
    '[{"annotations": []}]',
    '{"annotations": [\0]}',
    '{"annotations": [' + "9" * 10_000 + "NaN]}",
]


@pytest.mark.parametrize("text", DAMAGED, ids=[each[:40] for each in DAMAGED])
def test_a_damaged_file_costs_itself_alone(tmp_path, text):
    """It is reported as unreadable with its name, and the other split is read; alone it is an InputError."""
    put(tmp_path / "val.json", text)
    with pytest.raises(InputError, match=r"val\.json can't be read"):
        read(tmp_path)
    photo(tmp_path / "a.jpg")
    put(tmp_path / "train.json", dataset([annotation()]))
    reader, images, problems = read(tmp_path)
    assert (reader.splits, len(images)) == (["train", "val"], 1)
    assert problems.counts == {Rule.UNREADABLE_FILE: 1}
    assert problems.examples[Rule.UNREADABLE_FILE][0].where == "val.json"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"categories": [], "images": [{"id": 1, "file_name": "a',
        b'{"images": {}, "annotations": []}',
        None,
    ],
)
def test_a_split_is_never_left_out_unseen(tmp_path, content):
    """An empty file, one cut off before its annotations, of another layout, or a link out: its split is lost."""
    photo(tmp_path / "set/images/train/a.jpg")
    put(tmp_path / "set/annotations/instances_train.json", dataset([annotation()]))
    lost = tmp_path / "set/annotations/instances_val.json"
    if content is None:
        lost.symlink_to(put(tmp_path / "elsewhere.json", dataset([annotation()])))
    else:
        lost.write_bytes(content)
    reader, images, problems = read(tmp_path / "set")
    assert (reader.splits, len(images)) == (["train", "val"], 1)
    assert problems.counts == {Rule.UNREADABLE_FILE: 1}
    assert problems.examples[Rule.UNREADABLE_FILE][0].where == "annotations/instances_val.json"


def test_roboflow_folders_of_one_split_stay_apart(tmp_path):
    """valid and val are both read, each under a name of its own."""
    for folder in ("val", "valid"):
        photo(tmp_path / folder / "a.jpg")
        put(tmp_path / folder / "_annotations.coco.json", dataset([annotation()]))
    reader, images, _ = read(tmp_path)
    assert reader.splits == ["val", "valid"]
    assert [each.path for each in images] == [tmp_path / "val/a.jpg", tmp_path / "valid/a.jpg"]


def test_the_folder_annotations_stands_for_its_dataset(tmp_path):
    """Who names annotations/ means the folder above: the images are found."""
    photo(tmp_path / "images/a.jpg")
    put(tmp_path / "annotations/instances_train.json", dataset([annotation()]))
    reader, [found], _ = read(tmp_path / "annotations")
    assert (reader.root, found.path) == (tmp_path, tmp_path / "images/a.jpg")


@pytest.mark.parametrize("again", ["a.jpg", "./a.jpg"])
def test_images_of_one_name_become_one(tmp_path, again):
    """Two records of a file: one image with the annotations of both, in the order of the records."""
    images = [
        {"id": i, "file_name": name, "width": 64, "height": 48} for i, name in ((1, "a.jpg"), (2, again))
    ]
    put(tmp_path / "annotations.json", dataset([annotation(8, image_id=2), annotation(9)], images=images))
    photo(tmp_path / "a.jpg")
    _, [found], problems = read(tmp_path)
    assert [each.where for each in found.instances] == ["annotation 9", "annotation 8"]
    assert problems.counts == {Rule.FILE_NAME_TWICE: 1}
    assert not problems.images


def test_images_of_one_name_and_two_sizes_are_not_mixed(tmp_path):
    """The second is skipped with its annotations: they are for another frame."""
    images = [{"id": i, "file_name": "a.jpg", "width": 60 + i, "height": 48} for i in (1, 2)]
    found, problems = one(tmp_path, annotation(), annotation(2, image_id=2), images=images)
    assert (len(found), problems.instances) == (1, 1)
    assert problems.counts == {Rule.FILE_NAME_TWICE: 1}
    assert len(problems.images) == 1


def test_the_first_of_two_images_with_one_id_keeps_the_annotations(tmp_path):
    """The second is skipped under its name; annotations that share an id are both read."""
    photo(tmp_path / "b.jpg")
    images = [{"id": 1, "file_name": name, "width": 64, "height": 48} for name in ("a.jpg", "b.jpg")]
    found, problems = one(tmp_path, annotation(), annotation(), images=images)
    assert len(found) == 2
    assert problems.counts == {Rule.DUPLICATE_IMAGE_ID: 1, Rule.DUPLICATE_ANNOTATION_ID: 1}
    assert [name for name, _ in problems.images] == ["b.jpg"]
    assert problems.examples[Rule.DUPLICATE_IMAGE_ID][0].where == "annotations.json: image 1 (b.jpg)"
    assert problems.examples[Rule.DUPLICATE_ANNOTATION_ID][0].where == "annotations.json: annotation 1"


def test_categories_that_share_a_name_or_an_id(tmp_path):
    """One name with two ids is one class; of two names with one id the first counts; no id or name is skipped."""
    categories = [
        {"id": 1, "name": "car"},
        {"id": 4, "name": "car"},
        {"id": 1, "name": "dog"},
        {"name": "x"},
        7,
    ]
    found, problems = one(tmp_path, annotation(), annotation(2, category_id=4), categories=categories)
    assert [each.class_id for each in found] == [0, 0]
    rules = (Rule.CLASS_TWICE, Rule.DUPLICATE_CATEGORY_ID, Rule.MISSING_ID, Rule.BAD_RECORD)
    assert problems.counts == dict.fromkeys(rules, 1)
    assert problems.examples[Rule.CLASS_TWICE][0].where == "annotations.json: category 4"


def test_records_that_are_no_objects(tmp_path):
    """Numbers and texts among the images and annotations are reported by their place."""
    first = {"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}
    found, problems = one(tmp_path, 5, annotation(), images=[None, first])
    assert (len(found), problems.instances, problems.counts) == (1, 1, {Rule.BAD_RECORD: 2})
    assert [each.where for each in problems.examples[Rule.BAD_RECORD]] == [
        "annotations.json: annotations[0]",
        "annotations.json: images[0]",
    ]


def test_keys_that_a_tool_leaves_out_are_one_problem_each(tmp_path):
    """A thousand records without area and id: two problems that count them."""
    annotations = [{k: v for k, v in annotation().items() if k not in ("id", "area")} for _ in range(1000)]
    found, problems = one(tmp_path, *annotations)
    assert len(found) == 1000
    assert problems.counts == {Rule.MISSING_ID: 1, Rule.MISSING_KEY: 1}
    assert "area is missing in 1000 records" in problems.examples[Rule.MISSING_KEY][0].what


def test_an_image_file_that_is_missing_or_outside(tmp_path):
    """Without a file the labels are still read; a link that leads out is skipped with its labels."""
    put(tmp_path / "set/train.json", dataset([annotation()]))
    _, [found], problems = read(tmp_path / "set")
    assert (found.path, len(found.instances), problems.counts) == (None, 1, {Rule.IMAGE_MISSING: 1})
    (tmp_path / "set/a.jpg").symlink_to(photo(tmp_path / "secret.jpg"))
    _, images, problems = read(tmp_path / "set")
    assert (images, problems.instances, problems.counts) == ([], 1, {Rule.PATH_OUTSIDE: 1})
    assert problems.images[0][0] == "a.jpg"


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
def test_what_strict_readers_refuse_is_read_and_reported(tmp_path, mark):
    """A byte order mark, or a byte that is no UTF-8 in a key that nobody reads."""
    text = json.dumps(dataset([annotation(note="?")])).encode()
    (tmp_path / "train.json").write_bytes(mark + text if mark else text.replace(b'"?"', b'"\xff"'))
    photo(tmp_path / "a.jpg")
    _, [found], problems = read(tmp_path)
    assert (len(found.instances), problems.counts) == (1, {Rule.NOT_STRICT_JSON: 1})


def test_nan_in_a_text_stays_text(tmp_path):
    """Only the constants become null, not names that spell them."""
    photo(tmp_path / "NaN, -Infinity.jpg")
    images = [{"id": 1, "file_name": "NaN, -Infinity.jpg", "width": 64, "height": 48}]
    put(tmp_path / "train.json", dataset([annotation(area=float("-inf"))], images=images))
    _, [found], problems = read(tmp_path)
    assert (found.file_name, found.path is not None) == ("NaN, -Infinity.jpg", True)
    assert problems.counts == {Rule.NOT_STRICT_JSON: 1, Rule.MISSING_KEY: 1}


def test_a_split_named_by_dots_stays_in_its_folder(tmp_path):
    """A split's name is used as a folder: it is never . or .."""
    photo(tmp_path / "a.jpg")
    put(tmp_path / "instances_...json", dataset([annotation()]))
    assert read(tmp_path)[0].splits == ["train"]


def test_a_million_vertices_are_read_or_refused(tmp_path):
    """A polygon of 10^6 vertices neither hangs nor eats memory."""
    angles = np.linspace(0, 2 * np.pi, 10**6, endpoint=False)
    ring = (np.stack((32 + 20 * np.cos(angles), 24 + 15 * np.sin(angles)), axis=1)).round(3).ravel().tolist()
    wild = (np.random.default_rng(0).random(2 * 10**6) * 1e6).round(1).tolist()
    found, problems = one(tmp_path, annotation(segmentation=[ring]), annotation(2, segmentation=[wild]))
    assert 900 < rle.area(found[0].mask) < 990
    assert len(found) + problems.instances == 2


VALID = json.dumps(
    dataset([annotation(), annotation(2, segmentation={"size": [48, 64], "counts": [100, 50, 2922]})])
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(at=st.integers(0, len(VALID)), cut=st.integers(0, 12), new=st.text(max_size=12))
def test_an_edited_file_never_breaks_the_reader(tmp_path_factory, at, cut, new):
    """Whatever stands in the middle of a file: every annotation that is listed is yielded or counted."""
    folder = tmp_path_factory.mktemp("e")
    text = VALID[:at] + new + VALID[at + cut :]
    (folder / "x.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        listed = json.loads(text)["annotations"]
        total = len(listed) if isinstance(listed, list) else None
    except (ValueError, KeyError, TypeError):
        total = None
    if CocoReader.find(folder) is None:
        return
    problems = Findings()
    try:
        images = list(CocoReader(folder, problems).images())
    except InputError:
        return
    seen = sum(len(each.instances) for each in images) + problems.instances
    if total is not None and not problems.counts[Rule.UNREADABLE_FILE]:
        assert seen == total


def test_an_absolute_name_inside_the_dataset_is_read(tmp_path):
    """Tools that write whole paths are read, as long as the paths stay in the folder."""
    place = photo(tmp_path / "images/a.jpg")
    for name in (str(place), "../images/a.jpg"):
        entry = {"id": 1, "file_name": name, "width": 64, "height": 48}
        put(tmp_path / "annotations/instances_train.json", dataset([annotation()], images=[entry]))
        _, [found], problems = read(tmp_path)
        assert (found.file_name, found.path) == ("images/a.jpg", place)
        assert not problems.counts
