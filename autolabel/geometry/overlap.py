"""Overlap of masks, and non-maximum suppression by it: exact to the pixel, by shapely.

Polygons on the edges of pixels have the area of their pixels, and so have their intersections: whole
numbers. Nothing that is written to a dataset comes from here.
"""

from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from autolabel.geometry.outline import polygons_of_spans
from autolabel.geometry.rle import measure, side_by_side
from autolabel.types import RLE

Metric = Literal["iou", "ios"]


class Shapes:
    """Masks of one frame with what their overlap is computed from; ValueError for masks of several.

    `areas` (n,) in pixels and `boxes_xyxy` (n, 4) in edge coordinates are there from the start; a
    polygon is made when an intersection first needs it.
    """

    def __init__(self, masks: Sequence[RLE]) -> None:
        self.masks = list(masks)
        if len({mask.size for mask in self.masks}) > 1:
            raise ValueError("masks of different sizes cannot be compared")
        self.areas, self.boxes_xyxy = measure(self.masks)
        self._polygons = np.full(len(self.masks), None, np.object_)

    def intersections(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
        """The pixels that masks `first[k]` and `second[k]` share, for every k."""
        used = np.unique(np.concatenate((first, second)))
        missing = [index for index in used.tolist() if self._polygons[index] is None]
        if missing:
            self._polygons[missing] = _polygons([self.masks[index] for index in missing])
        shared = shapely.intersection(self._polygons[first], self._polygons[second])
        pixels: NDArray[np.int64] = np.rint(shapely.area(shared)).astype(np.int64)
        return pixels


def suppress(
    shapes: Shapes,
    threshold: float,
    *,
    order: Sequence[int],
    metric: Metric = "iou",
    groups: Sequence[int] | None = None,
    sure: Collection[int] = (),
) -> NDArray[np.int64]:
    """Greedy non-maximum suppression: for every mask the index of the mask that suppressed it, or -1.

    The masks in `order` (best first; only these take part) are kept unless a kept one before them
    overlaps them by more than `threshold`; the first such is the one named. The overlap is shared pixels
    over those of the union ("iou") or of the smaller mask ("ios"). With `groups`, one number per mask,
    only masks of different groups count. The masks in `sure`, which come first in `order`, are suppressed by
    nobody. Empty masks neither suppress nor are suppressed.
    """
    suppressor = np.full(len(shapes.areas), -1, np.int64)
    ranked = np.array([index for index in order if shapes.areas[index]], np.int64)
    better, worse = _candidates(shapes, ranked, threshold, metric, groups)
    if sure:
        open_ = ~np.isin(ranked[worse], list(sure))
        better, worse = better[open_], worse[open_]
    overlaps = np.full(len(better), -1, np.int8)  # not known yet, no, yes
    undecided = np.zeros(len(ranked), np.bool_)
    undecided[worse] = True
    kept = ~undecided
    while undecided.any():
        # A mask is certainly kept once no pair with a better one is open: the best undecided always.
        _compare(shapes, ranked, better, worse, overlaps, kept[better] & undecided[worse], threshold, metric)
        undecided[worse[kept[better] & (overlaps == 1)]] = False
        gone = ~undecided & ~kept
        is_open = undecided[worse] & ~gone[better] & (overlaps < 0)
        settled = undecided.copy()
        settled[worse[is_open]] = False
        kept |= settled
        undecided &= ~settled
    # Better ones may have been kept after a mask was suppressed: the first to overlap it has the name.
    _compare(shapes, ranked, better, worse, overlaps, kept[better] & ~kept[worse], threshold, metric)
    found = kept[better] & (overlaps == 1)
    first = np.full(len(ranked), len(ranked), np.int64)
    np.minimum.at(first, worse[found], better[found])
    gone = first < len(ranked)
    suppressor[ranked[gone]] = ranked[first[gone]]
    return suppressor


def _candidates(
    shapes: Shapes,
    ranked: NDArray[np.int64],
    threshold: float,
    metric: Metric,
    groups: Sequence[int] | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of ranks (better, worse) whose areas and boxes allow an overlap above the threshold."""
    boxes, areas = shapes.boxes_xyxy[ranked], shapes.areas[ranked]
    tree = shapely.STRtree(shapely.box(*boxes.T))
    better, worse = tree.query(tree.geometries)
    ahead = better < worse
    if groups is not None:
        group = np.asarray(groups, np.int64)[ranked]
        ahead &= group[better] != group[worse]
    better, worse = better[ahead], worse[ahead]
    low = np.maximum(boxes[better, :2], boxes[worse, :2])
    high = np.minimum(boxes[better, 2:], boxes[worse, 2:])
    first, second = areas[better], areas[worse]
    most = np.minimum((high - low).prod(axis=1), np.minimum(first, second))
    possible = _overlap(most, first, second, metric) > threshold
    return better[possible], worse[possible]


def _compare(
    shapes: Shapes,
    ranked: NDArray[np.int64],
    better: NDArray[np.int64],
    worse: NDArray[np.int64],
    overlaps: NDArray[np.int8],
    wanted: NDArray[np.bool_],
    threshold: float,
    metric: Metric,
) -> None:
    """Fills in `overlaps`, in place, for the wanted pairs that are not known yet."""
    pairs = np.flatnonzero(wanted & (overlaps < 0))
    first, second = ranked[better[pairs]], ranked[worse[pairs]]
    shared = shapes.intersections(first, second)
    overlap = _overlap(shared, shapes.areas[first], shapes.areas[second], metric)
    overlaps[pairs] = overlap > threshold


def _overlap(
    shared: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64], metric: Metric
) -> NDArray[np.float64]:
    if metric == "iou":
        return shared / (first + second - shared)
    return shared / np.minimum(first, second)


def _polygons(masks: Sequence[RLE]) -> NDArray[np.object_]:
    """A valid multipolygon of the area of each mask, none of them empty: (n,)."""
    height, width = masks[0].size
    parts = polygons_of_spans(side_by_side(masks), (height, len(masks) * (width + 1)))
    rings = [ring for outer, holes in parts for ring in (outer, *holes)]
    points = np.concatenate(rings)
    ring_of_point = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    part_of_ring = np.repeat(np.arange(len(parts)), [1 + len(holes) for _, holes in parts])
    mask_of_part = np.array([outer[0, 0] for outer, _ in parts]) // (width + 1)
    # What is not valid here is a ring that goes through a point twice: found faster than by is_valid,
    # since the rings of a 4-connected part do not touch each other.
    places = np.sort(
        (ring_of_point * (height + 1) + points[:, 1]) * (len(masks) * (width + 1)) + points[:, 0]
    )
    twice = places[1:][places[1:] == places[:-1]] // (len(masks) * (width + 1)) // (height + 1)
    points[:, 0] %= width + 1
    polygons = shapely.polygons(shapely.linearrings(points, indices=ring_of_point), indices=part_of_ring)
    invalid = np.unique(part_of_ring[twice])
    # The structure method keeps what is inside, and so the area.
    polygons[invalid] = shapely.make_valid(polygons[invalid], method="structure", keep_collapsed=False)
    pieces, part_of_piece = shapely.get_parts(polygons, return_index=True)
    mask_of_piece = mask_of_part[part_of_piece]
    order = np.argsort(mask_of_piece, kind="stable")
    whole: NDArray[np.object_] = shapely.multipolygons(pieces[order], indices=mask_of_piece[order])
    return whole
