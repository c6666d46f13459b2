"""Pascal VOC datasets as they occur, read back: whole, half, of other tools, damaged and hostile."""

import os
import struct
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from autolabel.errors import InputError
from autolabel.formats import find_datasets
from autolabel.formats.images import ImageStore
from autolabel.formats.problems import Problem, Rule
from autolabel.formats.reading import DatasetImage
from autolabel.formats.voc.masks import encode_png, palette
from autolabel.formats.voc.reader import VocReader
from autolabel.geometry import rle
from tests.formats.support import categories, detection, image, picture, random_masks, write
from tests.nasty import nasty_masks

SIZE = (40, 50)
VOC = [
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
LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ndog:10,20,30::\ncar:200,0,0::\n"

quickly = settings(deadline=None, max_examples=200, derandomize=True)


def xml(*objects: str, size: tuple[int, int] | None = SIZE, filename: str = "a.jpg") -> str:
    stated = f"<size><width>{size[1]}</width><height>{size[0]}</height></size>" if size else ""
    return f"<annotation><filename>{filename}</filename>{stated}\n{''.join(objects)}</annotation>"


def obj(name: str, *box: float | str) -> str:
    keys = ("xmin", "ymin", "xmax", "ymax")
    bounds = "".join(f"<{key}>{value}</{key}>" for key, value in zip(keys, box, strict=False))
    return f"<object><name>{name}</name>{f'<bndbox>{bounds}</bndbox>' if box else ''}</object>\n"


def labels(*boxes: tuple[int, int, int, int, int], size: tuple[int, int] = SIZE) -> np.ndarray:
    """Boxes (x0, y0, x1, y1, value), ends exclusive, painted one over the other."""
    pixels = np.zeros(size, np.uint8)
    for x0, y0, x1, y1, value in boxes:
        pixels[y0:y1, x0:x1] = value
    return pixels


def coloured(pixels: np.ndarray, colours: dict[int, tuple[int, int, int]]) -> bytes:
    """A PNG with colours in place of labels."""
    rgb = np.zeros((*pixels.shape, 3), np.uint8)
    for value, colour in colours.items():
        rgb[pixels == value] = colour
    return cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()


def png(width: int, height: int, idat: bytes = b"") -> bytes:
    """A palette PNG whose header states any size."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", palette()),
        (b"IDAT", zlib.compress(idat)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def tree(root: Path, files: dict[str, str | bytes | np.ndarray | None]) -> Path:
    """Files of a dataset: texts, bytes, label pictures, None for an image."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            picture(path, SIZE)
        elif isinstance(content, np.ndarray):
            path.write_bytes(encode_png(content))
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def read(path: Path) -> tuple[VocReader, list[DatasetImage], list[Problem]]:
    problems: list[Problem] = []
    found = VocReader.find(path)
    assert found is not None
    reader = VocReader(found, problems.append)
    return reader, list(reader.images()), problems


def brief(problems: Sequence[Problem]) -> list[tuple[Rule, str, int, str | None]]:
    return [(each.rule, each.where, each.instances, each.image) for each in problems]


def bitmap(mask: object) -> np.ndarray:
    return rle.to_bitmap(mask)


def one(**other: object) -> dict[str, object]:
    """An image with two objects, whole and without a problem; entries are replaced, added or left out."""
    files = {
        "labelmap.txt": LABELMAP,
        "ImageSets/Segmentation/train.txt": "a\n",
        "JPEGImages/a.jpg": None,
        "Annotations/a.xml": xml(obj("car", 3, 4, 12, 13), obj("dog", 21, 11, 30, 40)),
        "SegmentationObject/a.png": labels((2, 3, 12, 13, 1), (20, 10, 30, 40, 2)),
        "SegmentationClass/a.png": labels((2, 3, 12, 13, 2), (20, 10, 30, 40, 1)),
    }
    names = {
        "xml": "Annotations/a.xml",
        "objects": "SegmentationObject/a.png",
        "classes": "SegmentationClass/a.png",
        "image": "JPEGImages/a.jpg",
        "labelmap": "labelmap.txt",
        "sets": "ImageSets/Segmentation/train.txt",
    }
    for key, value in other.items():
        if value is ...:
            del files[names[key]]
        else:
            files[names[key]] = value
    return files


CAR, DOG = labels((2, 3, 12, 13, 1)) > 0, labels((20, 10, 30, 40, 1)) > 0


def test_what_the_writer_writes_is_read_back_whole(tmp_path):
    """Images, splits, classes, masks, boxes and names are those that were written, and nothing is reported."""
    masks = [*nasty_masks(*SIZE).values(), *random_masks(20, SIZE)]
    images = [
        image(
            [detection(mask, index % 2)],
            f"{index}.jpg",
            split=("train", "val")[index % 3 == 0],
            path=picture(tmp_path / "src" / f"{index}.jpg", SIZE),
        )
        for index, mask in enumerate(masks)
    ]
    write("voc", tmp_path / "out", images, splits=("train", "val", "extra"), store=ImageStore("copy"))
    assert [found.format for found in find_datasets(tmp_path / "out")] == ["voc"]
    reader, found, problems = read(tmp_path / "out")
    assert problems == []
    assert (list(reader.classes), list(reader.splits)) == (["car", "dog"], ["train", "val", "extra"])
    by_name = {each.file_name: each for each in found}
    assert len(by_name) == len(found) == len(images)
    for expected in images:
        each = by_name[expected.file_name]
        x, y, width, height = rle.box_xywh(expected.detections[0].mask)
        assert (each.split, each.width, each.height) == (expected.split, 50, 40)
        assert each.path == reader.root / "JPEGImages" / expected.file_name
        assert [(i.class_id, i.mask, i.where, i.box_xyxy) for i in each.instances] == [
            (
                expected.detections[0].class_id,
                expected.detections[0].mask,
                "object 1",
                (x, y, x + width, y + height),
            )
        ]


def test_many_objects_of_one_image_keep_their_order(tmp_path):
    """Objects that share no pixel come back exactly, in order, also under labels of many classes."""
    numbers = np.arange(200).reshape(10, 20)
    masks = [np.kron(numbers == number, np.ones((4, 2), bool)) for number in range(200)]
    names = [f"class {number}" for number in range(200)]
    items = [detection(mask, number) for number, mask in enumerate(masks)]
    picture(tmp_path / "b.jpg", (40, 40))
    write(
        "voc",
        tmp_path / "out",
        [image(items, "b.jpg", size=(40, 40), path=tmp_path / "b.jpg")],
        classes=categories(*names),
        store=ImageStore("copy"),
    )
    reader, (found,), problems = read(tmp_path / "out")
    assert problems == []
    assert list(reader.classes) == names
    assert [each.class_id for each in found.instances] == list(range(200))
    assert [each.mask for each in found.instances] == [item.mask for item in items]


def test_the_devkits_own_layout(tmp_path):
    """VOC2012: twenty classes without labelmap, lists of classes, a void line, images that have boxes only."""
    objects = labels((2, 3, 12, 13, 255), (3, 4, 11, 12, 1), (20, 10, 30, 40, 2))
    person = (
        "<object><part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"
        "</part><name>person</name><bndbox><xmin>4</xmin><ymin>5.5</ymin><xmax>11</xmax><ymax>12</ymax></bndbox>"
        "<difficult>1</difficult></object>"
    )
    flags = {
        f"ImageSets/Main/{name}_{split}.txt": "a  1\nb -1\nc  0\n"
        for name in VOC
        for split in ("train", "val", "trainval")
    }
    base = tmp_path / "VOCdevkit/VOC2012"
    tree(
        base,
        flags
        | {
            "ImageSets/Segmentation/train.txt": "a\n",
            "ImageSets/Segmentation/val.txt": "",
            "ImageSets/Segmentation/trainval.txt": "a\n",
            "ImageSets/Main/train.txt": "a\nb\n",
            "ImageSets/Main/val.txt": "c\n",
            "ImageSets/Main/trainval.txt": "a\nb\nc\nd\n",
            "ImageSets/Layout/train.txt": "zzz 1\n",
            "ImageSets/Main/foo_val.txt": "",
            "Annotations/a.xml": xml(person, obj("tvmonitor", 21, 11, 30, 40)),
            "SegmentationObject/a.png": objects,
            "SegmentationClass/a.png": np.array([0, 15, 20, *[0] * 252, 255], np.uint8)[objects],
            **{f"Annotations/{stem}.xml": xml(obj("dog", 1, 1, 50, 40)) for stem in "bcd"},
            **{f"JPEGImages/{stem}.jpg": None for stem in "abcd"},
        },
    )
    for place in (tmp_path, tmp_path / "VOCdevkit", base):
        reader, found, problems = read(place)
        assert problems == []
        assert (reader.root, list(reader.classes), list(reader.splits)) == (base, VOC, ["train", "val"])
        assert [(each.file_name, each.split) for each in found] == [
            ("a.jpg", "train"), ("b.jpg", "train"), ("d.jpg", "train"), ("c.jpg", "val"),
        ]  # fmt: skip
        first, second = found[0].instances
        assert (VOC[first.class_id], first.box_xyxy) == ("person", (3, 4.5, 11, 12))
        assert np.array_equal(bitmap(first.mask), objects == 1)
        assert (VOC[second.class_id], second.box_xyxy) == ("tvmonitor", (20, 10, 30, 40))
        assert np.array_equal(bitmap(second.mask), objects == 2)
        assert [(i.class_id, i.mask, i.box_xyxy) for i in found[1].instances] == [(11, None, (0, 0, 50, 40))]


def test_an_export_with_colours(tmp_path):
    """As CVAT writes it: labelmap.txt, default.txt, pictures of colours; what is odd about it is reported."""
    colours = {1: (10, 20, 30), 2: (200, 0, 0), 255: (224, 224, 192)}
    objects, kinds = one()["SegmentationObject/a.png"], one()["SegmentationClass/a.png"]
    voc = {1: (128, 0, 0), 2: (0, 128, 0)}
    files = one(sets=..., objects=coloured(objects, voc), classes=coloured(kinds, colours))
    tree(tmp_path, files | {"ImageSets/Segmentation/default.txt": '\ufeff"a"\n# a comment\n\n'})
    reader, (found,), problems = read(tmp_path)
    assert (list(reader.classes), list(reader.splits), found.split) == (["dog", "car"], ["train"], "train")
    assert [(i.class_id, i.box_xyxy) for i in found.instances] == [(1, (2, 3, 12, 13)), (0, (20, 10, 30, 40))]
    assert [np.array_equal(bitmap(i.mask), m) for i, m in zip(found.instances, (CAR, DOG), strict=True)] == [
        True
    ] * 2
    assert brief(problems) == [
        (Rule.MASK_NOT_INDEXED, "SegmentationObject/a.png", 0, None),
        (Rule.MASK_NOT_INDEXED, "SegmentationClass/a.png", 0, None),
    ]


def test_objects_of_any_colours_are_told_apart(tmp_path):
    """Colours that are not VOC's are numbered as they are sorted; classes come from the class picture."""
    objects = coloured(one()["SegmentationObject/a.png"], {1: (9, 9, 9), 2: (1, 2, 3)})
    _, (found,), problems = read(tree(tmp_path, one(xml=..., objects=objects)))
    assert [i.class_id for i in found.instances] == [0, 1]
    assert np.array_equal(bitmap(found.instances[0].mask), DOG)
    assert np.array_equal(bitmap(found.instances[1].mask), CAR)
    assert (found.labels, found.width, found.height) == ("SegmentationObject/a.png", 50, 40)
    assert [each.rule for each in problems] == [Rule.MASK_NOT_INDEXED]


def test_a_class_colour_that_labelmap_lacks(tmp_path):
    """A region in a colour of no class is reported as one of an unknown class, not taken for another."""
    classes = coloured(one()["SegmentationClass/a.png"], {1: (10, 20, 30), 2: (7, 7, 7)})
    _, (found,), problems = read(tree(tmp_path, one(xml=..., objects=..., classes=classes)))
    assert [i.class_id for i in found.instances] == [0]
    assert (Rule.UNKNOWN_CLASS, "SegmentationClass/a.png, object 2", 1, None) in brief(problems)


def test_boxes_without_image_sets(tmp_path):
    """Annotations and images alone: all are train, classes are the names in sorted order, images need no XML."""
    tree(
        tmp_path,
        {
            "Annotations/sub/b.xml": xml(obj("zebra", 0, 0, 49, 39), obj("car", 5, 5, 5, 5)),
            "Annotations/a.xml": xml(),
            "images/sub/b.png": None,
            "images/a.jpg": None,
            "JPEGImages/c.jpg": None,
        },
    )
    reader, found, problems = read(tmp_path)
    assert (list(reader.classes), list(reader.splits)) == (["car", "zebra"], ["train"])
    assert [(each.file_name, len(each.instances)) for each in found] == [
        ("a.jpg", 0),
        ("c.jpg", 0),
        ("sub/b.png", 2),
    ]
    assert [i.box_xyxy for i in found[2].instances] == [(-1, -1, 49, 39), (4, 4, 5, 5)]
    assert found[1].width == 50
    assert brief(problems) == [
        (Rule.NOT_JPEG, "images/a.jpg", 0, None),
        (Rule.NO_ANNOTATION, "Annotations/c.xml", 0, None),
        (Rule.NOT_JPEG, "images/sub/b.png", 0, None),
    ]


def test_parts_of_a_class_without_object_pictures(tmp_path):
    """Parts in an object's box are the object, the others instances of their own; said once for a dataset."""
    classes = labels(
        (2, 3, 6, 13, 2), (8, 3, 12, 13, 2), (20, 10, 30, 40, 1), (40, 0, 45, 5, 2), (45, 5, 50, 9, 2)
    )
    files = one(objects=..., classes=classes) | {
        "JPEGImages/b.jpg": None,
        "SegmentationClass/b.png": labels((0, 0, 3, 3, 1), (5, 5, 9, 9, 1), (20, 20, 22, 22, 255)),
        "ImageSets/Segmentation/val.txt": "b\n",
    }
    _, (first, second), problems = read(tree(tmp_path, files))
    assert [i.class_id for i in first.instances] == [1, 0, 1]
    assert np.array_equal(bitmap(first.instances[0].mask), CAR & (classes == 2))
    assert np.array_equal(bitmap(first.instances[1].mask), DOG)
    assert np.array_equal(bitmap(first.instances[2].mask), labels((40, 0, 45, 5, 1), (45, 5, 50, 9, 1)))
    assert [(i.class_id, rle.area(i.mask)) for i in second.instances] == [(0, 9), (0, 16)]
    assert second.labels == "SegmentationClass/b.png"
    assert brief(problems) == [
        (Rule.NO_OBJECT_PICTURE, "SegmentationObject", 0, None),
        (Rule.OBJECT_COUNT, "Annotations/a.xml", 0, None),
    ]


def test_a_part_goes_to_the_best_box_of_its_class(tmp_path):
    """Of boxes one in the other the tighter one has the part; touching boxes and other classes get nothing."""
    classes = labels((1, 1, 5, 5, 2), (30, 1, 34, 5, 2))
    boxes = (
        obj("car", 2, 2, 5, 5),
        obj("car", 1, 1, 50, 40),
        obj("dog", 31, 2, 34, 5),
        obj("car", 34, 1, 50, 9),
    )
    _, (found,), problems = read(tree(tmp_path, one(objects=..., classes=classes, xml=xml(*boxes))))
    areas = [i.mask and rle.box_xywh(i.mask) for i in found.instances]
    assert areas == [(1, 1, 4, 4), (30, 1, 4, 4), None, None]
    assert [i.class_id for i in found.instances] == [1, 1, 0, 1]
    assert [each.what for each in problems[1:]] == ["objects 3, 4 without a pixel"]


def test_class_pictures_of_another_size(tmp_path):
    """Parts of a picture that does not fit are counted as skipped where no annotation has them."""
    files = one(objects=..., xml=xml(), classes=labels((0, 0, 2, 2, 1), (5, 5, 8, 8, 1), size=(20, 25)))
    _, (found,), problems = read(tree(tmp_path, files))
    assert (found.instances, found.width, found.height) == ([], 50, 40)
    assert (Rule.MASK_SIZE, "SegmentationClass/a.png", 2, None) in brief(problems)


MANY = obj("car", 3, 4, 12, 13)
WHOLE = (CAR, DOG)
PLANTED = {
    "xml_cut": (one(xml="<annotation>\n<size>"), Rule.BAD_XML, "Annotations/a.xml, line 2", 0, 2),
    "xml_other": (one(xml="<html/>"), Rule.BAD_XML, "Annotations/a.xml, line 1", 0, 2),
    "xml_not_utf8": (one(xml=b"<annotation>\xff</annotation>"), Rule.BAD_XML, "Annotations/a.xml, line 1", 0, 2),
    "xml_folder": (one(xml=...) | {"Annotations/a.xml/x": ""}, Rule.UNREADABLE_FILE, "Annotations/a.xml", 0, 2),
    "no_name": (
        one(objects=..., classes=..., xml=xml("<object/>", MANY)), Rule.BAD_OBJECT, "Annotations/a.xml, object 1", 1, 1,
    ),
    "no_box": (
        one(objects=..., classes=..., xml=xml(obj("dog"), MANY)), Rule.BAD_OBJECT, "Annotations/a.xml, object 1", 1, 1,
    ),
    "no_name_but_a_mask": (one(xml=xml(MANY, obj("", 21, 11, 30, 40))), Rule.BAD_OBJECT, "Annotations/a.xml, object 2", 0, 2),
    "no_box_but_a_mask": (one(xml=xml(MANY, obj("dog"))), Rule.BAD_OBJECT, "Annotations/a.xml, object 2", 0, 2),
    "box_of_nan": (
        one(objects=..., classes=..., xml=xml(MANY, obj("dog", "nan", 1, 2, 3))),
        Rule.BAD_GEOMETRY, "Annotations/a.xml, object 2", 1, 1,
    ),
    "box_1e308": (one(xml=xml(MANY, obj("dog", 1, 1, 1e308, 9))), Rule.BAD_GEOMETRY, "Annotations/a.xml, object 2", 0, 2),
    "box_backward": (one(xml=xml(MANY, obj("dog", 9, 9, 2, 20))), Rule.BAD_GEOMETRY, "Annotations/a.xml, object 2", 0, 2),
    "box_far_out": (
        one(objects=..., classes=..., xml=xml(MANY, obj("dog", 99, 9, 120, 20))),
        Rule.BAD_GEOMETRY, "Annotations/a.xml, object 2", 1, 1,
    ),
    "box_leaves": (one(xml=xml(MANY, obj("dog", 9, 9, 70, 20))), Rule.OUTSIDE_FRAME, "Annotations/a.xml, object 2", 0, 2),
    "unknown_class": (one(xml=xml(obj("cow", 3, 4, 12, 13), obj("dog", 21, 11, 30, 40))), Rule.UNKNOWN_CLASS, "Annotations/a.xml, object 1", 1, 1),
    "classes_swapped": (one(xml=xml(obj("dog", 3, 4, 12, 13), obj("dog", 21, 11, 30, 40))), Rule.CLASS_DISAGREES, "Annotations/a.xml, object 1", 0, 2),
    "object_without_pixel": (one(xml=xml(MANY, obj("dog", 21, 11, 30, 40), MANY)), Rule.OBJECT_COUNT, "Annotations/a.xml", 0, 3),
    "label_without_object": (one(xml=xml(MANY)), Rule.OBJECT_COUNT, "Annotations/a.xml", 0, 2),
    "label_without_class": (one(xml=xml(MANY), classes=...), Rule.UNKNOWN_CLASS, "SegmentationObject/a.png, object 2", 1, 1),
    "no_class_folder": (one(classes=...), Rule.MASK_MISSING, "SegmentationClass", 0, 2),
    "no_picture": (one(objects=...) | {"SegmentationObject/b.txt": ""}, Rule.MASK_MISSING, "SegmentationObject/a.png", 0, 2),
    "picture_of_other_size": (one(objects=labels((0, 0, 9, 9, 1), (0, 0, 3, 3, 7), size=(20, 25))), Rule.MASK_SIZE, "SegmentationObject/a.png", 1, 2),
    "classes_of_other_size": (one(classes=labels(size=(20, 25))), Rule.MASK_SIZE, "SegmentationClass/a.png", 0, 2),
    "xml_of_other_size": (one(xml=xml(MANY, obj("dog", 21, 11, 30, 40), size=(80, 100))), Rule.IMAGE_SIZE, "Annotations/a.xml", 0, 2),
    "truncated_png": (one(objects=encode_png(labels((0, 0, 9, 9, 1)))[:-30]), Rule.UNREADABLE_FILE, "SegmentationObject/a.png", 0, 2),
    "damaged_png": (one(objects=png(50, 40, b"\0" * 99)), Rule.UNREADABLE_FILE, "SegmentationObject/a.png", 0, 2),
    "huge_png": (one(objects=png(10**9, 10**9)), Rule.UNREADABLE_FILE, "SegmentationObject/a.png", 0, 2),
    "no_png": (one(objects="hello"), Rule.UNREADABLE_FILE, "SegmentationObject/a.png", 0, 2),
    "photo_for_png": (
        one(objects=cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8))[1].tobytes()),
        Rule.UNREADABLE_FILE, "SegmentationObject/a.png", 0, 2,
    ),
    "16_bits": (one(objects=cv2.imencode(".png", np.ones(SIZE, np.uint16))[1].tobytes()), Rule.UNREADABLE_FILE, "SegmentationObject/a.png", 0, 2),
    "image_missing": (one(image=...), Rule.IMAGE_MISSING, "JPEGImages/a.jpg", 0, 2),
    "image_a_folder": (one(image=...) | {"JPEGImages/a.jpg/x": ""}, Rule.IMAGE_MISSING, "JPEGImages/a.jpg", 0, 2),
    "image_is_png": (one(image=...) | {"JPEGImages/a.PNG": None}, Rule.NOT_JPEG, "JPEGImages/a.PNG", 0, 2),
    "image_beside": (
        one(image=..., xml=xml(MANY, obj("dog", 21, 11, 30, 40), filename="x.bmp")) | {"Annotations/x.bmp": None},
        Rule.NOT_JPEG, "Annotations/x.bmp", 0, 2,
    ),
    "class_twice": (one(labelmap=LABELMAP + "dog:1,1,1::\n"), Rule.CLASS_TWICE, "labelmap.txt, line 5", 0, 2),
    "labelmap_not_utf8": (one(labelmap=LABELMAP.encode() + b"\xff:1,1,1::\n"), Rule.UNREADABLE_FILE, "labelmap.txt, line 5", 0, 2),
    "stem_twice": (one(sets="a\na\n"), Rule.IMAGE_TWICE, "ImageSets/Segmentation/train.txt, line 2", 0, 2),
    "two_splits": (one() | {"ImageSets/Main/val.txt": "\na\n"}, Rule.IMAGE_IN_TWO_SPLITS, "ImageSets/Main/val.txt, line 2", 0, 2),
}  # fmt: skip


