"""What the YOLO reader yields and reports. The rules are those of Ultralytics' own loader."""

import contextlib
import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from autolabel.errors import InputError
from autolabel.formats import find_datasets
from autolabel.formats.images import ImageStore
from autolabel.formats.problems import Findings, Problem, Rule, refuse
from autolabel.formats.reading import DatasetImage
from autolabel.formats.yolo.reader import YoloReader
from autolabel.formats.yolo.rows import Frame, count_rows, read_rows
from autolabel.geometry import rle
from tests.formats.support import detection, image, picture, random_masks, write
from tests.nasty import nasty_masks

POLYGON = "0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5"
OTHER = "1 0.2 0.2 0.6 0.2 0.6 0.6"
BOX = "1 0.5 0.5 0.2 0.4"
YAML = "train: images/train\nval: images/val\nnames: [car, dog]\n"


def tree(root: Path, files: dict[str, str]) -> Path:
    """Files by name below `root`: images of 40 x 50 (h, w), texts as given; returns the data.yaml."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".jpg", ".png", ".jfif", ".gif"):
            picture(path) if not text else path.write_text(text)
        else:
            path.write_text(text, encoding="utf-8")
    return root / "data.yaml"


def small(root: Path, label: str, data: str = YAML) -> Path:
    """A dataset of one image for each of train and val; the first has the label."""
    return tree(
        root,
        {
            "data.yaml": data,
            "images/train/a.jpg": "",
            "labels/train/a.txt": label,
            "images/val/b.jpg": "",
            "labels/val/b.txt": POLYGON,
        },
    )


def read(found: Path) -> tuple[list[DatasetImage], list[Problem]]:
    problems: list[Problem] = []
    return list(YoloReader(found, problems.append).images()), problems


def only(problems: list[Problem], *, but: tuple[Rule, ...] = ()) -> Problem:
    (problem,) = [each for each in problems if each.rule not in but]
    return problem


def painted(row: str, size: tuple[int, int] = (40, 50)) -> np.ndarray:
    """What Ultralytics' loader makes of a polygon row: float32, truncated, cv2.fillPoly."""
    points = np.array(row.split()[1:], np.float32).reshape(-1, 2)
    points = points * np.array(size[::-1], np.float32)
    canvas = np.zeros(size, np.uint8)
    cv2.fillPoly(canvas, [points.astype(np.int32)], [1])
    return canvas.astype(bool)


def test_a_tree_like_coco8_seg(tmp_path):
    """Images, splits, classes, file names, masks and labels of the usual tree, without a problem."""
    data = "path: coco8-seg\ntrain: images/train\nval: images/val\ntest:\nnames:\n  0: person\n  1: bicycle\n"
    root = tmp_path / "coco8-seg"
    found = tree(
        root,
        {
            "data.yaml": data,
            "images/train/b.jpg": "",
            "images/train/sub/a.png": "",
            "images/val/.hidden.jpg": "",
            "images/val/c.jpg": "",
            "labels/train/b.txt": f"{POLYGON}\n{OTHER}\n",
            "labels/train/sub/a.txt": "",
            "labels/val/c.txt": OTHER,
        },
    )
    reader = YoloReader(found, refuse)
    images = list(reader.images())
    assert (reader.root, reader.classes, reader.splits) == (root, ["person", "bicycle"], ["train", "val"])
    assert [(each.split, each.file_name, each.labels) for each in images] == [
        ("train", "b.jpg", "labels/train/b.txt"),
        ("train", "sub/a.png", "labels/train/sub/a.txt"),
        ("val", "c.jpg", "labels/val/c.txt"),
    ]
    assert {(each.width, each.height) for each in images} == {(50, 40)}
    assert images[0].path == root / "images/train/b.jpg"
    first, second = images[0].instances
    assert (first.class_id, first.where, second.class_id, second.where) == (0, "line 1", 1, "line 2")
    assert first.box_xyxy is None
    assert np.array_equal(rle.to_bitmap(first.mask), painted(POLYGON))
    assert np.array_equal(rle.to_bitmap(second.mask), painted(OTHER))
    assert images == list(reader.images())


