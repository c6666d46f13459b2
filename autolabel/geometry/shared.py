"""Which masks share pixels, and how many: pairs of an image at once, by the runs, in pycocotools' C."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from autolabel.geometry.rle import measure
from autolabel.types import RLE

_AT_ONCE = 64  # masks that are compared with all after them: memory stays bounded

Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def shared_pixels(masks: Sequence[RLE], areas: NDArray[np.int64] | None = None) -> Pairs:
    """Indices (first, second) of the masks of one frame that share pixels, first < second, and how many.

    Sorted by first, then second. `areas` are those of `measure`, where they are known. A pair whose boxes lie
    apart costs next to nothing.
    """
    areas = measure(masks)[0] if areas is None else areas
    runs = _runs(masks)
    found: list[Pairs] = []
    for start in range(0, len(runs), _AT_ONCE):
        some = runs[start : start + _AT_ONCE]
        # the "IoU" with a crowd is the intersection over the mask's own area: whole pixels are read back
        over = np.asarray(coco.iou(runs[start:], some, [1] * len(some)))
        second, first = np.nonzero(over > 0)
        ahead = first < second
        first, second = first[ahead], second[ahead]
        shared = np.rint(over[second, first] * areas[start + second]).astype(np.int64)
        order = np.lexsort((second, first))
        found.append((start + first[order], start + second[order], shared[order]))
    if not found:
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, nothing
    first, second, shared = (np.concatenate(part) for part in zip(*found, strict=True))
    return first, second, shared


def overlaps(
    first: Sequence[RLE], second: Sequence[RLE], threshold: float
) -> Iterator[tuple[int, int, float]]:
    """Yield the pairs of a mask of `first` and one of `second` with an IoU above `threshold`, and the IoU.

    Indices are of the two sequences. Masks of different sizes overlap nowhere.
    """
    others = _runs(second)
    for start in range(0, len(first) if others else 0, _AT_ONCE):
        some = _runs(first[start : start + _AT_ONCE])
        ious = np.asarray(coco.iou(some, others, [0] * len(others)))
        for i, j in np.argwhere(ious > threshold).tolist():
            yield start + i, j, float(ious[i, j])


def _runs(masks: Sequence[RLE]) -> list[dict[str, object]]:
    """Masks as pycocotools takes them."""
    return [{"size": list(mask.size), "counts": mask.counts} for mask in masks]
