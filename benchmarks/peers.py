"""The other libraries of `benchmarks.formats`: their writers and readers, and what survives each writer."""

import contextlib
import importlib
import importlib.util
import io
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from autolabel.formats import FORMATS, open_writer
from autolabel.formats.base import ExportImage
from autolabel.formats.images import ImageStore
from autolabel.geometry import rle
from autolabel.types import Category, Detection
from tests.nasty import nasty_masks

PACKAGES = ("pycocotools", "supervision", "datumaro", "labelformat")

Calls = dict[str, Callable[[], object]]


def installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def writers(
    answers: Sequence[list[Detection]], names: list[str], pictures: Path, target: Path
) -> dict[str, Calls]:
    """By format and peer, the call that writes all answers below `target`; `pictures` are 000000.jpg and on.

    datumaro's YOLO export leaves masks out, and labelformat's takes none, so neither is listed there.
    """
    found: dict[str, Calls] = {"coco": {"pycocotools and json": lambda: encode_all(answers, target)}}
    found |= {"yolo": {}, "voc": {}}
    paths = [str(pictures / f"{index:06d}.jpg") for index in range(len(answers))]
    if installed("supervision"):
        dataset = supervision_dataset(answers, names, paths)
        found["coco"]["supervision"] = lambda: dataset.as_coco(annotations_path=str(target / "coco.json"))
        found["yolo"]["supervision"] = lambda: dataset.as_yolo(
            annotations_directory_path=str(target / "yolo")
        )
        found["voc"]["supervision"] = lambda: dataset.as_pascal_voc(
            annotations_directory_path=str(target / "voc")
        )
    if installed("datumaro"):
        items = datumaro_dataset(answers, names, paths)
        found["coco"]["datumaro"] = lambda: items.export(str(target / "coco"), "coco_instances")
        found["voc"]["datumaro"] = lambda: items.export(str(target / "voc"), "voc")
    if installed("labelformat"):
        labels = labelformat_input(answers, names)
        output = importlib.import_module("labelformat.formats.coco").COCOInstanceSegmentationOutput
        found["coco"]["labelformat"] = lambda: output(target / "coco.json").save(labels)
    return found


def readers(label: str, folder: Path) -> Calls:
    """By peer, the call that reads the dataset that we wrote for `label` into masks or polygons."""
    images, annotations = folder / "images", folder / "annotations"
    calls: Calls = {}
    if label.startswith("coco"):
        calls["pycocotools"] = lambda: [
            dataset.annToRLE(annotation)
            for dataset in map(COCO, map(str, annotations.iterdir()))
            for annotation in dataset.anns.values()
        ]
    if installed("supervision"):
        theirs = importlib.import_module("supervision").DetectionDataset
        calls["supervision"] = {
            "coco": lambda: [
                theirs.from_coco(str(images / split), str(annotations / f"instances_{split}.json"), True)
                for split in ("train", "val")
            ],
            "yolo": lambda: [
                theirs.from_yolo(
                    str(images / split), str(folder / "labels" / split), str(folder / "data.yaml"), True
                )
                for split in ("train", "val")
            ],
            "voc": lambda: theirs.from_pascal_voc(
                str(folder / "VOCdevkit/VOC2012/JPEGImages"), str(folder / "VOCdevkit/VOC2012/Annotations")
            ),
        }[label.split(maxsplit=1)[0]]
        if label == "voc":
            calls["supervision, boxes"] = calls.pop("supervision")
    if installed("datumaro") and label != "yolo":
        imported = importlib.import_module("datumaro.components.dataset").Dataset
        place, kind = (folder / "VOCdevkit/VOC2012", "voc") if label == "voc" else (folder, "coco_instances")
        calls["datumaro"] = lambda: [item.annotations for item in imported.import_from(str(place), kind)]
    if installed("labelformat") and label in ("coco polygon", "yolo"):  # it takes compressed RLE for polygons
        calls["labelformat, no masks"] = labelformat_reader(label, folder)
    return calls