@pytest.mark.parametrize("case", PLANTED)
def test_each_rule_is_found_where_it_is_broken(tmp_path, case):
    """One fault in a whole dataset: this rule, at this place, with so many instances skipped and yielded."""
    files, rule, where, skipped, yielded = PLANTED[case]
    _, (found,), problems = read(tree(tmp_path, files))
    assert [each for each in brief(problems) if each[0] is rule] == [(rule, where, skipped, None)]
    assert len(found.instances) == yielded
    assert sum(each.instances for each in problems) == skipped
    assert not any(each.image for each in problems)
    assert all(each.mask is None or each.mask.size == (found.height, found.width) for each in found.instances)


def test_a_whole_dataset_breaks_no_rule(tmp_path):
    """What the faults above are planted in has none itself."""
    _, (found,), problems = read(tree(tmp_path, one()))
    assert problems == []
    assert [np.array_equal(bitmap(i.mask), m) for i, m in zip(found.instances, WHOLE, strict=True)] == [
        True
    ] * 2


def test_images_in_no_set_are_counted(tmp_path):
    """Annotations and mask pictures that no list names are reported with their instances, not yielded."""
    files = one() | {
        "Annotations/b.xml": xml(MANY, "<object/>", MANY),
        "SegmentationObject/c.png": labels((0, 0, 2, 2, 1), (5, 5, 8, 8, 2)),
        "SegmentationClass/c.png": labels((0, 0, 8, 8, 1)),
        "JPEGImages/b.jpg": None,
    }
    _, found, problems = read(tree(tmp_path, files))
    assert [each.file_name for each in found] == ["a.jpg"]
    assert brief(problems) == [
        (Rule.NOT_IN_A_SPLIT, "Annotations/b.xml", 3, "b.jpg"),
        (Rule.NOT_IN_A_SPLIT, "SegmentationObject/c.png", 2, "c.jpg"),
    ]


