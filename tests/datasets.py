"""Whole datasets on disk: our own exports, and layouts as other tools write them, built by hand."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from autolabel.formats.images import ImageStore
from autolabel.formats.voc.masks import palette
from tests.formats.support import categories, detection, image, picture, write

NAMES = ("a.jpg", "with space.jpg", "sub/ünï.jpg", "sub/d.jpg", "e.jpg")
CLASSES = ("car", "dog", "traffic light")


def apart(size: tuple[int, int], seed: int, count: int = 4) -> list[np.ndarray]:
    """Masks (h, w) that share no pixel: parts and holes, as a noise map is cut into."""
    rng = np.random.default_rng(seed)
    maps = np.stack([cv2.GaussianBlur(rng.random(size), (0, 0), rng.uniform(1.5, 5)) for _ in range(count)])
    maps = (maps - maps.mean(axis=(1, 2), keepdims=True)) / maps.std(axis=(1, 2), keepdims=True)
    winner = np.where(maps.max(axis=0) > 0.4, maps.argmax(axis=0), -1)
    return [winner == index for index in range(count) if (winner == index).any()]


def own(
    name: str,
    root: Path,
    *,
    masks: int = 4,
    size: tuple[int, int] = (48, 64),
    splits: str = "tttvv",
    **options,
) -> dict[str, list[tuple[str, np.ndarray]]]:
    """Our own export of one format, image files included; the truth is (class, mask) by file_name."""
    images, truth = [], {}
    for at, name_ in enumerate(NAMES):
        found = [(index % len(CLASSES), each) for index, each in enumerate(apart(size, at, masks))]
        truth[name_] = [(CLASSES[class_id], each) for class_id, each in found]
        path = picture(root.parent / "source" / f"{at:0{at + 1}}.jpg", size)
        split = {"t": "train", "v": "val", "x": "test"}[splits[at]]
        images.append(
            image([detection(m, c, 0.9, "") for c, m in found], name_, size=size, split=split, path=path)
        )
    used = [s for s, key in (("train", "t"), ("val", "v"), ("test", "x")) if key in splits]
    write(name, root, images, classes=categories(*CLASSES), splits=used, store=ImageStore("copy"), **options)
    return truth


def photo(path: Path, size: tuple[int, int] = (48, 64), seed: int = 0, **options: object) -> Path:
    """An image file with content of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng([seed, *path.name.encode()]).integers(0, 255, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path, {".png": "PNG"}.get(path.suffix, "JPEG"), **options)
    return path


def roboflow_coco(root: Path) -> dict[str, int]:
    """A COCO export as Roboflow lays it out; returns the number of instances by split.

    train: a polygon of two rings, one with float coordinates, a compressed RLE crowd, an uncompressed RLE;
    valid: a box without a segmentation; test: an image without annotations.
    """
    disc = cv2.circle(np.zeros((48, 64), np.uint8), (40, 24), 12, [1], -1)
    packed = coco_mask.encode(np.asfortranarray(disc))
    packed["counts"] = packed["counts"].decode()
    runs = {"size": [48, 64], "counts": [48 * 10 + 5, 20, 28, 20, 48 * 64 - 48 * 10 - 73]}
    train = [
        _annotation(
            7, 2, 1, [[2, 2, 12, 2, 12, 12, 2, 12], [20, 2, 26, 2, 26, 9, 20, 9]], [2, 2, 24, 10], 142
        ),
        _annotation(3, 2, 2, [[4.5, 20.25, 18.5, 20.25, 18.5, 40.75]], [4.5, 20.25, 14, 20.5], 143.5),
        _annotation(5, 9, 1, packed, [28, 12, 25, 25], 441, crowd=1),
        _annotation(1, 9, 2, runs, [10, 5, 2, 20], 40),
    ]
    valid = [
        _annotation(0, 0, 1, [], [3, 3, 20, 10], 200),
        _annotation(1, 0, 2, [[30, 10, 50, 10, 50, 30, 30, 30]], [30, 10, 20, 20], 400),
    ]
    for split, files, annotations in (
        ("train", {2: "one_jpg.rf.1f.jpg", 9: "two words.jpg"}, train),
        ("valid", {0: "v_png.rf.2e.jpg"}, valid),
        ("test", {0: "empty.jpg"}, []),
    ):
        for name in files.values():
            photo(root / split / name, seed=len(split))
        (root / split / "_annotations.coco.json").write_text(
            json.dumps(
                {
                    "info": {"year": "2026", "description": "Exported from roboflow.com"},
                    "licenses": [{"id": 1, "url": "", "name": "CC BY 4.0"}],
                    "categories": [
                        {"id": 0, "name": "fruits", "supercategory": "none"},
                        {"id": 1, "name": "apple", "supercategory": "fruits"},
                        {"id": 2, "name": "pear", "supercategory": "fruits"},
                    ],
                    "images": [
                        {
                            "id": i,
                            "license": 1,
                            "file_name": name,
                            "height": 48,
                            "width": 64,
                            "extra": {"name": "x"},
                        }
                        for i, name in files.items()
                    ],
                    "annotations": annotations,
                }
            )
        )
    return {"train": 4, "val": 2, "test": 0}


