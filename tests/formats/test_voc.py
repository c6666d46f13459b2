"""Pascal VOC as torchvision and the devkit's readers take it: PIL and xml.etree."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from autolabel.errors import ConfigError
from tests.formats.support import NASTY_NAMES, box_mask, categories, detection, image, random_masks, write
from tests.nasty import nasty_masks

BASE = Path("VOCdevkit/VOC2012")
EXPECTED = """\
<annotation>
\t<folder>VOC2012</folder>
\t<filename>sub__a.jpg</filename>
\t<size><width>8</width><height>6</height><depth>3</depth></size>
\t<segmented>1</segmented>
\t<object>
\t\t<name>car</name>
\t\t<pose>Unspecified</pose>
\t\t<truncated>0</truncated>
\t\t<difficult>0</difficult>
\t\t<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>5</xmax><ymax>4</ymax></bndbox>
\t</object>
\t<object>
\t\t<name>dog</name>
\t\t<pose>Unspecified</pose>
\t\t<truncated>0</truncated>
\t\t<difficult>0</difficult>
\t\t<bndbox><xmin>8</xmin><ymin>6</ymin><xmax>8</xmax><ymax>6</ymax></bndbox>
\t</object>
</annotation>
"""


def voc_colours() -> list[int]:
    """The colour map as the devkit's VOClabelcolormap makes it."""
    colours = np.zeros((256, 3), np.uint8)
    for index in range(256):
        rest, (r, g, b) = index, (0, 0, 0)
        for bit in range(8):
            r |= (rest & 1) << (7 - bit)
            g |= (rest >> 1 & 1) << (7 - bit)
            b |= (rest >> 2 & 1) << (7 - bit)
            rest >>= 3
        colours[index] = r, g, b
    return colours.reshape(-1).tolist()


def read(root: Path, stem: str) -> tuple[np.ndarray, np.ndarray, list[ElementTree.Element]]:
    """(object labels, class labels, XML objects) of one image."""
    pictures = []
    for folder in ("SegmentationObject", "SegmentationClass"):
        with Image.open(root / BASE / folder / f"{stem}.png") as file:
            assert file.mode == "P"
            assert file.getpalette() == voc_colours()
            pictures.append(np.array(file))
    return *pictures, ElementTree.parse(root / BASE / "Annotations" / f"{stem}.xml").findall("object")


def test_a_small_dataset_as_text(tmp_path):
    """One image with two instances: this XML, these labels, these lists."""
    first, second = box_mask((6, 8), 1, 2, 5, 4), box_mask((6, 8), 7, 5, 8, 6)
    image_ = image([detection(first), detection(second, 1)], "sub/a.jpg", size=(6, 8))
    report, lost = write("voc", tmp_path, [image_])
    base = tmp_path / BASE
    assert (base / "Annotations/sub__a.xml").read_text() == EXPECTED
    objects, classes, _ = read(tmp_path, "sub__a")
    assert objects.tolist() == (first + 2 * second).tolist() == classes.tolist()
    assert (base / "labelmap.txt").read_text() == (
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:128,0,0::\ndog:0,128,0::\n"
    )
    for task in ("Main", "Segmentation"):
        lists = {path.name: path.read_text() for path in (base / "ImageSets" / task).iterdir()}
        assert lists == {"train.txt": "sub__a\n", "val.txt": "", "trainval.txt": "sub__a\n"}
    assert report.renamed == {"sub/a.jpg": "sub__a.jpg"}
    assert (report.degradations, lost) == ({}, [[]])