def test_without_an_order_the_class_picture_names_nothing(tmp_path):
    """Without labelmap.txt and VOC's names, values have no meaning: nothing is guessed or called wrong."""
    objects = labels((2, 3, 12, 13, 1), (20, 10, 30, 40, 2))
    _, (found,), problems = read(
        tree(tmp_path, one(labelmap=..., xml=xml(obj("zebra", 3, 4, 12, 13)), objects=objects))
    )
    assert len(found.instances) == 1
    assert brief(problems) == [
        (Rule.OBJECT_COUNT, "Annotations/a.xml", 0, None),
        (Rule.UNKNOWN_CLASS, "SegmentationObject/a.png, object 2", 1, None),
    ]


def test_more_than_one_year_is_refused(tmp_path):
    """A devkit of two years is no dataset: the error names both; one of them can be read."""
    for year in ("VOC2007", "VOC2012"):
        tree(tmp_path / "VOCdevkit" / year, one())
    found = VocReader.find(tmp_path)
    with pytest.raises(InputError, match="VOC2007, VOC2012"):
        VocReader(found, lambda problem: None)
    assert len(read(tmp_path / "VOCdevkit/VOC2007")[1]) == 1


def test_what_is_no_voc_dataset(tmp_path):
    """An empty folder, a file, nothing at all, or COCO's annotations are not taken for VOC."""
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/instances.json").write_text("{}")
    for path in (tmp_path, tmp_path / "Annotations/instances.json", tmp_path / "none"):
        assert VocReader.find(path) is None
        with pytest.raises(InputError, match="no image sets"):
            VocReader(path, lambda problem: None)


