"""Track ids by overlap, on objects whose identity is known."""

import numpy as np
import pytest

from autolabel.geometry import rle
from autolabel.geometry.tracks import link
from autolabel.types import RLE

SIZE = (60, 200)


def box(x0: float, y0: float, w: int = 20, h: int = 20) -> RLE:
    bitmap = np.zeros(SIZE, np.bool_)
    x, y = round(x0), round(y0)
    bitmap[max(0, y) : y + h, max(0, x) : x + w] = True
    return rle.from_bitmap(bitmap)


def test_objects_that_move_keep_their_ids() -> None:
    """Whatever the order of a frame's masks, an id follows its object."""
    frames = []
    for t in range(10):
        a, b = box(5 + 4 * t, 5), box(150 - 4 * t, 35)
        frames.append([a, b] if t % 2 == 0 else [b, a])
    assert link(frames) == [[0, 1] if t % 2 == 0 else [1, 0] for t in range(10)]


def test_ids_count_as_objects_appear() -> None:
    """A new object has the next id, and one that is gone leaves its own unused."""
    frames = [[box(0, 0)], [box(0, 0), box(100, 0)], [box(100, 0)], [box(100, 0), box(50, 30)]]
    assert link(frames) == [[0], [0, 1], [1], [1, 2]]


@pytest.mark.parametrize("step", [0, 3, 9])
def test_an_object_that_vanishes_comes_back_as_itself(step: int) -> None:
    """Some frames without it change nothing, standing or moving on meanwhile."""
    frames = [[box(step * t, 10)] if t not in (4, 5, 6) else [] for t in range(12)]
    assert [row for row in link(frames) if row] == [[0]] * 9


def test_an_object_that_was_gone_for_long_is_a_new_one() -> None:
    """After a second or so nothing says that it is the same."""
    assert link([[box(0, 0)], *[[]] * 40, [box(0, 0)]])[-1] == [1]


def test_fast_objects_are_found_where_they_should_be() -> None:
    """Masks that don't overlap are linked by the motion before."""
    places = [0, 12, 30, 54, 84, 116]
    assert link([[box(x, 10)] for x in places]) == [[0]] * 6


def test_the_best_overlap_goes_first() -> None:
    """Two that could both be an object: the nearer one is, the other is new."""
    assert link([[box(50, 10)], [box(60, 10), box(52, 10)]]) == [[0], [1, 0]]


def test_crossing_objects_keep_their_ids() -> None:
    """Two that pass one another, in rows that overlap by a little."""
    frames = [[box(10 + 8 * t, 5, h=20), box(150 - 8 * t, 22, h=20)] for t in range(15)]
    assert link(frames) == [[0, 1]] * 15


def test_touching_objects_part_again() -> None:
    """While two are one part, one id goes on; both are back afterwards."""
    apart, together = [box(20, 10), box(60, 10)], [box(20, 10, w=60)]
    assert link([apart, apart, together, apart]) == [[0, 1], [0, 1], [0], [0, 1]]


def test_empty_masks_and_frames() -> None:
    """A mask without a pixel is nobody's, and frames may hold none."""
    assert link([]) == []
    assert link([[], []]) == [[], []]
    assert link([[rle.empty(SIZE)], [rle.empty(SIZE)], [box(0, 0)]]) == [[0], [1], [2]]


def test_several_sizes_are_an_error() -> None:
    """Frames of one clip have one size."""
    with pytest.raises(ValueError, match="different sizes"):
        link([[box(0, 0)], [rle.empty((5, 5))]])


def test_ids_of_a_frame_differ() -> None:
    """No two masks of a frame are one object, whatever they look like."""
    random = np.random.default_rng(0)
    frames = [
        [box(*random.integers(0, (180, 40))) for _ in range(int(random.integers(0, 8)))] for _ in range(40)
    ]
    ids = link(frames)
    assert all(len(set(row)) == len(row) == len(masks) for row, masks in zip(ids, frames, strict=True))


def test_who_walks_by_keeps_its_own_number() -> None:
    """An object that left is not found again in another that passes where it was last seen."""

    def box(x: int) -> RLE:
        mask = np.zeros((80, 300), np.bool_)
        mask[20:50, x : x + 30] = True
        return rle.from_bitmap(mask)

    frames = [[box(4 + 6 * n), *([box(200)] if n < 3 else [])] for n in range(40)]
    assert {row[0] for row in link(frames)} == {0}
