"""YOLO-seg as Ultralytics reads it, re-implemented here: its loader needs torch."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from autolabel.errors import ConfigError, ImageError
from autolabel.formats import open_writer
from autolabel.formats.images import ImageStore
from autolabel.formats.yolo import writer as yolo
from tests.formats.support import (
    NASTY_NAMES,
    SPLITS,
    box_mask,
    categories,
    detection,
    image,
    picture,
    random_masks,
    write,
)
from tests.nasty import nasty_masks

EXPECTED = """\
0 0.093750 0.291667 0.093750 0.208333 0.281250 0.208333 0.281250 0.291667
1 0.468750 0.458333 0.468750 0.458333 0.468750 0.458333
"""


def read_rows(path: Path, size: tuple[int, int]) -> list[tuple[int, np.ndarray]]:
    """(class, mask) per row, with the checks, float32 arithmetic and truncation of Ultralytics' loader."""
    height, width = size
    rows = [line.split() for line in path.read_text(encoding="utf-8").strip().splitlines() if line]
    if not rows:
        return []
    assert all(len(row) >= 7 and len(row) % 2 == 1 for row in rows), "the loader would drop the image"
    found = []
    for row in rows:
        points = np.array(row[1:], dtype=np.float32).reshape(-1, 2)
        assert points.min() >= 0
        assert points.max() <= 1
        points[:, 0] *= np.float32(width)
        points[:, 1] *= np.float32(height)
        mask = np.zeros(size, np.uint8)
        cv2.fillPoly(mask, np.asarray([points.reshape(-1)], np.int32).reshape(1, -1, 2), color=1)
        found.append((int(row[0]), mask.astype(bool)))
    boxes = {
        (row[0], *p.min(axis=0), *p.max(axis=0))
        for row in rows
        for p in [np.array(row[1:], np.float32).reshape(-1, 2)]
    }
    assert len(boxes) == len(rows), "the loader would remove a row whose class and box it has met"
    return found


def label_of(image_path: Path) -> Path:
    """Where Ultralytics looks for the label of an image."""
    return Path("/labels/".join(str(image_path).rsplit("/images/", 1)).rsplit(".", 1)[0] + ".txt")


def parts(mask: np.ndarray) -> int:
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1


def test_a_small_dataset_as_text(tmp_path):
    """One image with two instances, one of a single pixel, is exactly these two files."""
    first, second = box_mask((12, 16), 1, 2, 5, 4), box_mask((12, 16), 7, 5, 8, 6)
    report, lost = write(
        "yolo", tmp_path, [image([detection(first), detection(second, 1)], "sub/a.jpg", size=(12, 16))]
    )
    written = (tmp_path / "labels/train/sub/a.txt").read_text()
    assert written == EXPECTED
    assert (tmp_path / "data.yaml").read_text() == (
        "train: images/train\nval: images/train\nnames:\n  0: car\n  1: dog\n"
    )
    assert report.degradations == {"val_is_train": 1}
    assert (report.renamed, lost) == ({}, [[]])


def test_the_reader_gets_every_one_part_mask_exactly(tmp_path):
    """A row per instance, and the same pixels for every mask of one part, with holes and single pixels."""
    size = (48, 64)
    masks = [*nasty_masks(*size).values(), *random_masks(120, size)]
    write("yolo", tmp_path, [image([detection(m, 1)], f"{i}.jpg", size=size) for i, m in enumerate(masks)])
    exact = 0
    for index, mask in enumerate(masks):
        rows = read_rows(tmp_path / f"labels/train/{index}.txt", size)
        assert [class_id for class_id, _ in rows] == [1]
        assert not (mask & ~rows[0][1]).any()
        if parts(mask) == 1:
            assert np.array_equal(rows[0][1], mask)
            exact += 1
    assert exact > 30


