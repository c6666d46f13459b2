"""YOLO-seg through Ultralytics' own dataset check, label check and mask drawing, and through supervision.

datumaro's YOLO importer is left out: it reads boxes of five numbers only and refuses polygons.
"""

from copy import deepcopy
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conformance.scenes import CATEGORIES, Scene
from tests.conformance.written import SPLITS, Comparison, Written, count


@pytest.fixture(scope="module")
def checked(written) -> dict:
    """The dataset as Ultralytics checks it before training."""
    from ultralytics.data.utils import check_det_dataset

    return check_det_dataset(str(written.root / "yolo/data.yaml"))


@pytest.fixture(scope="module")
def loaders(checked) -> dict:
    """Ultralytics' dataset of each split, as its trainer opens it for segmentation."""
    from ultralytics.data.dataset import YOLODataset

    return {
        split: YOLODataset(img_path=checked[split], data=checked, task="segment", augment=False, imgsz=640)
        for split in SPLITS
    }


def by_scene(written: Written, loader: object, folder: str) -> list[tuple[Scene, dict]]:
    """The loader's labels beside the scenes that they are of."""
    names = written.names["yolo"]
    return [(names[Path(label["im_file"]).relative_to(folder).as_posix()], label) for label in loader.labels]


def draw(loader: object, label: dict, *, overlap: bool) -> dict:
    """What the loader hands to training for one image at its own size: masks, classes, boxes."""
    from ultralytics.data.augment import Format

    label = loader.update_labels_info(deepcopy(label))  # as the loader does: it changes what it is given
    label["img"] = np.zeros((*label.pop("shape"), 3), np.uint8)
    return Format(return_mask=True, mask_ratio=1, mask_overlap=overlap)(label)


def test_no_image_and_no_row_is_dropped(written, checked, loaders):
    """Ultralytics lists every image, keeps every row as one instance, and reads its class."""
    assert written.lost["yolo"] == 0
    assert checked["names"] == {category.id: category.name for category in CATEGORIES}
    comparison = Comparison("yolo", "Ultralytics")
    for split, loader in loaders.items():
        found = by_scene(written, loader, checked[split])
        missing = {scene.name for scene in written.of(split)} - {scene.name for scene, _ in found}
        assert not missing, f"yolo: Ultralytics dropped {len(missing)} images: {sorted(missing)[:5]}"
        for scene, label in found:
            comparison.same(scene, "the size", tuple(label["shape"]), scene.size)
            classes = label["cls"].reshape(-1).astype(int).tolist()
            comparison.same(scene, "classes", classes, [truth.class_id for truth in scene.truths])
            comparison.ious += [1.0] * len(classes)
    comparison.finish(count(written.scenes))


def parts_of(mask: np.ndarray) -> int:
    """The number of its 8-connected parts."""
    return cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1


def touches(mask: np.ndarray) -> bool:
    """Whether two of its pixels touch at a corner alone."""
    a, b, c, d = mask[:-1, :-1], mask[:-1, 1:], mask[1:, :-1], mask[1:, 1:]
    return bool(((a == d) & (b == c) & (a != b)).any())


