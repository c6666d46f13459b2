"""Several rings made one by bridges between nearest vertices: the Euclidean minimum spanning tree."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import shapely
from numpy.typing import NDArray

# Up to here all distances between the rings cost less than a triangulation.
_MAX_RINGS = 8
_MAX_DISTANCES = 200_000


def join_rings(rings: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """One ring (n, 2) of rings of integer points that have no point in common.

    A bridge is walked there and back, from a vertex of one ring to the nearest of another; all bridges
    together are as short as can be. Without rings the answer is (0, 2).
    """
    if not rings:
        return np.empty((0, 2), np.int64)
    if len(rings) == 1:
        return rings[0]
    points = np.concatenate(rings)
    ring_of = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    sizes = np.bincount(ring_of)
    distances = int(len(points) ** 2 - (sizes**2).sum()) // 2
    if len(rings) <= _MAX_RINGS and distances <= _MAX_DISTANCES:
        pairs = _closest_pairs(rings)
    else:
        pairs = _neighbours(points, ring_of)
    return points[_walk(sizes, _spanning_tree(points, ring_of, pairs))]


def _closest_pairs(rings: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The closest vertices of every two rings, (n, 2) indices of the rings laid end to end."""
    opening = np.cumsum([0, *(len(ring) for ring in rings)]).tolist()
    pairs = []
    for one, other in combinations(range(len(rings)), 2):
        distance = (rings[one][:, None, 0] - rings[other][None, :, 0]) ** 2
        distance += (rings[one][:, None, 1] - rings[other][None, :, 1]) ** 2
        first, second = divmod(int(distance.argmin()), len(rings[other]))
        pairs.append((opening[one] + first, opening[other] + second))
    return np.array(pairs, np.int64)


def _neighbours(points: NDArray[np.int64], ring_of: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs of vertices of different rings that hold a minimum spanning tree: (n, 2) indices.

    The edges of the Delaunay triangulation do. Those between points next to each other in order of x and
    y are added: where all points lie on a line there is no triangle, and they are the tree.
    """
    span = int(np.ptp(points[:, 1])) + 1
    places, kept = np.unique(points[:, 0] * span + points[:, 1] - points[:, 1].min(), return_index=True)
    edges = shapely.delaunay_triangles(shapely.multipoints(points[kept]), only_edges=True)
    ends = np.rint(shapely.get_coordinates(edges)).astype(np.int64).reshape(-1, 2)
    found = np.searchsorted(places, ends[:, 0] * span + ends[:, 1] - points[:, 1].min())
    in_order = np.arange(len(kept))
    row = np.column_stack((in_order[:-1], in_order[1:]))
    pairs: NDArray[np.int64] = kept[np.concatenate((found.reshape(-1, 2), row))]
    apart = ring_of[pairs[:, 0]] != ring_of[pairs[:, 1]]
    return np.compress(apart, pairs, axis=0)


def _spanning_tree(
    points: NDArray[np.int64], ring_of: NDArray[np.int64], pairs: NDArray[np.int64]
) -> list[tuple[int, int]]:
    """The pairs that join all rings by the smallest sum of distances (Kruskal)."""
    distance = ((points[pairs[:, 0]] - points[pairs[:, 1]]) ** 2).sum(axis=1)
    pairs = pairs[np.lexsort((pairs.max(axis=1), pairs.min(axis=1), distance))]
    root = list(range(int(ring_of[-1]) + 1))
    bridges = []
    for (one, other), (a, b) in zip(ring_of[pairs].tolist(), pairs.tolist(), strict=True):
        first, second = _find(root, one), _find(root, other)
        if first != second:
            root[second] = first
            bridges.append((a, b))
    return bridges


def _find(root: list[int], member: int) -> int:
    while root[member] != member:
        root[member] = member = root[root[member]]
    return member


def _walk(sizes: NDArray[np.int64], bridges: list[tuple[int, int]]) -> list[int]:
    """The order of the vertices in the joined ring, those at a bridge's ends once more on the way back."""
    ends = np.cumsum(sizes)
    links = np.arange(1, int(ends[-1]) + 1)
    links[ends - 1] = ends - sizes
    following, vertex = links.tolist(), list(range(int(ends[-1])))
    for a, b in bridges:
        again_b, again_a = len(vertex), len(vertex) + 1
        vertex += [b, a]
        following += [following[b], following[a]]
        following[a], following[b] = again_b, again_a
    walk = [0]
    while (node := following[walk[-1]]) != 0:
        walk.append(node)
    return [vertex[node] for node in walk]