def _annotation(
    number: int,
    image_id: int,
    category: int,
    shape: object,
    box: Sequence[float],
    area: float,
    crowd: int = 0,
) -> dict[str, object]:
    return {
        "id": number, "image_id": image_id, "category_id": category, "bbox": box, "area": area,
        "segmentation": shape, "iscrowd": crowd,
    }  # fmt: skip


def coco8_seg(root: Path) -> dict[str, int]:
    """An Ultralytics tree: images/ and labels/ with train and val, a dict of names, `path` by its own name.

    train: two polygons, one of them twice, a background without a label file; val: one polygon and a row of
    six numbers, for which Ultralytics drops the image.
    """
    for name in ("train/000000000009.jpg", "train/000000000025.jpg", "val/000000000036.jpg"):
        photo(root / "images" / name)
    square = "0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5"
    (root / "labels/train").mkdir(parents=True)
    (root / "labels/val").mkdir()
    (root / "labels/train/000000000009.txt").write_text(
        f"45 {square}\n45 {square}\n0 0.6 0.6 0.9 0.6 0.9 0.95\n"
    )
    (root / "labels/val/000000000036.txt").write_text(
        "7 0.2 0.2 0.7 0.25 0.6 0.8 0.2 0.7\n7 0.2 0.2 0.7 0.5 0.1\n"
    )
    names = "\n".join(f"  {index}: class {index}" for index in range(80))
    (root / "coco8-seg.yaml").write_text(
        f"path: {root.name} # dataset root dir\ntrain: images/train\nval: images/val\ntest: # optional\n\nnames:\n{names}\n"
    )
    return {"train": 3, "val": 2}


VOC20 = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]


def voc2012(root: Path) -> dict[str, int]:
    """A VOCdevkit as the challenge ships it: no labelmap, void borders, class files, boxes without masks.

    2007_000032 (train) has two objects with masks, 2007_000033 (val) one, 2008_000008 (train, Main only) two
    boxes.
    """
    base = root / "VOCdevkit/VOC2012"
    objects = np.zeros((48, 64), np.uint8)
    objects[5:21, 5:31], objects[6:20, 6:30] = 255, 1
    objects[24:42, 34:60], objects[25:41, 35:59] = 255, 2
    _voc_image(base, "2007_000032", objects, [("aeroplane", (7, 7, 30, 20)), ("person", (36, 26, 59, 41))])
    one = np.zeros((48, 64), np.uint8)
    one[10:30, 10:40] = 1
    _voc_image(base, "2007_000033", one, [("aeroplane", (11, 11, 40, 30))])
    _voc_image(base, "2008_000008", None, [("horse", (3, 3, 60, 40)), ("person", (20, 1, 40, 30))])
    sets = base / "ImageSets"
    for folder, split, stems in (
        ("Segmentation", "train", ["2007_000032"]),
        ("Segmentation", "val", ["2007_000033"]),
        ("Segmentation", "trainval", ["2007_000032", "2007_000033"]),
        ("Main", "train", ["2007_000032", "2008_000008"]),
        ("Main", "val", ["2007_000033"]),
        ("Main", "trainval", ["2007_000032", "2007_000033", "2008_000008"]),
    ):
        (sets / folder).mkdir(parents=True, exist_ok=True)
        (sets / folder / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))
    for name in VOC20:
        (sets / "Main" / f"{name}_train.txt").write_text("2007_000032  1\n2008_000008 -1\n")
    return {"train": 4, "val": 1}


def _voc_image(
    base: Path, stem: str, objects: np.ndarray | None, named: Sequence[tuple[str, tuple[int, int, int, int]]]
) -> None:
    photo(base / "JPEGImages" / f"{stem}.jpg")
    for folder in ("Annotations", "SegmentationObject", "SegmentationClass"):
        (base / folder).mkdir(exist_ok=True)
    xml = "".join(
        f"<object><name>{name}</name><pose>Left</pose><truncated>0</truncated><difficult>0</difficult><bndbox>"
        f"<xmax>{x1}</xmax><xmin>{x0}</xmin><ymax>{y1}</ymax><ymin>{y0}</ymin></bndbox>"
        "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
        "</object>"
        for name, (x0, y0, x1, y1) in named
    )
    (base / "Annotations" / f"{stem}.xml").write_text(
        f"<annotation><folder>VOC2012</folder><filename>{stem}.jpg</filename><size><width>64</width>"
        f"<height>48</height><depth>3</depth></size><segmented>{int(objects is not None)}</segmented>{xml}</annotation>"
    )
    if objects is None:
        return
    classes = np.where(objects == 255, 255, 0).astype(np.uint8)
    for index, (name, _) in enumerate(named, 1):
        classes[objects == index] = VOC20.index(name) + 1
    for folder, labels in (("SegmentationObject", objects), ("SegmentationClass", classes)):
        picture_ = Image.fromarray(labels, "L").convert("P")
        picture_.putdata(labels.ravel())
        picture_.putpalette(palette())
        picture_.save(base / folder / f"{stem}.png")
