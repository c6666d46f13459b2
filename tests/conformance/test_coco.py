"""COCO through the readers of other people: evaluation code, supervision and datumaro."""

import importlib
import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from tests.conformance.scenes import CATEGORIES
from tests.conformance.written import SPLITS, Comparison, Written, box_xyxy, count

READERS = {
    "pycocotools": "pycocotools.coco",
    "faster-coco-eval": "faster_coco_eval",
    "hotcoco": "hotcoco",
}
FORMATS = ("coco-polygon", "coco-rle")


def annotations(written: Written, format: str, split: str) -> str:
    return str(written.root / format / f"annotations/instances_{split}.json")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("reader", READERS)
def test_every_instance_is_exact(written, reader, format):
    """Masks (IoU 1), classes, areas, boxes and ids of all instances are the truth's, and none is a crowd."""
    load = importlib.import_module(READERS[reader]).COCO
    comparison = Comparison(format, reader)
    for split in SPLITS:
        dataset = load(annotations(written, format, split))
        assert {key: entry["name"] for key, entry in dataset.cats.items()} == {
            category.id + 1: category.name for category in CATEGORIES
        }
        images = {entry["file_name"]: key for key, entry in dataset.imgs.items()}
        every = {name: scene for name, scene in written.names[format].items() if scene.split == split}
        assert sorted(images) == sorted(every)
        assert sorted(images.values()) == list(range(1, len(every) + 1))
        assert sorted(dataset.getAnnIds()) == list(range(1, count(list(every.values())) + 1))
        for name, scene in every.items():
            found = dataset.loadAnns(sorted(dataset.getAnnIds(imgIds=[images[name]])))
            comparison.same(scene, "the number of instances", len(found), len(scene.truths))
            for index, (annotation, truth) in enumerate(zip(found, scene.truths, strict=False)):
                mask = truth.mask
                comparison.mask(scene, index, np.asarray(dataset.annToMask(annotation)), mask)
                x0, y0, x1, y1 = box_xyxy(mask)
                values = {
                    "category_id": truth.class_id + 1,
                    "area": np.count_nonzero(mask),
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "iscrowd": 0,
                }
                for key, value in values.items():
                    read = list(annotation[key]) if key == "bbox" else annotation[key]
                    comparison.same(scene, f"{key} of instance {index}", read, value)
    comparison.finish(count(written.scenes))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("reader", ["pycocotools", "faster-coco-eval"])
def test_evaluation_sees_every_instance(written, reader, format):
    """The truth's masks, handed in as a model's results, score an AP and a recall of 1 in COCO's evaluation.

    It ignores crowds, which the test above rules out.
    """
    names = {"pycocotools": "COCOeval", "faster-coco-eval": "COCOeval_faster"}
    package = {"pycocotools": "pycocotools.cocoeval", "faster-coco-eval": "faster_coco_eval"}[reader]
    evaluation = getattr(importlib.import_module(package), names[reader])
    for split in SPLITS:
        dataset = importlib.import_module(READERS[reader]).COCO(annotations(written, format, split))
        by_name = {entry["file_name"]: key for key, entry in dataset.imgs.items()}
        results = [
            {
                "image_id": by_name[scene.name],
                "category_id": truth.class_id + 1,
                "segmentation": encoded(truth.mask),
                "score": 0.9,
            }
            for scene in written.of(split)
            for truth in scene.truths
        ]
        scored = evaluation(dataset, dataset.loadRes(results), "segm")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
        assert scored.stats[0] == pytest.approx(1), f"{format} {split}: AP {scored.stats[0]} in {reader}"
        assert scored.stats[8] == pytest.approx(1), f"{format} {split}: recall {scored.stats[8]} in {reader}"


def test_rle_is_exact_in_supervision(written):
    """supervision, which reads polygons by rounding, gets every mask and class from `rle`."""
    import supervision as sv

    folder = written.root / "coco-rle"
    dataset = sv.DetectionDataset.from_coco(
        str(folder / "images/val"), annotations(written, "coco-rle", "val"), force_masks=True
    )
    comparison = Comparison("coco-rle", "supervision")
    for scene in written.of("val"):
        found = dataset.annotations[str(folder / "images/val" / scene.name)]
        comparison.same(scene, "the number of instances", len(found), len(scene.truths))
        for index, truth in enumerate(scene.truths[: len(found)]):
            comparison.mask(scene, index, found.mask[index], truth.mask)
            comparison.same(
                scene,
                f"class of {index}",
                dataset.classes[found.class_id[index]],
                CATEGORIES[truth.class_id].name,
            )
    comparison.finish(count(written.of("val")))


@pytest.mark.parametrize("format", FORMATS)
def test_datumaro_imports_every_instance(written, format):
    """datumaro's import finds all images and instances; `rle` is exact there, and so are merged polygons."""
    from datumaro.components.annotation import AnnotationType
    from datumaro.components.dataset import Dataset

    dataset = Dataset.import_from(str(written.root / format), "coco_instances", merge_instance_polygons=True)
    classes = [label.name for label in dataset.categories()[AnnotationType.label]]
    scenes = {(scene.split, name.rpartition(".")[0]): scene for name, scene in written.names[format].items()}
    comparison = Comparison(format, "datumaro")
    for item in dataset:
        scene = scenes.pop((item.subset, item.id))
        masks = [found for found in item.annotations if found.type is AnnotationType.mask]
        comparison.same(scene, "the number of masks", len(masks), len(scene.truths))
        for index, (found, truth) in enumerate(zip(sorted(masks, key=by_id), scene.truths, strict=False)):
            comparison.mask(scene, index, found.image, truth.mask)
            comparison.same(scene, f"class of {index}", classes[found.label], CATEGORIES[truth.class_id].name)
            comparison.same(scene, f"crowd of {index}", found.attributes["is_crowd"], False)
    assert not scenes, f"{format}: datumaro dropped {len(scenes)} images, such as {list(scenes)[:3]}"
    comparison.finish(count(written.scenes))


def test_the_files_are_strict_json(written):
    """No NaN, no Infinity, no byte order mark: what any parser takes."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    for format in FORMATS:
        for split in SPLITS:
            with open(annotations(written, format, split), "rb") as file:
                assert json.loads(file.read().decode("utf-8"), parse_constant=refuse)["images"]


def encoded(mask: np.ndarray) -> dict[str, object]:
    return coco_mask.encode(np.asfortranarray(mask, np.uint8))


def by_id(annotation: object) -> int:
    return annotation.id
