"""Masks that don't fit the box that was asked for: flagged, never lost."""

import csv
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import numpy as np

from autolabel.geometry import rle
from autolabel.types import RLE, Box, Category, Detection

_SLACK_PX = 2.0  # boxes are drawn to about that
_LEAVES = 0.05  # of the mask's pixels outside the box
_FILLS = 0.5  # of the box's area, that the mask's own box takes at least


def misfit(mask: RLE, box_xyxy: Box) -> tuple[str, float] | None:
    """How a mask fails to fit its box, and its measure; None where it fits.

    "leaves_box" with the share of its pixels more than 2 px outside, "hardly_fills_box" with the share of the
    box that the mask's bounding box covers. An empty mask is not judged: it is dropped, with that reason.
    """
    area = rle.area(mask)
    if area == 0:
        return None
    x0, y0, x1, y1 = box_xyxy
    columns, tops, bottoms = rle.column_spans(mask)
    within = (columns >= x0 - _SLACK_PX - 1) & (columns < x1 + _SLACK_PX)
    down = np.minimum(bottoms, np.ceil(y1 + _SLACK_PX)) - np.maximum(tops, np.floor(y0 - _SLACK_PX))
    held = float(np.maximum(down, 0)[within].sum())
    if area - held > _LEAVES * area:
        return "leaves_box", 1 - held / area
    x, y, width, height = rle.box_xywh(mask)
    across = max(0.0, min(x1, x + width) - max(x0, x))
    deep = max(0.0, min(y1, y + height) - max(y0, y))
    covered = across * deep / ((x1 - x0) * (y1 - y0))
    return ("hardly_fills_box", covered) if covered < _FILLS else None


class Flags:
    """`flagged.csv`: a line for every box whose mask does not fit it, or is empty."""

    def __init__(self, path: Path, categories: Iterable[Category]) -> None:
        self.counts: Counter[str] = Counter()
        self._names = [category.name for category in categories]
        self._file: IO[str] = path.open("w", encoding="utf-8", newline="")
        self._table = csv.writer(self._file, lineterminator="\n")
        self._table.writerow(["image", "class", "id", "box", "reason", "share"])

    def add(self, file_name: str, detections: Iterable[Detection]) -> None:
        """Judge the instances that a box was asked for; an empty mask stands here, though it is dropped."""
        for detection in detections:
            asked = detection.asked
            if asked is None or asked.box_xyxy is None:
                continue
            empty = rle.area(detection.mask) == 0
            found = ("empty_mask", 0.0) if empty else misfit(detection.mask, asked.box_xyxy)
            if found is not None:
                reason, share = found
                self.counts[reason] += 1
                box = " ".join(f"{value:.6g}" for value in asked.box_xyxy)
                name = self._names[detection.class_id]
                self._table.writerow([file_name, name, asked.source_id, box, reason, f"{share:.3f}"])

    def close(self) -> None:
        """Finish the file."""
        self._file.close()
