"""COCO as pycocotools reads it."""

from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from autolabel.errors import ConfigError
from tests.formats.support import NASTY_NAMES, box_mask, categories, detection, image, random_masks, write
from tests.nasty import nasty_masks

EXPECTED = """\
{"info":{"description":"Written by autolabel"},"licenses":[],"categories":[{"id":1,"name":"car","supercategory":""},\
{"id":2,"name":"dog","supercategory":""}],"images":[
{"id":1,"file_name":"sub/a.jpg","width":8,"height":6}
],"annotations":[
{"id":1,"image_id":1,"category_id":1,"segmentation":[[1.25,3.75,1.25,2.25,4.75,2.25,4.75,3.75]],\
"area":8,"bbox":[1,2,4,2],"iscrowd":0,"prompt":"car","score":0.75},
{"id":2,"image_id":1,"category_id":2,"segmentation":[[7.25,5.75,7.25,5.25,7.75,5.25,7.75,5.75]],\
"area":1,"bbox":[7,5,1,1],"iscrowd":0,"prompt":"puppy"}
]}
"""


def load(path: Path, capsys: pytest.CaptureFixture[str]) -> COCO:
    coco = COCO(str(path))
    capsys.readouterr()
    return coco


def test_a_small_file_byte_for_byte(tmp_path):
    """One image with two instances, one of them without a score, is exactly this text."""
    first = detection(box_mask((6, 8), 1, 2, 5, 4))
    second = detection(box_mask((6, 8), 7, 5, 8, 6), 1, None, "puppy")
    report, lost = write("coco", tmp_path, [image([first, second], "sub/a.jpg", size=(6, 8))])
    assert (tmp_path / "annotations/instances_train.json").read_text() == EXPECTED
    assert lost == [[]]
    assert (report.degradations, report.renamed) == ({}, {})


@pytest.mark.parametrize("segmentation", ["polygon", "rle"])
def test_pycocotools_reads_every_mask_exactly(tmp_path, capsys, segmentation):
    """The mask, area and box that pycocotools makes of an annotation are those that were written; no crowd."""
    size = (48, 64)
    masks = [*nasty_masks(*size).values(), *random_masks(120, size)]
    images = [
        image([detection(m, i % 2) for i, m in enumerate(masks[at : at + 9])], f"{at}.jpg", size=size)
        for at in range(0, len(masks), 9)
    ]
    write("coco", tmp_path, images, segmentation=segmentation)
    coco = load(tmp_path / "annotations/instances_train.json", capsys)
    assert len(coco.anns) == len(masks)
    assert sorted(coco.anns) == list(range(1, len(masks) + 1))
    for number, mask in enumerate(masks, 1):
        annotation = coco.anns[number]
        rows, columns = np.nonzero(mask)
        assert np.array_equal(coco.annToMask(annotation), mask)
        assert annotation["area"] == mask.sum()
        x, y, w, h = annotation["bbox"]
        assert (x, y, x + w - 1, y + h - 1) == (columns.min(), rows.min(), columns.max(), rows.max())
        assert annotation["iscrowd"] == 0
        assert annotation["image_id"] == (number - 1) // 9 + 1
        assert annotation["category_id"] == (number - 1) % 9 % 2 + 1
        if segmentation == "polygon":
            assert all(len(ring) >= 6 and len(ring) % 2 == 0 for ring in annotation["segmentation"])


def test_names_and_classes_survive(tmp_path, capsys):
    """Names with blanks, quotes and any letter are found as file_name, classes in order with ids from 1."""
    names = ["a:b", "näme #1", 'quo"te', "yes"]
    mask = box_mask((40, 50), 1, 1, 9, 9)
    images = [image([detection(mask, 3)], name) for name in NASTY_NAMES]
    write("coco", tmp_path, images, classes=categories(*names))
    coco = load(tmp_path / "annotations/instances_train.json", capsys)
    assert [each["file_name"] for each in coco.imgs.values()] == list(NASTY_NAMES)
    assert [(each["id"], each["name"]) for each in coco.cats.values()] == list(enumerate(names, 1))
    assert {each["category_id"] for each in coco.anns.values()} == {4}


def test_every_split_has_a_file_with_its_own_ids(tmp_path, capsys):
    """Ids count from 1 in each file, and a split without an image has a file that loads."""
    mask = box_mask((40, 50), 1, 1, 9, 9)
    images = [image([detection(mask)], f"{i}.jpg", split="val" if i == 1 else "train") for i in range(3)]
    write("coco", tmp_path, images, splits=("train", "val", "test"))
    assert [path.name for path in sorted((tmp_path / "annotations").iterdir())] == [
        "instances_test.json",
        "instances_train.json",
        "instances_val.json",
    ]
    train = load(tmp_path / "annotations/instances_train.json", capsys)
    val = load(tmp_path / "annotations/instances_val.json", capsys)
    test = load(tmp_path / "annotations/instances_test.json", capsys)
    assert (list(train.imgs), list(train.anns), list(val.imgs), list(val.anns)) == ([1, 2], [1, 2], [1], [1])
    assert (test.imgs, test.anns, len(test.cats)) == ({}, {}, 2)


def test_unknown_segmentation_is_refused(tmp_path):
    """A segmentation that COCO doesn't have is an error that names the choices."""
    with pytest.raises(ConfigError, match="polygon or rle, not 'mask'"):
        write("coco", tmp_path, [], segmentation="mask")
