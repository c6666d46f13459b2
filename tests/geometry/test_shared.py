"""Shared pixels of masks, against bitmaps."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from autolabel.geometry import rle
from autolabel.geometry.shared import overlaps, shared_pixels
from tests.geometry.masks import NASTY_SMALL, thoroughly

SIZE = (24, 24)
seeds = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.02, 0.5, 1.0])), max_size=6)


def expected(bitmaps):
    flat = np.array([bitmap.ravel() for bitmap in bitmaps], np.int64).reshape(len(bitmaps), SIZE[0] * SIZE[1])
    shared = flat @ flat.T
    first, second = np.nonzero(np.triu(shared, 1))
    return list(zip(first.tolist(), second.tolist(), shared[first, second].tolist(), strict=True))


def found(bitmaps):
    first, second, shared = shared_pixels([rle.from_bitmap(bitmap) for bitmap in bitmaps])
    return list(zip(first.tolist(), second.tolist(), shared.tolist(), strict=True))


@given(seeds)
@thoroughly
def test_pairs_are_those_of_the_bitmaps(drawn):
    """Every pair that shares pixels is named once, in order, with their number; empty masks never."""
    bitmaps = [np.random.default_rng(seed).random(SIZE) < share for seed, share in drawn]
    assert found(bitmaps) == expected(bitmaps)


def test_more_masks_than_are_compared_at_once():
    """Blocks make no difference, with the masks that tools get wrong among them."""
    rng = np.random.default_rng(0)
    boxes = [np.zeros(SIZE, np.bool_) for _ in range(150)]
    for box in boxes:
        x, y, w, h = rng.integers(0, 20, 2).tolist() + rng.integers(1, 9, 2).tolist()
        box[y : y + h, x : x + w] = True
    bitmaps = [*boxes, *NASTY_SMALL.values()]
    assert found(bitmaps) == expected(bitmaps)


def test_nothing_shares_nothing():
    """No masks, no pairs."""
    assert found([]) == []


@given(seeds, seeds, st.sampled_from([0.0, 0.3, 0.5]))
@thoroughly
def test_overlaps_are_those_of_the_bitmaps(one, other, threshold):
    """Each pair of two lists with an IoU above the threshold is named once, with its IoU."""
    first, second = (
        [np.random.default_rng(seed).random(SIZE) < share for seed, share in drawn] for drawn in (one, other)
    )
    wanted = []
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            iou = (a & b).sum() / max((a | b).sum(), 1)
            wanted += [(i, j, iou)] if iou > threshold else []
    masks = [[rle.from_bitmap(bitmap) for bitmap in bitmaps] for bitmaps in (first, second)]
    assert list(overlaps(*masks, threshold)) == wanted
