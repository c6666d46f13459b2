"""The boundary of a mask as linked vertical edges, traced from its runs: what `outline` draws from.

Edge coordinates throughout: pixel i covers [i, i + 1), y points down, the foreground lies on the right
hand of every edge. The vertical edges are joined by horizontal ones, which need no record of their own.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from autolabel.geometry.rle import Spans

Coordinate = TypeVar("Coordinate", np.float64, np.int64)


@dataclass(frozen=True, slots=True)
class Boundary:
    """The n vertical edges of a mask, sorted by x, then y, each an entry of every array.

    An edge runs along grid line `x` between rows `upper` and `lower`, `down` or up; `following` is the
    next edge of its ring. `upper_top` says that the horizontal edge at its upper end has its foreground
    below (is the top of a run), `lower_top` the same of its lower end. An edge of no length is a point
    that the ring passes straight on; it starts no ring. `touching` says that pixels touch at a corner
    somewhere, so that the boundary is another where those are connected and where they are not.
    """

    width: int
    x: NDArray[np.int64]
    upper: NDArray[np.int64]
    lower: NDArray[np.int64]
    down: NDArray[np.bool_]
    upper_top: NDArray[np.bool_]
    lower_top: NDArray[np.bool_]
    following: NDArray[np.int64]
    touching: bool

    @property
    def long(self) -> NDArray[np.bool_]:
        """Which edges have a length."""
        return self.lower > self.upper


@dataclass(frozen=True, slots=True)
class Seams:
    """Joins of holes to what surrounds them: along row `row` from edge `outer` right to edge `hole`.

    Sorted along the outer edges, so that the seams of one edge follow each other as its ring meets them.
    """

    hole: NDArray[np.int64]
    outer: NDArray[np.int64]
    row: NDArray[np.int64]


def find_boundary(spans: Spans, size: tuple[int, int], *, diagonal: bool) -> Boundary:
    """The boundary of a mask of `size` (height, width), given by its column spans.

    With `diagonal`, pixels that touch at a corner are connected.

    Every run within a column has a top and a bottom edge. Along a grid line the ends of these edges,
    sorted and taken in pairs, bound the stretches where foreground meets background.
    """
    x, y0, y1 = spans
    height, runs = size[0] + 1, x.size
    # The ends by number: top and bottom edge of a run in turns, first all the left ends, then the right.
    column = x * height
    corner = np.empty(4 * runs, np.int64)
    corner[0 : 2 * runs : 2], corner[1 : 2 * runs : 2] = column + y0, column + y1
    np.add(corner[: 2 * runs], height, out=corner[2 * runs :])
    # Where two ends meet at a point at which the foreground touches itself diagonally, the first of
    # them closes the stretch above: a bottom turns away from the other part, a top turns into it.
    key = corner * 2
    key[int(diagonal) :: 2] += 1
    order = np.argsort(key, kind="stable")
    corner, top = corner[order], (order & 1) == 0
    met = np.flatnonzero(corner[1:] == corner[:-1])
    upper, lower, upper_top = order[0::2], order[1::2], top[0::2]
    grid_x = corner[0::2] // height
    column = grid_x * height
    # A top edge leads from its left to its right end, a bottom edge back.
    down = upper_top == (upper >= 2 * runs)
    leaving = np.where(down, lower, upper)
    edge_of = np.empty_like(order)
    edge_of[order[0::2]] = edge_of[order[1::2]] = np.arange(2 * runs)
    return Boundary(
        width=size[1],
        x=grid_x,
        upper=corner[0::2] - column,
        lower=corner[1::2] - column,
        down=down,
        upper_top=upper_top,
        lower_top=top[1::2],
        following=edge_of[np.where(leaving < 2 * runs, leaving + 2 * runs, leaving - 2 * runs)],
        touching=bool((top[met] != top[met + 1]).any()),
    )


def trace(
    following: NDArray[np.int64], long: NDArray[np.bool_], starts: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rings end to end, as edges without those that are not `long`, and the length of each.

    From each of `starts`, or from the first edge of every ring.
    """
    links = following.tolist()
    walked: list[int] = []
    opening = []
    for start in (_leftmost(following) if starts is None else starts).tolist():
        node = start
        if links[node] >= 0:
            opening.append(len(walked))
        while (after := links[node]) >= 0:
            walked.append(node)
            links[node] = -1
            node = after
    order = np.fromiter(walked, np.int64, len(walked))
    if not opening:
        return order, order
    kept = long[order]
    return order[np.flatnonzero(kept)], np.add.reduceat(kept, opening, dtype=np.int64)


def find_seams(boundary: Boundary, holes: NDArray[np.int64]) -> Seams:
    """The seams of all holes, each given by the first edge of its ring.

    A seam starts at the top of the hole's leftmost column and runs left over foreground until the
    background: an edge of a ring that starts further left. So the holes taken from left to right are
    each joined to a ring that is joined already.
    """
    row = boundary.upper[holes]
    rising = np.flatnonzero(~boundary.down & boundary.long)
    lengths = (boundary.lower - boundary.upper)[rising]
    opening = np.cumsum(lengths) - lengths
    rows = np.repeat(boundary.upper[rising] - opening, lengths) + np.arange(int(lengths.sum()))
    edges = np.repeat(rising, lengths)
    places = rows * (boundary.width + 1) + boundary.x[edges]
    order = np.argsort(places, kind="stable")
    found = np.searchsorted(places[order], row * (boundary.width + 1) + boundary.x[holes]) - 1
    outer = edges[order[found]]
    along = np.lexsort((-row, outer))
    return Seams(holes[along], outer[along], row[along])


def splice(
    following: NDArray[np.int64], points: NDArray[Coordinate], seams: Seams, row_offset: float
) -> tuple[NDArray[np.int64], NDArray[Coordinate]]:
    """The links and points with every seam walked there and back, which makes one ring of two.

    `points` (n, k, 2) holds k = 2 or 4 points (x, y) of each edge in ring order, the first half at its
    start. A seam cuts both its edges in two, at `row_offset` below the upper side of its row: the first
    part keeps the edge's place, the second is appended.
    """
    edges, count, half = len(following), len(seams.hole), points.shape[1] // 2
    hole, outer = seams.hole, seams.outer
    rest_of_hole = edges + np.arange(count)
    rest_of_outer = rest_of_hole + count
    first = np.concatenate(([True], outer[1:] != outer[:-1]))
    before = np.where(first, outer, rest_of_outer - 1)

    links = np.concatenate((following, following[hole], following[outer]))
    links[before] = rest_of_hole
    links[hole] = rest_of_outer

    row = seams.row + row_offset
    at_hole = np.stack((points[hole, half, 0], row), axis=1)[:, None]
    at_outer = np.stack((points[outer, half, 0], row), axis=1)[:, None]
    joined = np.concatenate((points, points[hole], points[outer]))
    joined[rest_of_hole, :half] = at_hole
    joined[hole, half:] = at_hole
    joined[rest_of_outer, :half] = at_outer
    joined[before, half:] = at_outer
    return links, joined


def _leftmost(following: NDArray[np.int64]) -> NDArray[np.int64]:
    """The edges that come before both their neighbours: the first of every ring, and some others."""
    rises = following > np.arange(len(following))
    risen = np.empty_like(rises)
    risen[following] = rises
    return np.flatnonzero(rises & ~risen)