def test_the_labelmap_above_the_devkit(tmp_path):
    """labelmap.txt may lie above VOCdevkit; a link to one outside is not followed."""
    files = one(labelmap=...)
    tree(tmp_path / "set/VOCdevkit/VOC2012", files)
    (tmp_path / "outside.txt").write_text("cat:::\n")
    (tmp_path / "set/VOCdevkit/VOC2012/labelmap.txt").symlink_to(tmp_path / "outside.txt")
    (tmp_path / "set/labelmap.txt").write_text(LABELMAP)
    reader, _, problems = read(tmp_path / "set")
    assert list(reader.classes) == ["dog", "car"]
    assert problems == []


def test_names_that_lead_out(tmp_path):
    """`..`, absolute paths and names longer than any file's are reported as images, and nothing is opened."""
    (tmp_path / "b.xml").write_text(xml(MANY))
    names = ["../b", "../../b", str(tmp_path / "b"), "C:/b", "x\0y", "a/" * 100_000 + "b"]
    sets = "a\n" + "\n".join(names) + "\n" + "\udcff".encode("utf-8", "surrogateescape").decode("latin-1")
    files = one(sets=sets.encode("latin-1"), image=..., xml=xml(MANY, filename="../../secret.jpg"))
    _, found, problems = read(tree(tmp_path / "set", files))
    assert [each.file_name for each in found] == ["a.jpg"]
    assert found[0].path is None
    lines = [each for each in brief(problems) if "ImageSets" in each[1]]
    assert [each[0] for each in lines] == [Rule.UNREADABLE_FILE, *[Rule.PATH_OUTSIDE] * 5, Rule.IMAGE_MISSING]
    assert [each[3] for each in lines[1:4]] == names[:3]
    assert all(each[3] and len(each[3]) <= 80 for each in lines)


