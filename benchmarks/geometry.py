"""Masks to rings and back, and suppression, against the usual ways: `python -m benchmarks.geometry`.

Ours and theirs take turns in one process; a line is the median of each and their ratio.
"""

import time
import warnings
from collections.abc import Callable

import cv2
import numpy as np
import shapely
import supervision as sv
from pycocotools import mask as coco
from shapely.validation import make_valid

from autolabel.geometry import outline, raster, rle
from autolabel.geometry.overlap import Shapes, suppress
from autolabel.types import RLE

SIZES = {"640x480": (480, 640), "1024x1024": (1024, 1024), "4000x3000": (3000, 4000)}

SECONDS = 1.0


def main() -> None:
    print(f"{'work':<20} {'frame':<11} {'object':<14} {'theirs':>11} {'ours':>11} {'ratio':>7} {'bar':>6}")
    for frame, size in SIZES.items():
        for share in (0.01, 0.2):
            masks(frame, size, share)
    for count in (100, 1000):
        suppression(count)


def report(
    work: str,
    frame: str,
    what: str,
    theirs: Callable[[], object],
    ours: Callable[[], object],
    bar: float | None,
) -> None:
    """Times both in turns until the seconds are over, at least three times, and prints a line."""
    ours(), theirs()
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(times[0]) < 3:
        for way, spent in zip((theirs, ours), times, strict=True):
            for look_up in (rle._foreground, rle._kept_side_by_side, outline._kept):
                look_up.cache_clear()  # what is timed is the work
            start = time.perf_counter()
            way()
            spent.append(1e6 * (time.perf_counter() - start))
    slow, fast = np.median(times[0]), np.median(times[1])
    goal = f"{bar:.2f}" if bar else ""
    print(f"{work:<20} {frame:<11} {what:<14} {slow:>8.0f} us {fast:>8.0f} us {fast / slow:>7.3f} {goal:>6}")


def masks(frame: str, size: tuple[int, int], share: float) -> None:
    bitmap = blob(size, share)
    mask = rle.from_bitmap(bitmap)
    encoded = {"size": list(size), "counts": mask.counts}
    contours = [
        contour[:, 0] for contour in cv2.findContours(bitmap, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    ]
    what = f"{share:.0%}, {len(outline.centre_ring(mask))} points"
    bars = {"640x480": None, "1024x1024": 0.10 if share < 0.1 else 0.20, "4000x3000": 0.05}

    def find_contours() -> object:
        return cv2.findContours(coco.decode(encoded), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)

    def fill_and_encode() -> object:
        canvas = np.zeros(size, np.uint8)
        cv2.fillPoly(canvas, contours, [1])
        return coco.encode(np.asfortranarray(canvas))

    report("RLE -> band", frame, what, find_contours, lambda: outline.band_rings(mask), bars[frame])
    report("RLE -> centre", frame, what, find_contours, lambda: outline.centre_ring(mask), bars[frame])
    ours = lambda: raster.fill_centre_rings(contours, size)  # noqa: E731
    report("polygon -> RLE", frame, what, fill_and_encode, ours, None if frame == "640x480" else 0.10)
    ours = lambda: rle.from_bitmap(bitmap)  # noqa: E731
    report("bitmap -> RLE", frame, what, lambda: coco.encode(np.asfortranarray(bitmap)), ours, None)


def blob(size: tuple[int, int], share: float) -> np.ndarray:
    """An uneven blob of about `share` of the frame, as a model's mask is."""
    height, width = size
    turn = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    rng = np.random.default_rng(0)
    radius = 1 + sum(rng.normal(0, 0.1 / n) * np.cos(n * turn + rng.uniform(0, 6)) for n in range(2, 20))
    radius *= np.sqrt(share * height * width / np.pi)
    points = np.stack((width / 2 + radius * np.cos(turn), height / 2 + radius * np.sin(turn)), axis=1)
    bitmap = np.zeros(size, np.uint8)
    cv2.fillPoly(bitmap, [points.astype(np.int32)], [1])
    return bitmap


def suppression(count: int, size: tuple[int, int] = (480, 640)) -> None:
    """Objects in clumps, most of them found two or three times, as several prompts find them."""
    rng = np.random.default_rng(count)
    bitmaps: list[np.ndarray] = []
    while len(bitmaps) < count:
        base = blob((160, 160), rng.uniform(0.02, 0.3))
        centre = rng.integers(4, (size[1] - 4, size[0] - 4))
        for _ in range(rng.integers(1, 4)):
            turned = cv2.warpAffine(
                base, cv2.getRotationMatrix2D((80, 80), rng.uniform(-9, 9), rng.uniform(0.8, 1.1)), (160, 160)
            )
            x, y = centre + rng.integers(-4, 5, 2)
            bitmap = np.zeros((size[0] + 160, size[1] + 160), np.uint8)
            bitmap[y : y + 160, x : x + 160] = turned
            if (bitmap := bitmap[80:-80, 80:-80]).any():
                bitmaps.append(np.ascontiguousarray(bitmap))
    del bitmaps[count:]
    runs = [rle.from_bitmap(bitmap) for bitmap in bitmaps]
    order = rng.permutation(count).tolist()

    def ours() -> set[int]:
        found = suppress(Shapes(runs), 0.5, order=order)
        return set(np.flatnonzero(found < 0).tolist())

    def naive() -> set[int]:
        return naive_suppress(runs, order, 0.5)

    scores = np.empty(count)
    scores[order] = np.linspace(1, 0.5, count)
    boxes = np.array([rle.box_xywh(mask) for mask in runs], np.float64)
    boxes[:, 2:] += boxes[:, :2]
    dense = np.array(bitmaps, np.bool_) if count <= 100 else np.zeros((0, 1, 1), np.bool_)
    detections = sv.Detections(xyxy=boxes[: len(dense)], mask=dense, confidence=scores[: len(dense)])
    assert ours() == naive()
    bar = 0.35 if count <= 100 else 0.25
    what = f"{count}, {len(ours())} kept"
    report("NMS, naive loop", "640x480", what, naive, ours, bar)
    if len(dense):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            report("NMS, supervision", "640x480", what, lambda: detections.with_nms(0.5, True), ours, 1)


def naive_suppress(masks: list[RLE], order: list[int], threshold: float) -> set[int]:
    """What is usually written: polygons made valid one by one, compared in two loops."""
    polygons = [shapely.MultiPolygon(outline.edge_polygons(mask)) for mask in masks]
    polygons = [make_valid(polygon) for polygon in polygons]
    kept: list[int] = []
    for index in order:
        for other in kept:
            if polygons[index].intersects(polygons[other]):
                shared = polygons[index].intersection(polygons[other]).area
                if shared / polygons[index].union(polygons[other]).area > threshold:
                    break
        else:
            kept.append(index)
    return set(kept)


if __name__ == "__main__":
    main()