def fidelity(folder: Path) -> None:
    """Print how many nasty masks each writer keeps, each written alone, as the reference reader reads them.

    COCO through pycocotools, YOLO as Ultralytics fills the first row of a file, VOC through PIL. `fails`
    counts the masks that the writer refuses or the reader can't read; their IoU is 0.
    """
    masks = list(nasty_masks(120, 160).values())
    (folder / "pictures").mkdir(parents=True)
    cv2.imwrite(str(folder / "pictures/000000.jpg"), np.zeros((120, 160, 3), np.uint8))
    outcomes: dict[tuple[str, str], list[tuple[float, int] | None]] = {}
    for mask in masks:
        answers = [[Detection(0, 0.9, "", rle.from_bitmap(mask))]]
        for format, calls in writers(answers, ["car"], folder / "pictures", folder / "set").items():
            mine = lambda format=format, answers=answers: write_ours(format, answers, folder / "set")  # noqa: E731
            for name, call in {"ours": mine, **calls}.items():
                shutil.rmtree(folder / "set", ignore_errors=True)
                (folder / "set").mkdir()
                outcomes.setdefault((format, name), []).append(
                    written_and_read(format, call, folder / "set", mask)
                )
    print(
        f"\n{len(masks)} nasty masks{'':8}{'writer':22}{'exact':>8}{'mean IoU':>10}{'crowds':>8}{'fails':>8}"
    )
    for (format, name), found in sorted(outcomes.items(), key=lambda item: list(FORMATS).index(item[0][0])):
        ious = [one[0] if one else 0.0 for one in found]
        crowds, fails = sum(one[1] for one in found if one), found.count(None)
        exact = sum(iou == 1 for iou in ious)
        print(f"{format:24}{name:22}{exact:>5}/{len(ious)}{np.mean(ious):>10.3f}{crowds:>8}{fails:>8}")


def encode_all(answers: Sequence[list[Detection]], target: Path) -> None:
    """What one writes without a library: dense masks through pycocotools, and json."""
    records = []
    for index, detections in enumerate(answers):
        for detection in detections:
            encoded = coco_mask.encode(np.asfortranarray(rle.to_bitmap(detection.mask), np.uint8))
            records.append(
                {
                    "id": len(records) + 1,
                    "image_id": index + 1,
                    "category_id": detection.class_id + 1,
                    "segmentation": {"size": encoded["size"], "counts": encoded["counts"].decode()},
                    "area": int(coco_mask.area(encoded)),
                    "bbox": coco_mask.toBbox(encoded).tolist(),
                    "iscrowd": 0,
                }
            )
    images = [
        {
            "id": at + 1,
            "file_name": f"{at:06d}.jpg",
            "height": found[0].mask.size[0],
            "width": found[0].mask.size[1],
        }
        for at, found in enumerate(answers)
    ]
    categories = [{"id": at + 1, "name": str(at)} for at in range(3)]
    whole = {"images": images, "annotations": records, "categories": categories}
    (target / "coco.json").write_text(json.dumps(whole))


def supervision_dataset(answers: Sequence[list[Detection]], names: list[str], paths: list[str]) -> Any:
    """The answers as supervision holds them: dense."""
    sv = importlib.import_module("supervision")
    annotations = {}
    for path, detections in zip(paths, answers, strict=True):
        masks = np.array([rle.to_bitmap(item.mask) for item in detections])
        classes = np.array([item.class_id for item in detections])
        annotations[path] = sv.Detections(xyxy=sv.mask_to_xyxy(masks), mask=masks, class_id=classes)
    return sv.DetectionDataset(names, paths, annotations)


def datumaro_dataset(answers: Sequence[list[Detection]], names: list[str], paths: list[str]) -> Any:
    """The answers as datumaro holds them: its RLE masks."""
    annotation = importlib.import_module("datumaro.components.annotation")
    base = importlib.import_module("datumaro.components.dataset_base")
    media = importlib.import_module("datumaro.components.media")
    items = [
        base.DatasetItem(
            id=Path(path).stem,
            subset="train",
            media=media.Image.from_file(path=path, size=detections[0].mask.size),
            annotations=[
                annotation.RleMask(
                    rle={"size": list(item.mask.size), "counts": item.mask.counts},
                    label=item.class_id,
                    group=at + 1,
                )
                for at, item in enumerate(detections)
            ],
        )
        for path, detections in zip(paths, answers, strict=True)
    ]
    return importlib.import_module("datumaro.components.dataset").Dataset.from_iterable(
        items, categories=names
    )