def test_a_roboflow_export(tmp_path):
    """../train/images beside data.yaml is train/images, and valid is val."""
    data = (
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 2\nnames: ['car', 'dog']\n"
    )
    files = {f"{split}/images/{split}.jpg": "" for split in ("train", "valid", "test")}
    files |= {f"{split}/labels/{split}.txt": POLYGON for split in ("train", "valid", "test")}
    images, problems = read(tree(tmp_path, {"data.yaml": data, **files}))
    assert problems == []
    assert [(each.split, each.file_name) for each in images] == [
        ("train", "train.jpg"),
        ("val", "valid.jpg"),
        ("test", "test.jpg"),
    ]
    assert [len(each.instances) for each in images] == [1, 1, 1]


def test_lists_of_images(tmp_path):
    """A list counts from its own folder with ./, else from the dataset's, which Ultralytics does not."""
    data = "train: lists/train.txt\nval: val.txt\nnames: [car, dog]\n"
    files = {
        "data.yaml": data,
        "val.txt": "\ufeff./images/v/c.jpg\n\n",
        "lists/train.txt": "images/t/a.jpg\n./../images/t/sub/b.jpg\nimages/t/gone.jpg\n/etc/x.jpg\n",
        "labels/t/gone.txt": f"{POLYGON}\n{OTHER}\n",
    }
    for name in ("t/a", "t/sub/b", "v/c"):
        files |= {f"images/{name}.jpg": "", f"labels/{name}.txt": POLYGON}
    images, problems = read(tree(tmp_path, files))
    assert [(each.split, each.file_name, len(each.instances)) for each in images] == [
        ("train", "a.jpg", 1),
        ("train", "sub/b.jpg", 1),
        ("val", "c.jpg", 1),
    ]
    assert {(each.rule, each.where, each.image, each.instances) for each in problems} == {
        (Rule.PATH_OUTSIDE, "lists/train.txt line 4", "/etc/x.jpg", 0),
        (Rule.IMAGE_MISSING, "images/t/gone.jpg", "gone.jpg", 2),
        (Rule.PATH_KEY, "lists/train.txt", None, 0),
    }


def test_a_list_of_folders(tmp_path):
    """Names of a split of several folders begin where the folders part, so none is there twice."""
    data = "train: [images/a, images/b, images/a]\nval: images/c\nnames: [car, dog]\n"
    files = {f"images/{name}/x.jpg": "" for name in "abc"} | {f"labels/{n}/x.txt": POLYGON for n in "abc"}
    images, problems = read(tree(tmp_path, {"data.yaml": data, **files}))
    assert [each.file_name for each in images] == ["a/x.jpg", "b/x.jpg", "x.jpg"]
    assert problems == []


def test_labels_beside_images(tmp_path):
    """Without a folder named images the label is beside its image; other texts there are no labels."""
    data = "train: train\nval: val\nnames: [car, dog]\n"
    files = {"train/a.jpg": "", "train/a.txt": POLYGON, "train/classes.txt": "car\ndog\n", "val/b.jpg": ""}
    images, problems = read(tree(tmp_path, {"data.yaml": data, "val/c.txt": f"{POLYGON}\n", **files}))
    assert [(each.labels, len(each.instances)) for each in images] == [("train/a.txt", 1), ("val/b.txt", 0)]
    assert {(each.rule, each.where, each.instances) for each in problems} == {
        (Rule.NO_LABEL_FILE, "val", 0),
        (Rule.LABEL_WITHOUT_IMAGE, "val/c.txt", 1),
    }


def test_boxes_alone_are_a_dataset(tmp_path):
    """Box rows are instances without a mask, in px, and no problem where there is no polygon."""
    data = "train: images/train\nval: images/train\nnames: [car, dog]\n"
    files = {"data.yaml": data, "images/train/a.jpg": "", "labels/train/a.txt": f"{BOX}\n"}
    images, problems = read(tree(tmp_path, files))
    assert only(problems).rule is Rule.SHARED_SPLIT
    (instance,) = images[0].instances
    assert (instance.class_id, instance.mask) == (1, None)
    assert instance.box_xyxy == pytest.approx((20, 12, 30, 28))


