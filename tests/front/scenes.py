"""Random images with detections, and the index that a host makes of them."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from autolabel.config import FilterConfig
from autolabel.geometry import rle
from autolabel.types import Category, Detection

SIZE = (24, 32)
CLASSES = 3
Scene = list[Detection]


def random_scenes(count: int, seed: int) -> list[Scene]:
    """Boxes, some with a hole, close to one another; scores in steps of 0.1, so that many are equal; none, too.

    The last image is crowded: many are sorted in another way than few.
    """
    rng = np.random.default_rng(seed)
    sizes = [*rng.integers(0, 13, count - 1), 80]
    return [[random_detection(rng) for _ in range(size)] for size in sizes]


def random_detection(rng: np.random.Generator) -> Detection:
    score = None if rng.random() < 0.2 else int(rng.integers(1, 10)) / 10
    return Detection(int(rng.integers(CLASSES)), score, "a", rle.from_bitmap(random_mask(rng)))


def random_mask(rng: np.random.Generator) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    x, y, w, h = rng.integers((0, 0, 0, 0), (8, 8, 18, 16)).tolist()
    mask[y : y + h, x : x + w] = True
    if rng.random() < 0.3:
        mask[y + h // 4 : y + h // 2, x + w // 4 : x + w // 2] = False
    return mask


def random_settings(rng: np.random.Generator, scenes: Sequence[Scene]) -> tuple[list[Category], FilterConfig]:
    """Thresholds of every kind, among them overlaps and areas that occur in the scenes to the last bit."""
    overlaps, areas = _occurring(scenes)

    def one_of(*values: Any) -> Any:
        return values[rng.integers(len(values))]

    def overlap() -> float | None:
        return one_of(None, 0.3, 0.5, 0.7, *rng.choice(overlaps, 3).tolist())

    categories = [
        Category(
            i,
            f"class {i}",
            ("a",),
            confidence=one_of(0.1, 0.3, 0.5, 0.7),
            nms_iou=overlap(),
            min_area=one_of(0, 0, 9, int(rng.choice(areas))),
            max_instances=one_of(None, None, 1, 2, 3),
        )
        for i in range(CLASSES)
    ]
    settings = FilterConfig(
        cross_class_iou=overlap(),
        nms_metric=one_of("iou", "ios"),
        max_area=one_of(None, 0.5, 0.2, int(rng.choice(areas)) / (SIZE[0] * SIZE[1])),
    )
    return categories, settings


def thresholds(categories: Sequence[Category], settings: FilterConfig) -> dict[str, Any]:
    """What the page gets of them."""
    keys = ("confidence", "nms_iou", "min_area", "max_instances")
    classes = [{key: getattr(category, key) for key in keys} for category in categories]
    shared = {key: getattr(settings, key) for key in ("cross_class_iou", "nms_metric", "max_area")}
    return {"classes": classes, **shared}


def index_of(scenes: Sequence[Scene]) -> dict[str, Any]:
    """The arrays of the index, areas and shared pixels counted on bitmaps."""
    every = [detection for scene in scenes for detection in scene]
    pairs = [_pairs(scene) for scene in scenes]
    first, second, shared = np.concatenate([np.zeros((3, 0), int), *pairs], axis=1)
    scores = [np.nan if d.confidence is None else d.confidence for d in every]
    return {
        "images": {"width": [SIZE[1]] * len(scenes), "height": [SIZE[0]] * len(scenes)},
        "offsets": _base64(np.cumsum([0, *map(len, scenes)]), "<u4"),
        "category": _base64([d.class_id for d in every], "<u2"),
        "score": _base64(scores, "<f8"),
        "area": _base64([rle.to_bitmap(d.mask).sum() for d in every], "<u4"),
        "pair_offsets": _base64(np.cumsum([0, *[found.shape[1] for found in pairs]]), "<u4"),
        "pair_a": _base64(first, "<u4"),
        "pair_b": _base64(second, "<u4"),
        "pair_shared": _base64(shared, "<u4"),
    }


def shared_pixels(scene: Scene) -> np.ndarray:
    """How many pixels each two share, (n, n); its diagonal holds the areas."""
    if not scene:
        return np.zeros((0, 0), int)
    flat = np.array([rle.to_bitmap(d.mask).ravel() for d in scene]).astype(int)
    return flat @ flat.T


def _pairs(scene: Scene) -> np.ndarray:
    """First, second and shared pixels of the pairs that share any, (3, n)."""
    shared = shared_pixels(scene)
    first, second = np.nonzero(np.triu(shared, 1))
    return np.stack((first, second, shared[first, second]))


def _occurring(scenes: Sequence[Scene]) -> tuple[np.ndarray, np.ndarray]:
    """All overlaps by both metrics, and all areas but 0."""
    overlaps, areas = [], []
    for scene in scenes:
        shared = shared_pixels(scene)
        area = shared.diagonal()
        areas.append(area[area > 0])
        first, second, pixels = _pairs(scene)
        overlaps.append(pixels / (area[first] + area[second] - pixels))
        overlaps.append(pixels / np.minimum(area[first], area[second]))
    return np.concatenate(overlaps), np.concatenate(areas)


def _base64(values: Any, dtype: str) -> str:
    return base64.b64encode(np.asarray(values, dtype).tobytes()).decode()