def test_links_that_lead_out(tmp_path):
    """Folders and files that are links out of the dataset are reported and not followed."""
    outside = tree(tmp_path / "outside", one())
    base = tree(tmp_path / "set", {"ImageSets/Main/train.txt": "a\nb\n", "labelmap.txt": LABELMAP})
    for folder in ("JPEGImages", "Annotations", "SegmentationObject"):
        (base / folder).symlink_to(outside / folder)
    (base / "SegmentationClass").mkdir()
    (base / "SegmentationClass/a.png").symlink_to(outside / "SegmentationClass/a.png")
    (base / "ImageSets/Main/val.txt").symlink_to(outside / "ImageSets/Segmentation/train.txt")
    _, found, problems = read(base)
    assert [(each.file_name, each.path, len(each.instances)) for each in found] == [("b.jpg", None, 0)]
    assert [each.image for each in problems if each.image] == ["a.jpg"]
    assert {each.where for each in problems if each.rule is Rule.PATH_OUTSIDE} == {
        "ImageSets/Main/val.txt", "JPEGImages/a.jpg", "Annotations/a.xml", "Annotations/b.xml",
        "SegmentationObject/a.png", "SegmentationObject/b.png", "SegmentationClass/a.png",
    }  # fmt: skip


def test_what_is_no_regular_file(tmp_path):
    """Pipes in place of files are not waited for."""
    base = tree(tmp_path, one(xml=..., objects=..., labelmap=...))
    (base / "Annotations").mkdir()
    (base / "SegmentationObject").mkdir()
    pipes = ("Annotations/a.xml", "SegmentationObject/a.png", "labelmap.txt", "ImageSets/Main.txt")
    for name in pipes:
        os.mkfifo(base / name)
    _, found, problems = read(base)
    assert found == []
    assert {each.where for each in problems if each.rule is Rule.UNREADABLE_FILE} == set(pipes[:3])


