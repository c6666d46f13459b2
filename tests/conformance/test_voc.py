"""Pascal VOC through torchvision's own readers and PIL, datumaro and supervision."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conformance.scenes import CATEGORIES, Scene
from tests.conformance.written import SPLITS, Comparison, Written, box_xyxy, count

BASE = "voc/VOCdevkit/VOC2012"


def painted(scene: Scene) -> np.ndarray:
    """The object of every pixel, counted from 1: larger instances first, of equal ones the first on top."""
    masks = [truth.mask for truth in scene.truths]
    picture = np.zeros(scene.size, np.uint8)
    for index in sorted(range(len(masks)), key=lambda at: (-np.count_nonzero(masks[at]), -at)):
        picture[masks[index]] = index + 1
    return picture


def class_names(written: Written) -> list[str]:
    """The classes from background on, as labelmap.txt lists them."""
    lines = (written.root / BASE / "labelmap.txt").read_text().splitlines()
    return [line.split(":")[0] for line in lines if not line.startswith("#")]


def devkit_palette() -> list[int]:
    """VOC's colour map as the devkit computes it: bits of the index dealt out to red, green and blue."""
    palette = []
    for index in range(256):
        rgb, rest = [0, 0, 0], index
        for shift in range(7, -1, -1):
            for channel in range(3):
                rgb[channel] |= (rest >> channel & 1) << shift
            rest >>= 3
        palette += rgb
    return palette


def test_classes_keep_their_order(written):
    """labelmap.txt names background first and then the classes by id; the writer loses no instance here."""
    assert class_names(written) == ["background", *(category.name for category in CATEGORIES)]
    assert written.lost["voc"] == 0


@pytest.mark.parametrize("split", [*SPLITS, "trainval"])
def test_torchvision_reads_pictures_and_boxes(written, split):
    """VOCSegmentation and VOCDetection list every image; the k-th object has its class, its box and its pixels.

    Masks are exact but for the pixels that several instances share, which go to the smallest of them.
    """
    from torchvision.datasets.voc import VOCDetection, VOCSegmentation

    root = str(written.root / "voc")
    classes = VOCSegmentation(root, image_set=split)
    boxes = VOCDetection(root, image_set=split)
    scenes = {name[: name.rindex(".")]: scene for name, scene in written.names["voc"].items()}
    every = written.of(*SPLITS) if split == "trainval" else written.of(split)
    assert {Path(path).stem for path in classes.images} == {s for s in scenes if scenes[s] in every}
    assert boxes.images == classes.images
    comparison = Comparison("voc", f"torchvision and PIL, {split}")
    names = class_names(written)
    for index, path in enumerate(classes.images):
        scene = scenes[Path(path).stem]
        image, class_picture = classes[index]
        comparison.same(scene, "the image's size", image.size[::-1], scene.size)
        comparison.same(scene, "the class picture's mode", class_picture.mode, "P")
        object_picture = Image.open(written.root / BASE / "SegmentationObject" / f"{Path(path).stem}.png")
        comparison.same(scene, "the object picture's mode", object_picture.mode, "P")
        for picture in (class_picture, object_picture):
            comparison.same(scene, "the palette is VOC's", picture.getpalette() == devkit_palette(), True)
        objects = boxes[index][1]["annotation"]["object"]
        comparison.same(scene, "the number of objects", len(objects), len(scene.truths))
        expected, found = painted(scene), np.asarray(object_picture)
        colours = np.array([0, *(truth.class_id + 1 for truth in scene.truths)], np.uint8)
        right = np.array_equal(np.asarray(class_picture), colours[expected])
        comparison.same(scene, "every pixel's class is right", right, True)
        for at, (stated, truth) in enumerate(zip(objects, scene.truths, strict=False)):
            comparison.mask(scene, at, found == at + 1, expected == at + 1)
            comparison.same(scene, f"name of object {at}", stated["name"], names[truth.class_id + 1])
            corners = tuple(int(stated["bndbox"][key]) for key in ("xmin", "ymin", "xmax", "ymax"))
            x0, y0, x1, y1 = box_xyxy(truth.mask)
            comparison.same(scene, f"box of object {at}", corners, (x0 + 1, y0 + 1, x1, y1))
    comparison.finish(count(every))


def test_datumaro_imports_masks_and_boxes(written):
    """datumaro's import finds every image, and each instance's mask, box and class under one group."""
    from datumaro.components.annotation import AnnotationType
    from datumaro.components.dataset import Dataset

    dataset = Dataset.import_from(str(written.root / BASE), "voc", coordinate_mode="voc-one-based")
    names = [label.name for label in dataset.categories()[AnnotationType.label]]
    scenes = {name[: name.rindex(".")]: scene for name, scene in written.names["voc"].items()}
    comparison = Comparison("voc", "datumaro")
    seen = set()
    for item in dataset:
        if item.subset not in SPLITS:
            continue  # trainval: the same again
        scene = scenes[item.id]
        seen.add(item.id)
        comparison.same(scene, "the split", item.subset, scene.split)
        expected = painted(scene)
        masks = {each.group: each for each in item.annotations if each.type is AnnotationType.mask}
        boxes = {each.group: each for each in item.annotations if each.type is AnnotationType.bbox}
        comparison.same(scene, "masks", sorted(masks), list(range(1, len(scene.truths) + 1)))
        comparison.same(scene, "boxes", sorted(boxes), list(range(len(scene.truths))))
        for index, truth in enumerate(scene.truths):
            mask, box = masks[index + 1], boxes[index]
            comparison.mask(scene, index, mask.image, expected == index + 1)
            x0, y0, x1, y1 = box_xyxy(truth.mask)
            comparison.same(scene, f"box of {index}", tuple(box.points), (x0, y0, x1, y1))
            for found in (mask, box):
                comparison.same(
                    scene, f"class of {index}", names[found.label], CATEGORIES[truth.class_id].name
                )
    assert seen == set(scenes), f"voc: datumaro dropped {len(set(scenes) - seen)} images"
    comparison.finish(count(written.scenes))


def test_supervision_reads_boxes(written):
    """supervision finds every image, and each object's box and class. (It reads no mask pictures.)"""
    import supervision as sv

    folder = written.root / BASE
    dataset = sv.DetectionDataset.from_pascal_voc(str(folder / "JPEGImages"), str(folder / "Annotations"))
    comparison = Comparison("voc", "supervision")
    for name, scene in written.names["voc"].items():
        found = dataset.annotations[str(folder / "JPEGImages" / name)]
        classes = [dataset.classes[each] for each in found.class_id.tolist()]
        expected = [CATEGORIES[truth.class_id].name for truth in scene.truths]
        comparison.same(scene, "classes", classes, expected)
        boxes = [box_xyxy(truth.mask) for truth in scene.truths]
        comparison.same(scene, "boxes", [tuple(box) for box in found.xyxy.astype(int).tolist()], boxes)
        comparison.ious += [1.0] * len(classes)
    comparison.finish(count(written.scenes))
