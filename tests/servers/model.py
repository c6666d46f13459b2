"""A tiny deterministic segmentation model: a concept is a colour, an instance a connected patch of it."""

from collections.abc import Sequence

import cv2
import numpy as np

# BGR, as cv2 reads it
COLOURS = {
    "red": (0, 0, 255),
    "green": (0, 255, 0),
    "blue": (255, 0, 0),
    "yellow": (0, 255, 255),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
}
_TOLERANCE = 60  # per channel: JPEG blurs colours
_SPECK = 4  # pixels; smaller patches are noise of the compression

Instance = tuple[np.ndarray, float]


Box = tuple[float, float, float, float]


def segment(
    image: np.ndarray, text: str, threshold: float, shown: Sequence[tuple[Box, bool]] = ()
) -> list[Instance]:
    """Return (mask, score) of each patch of the colour `text`, from left to right, of at least `threshold`.

    Scores begin at 0.95 and fall by 0.05 a patch; "merge:red" is one instance of all patches, at 0.88.
    `shown` are boxes xyxy of examples: the colour in a positive one is found too, a patch around the centre of
    another is not.
    """
    masks = _patches(image, text.removeprefix("merge:"))
    for box, positive in shown:
        x, y = int((box[0] + box[2]) / 2), int((box[1] + box[3]) / 2)
        if positive:
            masks += [m for m in _of_any_colour(image, x, y) if not any((m & other).any() for other in masks)]
        else:
            masks = [mask for mask in masks if not mask[y, x]]
    if text.startswith("merge:") and masks:
        scored = [(np.logical_or.reduce(masks), 0.88)]
    else:
        scored = [(mask, round(max(0.95 - 0.05 * i, 0.05), 2)) for i, mask in enumerate(masks)]
    return [(mask, score) for mask, score in scored if score >= threshold]


def segment_one(
    image: np.ndarray, box_xyxy: Box | None, points: Sequence[tuple[float, float, bool]] = ()
) -> Instance:
    """Return the patch that fills the box best, or lies at the first positive point, and a score.

    A patch at a negative point is none; where there is none, the mask is empty and the score 0.1.
    """
    patches = [patch for colour in COLOURS for patch in _patches(image, colour)]
    patches = [p for p in patches if not any(p[int(y), int(x)] for x, y, positive in points if not positive)]
    wanted = [(int(x), int(y)) for x, y, positive in points if positive]
    patches = [patch for patch in patches if all(patch[y, x] for x, y in wanted)]
    if box_xyxy is not None:
        patches = sorted(patches, key=lambda patch: -_box_iou(patch, box_xyxy))
        patches = [patch for patch in patches[:1] if _box_iou(patch, box_xyxy) > 0]
    return (patches[0], 0.9) if patches else (np.zeros(image.shape[:2], np.bool_), 0.1)


def _box_iou(patch: np.ndarray, box: Box) -> float:
    ys, xs = np.nonzero(patch)
    own = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    across = max(0, min(own[2], box[2]) - max(own[0], box[0]))
    down = max(0, min(own[3], box[3]) - max(own[1], box[1]))
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (own, box)]
    return across * down / (sum(areas) - across * down)


def _of_any_colour(image: np.ndarray, x: int, y: int) -> list[np.ndarray]:
    """Return all patches of the colour at a place."""
    for colour in COLOURS:
        patches = _patches(image, colour)
        if any(patch[y, x] for patch in patches):
            return patches
    return []


def _patches(image: np.ndarray, colour: str) -> list[np.ndarray]:
    if colour not in COLOURS:
        return []
    centre = np.array(COLOURS[colour], dtype=np.int16)
    low, high = np.clip(centre - _TOLERANCE, 0, 255), np.clip(centre + _TOLERANCE, 0, 255)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(cv2.inRange(image, low, high))
    found = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= _SPECK]
    found.sort(key=lambda i: (stats[i, cv2.CC_STAT_LEFT], stats[i, cv2.CC_STAT_TOP]))
    return [labels == i for i in found]


def polygons(mask: np.ndarray) -> list[list[list[int]]]:
    """Return a mask as Roboflow's server writes it: outer contours through pixel centres, `[[]]` for none."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [contour.reshape(-1, 2).tolist() for contour in contours] or [[]]