def test_every_mask_that_shares_no_pixel_is_exact(tmp_path):
    """Alone in its image, each nasty or random mask is read back to the pixel, in both pictures."""
    size = (48, 64)
    masks = [*nasty_masks(*size).values(), *random_masks(60, size)]
    write("voc", tmp_path, [image([detection(m, 1)], f"{i}.jpg", size=size) for i, m in enumerate(masks)])
    for index, mask in enumerate(masks):
        objects, classes, found = read(tmp_path, str(index))
        assert np.array_equal(objects, mask)
        assert np.array_equal(classes, 2 * mask)
        rows, columns = np.nonzero(mask)
        box = [int(found[0].findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax")]
        assert box == [columns.min() + 1, rows.min() + 1, columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("size", [(1, 30), (30, 1), (1, 1)])
def test_images_of_one_row_or_column(tmp_path, size):
    """The thinnest images keep their shape."""
    mask = np.ones(size, bool)
    write("voc", tmp_path, [image([detection(mask)], size=size)])
    assert np.array_equal(read(tmp_path, "a")[0], mask)


def test_overlaps_hide_the_larger(tmp_path):
    """Larger masks are painted first, objects are numbered as in the XML, and hidden pixels are counted."""
    size = (40, 50)
    masks = random_masks(9, size, 3)
    report, lost = write(
        "voc", tmp_path, [image([detection(m, i % 2) for i, m in enumerate(masks)], size=size)]
    )
    expected, classes_expected = np.zeros(size, int), np.zeros(size, int)
    for index in sorted(range(9), key=lambda index: (-masks[index].sum(), -index)):
        expected[masks[index]] = index + 1
        classes_expected[masks[index]] = index % 2 + 1
    visible = [int((expected == index + 1).sum()) for index in range(9)]
    assert all(visible)
    objects, classes, found = read(tmp_path, "a")
    assert np.array_equal(objects, expected)
    assert np.array_equal(classes, classes_expected)
    assert [each.findtext("name") for each in found] == [("car", "dog")[index % 2] for index in range(9)]
    hidden = [int(mask.sum()) - seen for mask, seen in zip(masks, visible, strict=True)]
    assert report.degradations == {
        "hidden_pixels": sum(hidden),
        "partly_hidden_instances": sum(each > 0 for each in hidden),
    }
    assert lost == [[]]


def test_a_mask_without_a_visible_pixel_is_not_held(tmp_path):
    """Of two equal masks the better one stays; what is not visible has no object, and numbers close up."""
    size = (40, 50)
    same, other = box_mask(size, 1, 1, 9, 9), box_mask(size, 20, 20, 30, 30)
    items = [detection(same, 1, 0.9), detection(same, 0, 0.8), detection(other, 0, 0.7)]
    report, lost = write("voc", tmp_path, [image(items, size=size)])
    objects, classes, found = read(tmp_path, "a")
    assert lost == [[items[1]]]
    assert np.array_equal(objects, same + 2 * other)
    assert np.array_equal(classes, 2 * same + other)
    assert [each.findtext("name") for each in found] == ["dog", "car"]
    assert report.degradations == {}


def test_more_than_254_objects_or_classes_are_not_held(tmp_path):
    """Objects beyond the 254th, and classes beyond it, come back as not held; 255 stays void."""
    size = (40, 50)
    names = [f"c{index}" for index in range(260)]
    items = [detection(box_mask(size, i % 50, i // 50, i % 50 + 1, i // 50 + 1), i % 254) for i in range(300)]
    beyond = detection(box_mask(size, 0, 39, 50, 40), 254)
    _, lost = write("voc", tmp_path, [image([beyond, *items], size=size)], classes=categories(*names))
    objects, classes, found = read(tmp_path, "a")
    assert lost == [[beyond, *items[254:]]]
    assert (len(found), objects.max(), classes.max()) == (254, 254, 254)
    assert len((tmp_path / BASE / "labelmap.txt").read_text().splitlines()) == 1 + 255


@pytest.mark.parametrize("border", [1, 2, 5])
def test_the_void_border_is_that_wide(tmp_path, border):
    """A line of 255, as many pixels wide as asked for, lies where labels differ; all else stays."""
    size = (40, 50)
    mask = box_mask(size, 0, 0, 25, 40)
    write("voc", tmp_path, [image([detection(mask)], size=size)], void_border=border)
    objects, classes, _ = read(tmp_path, "a")
    assert ((objects == 255) == (classes == 255)).all()
    assert [int((row == 255).sum()) for row in objects] == [border] * 40
    kept = objects != 255
    assert np.array_equal(objects[kept], mask[kept])


def test_what_the_void_border_covers_is_not_held(tmp_path):
    """An object that the border leaves no pixel of is returned."""
    size = (40, 50)
    items = [detection(box_mask(size, 0, 0, 20, 20)), detection(box_mask(size, 30, 30, 31, 31))]
    _, lost = write("voc", tmp_path, [image(items, size=size)], void_border=3)
    assert lost == [[items[1]]]
    assert len(read(tmp_path, "a")[2]) == 1


def test_stems_are_flat_and_unique(tmp_path):
    """Every name becomes one word that lists, XML and pictures agree on, and the report has the new names."""
    names = [*NASTY_NAMES, "a/b.jpg", "a__b.jpg", "A__B.png", "tab\tnew\nline.jpg", "d/" * 120 + "deep.jpg"]
    images = [image([], name, split="val" if i % 2 else "train") for i, name in enumerate(names)]
    report, _ = write("voc", tmp_path, images)
    base = tmp_path / BASE
    stems = [report.renamed.get(name, name).removesuffix(".jpg") for name in names]
    assert len({stem.lower() for stem in stems}) == len(names)
    for stem in stems:
        tree = ElementTree.parse(base / "Annotations" / f"{stem}.xml")
        assert tree.findtext("filename") == f"{stem}.jpg"
        assert (base / "SegmentationClass" / f"{stem}.png").is_file()
    lists = {
        s: (base / f"ImageSets/Segmentation/{s}.txt").read_text().split()
        for s in ("train", "val", "trainval")
    }
    assert lists["train"] == stems[::2]
    assert lists["val"] == stems[1::2]
    assert lists["trainval"] == stems[::2] + stems[1::2]
    assert report.renamed["with space.jpg"] == "with_space.jpg"
    assert report.renamed["A__B.png"].startswith("A__B-")
    assert "plain.jpg" not in report.renamed


def test_class_names_fit_labelmap_and_xml(tmp_path):
    """What would end a field or a line becomes an underscore, the same in both files, and no name is there twice."""
    names = ["a:b", "a#b", "<&>\"'", "background", "new\nline", "狗"]
    size = (40, 50)
    items = [detection(box_mask(size, 5 * i, 0, 5 * i + 5, 5), i) for i in range(6)]
    report, _ = write("voc", tmp_path, [image(items, size=size)], classes=categories(*names))
    lines = (tmp_path / BASE / "labelmap.txt").read_text(encoding="utf-8").splitlines()
    labels = [line.split(":")[0] for line in lines[1:]]
    assert labels == ["background", "a_b", "a_b_", "<&>\"'", "background_", "new_line", "狗"]
    assert [each.findtext("name") for each in read(tmp_path, "a")[2]] == labels[1:]
    assert report.renamed_classes == {
        "a:b": "a_b", "a#b": "a_b_", "background": "background_", "new\nline": "new_line",
    }  # fmt: skip


def test_test_is_listed_only_where_there_is_one(tmp_path):
    """test.txt is there when an image is in test, and trainval has none of it."""
    write("voc", tmp_path, [image([], "a.jpg", split="test")], splits=("train", "val", "test"))
    lists = {path.name: path.read_text() for path in (tmp_path / BASE / "ImageSets/Main").iterdir()}
    assert lists == {"train.txt": "", "val.txt": "", "trainval.txt": "", "test.txt": "a\n"}


def test_a_negative_border_is_refused(tmp_path):
    """A border below 0 is an error."""
    with pytest.raises(ConfigError, match="from 0, not -1"):
        write("voc", tmp_path, [], void_border=-1)
