"""Rings painted into masks, as the two readers of polygons do it: cv2.fillPoly and pycocotools.

The way back, from masks to rings, is in `outline`.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from pycocotools import mask as coco

from autolabel.geometry.rle import check_frame, empty, from_bitmap, from_coco, from_column_spans
from autolabel.types import RLE

_FAR = 2.0**31  # coordinates beyond are as good as there, and still safe to multiply
_FAR_POLYGON = 2**14  # pixels around the frame in which COCO polygons keep their shape
_MAX_CANVAS = 2**26  # pixels of a canvas larger than the frame, for rings that leave it
_MAX_STEPS = 2**22  # steps between columns that are sorted rather than painted
_MAX_OUTLINE = 2**22  # pixels of outline; pycocotools takes 50 bytes and more for each


def fill_centre_rings(rings: Sequence[ArrayLike], size: tuple[int, int]) -> RLE:
    """What cv2.fillPoly paints for rings through pixel centres, border included, in a frame of `size`.

    Each ring holds n points (x, y) in pixel indices, rounded to the nearest; it is filled by itself
    (even-odd), and the mask is the union. One point is a dot, two are a line, none is nothing. Rings
    may leave the frame (height, width): what lies outside is cut off. Raises ValueError for rings of
    another shape and for coordinates that are not finite.
    """
    check_frame(size)
    checked = [points for ring in rings if len(points := _pixel_indices(ring))]
    if not checked:
        return empty(size)
    lengths = np.array([len(points) for points in checked], np.int64)
    ends = np.cumsum(lengths)
    points = np.concatenate(checked)
    steps = np.empty_like(points)
    steps[:-1] = points[1:] - points[:-1]
    steps[ends - 1] = points[ends - lengths] - points[ends - 1]
    x, y, across, along = points[:, 0], points[:, 1], np.abs(steps[:, 0]), np.abs(steps[:, 1])
    slanted = (across != along) & (across != 0) & (along != 0)
    inside = points.min() >= 0 and x.max() < size[1] and y.max() < size[0]
    if inside and not slanted.any() and int(across.sum()) <= _MAX_STEPS:
        return _fill_by_runs(points, steps, np.repeat(np.arange(len(checked)), lengths), size)
    return _fill_on_canvas(checked, size)


def from_polygons(polygons: Sequence[ArrayLike], size: tuple[int, int]) -> RLE:
    """The union of COCO polygons [x0, y0, x1, y1, ...] in a frame of `size`, as pycocotools paints them.

    In edge coordinates (pixel i covers [i, i + 1)). Raises ValueError for a polygon without at least
    three points, an odd number of coordinates, or one that is not finite.
    """
    check_frame(size)
    height, width = size
    outline, checked = 0.0, []
    for polygon in polygons:
        flat = _numbers(polygon)
        if flat.ndim != 1 or len(flat) < 6 or len(flat) % 2:
            raise ValueError("a polygon is a flat list of at least three pairs of x and y")
        # Far outside the frame the exact place no longer matters, and would overflow pycocotools.
        xy = np.clip(flat.reshape(-1, 2), -_FAR_POLYGON, (width + _FAR_POLYGON, height + _FAR_POLYGON))
        outline += float(np.abs(xy - np.roll(xy, 1, axis=0)).max(axis=1).sum())
        checked.append(xy.ravel().tolist())
    if outline > _MAX_OUTLINE:
        raise ValueError(f"the polygons' outline is longer than {_MAX_OUTLINE} pixels")
    if not checked:
        return empty(size)
    return from_coco(coco.merge(coco.frPyObjects(checked, height, width)), size)


def _numbers(values: ArrayLike) -> NDArray[np.float64]:
    """The values as finite floats, or ValueError."""
    try:
        numbers = np.asarray(values)
        if numbers.dtype.kind not in "iufO":
            raise TypeError
        numbers = numbers.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("a polygon has coordinates that are not numbers, or points of two kinds") from None
    if not np.isfinite(numbers).all():
        raise ValueError("a polygon has a coordinate that is not finite")
    return numbers


def _pixel_indices(ring: ArrayLike) -> NDArray[np.int64]:
    """The points of a ring, (n, 2), rounded to pixels; ValueError if it is no such array."""
    if isinstance(ring, np.ndarray) and ring.dtype == np.int32:
        points = ring.astype(np.int64)  # what cv2 gives needs no check of its numbers
    else:
        points = np.clip(np.rint(_numbers(ring)), -_FAR, _FAR).astype(np.int64)
    if not points.size:
        return np.empty((0, 2), np.int64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"a ring is a list of points (x, y), not an array of {points.shape}")
    return points


def _fill_by_runs(
    points: NDArray[np.int64], steps: NDArray[np.int64], ring: NDArray[np.int64], size: tuple[int, int]
) -> RLE:
    """The fill of rings in the frame whose edges are horizontal, vertical or diagonal (45 degrees).

    Such an edge crosses the strip between two neighbouring columns of pixel centres in one unit step.
    The crossings of a strip, sorted and taken in pairs, bound what lies inside, on both its columns.
    """
    height, width = size
    x, y = points[:, 0], points[:, 1]
    across, upright = steps[:, 0], steps[:, 1]
    count = np.abs(across)
    backward = across < 0
    slope = np.sign(upright) * np.sign(across)
    first_x, first_y = np.where(backward, x + across, x), np.where(backward, y + upright, y)
    opening = np.cumsum(count) - count
    # Unit steps: strip, ring by ring, and the rows at its left and right side.
    number = np.arange(int(count.sum()))
    strip = np.repeat(ring * width + first_x - opening, count) + number
    rise = np.repeat(slope, count)
    left = np.repeat(first_y - slope * opening, count) + rise * number
    order = np.argsort((strip * height + left) * 2 + rise, kind="stable")
    left, rise, column = left[order], rise[order], strip[order[0::2]] % width
    right = left + rise

    vertical = np.flatnonzero(count == 0)
    rows, ends = y[vertical], y[vertical] + upright[vertical]
    one, other = left[0::2], left[1::2]
    one_right, other_right = right[0::2], right[1::2]
    return from_column_spans(
        np.concatenate((column, column + 1, x[vertical])),
        np.concatenate((np.minimum(one, other), np.minimum(one_right, other_right), np.minimum(rows, ends))),
        np.concatenate((np.maximum(one, other), np.maximum(one_right, other_right), np.maximum(rows, ends)))
        + 1,
        size,
    )


def _fill_on_canvas(rings: list[NDArray[np.int64]], size: tuple[int, int]) -> RLE:
    """The fill of any rings by cv2.fillPoly, on a canvas of their bounding box."""
    height, width = size
    frame = np.array([width, height])
    rings = [ring for ring in rings if (ring.max(axis=0) >= 0).all() and (ring.min(axis=0) < frame).all()]
    low, high = _bounds(rings, frame)
    if int((high - low).prod()) > max(_MAX_CANVAS, height * width):
        # Where an edge is cut it is no longer the same to the pixel, but the canvas has a bound.
        rings = [part for ring in rings if len(part := _clip(ring, frame))]
        low, high = _bounds(rings, frame)
    # cv2 itself draws a slanted edge differently where the canvas cuts it: so the canvas holds all of it.
    canvas = np.zeros((high - low)[::-1], np.uint8)
    for ring in rings:
        cv2.fillPoly(canvas, [(ring - low).astype(np.int32)], [1])
    x0, y0 = np.maximum(low, 0).tolist()
    x1, y1 = np.minimum(high, frame).tolist()
    left, top = low.tolist()
    return from_bitmap(canvas[y0 - top : y1 - top, x0 - left : x1 - left], offset_xy=(x0, y0), size=size)


def _bounds(
    rings: list[NDArray[np.int64]], frame: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The box (low and exclusive high corner) around all rings, or one pixel of the frame for none."""
    if not rings:
        return np.zeros_like(frame), np.ones_like(frame)
    return np.min([r.min(axis=0) for r in rings], axis=0), np.max([r.max(axis=0) for r in rings], axis=0) + 1


def _clip(ring: NDArray[np.int64], frame: NDArray[np.int64]) -> NDArray[np.int64]:
    """The ring cut to the frame and a little around it (Sutherland and Hodgman)."""
    margin = 16
    points = ring.astype(np.float64)
    for axis in (0, 1):
        for sign, bound in ((1, -margin), (-1, -(int(frame[axis]) + margin))):
            depth = sign * points[:, axis] - bound
            ahead, depth_ahead = np.roll(points, -1, axis=0), np.roll(depth, -1)
            crossing = (depth >= 0) != (depth_ahead >= 0)
            share = np.divide(depth, depth - depth_ahead, out=np.zeros_like(depth), where=crossing)
            cut = points + share[:, None] * (ahead - points)
            both = np.stack((points, cut), axis=1)
            points = both[np.column_stack((depth >= 0, crossing))]
    return np.rint(points).astype(np.int64)