def test_our_own_export_comes_back(tmp_path):
    """Every mask of one part is the same again; one of several is as fillPoly paints its bridged row."""
    size = (48, 64)
    masks = [*nasty_masks(*size).values(), *random_masks(40, size)]
    source = picture(tmp_path / "source.png", size)
    written = [
        image([detection(mask, index % 2)], f"{index:03}.png", size=size, path=source)
        for index, mask in enumerate(masks)
    ]
    root = tmp_path / "yolo"
    write("yolo", root, written, store=ImageStore("copy"))
    (found,) = find_datasets(root)
    problems: list[Problem] = []
    images = list(found.open(problems.append).images())
    assert only(problems).rule is Rule.SHARED_SPLIT
    assert len(images) == len(masks)
    exact = 0
    for index, (each, mask) in enumerate(zip(images, masks, strict=True)):
        (instance,) = each.instances
        assert (each.file_name, instance.class_id) == (f"{index:03}.png", index % 2)
        bitmap = rle.to_bitmap(instance.mask)
        assert np.array_equal(bitmap, painted((root / each.labels).read_text(), size))
        if cv2.connectedComponents(mask.astype(np.uint8))[0] == 2:
            assert np.array_equal(bitmap, mask)
            exact += 1
        else:
            assert not (mask & ~bitmap).any()
    assert exact > 30


NAMES = [
    ("names: [car, dog]", ["car", "dog"], []),
    ("names: {0: car, '1': dog}", ["car", "dog"], []),
    ("names: {0: car, 2: dog}", ["car", "1", "dog"], [Rule.BAD_YAML]),
    ("names: {0: car, x: dog}", ["car"], [Rule.BAD_YAML]),
    ("names: {0: car, 1000000000: dog}", ["car"], [Rule.BAD_YAML]),
    ("names: [car, [dog]]", ["car"], [Rule.BAD_YAML]),
    ("names: [car, 1.5, yes]", ["car", "1.5", "True"], []),
    ("names: [car, car]", ["car", "car"], [Rule.CLASS_TWICE]),
    ("names: [car]\nnc: 2", ["car"], [Rule.CLASS_COUNT]),
    ("names: [car]\nnc: many", ["car"], [Rule.BAD_YAML]),
    ("names: [car]\nnc: 1:2", ["car"], [Rule.BAD_YAML]),  # 62 to the base of 60, which is never computed
    ("nc: 2", ["class_0", "class_1"], []),
    ("names: car", [], [Rule.BAD_YAML]),
    ("nc: 1000000000", [], [Rule.BAD_YAML]),
    ('names: ["\\ud800"]', ["?"], []),
]


@pytest.mark.parametrize(("text", "classes", "rules"), NAMES)
def test_names(tmp_path, text, classes, rules):
    """Class names in every shape of data.yaml, and what Ultralytics would refuse."""
    problems: list[Problem] = []
    found = small(tmp_path, "", f"train: images/train\nval: images/val\n{text}\n")
    assert YoloReader(found, problems.append).classes == classes
    assert [(each.rule, each.where) for each in problems] == [(rule, "data.yaml") for rule in rules]


SPLITS = [
    ("train: images/train", ["train"], [Rule.NO_TRAIN_OR_VAL]),
    ("train: images/train\nval:", ["train"], [Rule.NO_TRAIN_OR_VAL]),
    ("train: images/train\nvalid: images/val", ["train", "val"], [Rule.NO_TRAIN_OR_VAL]),
    ("train: images/train\nvalidation: images/val", ["train", "val"], []),
    ("train: images/train\nval: images/gone", ["train", "val"], [Rule.UNREADABLE_FILE]),
    ("train: images/train\nval: ../..", ["train", "val"], [Rule.PATH_OUTSIDE]),
    ("train: images/train\nval: /etc", ["train", "val"], [Rule.PATH_OUTSIDE]),
    ("train: images/train\nval: 3", ["train", "val"], [Rule.BAD_YAML]),
    ("train: images/train\nval: 'a\\0b'", ["train", "val"], [Rule.UNREADABLE_FILE]),
    (f"train: images/train\nval: {'x' * 5000}", ["train", "val"], [Rule.UNREADABLE_FILE]),
    ("train: images/train\nval: ./images/train", ["train"], [Rule.SHARED_SPLIT]),
    ("path: .\ntrain: images/train\nval: images/val", ["train", "val"], [Rule.PATH_KEY]),
    ("path: /elsewhere\ntrain: images/train\nval: images/val", ["train", "val"], [Rule.PATH_KEY]),
    ("path: 3\ntrain: images/train\nval: images/val", ["train", "val"], [Rule.BAD_YAML]),
    ("path: images\ntrain: train\nval: val", ["train", "val"], []),
]


