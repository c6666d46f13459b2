"""Which masks of successive frames are one object: track ids, by overlap.

Masks are of one frame size. Nothing here knows classes or scores.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from autolabel.geometry.overlap import Shapes
from autolabel.types import RLE

_MEMORY = 30  # frames for which an object may vanish and come back as itself
_LEAST_IOU = 0.1  # of masks in frames that follow each other: objects move, and change their shape
_LEAST_BOX_IOU = 0.3  # of the box where it is expected, which is a guess, and the box where one is found


@dataclass(slots=True)
class _Track:
    """An object as it was last seen, in frame `seen`; `step_xy` is how its centre moves, in px a frame."""

    number: int
    mask: RLE
    box_xyxy: NDArray[np.float64]
    seen: int
    step_xy: NDArray[np.float64]

    def expected(self, frame: int) -> NDArray[np.float64]:
        """Its box in a frame, if it moves on as it did."""
        shift = self.step_xy * (frame - self.seen)
        return self.box_xyxy + np.concatenate((shift, shift))


def link(frames: Iterable[Sequence[RLE]]) -> list[list[int]]:
    """The id of every mask: equal in all frames for one object, counted from 0 as objects appear.

    Best overlap goes first: with the masks of a frame ago, then of when objects were last seen before that,
    then with the boxes where those that are left should be by now. What finds nothing is a new object, and so
    is each mask without a pixel.
    Raises ValueError for masks of several sizes.
    """
    tracks: list[_Track] = []
    ids: list[list[int]] = []
    count = 0
    for frame, masks in enumerate(frames):
        tracks = [track for track in tracks if frame - track.seen <= _MEMORY]
        shapes = Shapes([*(track.mask for track in tracks), *masks])
        known, boxes_xyxy = len(tracks), shapes.boxes_xyxy.astype(np.float64)
        found = _matches(tracks, shapes, boxes_xyxy, frame)
        row = []
        for index, mask in enumerate(masks, known):
            if index in found:
                track = tracks[found[index]]
                _move(track, mask, boxes_xyxy[index], frame)
            else:
                track = _Track(count, mask, boxes_xyxy[index], frame, np.zeros(2))
                count += 1
                tracks.append(track)
            row.append(track.number)
        ids.append(row)
    return ids


def _matches(
    tracks: Sequence[_Track], shapes: Shapes, boxes_xyxy: NDArray[np.float64], frame: int
) -> dict[int, int]:
    """The track of each mask that has one; both are indices into `shapes`, where the tracks come first."""
    known = len(tracks)
    expected = np.array([track.expected(frame) for track in tracks]).reshape(-1, 4)
    pairs = _pairs(boxes_xyxy[:known], boxes_xyxy[known:])
    shared = shapes.intersections(pairs[0], pairs[1] + known).astype(np.float64)
    ious = shared / (shapes.areas[pairs[0]] + shapes.areas[pairs[1] + known] - shared)
    found: dict[int, int] = {}
    # what was there a frame ago comes first: a stale track must not catch who walks by
    fresh = np.array([track.seen == frame - 1 for track in tracks], np.bool_)[pairs[0]]
    _take_best(found, (pairs[0][fresh], pairs[1][fresh]), ious[fresh], known, _LEAST_IOU)
    _take_best(found, pairs, ious, known, _LEAST_IOU)
    pairs = _pairs(expected, boxes_xyxy[known:])
    ious = _box_ious(expected[pairs[0]], boxes_xyxy[known:][pairs[1]])
    # an object that was not seen for longer is a worse guess
    late = np.array([frame - track.seen for track in tracks])[pairs[0]]
    _take_best(found, pairs, ious - 1e-6 * late, known, _LEAST_BOX_IOU)
    return found


def _pairs(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of boxes (n, 4) and (m, 4) that share an area."""
    tree = shapely.STRtree(shapely.box(*second.T))
    one, other = tree.query(shapely.box(*first.T))
    low = np.maximum(first[one, :2], second[other, :2])
    share = (low < np.minimum(first[one, 2:], second[other, 2:])).all(axis=1)
    return one[share].astype(np.int64), other[share].astype(np.int64)


def _box_ious(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    shared = (np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])).prod(axis=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    ious: NDArray[np.float64] = shared / (areas[0] + areas[1] - shared)
    return ious


def _take_best(
    found: dict[int, int],
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
    overlaps: NDArray[np.float64],
    known: int,
    least: float,
) -> None:
    """Fills in `found`, in place: pairs by falling overlap, each track and each mask once."""
    taken = set(found.values())
    order = np.lexsort((pairs[1], pairs[0], -overlaps))
    for position in order[overlaps[order] >= least].tolist():
        track, mask = int(pairs[0][position]), int(pairs[1][position]) + known
        if track not in taken and mask not in found:
            found[mask] = track
            taken.add(track)


def _move(track: _Track, mask: RLE, box_xyxy: NDArray[np.float64], frame: int) -> None:
    centres = [(box[:2] + box[2:]) / 2 for box in (track.box_xyxy, box_xyxy)]
    track.step_xy = (centres[1] - centres[0]) / (frame - track.seen)
    track.mask, track.box_xyxy, track.seen = mask, box_xyxy, frame
