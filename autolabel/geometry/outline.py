"""Masks as rings, straight from their runs: band and centre rings with keyholes, and edge polygons.

A ring is an (n, 2) array of points (x, y), not closed (the last is not the first again). With a keyhole,
a hole is joined to what surrounds it by a seam that is walked there and back, so that a part of a mask
is a single ring. How rings become runs again is in `raster`.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autolabel.geometry.boundary import Boundary, Coordinate, find_boundary, find_seams, splice, trace
from autolabel.geometry.bridges import join_rings
from autolabel.geometry.rle import Spans, batches, column_spans, side_by_side
from autolabel.types import RLE

Polygon = tuple[NDArray[np.int64], list[NDArray[np.int64]]]

_MOST_KEPT = 2**14  # bytes of counts
_BAND = 0.25  # how far band rings lie inside the foreground, in pixels


def band_rings(rle: RLE) -> list[NDArray[np.float64]]:
    """One keyholed ring per 4-connected part, a quarter of a pixel inside its outline.

    In edge coordinates (pixel i covers [i, i + 1)), so in multiples of 1/4, with at least 4 points:
    pycocotools, PIL and readers that truncate for cv2.fillPoly all paint exactly the mask.
    """
    return band_rings_of([rle])[0]


def band_rings_of(masks: Sequence[RLE]) -> list[list[NDArray[np.float64]]]:
    """`band_rings` of each of several masks of one frame, made together."""
    rings = []
    for batch in batches(masks):
        traced = _traced(batch, diagonal=False)
        points, lengths = _keyholed(traced, _edge_points(traced.boundary, _BAND), 0.5)
        rings += _by_mask(points.reshape(-1, 2), 2 * lengths, batch)
    return rings


def centre_rings(rle: RLE) -> list[NDArray[np.int64]]:
    """One keyholed ring per 8-connected part, through the centres of its border pixels.

    In pixel indices, as cv2's contours: cv2.fillPoly paints exactly the mask. A dot has one point, a
    straight line of pixels two.
    """
    return centre_rings_of([rle])[0]


def centre_rings_of(masks: Sequence[RLE]) -> list[list[NDArray[np.int64]]]:
    """`centre_rings` of each of several masks of one frame, made together."""
    rings = []
    for batch in batches(masks):
        traced = _traced(batch, diagonal=True)
        points, lengths = _keyholed(traced, _centre_points(traced.boundary), 0)
        rings += _by_mask(*_without_needless(points.reshape(-1, 2), 4 * lengths), batch)
    return rings


def centre_ring(rle: RLE) -> NDArray[np.int64]:
    """The whole mask as one ring through pixel centres, (0, 2) for an empty mask.

    As `centre_rings`, and the parts joined by bridges between nearest vertices, which paint a line of
    pixels that the mask does not have.
    """
    return join_rings(centre_rings(rle))


def edge_polygons(rle: RLE) -> list[Polygon]:
    """The outer ring and the holes of each 4-connected part, along the edges of its pixels.

    In edge coordinates, so on the integer lattice, and of exactly the mask's area. A ring may touch
    itself at single points.
    """
    return polygons_of_spans(column_spans(rle), rle.size)


def polygons_of_spans(spans: Spans, size: tuple[int, int]) -> list[Polygon]:
    """`edge_polygons` of the mask of `size` (height, width) that has these column spans."""
    boundary = find_boundary(spans, size, diagonal=False)
    order, lengths = trace(boundary.following, boundary.long)
    rings = _split(_edge_points(boundary, 0)[order].astype(np.int64).reshape(-1, 2), 2 * lengths)
    starts = order[np.cumsum(lengths) - lengths]
    holes = starts[boundary.down[starts]]
    if not holes.size:
        return [(ring, []) for ring in rings]
    ring_of = np.empty(len(boundary.x), np.int64)
    ring_of[order] = np.repeat(np.arange(len(rings)), lengths)
    seams = find_seams(boundary, holes)
    around = dict(zip(ring_of[seams.hole].tolist(), ring_of[seams.outer].tolist(), strict=True))
    polygons: dict[int, Polygon] = {}
    for index, ring in enumerate(rings):
        if index in around:
            # From left to right, so what surrounds a hole has found its own part before.
            part = polygons[index] = polygons[around[index]]
            part[1].append(ring)
        else:
            polygons[index] = (ring, [])
    return [polygon for index, polygon in polygons.items() if index not in around]


class _Traced(NamedTuple):
    """A boundary, its edges in ring order, and the number of edges of each ring."""

    boundary: Boundary
    order: NDArray[np.int64]
    lengths: NDArray[np.int64]


def _traced(masks: tuple[RLE, ...], *, diagonal: bool) -> _Traced:
    """The boundary of masks that lie side by side, as a batch of `rle.batches` does."""
    # one format after the other asks for the same instances of an image; noise would take much memory
    keep = sum(len(mask.counts) for mask in masks) <= _MOST_KEPT
    return (_kept if keep else _trace)(masks, diagonal)


def _trace(masks: tuple[RLE, ...], diagonal: bool) -> _Traced:
    if diagonal and not (plain := _traced(masks, diagonal=False)).boundary.touching:
        return plain
    height, width = masks[0].size
    size = (height, len(masks) * (width + 1))
    boundary = find_boundary(side_by_side(masks), size, diagonal=diagonal)
    return _Traced(boundary, *trace(boundary.following, boundary.long))


_kept = lru_cache(maxsize=8)(_trace)


def _keyholed(
    traced: _Traced, points: NDArray[Coordinate], row_offset: float
) -> tuple[NDArray[Coordinate], NDArray[np.int64]]:
    """The points of the boundary's edges in ring order, holes joined, and the edges of each ring."""
    boundary, order, lengths = traced
    starts = order[np.cumsum(lengths) - lengths]
    hole = boundary.down[starts]
    if not hole.any():
        return points.take(order, axis=0), lengths
    seams = find_seams(boundary, starts[hole])
    links, points = splice(boundary.following, points, seams, row_offset)
    long = np.concatenate((boundary.long, np.ones(2 * len(seams.hole), np.bool_)))
    order, lengths = trace(links, long, starts[~hole])
    return points.take(order, axis=0), lengths