@pytest.mark.parametrize(("text", "splits", "rules"), SPLITS)
def test_splits(tmp_path, text, splits, rules):
    """The splits and `path` of data.yaml: what is taken, and what Ultralytics would not find."""
    found = small(tmp_path, POLYGON, f"{text}\nnames: [car, dog]\n")
    problems: list[Problem] = []
    reader = YoloReader(found, problems.append)
    assert reader.splits == splits
    assert "train" in {each.split for each in reader.images()}
    assert [each.rule for each in problems] == rules


def test_polygons_at_and_over_the_border(tmp_path):
    """Coordinates of 1, and a little outside, are cut off to the pixel as Ultralytics does."""
    rng = np.random.default_rng(0)
    rows = [f"0 {' '.join(f'{x:.4f}' for x in np.clip(rng.uniform(-0.2, 1.2, 8), 0, 1))}" for _ in range(40)]
    rows += [f"0 {' '.join(f'{x:.4f}' for x in rng.uniform(-0.009, 1.005, 8))}" for _ in range(40)]
    images, problems = read(small(tmp_path, "\n".join(rows)))
    assert problems == []
    for row, instance in zip(rows, images[0].instances, strict=True):
        assert np.array_equal(rle.to_bitmap(instance.mask), painted(row))


def test_an_absolute_path(tmp_path):
    """`path` may name the dataset's folder in full."""
    _, problems = read(small(tmp_path, POLYGON, f"path: {tmp_path}\n{YAML}"))
    assert problems == []


ROWS = [
    (OTHER[:-4], 0, [(Rule.BAD_ROW, 1)]),  # an even number of numbers
    (f"{BOX} 0.9", 0, [(Rule.BAD_ROW, 1)]),  # a box with a score
    ("0 0.5", 0, [(Rule.BAD_ROW, 1)]),
    ("0 0.5 0.5", 0, [(Rule.DEGENERATE_RING, 1)]),
    ("car 0.1 0.1 0.5 0.1 0.5 0.5", 0, [(Rule.BAD_ROW, 1)]),
    ("0.5 0.1 0.1 0.5 0.1 0.5 0.5", 0, [(Rule.BAD_ROW, 1)]),
    ("0 0.1 0.1 nan 0.1 0.5 0.5", 0, [(Rule.BAD_ROW, 1)]),
    ("0 0.1 0.1 1e308 0.1 0.5 0.5", 0, [(Rule.BAD_ROW, 1)]),
    ("0 10 10 50 10 50 50", 0, [(Rule.BAD_ROW, 1)]),  # px
    ("0 -0.2 0.1 1.1 0.1 0.5 0.5", 1, [(Rule.BAD_ROW, 0)]),
    ("0 0.1 0.1 1.06 0.1 0.5 0.5", 1, [(Rule.OUTSIDE_FRAME, 0)]),
    ("0 1 0.1 1 0.2 1 0.5", 0, [(Rule.EMPTY_MASK, 1)]),
    ("2 0.1 0.1 0.5 0.1 0.5 0.5", 0, [(Rule.UNKNOWN_CLASS, 1)]),
    ("-1 0.1 0.1 0.5 0.1 0.5 0.5", 0, [(Rule.UNKNOWN_CLASS, 1)]),
    ("1e30 0.1 0.1 0.5 0.1 0.5 0.5", 0, [(Rule.UNKNOWN_CLASS, 1)]),
    ("1.0 0.1 0.1 0.5 0.1 0.5 0.5", 1, []),
    (BOX, 1, [(Rule.BOX_ROW, 0)]),
    ("0 0.5 0.5 -0.001 0.1", 0, [(Rule.BAD_ROW, 1)]),
    (POLYGON, 1, [(Rule.DUPLICATE_ROW, 0)]),
    ("0 0.1 0.1 0.5 0.1 0.5 0.5", 1, [(Rule.DUPLICATE_ROW, 0)]),  # another polygon in the same box
]


