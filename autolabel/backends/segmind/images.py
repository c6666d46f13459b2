"""Pictures of masks become masks: white on black, of one instance or of all.

The worker writes grey JPEGs of quality 95. Where the picture stands in an answer is not known here.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from autolabel.errors import ImageError
from autolabel.geometry import rle
from autolabel.sources import images
from autolabel.types import RLE, Box, Point

Size = tuple[int, int]
Pixels = NDArray[np.uint8]

_THRESHOLD = 127
_COLOURED = 48  # of 255: channels of a grey JPEG differ by less
_DARK, _BRIGHT = 64, 192
_MOST_BETWEEN = 0.25  # of the pixels: those at edges, and what JPEG leaves beside them
_ASPECT = 0.01  # how far width over height may differ, for rounding


def mask_of(data: bytes, size: Size) -> RLE:
    """The mask in a picture, in a frame of `size` (height, width). Raises ValueError."""
    return rle.scale(rle.from_bitmap(foreground(_pixels(data), size)), size)


def masks_of_all(data: bytes, size: Size) -> list[RLE]:
    """The parts of a picture, 8-connected, each a mask in a frame of `size` (height, width).

    Which of them belong to one instance is lost, and so are instances that touch. Raises ValueError.
    """
    return parts(foreground(_pixels(data), size), size)


def parts(bitmap: NDArray[np.bool_], size: Size) -> list[RLE]:
    """The 8-connected parts of a bitmap (h, w), each a mask in a frame of `size` (height, width)."""
    _, labels = cv2.connectedComponents(bitmap.view(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    return [rle.scale(mask, size) for mask in rle.from_labels(labels.astype(np.int32, copy=False)).values()]


def foreground(pixels: Pixels, size: Size, *, black: int = 0) -> NDArray[np.bool_]:
    """The white of BGR `pixels` (h, w, 3): `size` (height, width) at some scale, grey at edges alone.

    Where nothing is white, no pixel is brighter than `black`. Raises ValueError for what is no mask.
    """
    _check_frame((pixels.shape[0], pixels.shape[1]), size)
    darkest, brightest = pixels.min(axis=2), pixels.max(axis=2)
    if int((brightest - darkest).max()) > _COLOURED:
        raise ValueError("the picture of a mask is coloured: it shows the image, not the mask alone")
    between = (brightest > _DARK) & (brightest < _BRIGHT)
    if between.mean() > _MOST_BETWEEN or black < brightest.max() < _BRIGHT:
        raise ValueError("the picture of a mask is grey, not white on black")
    return np.asarray(brightest > _THRESHOLD)


def shown(masks: Sequence[RLE], box_xyxy: Box | None, points: Sequence[Point]) -> list[int]:
    """Indices of the masks that a box and points show, best first.

    What a box shows has half of its pixels there, and is better the more its own box is the same. What
    points show holds a positive one, if there is any, and no negative one, and is better the smaller it is.
    """
    areas, boxes_xyxy = rle.measure(masks)
    ranked = []
    for index, mask in enumerate(masks):
        bitmap = rle.to_bitmap(mask)
        if not _is_at(bitmap, points):
            continue
        if box_xyxy is None:
            ranked.append((float(areas[index]), index))
        elif _inside(bitmap, box_xyxy) * 2 >= areas[index] > 0:
            ranked.append((-_iou(boxes_xyxy[index], box_xyxy), index))
    return [index for _, index in sorted(ranked)]


def union(masks: Sequence[RLE], size: Size) -> RLE:
    """All masks as one, empty where there is none."""
    found = np.zeros(size, np.bool_)
    for mask in masks:
        found |= rle.to_bitmap(mask)
    return rle.from_bitmap(found)


def _pixels(data: bytes) -> Pixels:
    try:
        return images.decode(data, images.probe(data))
    except ImageError as error:
        raise ValueError(f"the picture of a mask {error}") from None


def _check_frame(found: Size, size: Size) -> None:
    (height, width), (asked_height, asked_width) = found, size
    if abs(width * asked_height - height * asked_width) > _ASPECT * width * asked_height:
        raise ValueError(
            f"the picture of a mask has {width} x {height} px, in another proportion than the "
            f"{asked_width} x {asked_height} px that were sent"
        )


def _is_at(bitmap: NDArray[np.bool_], points: Sequence[Point]) -> bool:
    height, width = bitmap.shape
    held: dict[bool, list[bool]] = {True: [], False: []}
    for point in points:
        x, y = min(max(int(point.x), 0), width - 1), min(max(int(point.y), 0), height - 1)
        held[point.positive].append(bool(bitmap[y, x]))
    return not any(held[False]) and (any(held[True]) or not held[True])


def _inside(bitmap: NDArray[np.bool_], box_xyxy: Box) -> int:
    x0, y0, x1, y1 = (max(0, round(value)) for value in box_xyxy)
    return int(np.count_nonzero(bitmap[y0:y1, x0:x1]))


def _iou(found: NDArray[np.int64], box_xyxy: Box) -> float:
    box = np.asarray(box_xyxy)
    shared = np.clip(np.minimum(found[2:], box[2:]) - np.maximum(found[:2], box[:2]), 0, None).prod()
    whole = (found[2:] - found[:2]).prod() + (box[2:] - box[:2]).prod() - shared
    return float(shared / whole) if whole > 0 else 0.0