def test_bridged_pixels_are_counted(tmp_path):
    """The report has the number of pixels that the reader paints outside of masks of several parts."""
    size = (48, 64)
    masks = [m for m in (*nasty_masks(*size).values(), *random_masks(60, size, 5)) if parts(m) > 1]
    images = [image([detection(m)], f"{i}.jpg", size=size) for i, m in enumerate(masks)]
    report, _ = write("yolo", tmp_path, images)
    outside = sum(
        int((read_rows(tmp_path / f"labels/train/{index}.txt", size)[0][1] & ~mask).sum())
        for index, mask in enumerate(masks)
    )
    assert outside > 0
    assert report.degradations["bridged_pixels"] == outside
    assert report.degradations["bridged_instances"] == len(masks)


def test_split_writes_a_row_per_part(tmp_path):
    """With parts: split the rows together are the mask, without a bridge."""
    size = (48, 64)
    masks = [*nasty_masks(*size).values()]
    images = [image([detection(m)], f"{i}.jpg", size=size) for i, m in enumerate(masks)]
    report, _ = write("yolo", tmp_path, images, parts="split")
    for index, mask in enumerate(masks):
        rows = read_rows(tmp_path / f"labels/train/{index}.txt", size)
        assert len(rows) == parts(mask)
        assert np.array_equal(np.any([each for _, each in rows], axis=0), mask)
    assert report.degradations["split_instances"] == sum(parts(mask) > 1 for mask in masks)


def test_largest_keeps_one_part(tmp_path):
    """With parts: largest the part of the most pixels is kept, and the others are counted."""
    mask = (
        box_mask((40, 50), 1, 1, 10, 10)
        | box_mask((40, 50), 20, 20, 40, 21)
        | box_mask((40, 50), 0, 30, 1, 31)
    )
    report, _ = write("yolo", tmp_path, [image([detection(mask)])], parts="largest")
    assert np.array_equal(
        read_rows(tmp_path / "labels/train/a.txt", (40, 50))[0][1], box_mask((40, 50), 1, 1, 10, 10)
    )
    assert report.degradations["dropped_parts"] == 2


def test_the_same_row_twice_is_not_held(tmp_path):
    """The reader removes an exact duplicate, so it is not written, and returned; another class is counted."""
    mask = box_mask((40, 50), 1, 1, 10, 10)
    twice = [detection(mask), detection(mask, 0, 0.5), detection(mask, 1, 0.4)]
    report, lost = write("yolo", tmp_path, [image(twice)])
    assert lost == [[twice[1]]]
    assert [class_id for class_id, _ in read_rows(tmp_path / "labels/train/a.txt", (40, 50))] == [0, 1]
    assert report.degradations["same_mask_pairs"] == 1


def test_masks_of_one_class_and_box_stay_apart(tmp_path):
    """Rows of one class whose boxes are equal, which older readers drop, differ by less than a pixel."""
    size = (40, 50)
    square, cross = (
        box_mask(size, 5, 5, 20, 20),
        box_mask(size, 5, 11, 20, 14) | box_mask(size, 11, 5, 14, 20),
    )
    corner = box_mask(size, 5, 5, 6, 20) | box_mask(size, 5, 5, 20, 6)
    _, lost = write("yolo", tmp_path, [image([detection(m) for m in (square, cross, corner)], size=size)])
    rows = read_rows(tmp_path / "labels/train/a.txt", size)
    assert lost == [[]]
    assert all(
        np.array_equal(row, mask) for (_, row), mask in zip(rows, (square, cross, corner), strict=True)
    )


@pytest.mark.parametrize("side", [1, 2, 3, 7, 480, 639, 640, 1023, 1024, 1920, 4000, 9999, 19_999, 20_000])
def test_every_coordinate_comes_back(side):
    """The text of a pixel index is that index again after a float32 multiply and int(), up to 20,000 px."""
    for step in range(yolo._NUDGES):
        offset = yolo._CENTRE - step * yolo._NUDGE
        ring = np.column_stack((np.arange(side), np.zeros(side, np.int64)))
        row = np.array(yolo._points(ring, side, 12, offset).split(), np.float32).reshape(-1, 2)
        assert np.array_equal((row[:side, 0] * np.float32(side)).astype(np.int32), np.arange(side))