@pytest.mark.parametrize(("row", "yielded", "rules"), ROWS)
def test_a_row_that_is_wrong(tmp_path, row, yielded, rules):
    """Each kind of wrong row after a good one: what is yielded, and the rule, line and rows skipped."""
    images, problems = read(small(tmp_path, f"\n{POLYGON}\r\n{row}\n"))
    assert [(each.rule, each.instances) for each in problems] == rules
    assert {each.where for each in problems} <= {"labels/train/a.txt line 3"}
    assert len(images[0].instances) == 1 + yielded


def test_files_of_boxes_beside_polygons(tmp_path):
    """A file of boxes is fine by itself, but not in a split that has polygons."""
    found = small(tmp_path, f"{BOX}\n")
    assert read(found)[1] == []
    tree(tmp_path, {"images/train/c.jpg": "", "labels/train/c.txt": POLYGON})
    problem = only(read(found)[1])
    assert (problem.rule, problem.where, problem.instances) == (Rule.BOX_ROW, "train", 0)
    assert problem.what.startswith("1 label files have boxes only, beside 1")


def test_keypoints_are_left_out(tmp_path):
    """Where data.yaml says that rows have keypoints they are boxes, and not polygons."""
    data = f"{YAML}kpt_shape: [2, 3]\n"
    images, problems = read(small(tmp_path, f"{BOX} 0.1 0.1 2 0.2 0.2 1\n", data))
    assert images[0].instances[0].box_xyxy == pytest.approx((20, 12, 30, 28))
    assert only(problems).rule is Rule.KEYPOINTS


TREES = [
    ({"images/train/c.jfif": "", "labels/train/c.txt": POLYGON}, Rule.IMAGE_NOT_LISTED, 1, "c.jfif"),
    (
        {"images/train/c.jpg": "nonsense", "labels/train/c.txt": f"{BOX}\nx\n"},
        Rule.IMAGE_UNREADABLE,
        2,
        "c.jpg",
    ),
    ({"labels/train/sub/c.txt": f"{POLYGON}\n{BOX}\n"}, Rule.LABEL_WITHOUT_IMAGE, 2, None),
    ({"images/train/a.png": ""}, Rule.LABEL_SHARED, 0, None),
    ({"images/train/c.jpg": ""}, Rule.NO_LABEL_FILE, 0, None),
    (
        {"images/train/images/c.jpg": "", "labels/train/images/c.txt": POLYGON},
        Rule.IMAGES_FOLDER,
        0,
        None,
    ),
    ({"masks/c.png": ""}, Rule.MASKS_FOLDER, 0, None),
    ({"images/train/c.jpg": "", "labels/train/c.txt/x": ""}, Rule.UNREADABLE_FILE, 0, "c.jpg"),
]


@pytest.mark.parametrize(("files", "rule", "instances", "skipped"), TREES)
def test_a_tree_that_is_wrong(tmp_path, files, rule, instances, skipped):
    """Each file that is not as it should be: the rule, and the image and rows that were skipped."""
    found = small(tmp_path, POLYGON)
    tree(tmp_path, files)
    images, problems = read(found)
    problem = only(problems)
    assert (problem.rule, problem.instances, problem.image) == (rule, instances, skipped)
    listed = sum(name.startswith("images/") and name.endswith((".jpg", ".png")) for name in files)
    assert len(images) == 2 + listed - (skipped is not None and skipped.endswith(".jpg"))


def test_a_label_below_a_folder_named_images(tmp_path):
    """The label is taken from where Ultralytics looks, and else from where other tools put it."""
    found = small(tmp_path, POLYGON)
    tree(tmp_path, {"images/train/images/c.jpg": "", "labels/train/images/c.txt": f"{POLYGON}\n{OTHER}\n"})
    images, _ = read(found)
    assert [(each.file_name, len(each.instances)) for each in images][1] == ("images/c.jpg", 2)
    tree(tmp_path, {"images/train/labels/c.txt": POLYGON})
    images, problems = read(found)
    assert (images[1].labels, len(images[1].instances)) == ("images/train/labels/c.txt", 1)
    problem = only(problems)
    assert (problem.rule, problem.instances) == (Rule.LABEL_WITHOUT_IMAGE, 2)