def labelformat_input(answers: Sequence[list[Detection]], names: list[str]) -> Any:
    """The answers as labelformat takes them: run lengths along the rows, made of dense masks."""
    masks = importlib.import_module("labelformat.model.binary_mask_segmentation").BinaryMaskSegmentation
    boxes = importlib.import_module("labelformat.model.bounding_box").BoundingBox
    model = importlib.import_module("labelformat.model.instance_segmentation")
    category = importlib.import_module("labelformat.model.category").Category
    picture = importlib.import_module("labelformat.model.image").Image
    categories = [category(id=at, name=name) for at, name in enumerate(names)]
    labels = []
    for index, detections in enumerate(answers):
        height, width = detections[0].mask.size
        image = picture(id=index, filename=f"{index:06d}.jpg", width=width, height=height)
        objects = []
        for item in detections:
            x, y, w, h = rle.box_xywh(item.mask)
            dense = rle.to_bitmap(item.mask).astype(int)
            mask = masks.from_binary_mask(dense, boxes(x, y, x + w, y + h))
            objects.append(model.SingleInstanceSegmentation(categories[item.class_id], mask))
        labels.append(model.ImageInstanceSegmentation(image, objects))

    class Source(model.InstanceSegmentationInput):
        @staticmethod
        def add_cli_arguments(parser: object) -> None: ...

        def get_categories(self) -> list[Any]:
            return categories

        def get_images(self) -> list[Any]:
            return [label.image for label in labels]

        def get_labels(self) -> list[Any]:
            return labels

    return Source()


def labelformat_reader(label: str, folder: Path) -> Callable[[], object]:
    """labelformat's reader; it keeps polygons or run lengths and draws no mask."""
    if label == "yolo":
        module = importlib.import_module("labelformat.formats.yolov8")
        return lambda: [
            list(module.YOLOv8InstanceSegmentationInput(folder / "data.yaml", split).get_labels())
            for split in ("train", "val")
        ]
    module = importlib.import_module("labelformat.formats.coco")
    return lambda: [
        list(module.COCOInstanceSegmentationInput(path).get_labels())
        for path in (folder / "annotations").iterdir()
    ]


def write_ours(format: str, answers: Sequence[list[Detection]], target: Path) -> None:
    writer = open_writer(format, target, [Category(0, "car", ("car",))], ("train",), ImageStore("none"))
    for index, detections in enumerate(answers):
        height, width = detections[0].mask.size
        name = f"{index:06d}.jpg"
        writer.add(ExportImage(name, Path(name), width, height, "train", detections))
    writer.close()


def written_and_read(
    format: str, call: Callable[[], object], folder: Path, mask: np.ndarray
) -> tuple[float, int] | None:
    """The IoU of a mask that was written and read, and 1 for a crowd; None where a library gives up."""
    crowds = 0
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            call()
            if format == "coco":
                dataset = COCO(str(next(folder.rglob("*.json"))))
                found = coco_union(dataset, mask.shape)
                crowds = max((annotation["iscrowd"] for annotation in dataset.anns.values()), default=0)
            elif format == "yolo":
                found = yolo_first(next(folder.rglob("000000.txt")).read_text(), mask.shape)
            else:
                found = np.asarray(Image.open(next(folder.rglob("SegmentationObject/*.png"))))
    except (KeyError, ValueError, TypeError, StopIteration):
        return None
    found = found.any(axis=2) if found.ndim == 3 else found > 0
    return np.count_nonzero(found & mask) / np.count_nonzero(found | mask), crowds


def coco_union(dataset: COCO, size: tuple[int, ...]) -> np.ndarray:
    """All annotations of the one image; those without a segmentation have no pixel."""
    found = np.zeros(size, bool)
    for annotation in dataset.anns.values():
        if annotation["segmentation"]:
            found |= dataset.annToMask(annotation).astype(bool)
    return found


def yolo_first(text: str, size: tuple[int, ...]) -> np.ndarray:
    """The first row as Ultralytics fills it: float32, truncated, fillPoly. A row of a box has no pixel."""
    found = np.zeros(size, np.uint8)
    numbers = np.array(text.split("\n", 1)[0].split()[1:], np.float32)
    if len(numbers) >= 6:
        points = (numbers.reshape(-1, 2) * np.array(size[::-1], np.float32)).astype(np.int32)
        cv2.fillPoly(found, [points], [1])
    return found.astype(bool)
