"""A tiny deterministic segmentation model: a concept is a colour, an instance a connected patch of it."""

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


def segment(image: np.ndarray, text: str, threshold: float) -> list[Instance]:
    """Return (mask, score) of each patch of the colour `text`, from left to right, of at least `threshold`.

    Scores begin at 0.95 and fall by 0.05 a patch; "merge:red" is one instance of all patches, at 0.88.
    """
    masks = _patches(image, text.removeprefix("merge:"))
    if text.startswith("merge:") and masks:
        scored = [(np.logical_or.reduce(masks), 0.88)]
    else:
        scored = [(mask, round(max(0.95 - 0.05 * i, 0.05), 2)) for i, mask in enumerate(masks)]
    return [(mask, score) for mask, score in scored if score >= threshold]


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