def test_a_dataset_below_a_folder_named_images(tmp_path):
    """Labels are not looked for outside of the dataset, whatever its own folder is called."""
    data = "train: train\nval: val\nnames: [car, dog]\n"
    files = {f"{split}/a.{kind}": "" for split in ("train", "val") for kind in ("jpg", "txt")}
    images, problems = read(tree(tmp_path / "images/ds", {"data.yaml": data, **files}))
    assert [each.labels for each in images] == ["train/a.txt", "val/a.txt"]
    assert problems == []


def test_sizes_are_of_the_upright_image(tmp_path):
    """EXIF that turns an image swaps its sides, as Ultralytics does; a tiny image is reported and yielded."""
    found = small(tmp_path, POLYGON)
    exif = Image.Exif()
    exif[274] = 6
    picture(tmp_path / "images/train/a.jpg", exif=exif)
    picture(tmp_path / "images/val/b.jpg", (9, 50))
    images, problems = read(found)
    assert [(each.width, each.height) for each in images] == [(40, 50), (50, 9)]
    assert np.array_equal(rle.to_bitmap(images[0].instances[0].mask), painted(POLYGON, (50, 40)))
    assert (only(problems).rule, only(problems).where) == (Rule.TINY_IMAGE, "images/val/b.jpg")


def test_links_that_lead_out_are_not_followed(tmp_path):
    """Links to files and folders outside of the dataset are reported; those inside are followed once."""
    outside = tmp_path / "outside"
    tree(outside, {"x.jpg": "", "x.txt": POLYGON})
    root = tmp_path / "ds"
    found = small(root, POLYGON)
    tree(root, {"images/train/d.jpg": "", "labels/train/e.txt": POLYGON})
    (root / "images/train/folder").symlink_to(outside)
    (root / "images/train/loop").symlink_to(root / "images/train")
    (root / "images/train/e.jpg").symlink_to(outside / "x.jpg")
    (root / "labels/train/d.txt").symlink_to(outside / "x.txt")
    images, problems = read(found)
    assert [each.file_name for each in images] == ["a.jpg", "b.jpg"]
    assert Counter((each.rule, each.where, each.image, each.instances) for each in problems) == Counter(
        [
            (Rule.PATH_OUTSIDE, "images/train/folder", None, 0),
            (Rule.IMAGE_TWICE, "images/train/loop", None, 0),
            (Rule.PATH_OUTSIDE, "images/train/e.jpg", "e.jpg", 1),
            (Rule.PATH_OUTSIDE, "labels/train/d.txt", "d.jpg", 0),
        ]
    )


def test_pipes_and_odd_names(tmp_path):
    """A pipe is never waited for, and a name that is not UTF-8 can be shown."""
    found = small(tmp_path, POLYGON)
    os.mkfifo(tmp_path / "images/train/pipe.jpg")
    tree(tmp_path, {"images/train/c.jpg": "", "images/train/d.jpg": ""})
    os.mkfifo(tmp_path / "labels/train/c.txt")
    (tmp_path / "images/train/d.jpg").rename(os.fsdecode(os.fsencode(tmp_path) + b"/images/train/\xff.jpg"))
    images, problems = read(found)
    assert [each.file_name for each in images] == ["a.jpg", "b.jpg"]
    assert {(each.rule, each.image) for each in problems if each.image} == {
        (Rule.IMAGE_UNREADABLE, "pipe.jpg"),
        (Rule.UNREADABLE_FILE, "c.jpg"),
        (Rule.IMAGE_UNREADABLE, "\\xff.jpg"),
    }


BAD_DATA = [
    "names: [car]",
    "- train",
    "",
    "train: [",
    "train: images\nnames: " + "[" * 5000,
    "train: images\nnames: [!!int '']",
    "train: images\nnc: " + "9" * 5000,
    "a: &a {x: 1}\nb: {<<: [*a, *a]}\ntrain: images",
    "train: images\nnames: {[a]: 1}",
    "x" * 2**20,
]


@pytest.mark.parametrize("text", BAD_DATA, ids=range(len(BAD_DATA)))
def test_what_is_no_dataset(tmp_path, text):
    """A data.yaml that can't be read, or has no split, is an error that names the file."""
    with pytest.raises(InputError, match=r"data\.yaml"):
        YoloReader(small(tmp_path, "", text), refuse)