def test_an_image_that_the_reader_drops_is_left_out(tmp_path):
    """Below 10 px on a side the reader refuses an image: so does the writer, which counts it."""
    writer = open_writer("yolo", tmp_path, categories(), SPLITS, ImageStore("none"))
    found = detection(box_mask((8, 200), 1, 2, 50, 6))
    with pytest.raises(ImageError, match="200 x 8 px: Ultralytics refuses"):
        writer.add(image([found], "thin.jpg", size=(8, 200)))
    writer.add(image([]))
    assert writer.close().degradations == {"too_small_images": 1, "val_is_train": 1}
    assert not list(tmp_path.rglob("thin*"))


def test_a_background_image_has_an_empty_label(tmp_path):
    """No instance: the label file is there and empty, which the reader takes for background."""
    write("yolo", tmp_path, [image([])])
    assert (tmp_path / "labels/train/a.txt").read_bytes() == b""


def test_every_name_leads_to_its_label(tmp_path):
    """For every image there is a label where the reader looks for it, and no two share one."""
    names = [*NASTY_NAMES, "a.jpg", "a.png", "A.JPG", "images_/inside.jpg", "a.txt/b.jpg"]
    images = [
        image(
            [detection(box_mask((40, 50), i, i, i + 9, i + 9))],
            name,
            path=picture(tmp_path / "source" / f"{i}.jpg"),
        )
        for i, name in enumerate(names)
    ]
    root = tmp_path / "yolo"
    report, _ = write("yolo", root, images, store=ImageStore("copy"))
    labels = []
    for i, name in enumerate(names):
        path = root / "images/train" / report.renamed.get(name, name)
        assert path.is_file()
        assert path.suffix.lower() in (".jpg", ".png")
        labels.append(label_of(path))
        rows = read_rows(labels[-1], (40, 50))
        assert np.array_equal(rows[0][1], box_mask((40, 50), i, i, i + 9, i + 9))
    assert len({str(label).lower() for label in labels}) == len(names)
    assert report.renamed["images/inside.jpg"] == "images_/inside.jpg"
    assert report.renamed["phone.jfif"] == "phone.jpg"
    assert report.renamed["a.png"].startswith("a-")
    assert "a.jpg" not in report.renamed


def test_class_names_survive_yaml(tmp_path):
    """Names that YAML would read as something else come back as text, by id."""
    names = ["yes", "1.5", "null", "a: b", "#x", "狗", "- dash", "multi\nline", "quo'te\"", "long " * 40]
    write("yolo", tmp_path, [], classes=categories(*names))
    data = yaml.safe_load((tmp_path / "data.yaml").read_text(encoding="utf-8"))
    assert data["names"] == dict(enumerate(names))
    assert "path" not in data


@pytest.mark.parametrize(
    ("used", "train", "val", "test", "note"),
    [
        (("train", "val"), "train", "val", None, {}),
        (("train",), "train", "train", None, {"val_is_train": 1}),
        (("val",), "val", "val", None, {"train_is_val": 1}),
        (("train", "val", "test"), "train", "val", "test", {}),
        (("test",), "test", "test", "test", {"train_is_test": 1, "val_is_test": 1}),
        ((), "train", "val", None, {}),
    ],
)
def test_data_yaml_names_train_and_val(tmp_path, used, train, val, test, note):
    """The keys train and val are always there and name a folder with images where there is one."""
    images = [image([], f"{split}.jpg", split=split) for split in used]
    report, _ = write("yolo", tmp_path, images, splits=("train", "val", "test"))
    data = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert (data["train"], data["val"]) == (f"images/{train}", f"images/{val}")
    assert data.get("test") == (f"images/{test}" if test else None)
    assert report.degradations == note


def test_unknown_parts_is_refused(tmp_path):
    """A choice that YOLO doesn't have is an error that names the choices."""
    with pytest.raises(ConfigError, match="bridge, split or largest, not 'all'"):
        write("yolo", tmp_path, [], parts="all")
