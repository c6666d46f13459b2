"""OpenCV's GrabCut: a box or points become a mask, offline, without a key or weights.

It tells colours apart and knows no objects: good enough to begin with, and there when nothing else is.
"""

from collections.abc import Sequence
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from autolabel.backends.base import Answer, Limits, Model
from autolabel.errors import RefusedError
from autolabel.geometry import rle
from autolabel.types import Box, Detection, Picture, Point, Prompt

Pixels = NDArray[np.uint8]

_ROUNDS = 5
_BOX_SIDE, _POINT_SIDE = 640, 320  # px of what it works on: beyond it, time grows and masks get no better
_MARGIN = 0.2  # of the box, on each side: the background it learns from, less of it the box's neighbours
_LOST = 0.2  # of the box: with less in it the object was taken for background, and
_CORE = 0.4  # of the box's sides, about its centre, is said to be the object
_POINT_REACH = 0.25  # of the image's shorter side: where the object around points may be, at first
_DOT = 0.01  # of the image's longer side: the radius of what a point is sure of


class GrabCut(Model):
    """One mask for each prompt, without a score."""

    LIMITS: ClassVar[Limits] = Limits(
        takes=frozenset({"boxes", "points"}),
        max_prompts=16,  # after so many it looks whether the run has ended
        price_per_request=0.0,
        threshold=False,
        scores=False,
        loses=("scores",),
        returns="a mask for each box or set of points, no scores",
        source="it runs here",
    )

    def predict(self, picture: Picture, prompts: Sequence[Prompt]) -> Answer:
        """Cut the object of every prompt out; a prompt that shows none gets an empty mask."""
        pixels = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR)
        if pixels is None:
            raise RefusedError("can't be decoded by OpenCV", kind="undecodable")
        image = pixels.astype(np.uint8, copy=False)
        return Answer(
            [
                Detection(p.class_id, None, p.key, rle.from_bitmap(cut_out(image, p.box_xyxy, p.points)))
                for p in prompts
            ]
        )


def cut_out(pixels: Pixels, box_xyxy: Box | None, points: Sequence[Point]) -> NDArray[np.bool_]:
    """The mask (h, w) of the object in a box, at points, or both, of BGR `pixels` (h, w, 3).

    With a box it lies inside it; of what points show, the parts that have a positive point.
    """
    height, width = pixels.shape[:2]
    mask = np.zeros((height, width), np.bool_)
    x0, y0, x1, y1 = _window(box_xyxy, width, height)
    if x1 <= x0 or y1 <= y0:
        return mask
    side = _POINT_SIDE if box_xyxy is None else _BOX_SIDE
    scale = min(1.0, side / max(x1 - x0, y1 - y0))
    wh = (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))
    view = np.asarray(cv2.resize(pixels[y0:y1, x0:x1], wh, interpolation=cv2.INTER_AREA), np.uint8)
    labels = _seed(wh, (x0, y0), (wh[0] / (x1 - x0), wh[1] / (y1 - y0)), box_xyxy, points)
    there = labels != cv2.GC_BGD
    if not _run(view, labels):
        return mask
    if box_xyxy is not None and _foreground(labels).sum() < _LOST * there.sum():
        labels = _with_core(there)
        _run(view, labels)
    found = _foreground(labels).astype(np.float32)
    whole = cv2.resize(found, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR) > 0.5
    mask[y0:y1, x0:x1] = whole
    if box_xyxy is None:
        return _touched(mask, points)
    return _inside(mask, box_xyxy)


def _window(box_xyxy: Box | None, width: int, height: int) -> tuple[int, int, int, int]:
    """The part of the image that is looked at: a box with its surroundings, or all of it."""
    if box_xyxy is None:
        return 0, 0, width, height
    x0, y0, x1, y1 = box_xyxy
    across, down = _MARGIN * (x1 - x0) + 2, _MARGIN * (y1 - y0) + 2
    left, top = max(0, int(x0 - across)), max(0, int(y0 - down))
    return left, top, min(width, int(np.ceil(x1 + across))), min(height, int(np.ceil(y1 + down)))


def _seed(
    wh: tuple[int, int],
    offset_xy: tuple[int, int],
    scale_xy: tuple[float, float],
    box_xyxy: Box | None,
    points: Sequence[Point],
) -> Pixels:
    """What GrabCut begins with: sure and probable labels of the view's pixels."""
    width, height = wh

    def place(x: float, y: float) -> tuple[int, int]:
        return round((x - offset_xy[0]) * scale_xy[0]), round((y - offset_xy[1]) * scale_xy[1])

    if box_xyxy is None:
        labels = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
        reach = max(2, round(_POINT_REACH * min(wh)))
        for point in points:
            if point.positive:
                cv2.circle(labels, place(point.x, point.y), reach, [cv2.GC_PR_FGD], -1)
    else:
        labels = np.full((height, width), cv2.GC_BGD, np.uint8)
        (x0, y0), (x1, y1) = place(*box_xyxy[:2]), place(*box_xyxy[2:])
        labels[max(0, y0) : max(0, y1, y0 + 1), max(0, x0) : max(0, x1, x0 + 1)] = cv2.GC_PR_FGD
    if (labels == cv2.GC_PR_FGD).all():  # a box around the whole image: its border stands for the rest
        labels[[0, -1]] = labels[:, [0, -1]] = cv2.GC_PR_BGD
    dot = max(1, round(_DOT * max(wh)))
    for point in points:
        label = cv2.GC_FGD if point.positive else cv2.GC_BGD
        cv2.circle(labels, place(point.x, point.y), dot, [label], -1)
    return labels


def _with_core(there: NDArray[np.bool_]) -> Pixels:
    """Labels for where a box is, with its centre as sure foreground."""
    labels = np.where(there, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    x, y, width, height = cv2.boundingRect(there.astype(np.uint8))
    across, down = round(width * (1 - _CORE) / 2), round(height * (1 - _CORE) / 2)
    labels[y + down : y + height - down, x + across : x + width - across] = cv2.GC_FGD
    return labels


def _foreground(labels: Pixels) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    return found


def _run(view: Pixels, labels: Pixels) -> bool:
    """Run GrabCut on `labels`, in place; False where there is nothing to tell apart."""
    background = (labels == cv2.GC_BGD) | (labels == cv2.GC_PR_BGD)
    if background.all() or not background.any():
        return False
    cv2.setRNGSeed(0)  # its clusters are drawn: the same picture gets the same mask
    no_rectangle = (0, 0, 0, 0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    try:
        cv2.grabCut(view, labels, no_rectangle, *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    except cv2.error:  # it can't cluster so few pixels
        return False
    return True


def _touched(mask: NDArray[np.bool_], points: Sequence[Point]) -> NDArray[np.bool_]:
    """The parts of a mask that have a positive point."""
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    height, width = mask.shape
    at = {
        int(parts[int(p.y), int(p.x)])
        for p in points
        if p.positive and 0 <= p.x < width and 0 <= p.y < height
    } - {0}
    return np.isin(parts, sorted(at))


def _inside(mask: NDArray[np.bool_], box_xyxy: Box) -> NDArray[np.bool_]:
    """A mask less what scaling brought beyond the box."""
    x0, y0, x1, y1 = (round(value) for value in box_xyxy)
    held = np.zeros_like(mask)
    view = np.s_[max(0, y0) : max(0, y1, y0 + 1), max(0, x0) : max(0, x1, x0 + 1)]
    held[view] = mask[view]
    return held
