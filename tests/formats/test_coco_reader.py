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
        ("annotations/test-dev.json", "images/a.jpg", "test-dev"),
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
    ({"segmentation": [[5, 5, 25, 5, 25, 25, 9]]}, {Rule.DEGENERATE_RING, Rule.EMPTY_MASK}, 1, 0),
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
    ({"bbox": [1, 2, 3]}, {Rule.BAD_RECORD}, 1, 0),
    ({"bbox": "x", "area": [], "score": "high", "prompt": 5, "track_id": 1.5}, {Rule.BAD_RECORD}, 1, 0),
    ({"bbox": None}, {Rule.MISSING_KEY}, 1, 0),
    ({"category_id": None}, {Rule.BAD_RECORD}, 0, 1),
    ({"category_id": [1]}, {Rule.BAD_RECORD}, 0, 1),
    ({"image_id": {}}, {Rule.BAD_RECORD}, 0, 1),
    ({"category_id": 7}, {Rule.UNKNOWN_CLASS}, 0, 1),
    ({"category_id": "1"}, {Rule.UNKNOWN_CLASS}, 0, 1),
    ({"image_id": 7}, {Rule.UNKNOWN_IMAGE}, 0, 1),
    ({"image_id": True}, {Rule.BAD_RECORD}, 0, 1),
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
    assert all(p.where == "annotations.json" and p.what for ps in problems.examples.values() for p in ps)


IMAGES = [
    ({"file_name": "../a.jpg"}, Rule.PATH_OUTSIDE),
    ({"file_name": "/a.jpg"}, Rule.PATH_OUTSIDE),
    ({"file_name": "C:\\a.jpg"}, Rule.PATH_OUTSIDE),
    ({"file_name": ""}, Rule.PATH_OUTSIDE),
    ({"file_name": None}, Rule.BAD_RECORD),
    ({"file_name": 5}, Rule.BAD_RECORD),
    ({"id": None}, Rule.BAD_RECORD),
    ({"width": -5}, Rule.BAD_RECORD),
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
        assert not problems.counts


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
    '{"annotations": [], "images": {}}',
    '{"annotations": [], "categories": 7}',
    '[{"annotations": []}]',
    '{"annotations": [\0]}',
    '{"annotations": [' + "9" * 10_000 + "NaN]}",
]


@pytest.mark.parametrize("text", DAMAGED, ids=[each[:40] for each in DAMAGED])
def test_a_damaged_file_costs_itself_alone(tmp_path, text):
    """It is reported as unreadable with its name, and the other split is read."""
    put(tmp_path / "val.json", text)
    photo(tmp_path / "a.jpg")
    put(tmp_path / "train.json", dataset([annotation()]))
    reader, images, problems = read(tmp_path)
    assert ([each.split for each in images], reader.splits[0]) == (["train"], "train")
    assert problems.counts == {Rule.UNREADABLE_FILE: 1}
    assert problems.examples[Rule.UNREADABLE_FILE][0].where == "val.json"


def test_a_dataset_of_damaged_files_is_refused(tmp_path):
    """Where no file can be read there is no dataset: an InputError that names it."""
    put(tmp_path / "val.json", DAMAGED[0])
    with pytest.raises(InputError, match="no COCO file that can be read"):
        read(tmp_path)


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