BOMB = "<!DOCTYPE a [<!ENTITY a0 'ha'>" + "".join(
    f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 12)
)
HOSTILE = {
    "billion_laughs": BOMB + "]><annotation><filename>&a11;</filename></annotation>",
    "external_entity": "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><annotation>&x;</annotation>",
    "deep": "<a>" * 200_000,
    "deep_and_closed": "<a>" * 200_000 + "</a>" * 200_000,
    "many_tags": "<annotation>" + "<a/>" * 600_000 + "</annotation>",
    "unknown_encoding": "<?xml version='1.0' encoding='zip'?><annotation/>",
    "unknown_encoding_2": "<?xml version='1.0' encoding='utf-7'?><annotation/>",
    "empty": "",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_xml(tmp_path, case):
    """Entities, DTDs, depth and floods of tags end as BAD_XML; the masks are still read."""
    _, (found,), problems = read(tree(tmp_path, one(xml=HOSTILE[case])))
    assert [each[:2] for each in brief(problems)] == [(Rule.BAD_XML, "Annotations/a.xml, line 1")]
    assert "passwd" not in problems[0].what
    assert len(found.instances) == 2


def test_noise_costs_no_memory(tmp_path, monkeypatch):
    """A picture of more runs or parts than masks have is refused before its masks are made."""
    monkeypatch.setattr("autolabel.formats.voc.pictures._MAX_RUNS", 100)
    noise = np.random.default_rng(0).integers(0, 255, SIZE, np.uint8)
    _, (found,), problems = read(tree(tmp_path, one(objects=noise)))
    assert brief(problems) == [(Rule.UNREADABLE_FILE, "SegmentationObject/a.png", 0, None)]
    assert [each.mask for each in found.instances] == [None, None]
    monkeypatch.setattr("autolabel.formats.voc.pictures._MAX_RUNS", 10**6)
    monkeypatch.setattr("autolabel.formats.voc.pictures._MAX_PARTS", 20)
    _, _, problems = read(tree(tmp_path / "parts", one(objects=..., classes=noise)))
    assert (Rule.UNREADABLE_FILE, "SegmentationClass/a.png", 0, None) in brief(problems)
    monkeypatch.setattr("autolabel.formats.voc.pictures._MAX_WORK", 3000)
    _, _, problems = read(tree(tmp_path / "work", one(objects=...)))
    assert "has 2 classes in 2,000 pixels" in problems[-1].what


def mutated(data: bytes) -> st.SearchStrategy[bytes]:
    """Random bytes, or the file with some of its bytes replaced, cut out or repeated."""
    edit = st.tuples(st.integers(0, len(data)), st.integers(0, 12), st.binary(max_size=6))

    def apply(edits: list[tuple[int, int, bytes]]) -> bytes:
        result = data
        for start, length, new in edits:
            result = result[:start] + new + result[start + length :]
        return result

    return st.one_of(st.binary(max_size=80), st.lists(edit, min_size=1, max_size=4).map(apply))


FILES = {name: content.encode() if isinstance(content, str) else encode_png(content) for name, content in one().items() if content is not None}  # fmt: skip


@quickly
@given(st.sampled_from(sorted(FILES)).flatmap(lambda name: st.tuples(st.just(name), mutated(FILES[name]))))
def test_damaged_files_never_raise(tmp_path_factory, damage):
    """Whatever a file holds, there are images and problems, masks fit their frame, and nothing is raised."""
    name, content = damage
    base = tree(tmp_path_factory.mktemp("set"), one() | {name: content})
    _, found, problems = read(base)
    assert len(found) + sum(each.image is not None for each in problems) >= 1
    for each in found:
        assert all(i.mask is None or i.mask.size == (each.height, each.width) for i in each.instances)
        assert all(i.mask is not None or i.box_xyxy is not None for i in each.instances)


NUMBERS = st.sampled_from(
    ["1", "10", "30", "-5", "0", "1e308", "nan", "inf", "", "x", "7.5", "9" * 5000, "99"]
)
OBJECTS = st.lists(
    st.one_of(
        st.builds(obj, st.sampled_from(["dog", "car", "cow", "", " dog "]), *[NUMBERS] * 4),
        st.builds(obj, st.sampled_from(["dog", "cow"])),
        st.just("<object/>"),
    ),
    max_size=6,
)


@quickly
@given(
    OBJECTS, st.sampled_from([None, SIZE, (20, 25), (0, 0)]), st.integers(0, 8), st.booleans(), st.booleans()
)
def test_every_object_is_yielded_or_reported(tmp_path_factory, objects, size, regions, typed, pictured):
    """Objects of the annotation, and regions that only the picture has: yielded + reported = all."""
    pixels = labels(*[(5 * number, 0, 5 * number + 5, 9, number + 1) for number in range(regions)])
    kinds = np.where(pixels > 0, pixels % 4, 0).astype(np.uint8)
    files = one(xml=xml(*objects, size=size), objects=pixels, classes=kinds)
    for name, there in (("SegmentationClass/a.png", typed), ("SegmentationObject/a.png", pictured)):
        if not there:
            del files[name]
    _, (found,), problems = read(tree(tmp_path_factory.mktemp("set"), files))
    total = len(found.instances) + sum(each.instances for each in problems)
    numbers = Counter(each.where for each in found.instances)
    assert max(numbers.values(), default=1) == 1
    if pictured:
        assert total == max(len(objects), regions)
    elif not typed:
        assert total == len(objects)
    else:
        assert total >= len(objects)