def test_aliases_and_base_60_cost_nothing(tmp_path):
    """YAML that would expand to gigabytes, or to numbers of a million digits, is read at once."""
    bomb = "a0: &a0 [x]\n" + "".join(
        f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(20)
    )
    found = small(tmp_path, "", f"{bomb}train: images/train\nval: *a20\nnames: *a20\nnc: {'1:' * 100_000}1\n")
    problems: list[Problem] = []
    assert YoloReader(found, problems.append).classes == []
    assert {each.rule for each in problems} == {Rule.BAD_YAML}


def test_find(tmp_path):
    """data.yaml by name, or the only YAML with names and a split; as a file or in its folder."""
    data = small(tmp_path / "a", "")
    assert YoloReader.find(tmp_path / "a") == YoloReader.find(data) == data
    other = tree(tmp_path / "b", {"my.yml": YAML, "config.yaml": "labels: 3"}).parent / "my.yml"
    assert YoloReader.find(tmp_path / "b") == YoloReader.find(other) == other
    tree(tmp_path / "b", {"second.yaml": YAML})
    assert YoloReader.find(tmp_path / "b") is None
    assert YoloReader.find(tmp_path / "b/config.yaml") is None
    assert YoloReader.find(tmp_path) is None
    assert YoloReader.find(tmp_path / "none") is None


def test_outlines_that_would_take_hours(tmp_path):
    """A long outline is painted, and one that crosses itself at every point is refused."""
    turn = np.linspace(0, 2 * np.pi, 100_000)
    circle = np.column_stack((0.5 + 0.4 * np.cos(turn), 0.5 + 0.4 * np.sin(turn))).ravel()
    noise = np.random.default_rng(0).random(200_000)
    rows = "\n".join("0 " + " ".join(f"{value:.6f}" for value in each.tolist()) for each in (circle, noise))
    report = Findings()
    found = read_rows(rows.encode(), "a.txt", Frame(640, 480, 2, 0), report)
    assert [each.where for each in found] == ["line 1"]
    assert (report.counts, report.instances) == (Counter([Rule.BAD_GEOMETRY]), 1)


def test_refuse_ends_the_reading(tmp_path):
    """A report that raises ends it: whoever wants the dataset whole gets no part of it."""
    reader = YoloReader(small(tmp_path, "x"), refuse)
    with pytest.raises(InputError, match=r"labels/train/a\.txt line 1: is not made of numbers: 'x'"):
        list(reader.images())


TOKENS = st.sampled_from(
    [
        "0",
        "1",
        "2",
        "-1",
        "0.5",
        "1.0",
        "0.25",
        "1.01",
        "-0.005",
        "nan",
        "inf",
        "1e308",
        "x",
        "1_0",
        "5",
        "\ufffd",
    ]
)
LABELS = st.one_of(
    st.lists(st.lists(TOKENS, max_size=12).map(" ".join), max_size=6).map("\n".join).map(str.encode),
    st.binary(max_size=200),
    st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
)


@settings(derandomize=True, max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LABELS, st.sampled_from([0, 6]))
def test_every_row_is_yielded_or_reported(label, keypoints):
    """Whatever is in a label file: nothing is raised, and rows are instances or counted as skipped."""
    report = Findings()
    found = read_rows(label, "a.txt", Frame(30, 20, 2, keypoints), report)
    assert len(found) + report.instances == count_rows(label)
    assert all(each.mask is None or rle.area(each.mask) for each in found)


SCALARS = st.sampled_from(
    [
        "images/train",
        "../images",
        "/etc",
        ".",
        "",
        "x" * 300,
        "\0",
        0,
        -1,
        1.5,
        10**30,
        float("nan"),
        None,
        True,
    ]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["path", "train", "val", "valid", "test", "names", "nc", "kpt_shape"])


@settings(derandomize=True, max_examples=200, deadline=None)
@given(
    st.binary(max_size=300) | st.dictionaries(KEYS, VALUES).map(lambda data: yaml.safe_dump(data).encode())
)
def test_any_data_yaml(tmp_path_factory, content):
    """Whatever is in data.yaml: only InputError leaves the reader, and only images in its folder are read."""
    root = tmp_path_factory.getbasetemp() / "any"
    if not root.exists():
        small(root, POLYGON)
    (root / "data.yaml").write_bytes(content)
    with contextlib.suppress(InputError):
        reader = YoloReader(root / "data.yaml", Findings())
        assert all(each.path.is_relative_to(root) for each in reader.images())