def _edge_points(boundary: Boundary, inset: float) -> NDArray[np.float64]:
    """Start and end (x, y) of every vertical edge, moved into the foreground by `inset`: (n, 2, 2)."""
    upper = boundary.upper + np.where(boundary.upper_top, inset, -inset)
    lower = boundary.lower + np.where(boundary.lower_top, inset, -inset)
    points = np.empty((len(upper), 2, 2))
    points[:, :, 0] = (boundary.x + np.where(boundary.down, -inset, inset))[:, None]
    points[:, 0, 1] = np.where(boundary.down, upper, lower)
    points[:, 1, 1] = np.where(boundary.down, lower, upper)
    return points


def _centre_points(boundary: Boundary) -> NDArray[np.int64]:
    """Four foreground pixels (x, y) of every vertical edge, in ring order: (n, 4, 2).

    The first and last pixel along the edge, and before and after them those in whose rows the horizontal
    edges go on: the same again at a convex corner, the pixel in the corner at a concave one. That one is
    background where parts touch diagonally: there it is the pixel across. So a ring steps diagonally only
    where it has to: readers that put points between its own would miss a pixel of a diagonal now and then.
    """
    down = boundary.down
    start_top = np.where(down, boundary.upper_top, boundary.lower_top)
    end_top = np.where(down, boundary.lower_top, boundary.upper_top)
    above, below = _touching_ends(boundary)
    points = np.empty((len(down), 4, 2), np.int64)
    inner = boundary.x - down
    points[:, 0, 0] = np.where(np.where(down, above, below), boundary.x - start_top, inner)
    points[:, 1:3, 0] = inner[:, None]
    points[:, 3, 0] = np.where(np.where(down, below, above), boundary.x - ~end_top, inner)
    points[:, 0, 1] = np.where(down, boundary.upper, boundary.lower) - ~start_top
    points[:, 1, 1] = np.where(down, boundary.upper, boundary.lower - 1)
    points[:, 2, 1] = np.where(down, boundary.lower - 1, boundary.upper)
    points[:, 3, 1] = np.where(down, boundary.lower, boundary.upper) - ~end_top
    return points


def _touching_ends(boundary: Boundary) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which edges meet another at their upper, and at their lower end: there pixels touch at a corner."""
    above = np.zeros(len(boundary.x), np.bool_)
    if boundary.touching:
        meets = boundary.upper[1:] == boundary.lower[:-1]
        above[1:] = meets & (boundary.x[1:] == boundary.x[:-1])
    return above, np.roll(above, -1)


def _without_needless(
    points: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rings, laid end to end, without repeated points and points on a straight way; and their lengths."""
    if not lengths.size:
        return points, lengths
    starts = np.cumsum(lengths) - lengths
    step = np.empty_like(points)
    step[:-1] = points[1:] - points[:-1]
    step[starts + lengths - 1] = points[starts] - points[starts + lengths - 1]
    way = np.sign(step[:, 0]) * 3 + np.sign(step[:, 1])
    moved = way != 0
    lengths = np.add.reduceat(moved, starts, dtype=np.int64)
    moved[starts[lengths == 0]] = True  # a dot keeps one point
    lengths = np.maximum(lengths, 1)
    kept = np.flatnonzero(moved)  # for `take`, which is much faster than a mask of rows
    points, way = points.take(kept, axis=0), way[kept]
    # The way on from a point is still right: what was left out lay at the same place.
    starts = np.cumsum(lengths) - lengths
    way_before = np.empty_like(way)
    way_before[1:] = way[:-1]
    way_before[starts] = way[starts + lengths - 1]
    turns = (way != way_before) | (way == 0)
    return points.take(np.flatnonzero(turns), axis=0), np.add.reduceat(turns, starts, dtype=np.int64)


def _by_mask(
    points: NDArray[Coordinate], lengths: NDArray[np.int64], masks: Sequence[RLE]
) -> list[list[NDArray[Coordinate]]]:
    """The rings of each of the masks that lie side by side, moved into its own frame; `points` changes."""
    rings = _split(points, lengths)
    if len(masks) == 1:
        return [rings]
    pitch = masks[0].size[1] + 1
    mask = (points[np.cumsum(lengths) - lengths, 0] // pitch).astype(np.int64)
    points[:, 0] -= np.repeat(mask * pitch, lengths)
    ends = np.searchsorted(mask, np.arange(len(masks) + 1)).tolist()
    return [rings[start:end] for start, end in pairwise(ends)]


def _split(points: NDArray[Coordinate], lengths: NDArray[np.int64]) -> list[NDArray[Coordinate]]:
    """Rings laid end to end as a list of rings."""
    return [points[start:end] for start, end in pairwise([0, *np.cumsum(lengths).tolist()])]