def test_rows_are_filled_to_the_same_pixels(written, checked, loaders):
    """Ultralytics' polygons2masks fills a row of one part (8-connected) exactly; bridges add pixels, none is lost.

    From 300 px on, the mean IoU of objects is at least .998, of those in several parts at least .985, wherever in
    the image those lie at least .96. Scattered specks, as of noise, are not in the mean: no row can hold them,
    since their bridges are most of what it fills.
    """
    from ultralytics.data.utils import polygons2masks

    comparison = Comparison("yolo", "Ultralytics")
    one, several, far = [], [], []
    for split, loader in loaders.items():
        for scene, label in by_scene(written, loader, checked[split]):
            segments = [segment * np.array(scene.size[::-1], np.float32) for segment in label["segments"]]
            masks = polygons2masks(scene.size, segments, color=1)
            for index, (truth, found) in enumerate(zip(scene.truths, masks, strict=True)):
                expected = truth.mask
                parts = parts_of(expected)
                iou = comparison.mask(scene, index, found, expected, 1.0 if parts == 1 else 0.0)
                lost = np.count_nonzero(expected & (found == 0))
                comparison.same(scene, f"pixels lost of instance {index} in {parts} parts", lost, 0)
                if scene.split == "train" and scene.kind in ("blobs", "overlap", "apart"):
                    (one if parts == 1 else several).append(iou)
                far += [iou] if scene.split == "train" and scene.kind == "far" else []
    comparison.finish(count(written.scenes))
    assert np.mean(several) >= 0.985
    assert np.mean(one + several) >= 0.998
    assert np.mean(far) >= 0.96


def test_masks_as_training_draws_them(written, checked, loaders):
    """Where the loader resamples rows to 1,000 points before it fills them, an instance of one part keeps its pixels.

    Every one of them, but where pixels touch at a corner only: there a row steps diagonally, and a point that the
    loader puts halfway is now and then truncated to a pixel beside the step. At most 2 px change so.
    """
    comparison = Comparison("yolo", "Ultralytics' training loader")
    touched = []
    for split, loader in loaders.items():
        for scene, label in by_scene(written, loader, checked[split]):
            masks = draw(loader, label, overlap=False)["masks"].numpy()
            for index, (truth, found) in enumerate(zip(scene.truths, masks, strict=False)):
                expected = truth.mask
                comparison.mask(scene, index, found, expected, 0.0)
                if parts_of(expected) == 1:
                    changed = np.count_nonzero(expected != (found > 0))
                    most = 2 if touches(expected) else 0
                    comparison.same(
                        scene, f"more than {most} px of instance {index} changed", changed > most, False
                    )
                    touched += [changed > 0] if most else []
    comparison.finish(count(written.scenes))
    assert np.mean(touched) <= 0.05


def test_one_label_per_pixel_keeps_instances_apart(written, checked, loaders):
    """In one picture for all instances, training's default, those that share no pixel keep all of theirs."""
    from ultralytics.data.utils import polygons2masks_overlap

    comparison = Comparison("yolo", "Ultralytics' overlap mask")
    apart = [scene for scene in written.scenes if scene.kind == "apart"]
    for split, loader in loaders.items():
        for scene, label in by_scene(written, loader, checked[split]):
            if scene.kind != "apart":
                continue
            segments = [segment * np.array(scene.size[::-1], np.float32) for segment in label["segments"]]
            picture, order = polygons2masks_overlap(scene.size, segments)
            for value, index in enumerate(order.tolist(), 1):
                comparison.mask(scene, index, picture == value, scene.truths[index].mask)
    assert apart
    comparison.finish(count(apart))


def test_supervision_reads_every_row(written):
    """supervision finds one instance a row, with its class.

    Its masks are not compared: it rounds where Ultralytics truncates, and a row can serve only one of them.
    Nor are subfolders, in which it does not look.
    """
    import supervision as sv

    folder = written.root / "yolo"
    dataset = sv.DetectionDataset.from_yolo(
        str(folder / "images/val"), str(folder / "labels/val"), str(folder / "data.yaml")
    )
    flat = {name: s for name, s in written.names["yolo"].items() if s.split == "val" and "/" not in name}
    comparison = Comparison("yolo", "supervision")
    assert sorted(Path(path).name for path in dataset.image_paths) == sorted(flat)
    for path, found in dataset.annotations.items():
        scene = flat[Path(path).name]
        classes = [int(each) for each in found.class_id] if len(found) else []
        comparison.same(scene, "classes", classes, [truth.class_id for truth in scene.truths])
        comparison.ious += [1.0] * len(classes)
    comparison.finish(count(list(flat.values())))
