"""Suppression against a plain loop over pixels."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from autolabel.geometry import rle
from autolabel.geometry.overlap import Shapes, suppress
from tests.geometry.masks import NASTY, bitmaps, thoroughly


def by_pixels(masks, threshold, order, metric, groups):
    suppressor, kept = np.full(len(masks), -1), []
    for index in order:
        for other in kept:
            if groups is not None and groups[other] == groups[index]:
                continue
            shared = int((masks[other] & masks[index]).sum())
            sizes = int(masks[other].sum()), int(masks[index].sum())
            whole = sum(sizes) - shared if metric == "iou" else min(sizes)
            if whole and shared / whole > threshold and min(sizes):
                suppressor[index] = other
                break
        else:
            kept.append(index)
    return suppressor.tolist()


def check(masks, order, groups):
    shapes = Shapes([rle.from_bitmap(mask) for mask in masks])
    assert shapes.areas.tolist() == [mask.sum() for mask in masks]
    for threshold in (0.0, 0.25, 0.5, 2 / 3, 0.9, 1.0):
        for metric in ("iou", "ios"):
            for by in (None, groups):
                found = suppress(shapes, threshold, order=order, metric=metric, groups=by)
                assert found.tolist() == by_pixels(masks, threshold, order, metric, by)


@thoroughly
@given(st.data(), st.integers(0, 2**32 - 1))
def test_the_same_as_over_pixels(data, seed):
    """The kept masks and the suppressors are those of a plain loop, for copies, parts and other masks."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 30, 2)
    masks = []
    for bitmap in data.draw(st.lists(bitmaps(30), max_size=9)):
        mask = np.zeros((height, width), np.bool_)
        cut = bitmap[:height, :width]
        mask[: cut.shape[0], : cut.shape[1]] = cut
        near = np.roll(mask, rng.integers(-2, 3, 2), axis=(0, 1)) & (rng.random(mask.shape) < 0.95)
        masks += [mask, near, mask.copy()][: rng.integers(1, 4)]
    order = rng.permutation(len(masks))[: rng.integers(0, len(masks) + 1)].tolist()
    check(masks, order, rng.integers(0, 3, len(masks)).tolist())


def test_nasty_masks():
    """Nasty masks suppress each other as they do over pixels."""
    masks = list(NASTY.values())
    shapes = Shapes([rle.from_bitmap(mask) for mask in masks])
    order = np.random.default_rng(1).permutation(len(masks)).tolist()
    for threshold in (0.05, 0.4):
        for metric in ("iou", "ios"):
            found = suppress(shapes, threshold, order=order, metric=metric)
            assert found.tolist() == by_pixels(masks, threshold, order, metric, None)


def test_intersections_are_whole_pixels():
    """The polygons of every two nasty masks share exactly the pixels the masks share."""
    masks = list(NASTY.values())
    shapes = Shapes([rle.from_bitmap(mask) for mask in masks])
    first, second = np.triu_indices(len(masks))
    shared = [(masks[a] & masks[b]).sum() for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    assert shapes.intersections(first, second).tolist() == shared


@pytest.mark.parametrize(("threshold", "expected"), [(0.49, [-1, 0]), (0.5, [-1, -1])])
def test_only_more_than_the_threshold_suppresses(threshold, expected):
    """An overlap equal to the threshold is allowed."""
    whole, half = np.ones((4, 4), np.bool_), np.zeros((4, 4), np.bool_)
    half[:2] = True
    shapes = Shapes([rle.from_bitmap(whole), rle.from_bitmap(half)])
    assert suppress(shapes, threshold, order=[0, 1]).tolist() == expected


def test_the_best_suppressor_is_named():
    """Of several kept masks that overlap, the first in the order is named, also when it is settled late."""
    row = np.zeros((1, 40), np.bool_)
    boxes = [(0, 10), (9, 19), (12, 22), (16, 26)]
    masks = [row.copy() for _ in boxes]
    for mask, (start, end) in zip(masks, boxes, strict=True):
        mask[:, start:end] = True
    shapes = Shapes([rle.from_bitmap(mask) for mask in masks])
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [0, 3, 1, 2]):
        for threshold in (0.0, 0.1, 0.3):
            expected = by_pixels(masks, threshold, order, "iou", None)
            assert suppress(shapes, threshold, order=order).tolist() == expected


def test_nothing_and_empty_masks():
    """No masks, no order and empty masks suppress nothing."""
    assert suppress(Shapes([]), 0.5, order=[]).tolist() == []
    shapes = Shapes([rle.empty((4, 4)), rle.from_bitmap(np.ones((4, 4), np.bool_)), rle.empty((4, 4))])
    assert suppress(shapes, 0.0, order=[0, 1, 2]).tolist() == [-1, -1, -1]
    assert suppress(shapes, 0.0, order=[]).tolist() == [-1, -1, -1]


def test_masks_of_several_frames_are_refused():
    """Masks of different frames cannot be compared."""
    with pytest.raises(ValueError, match="different sizes"):
        Shapes([rle.empty((4, 4)), rle.empty((4, 5))])


@thoroughly
@given(st.lists(bitmaps(20), min_size=1, max_size=8))
def test_masks_side_by_side(masks):
    """Masks decoded at once have the column spans they have one by one, and so the areas and boxes."""
    frame = np.zeros((20, 20), np.bool_)
    runs = [rle.from_bitmap(mask, size=frame.shape) for mask in masks]
    x, y0, y1 = rle.side_by_side(runs)
    singles = [rle.column_spans(run) for run in runs]
    assert x.tolist() == [
        column + 21 * index for index, span in enumerate(singles) for column in span[0].tolist()
    ]
    assert y0.tolist() == [row for span in singles for row in span[1].tolist()]
    assert y1.tolist() == [row for span in singles for row in span[2].tolist()]
    shapes = Shapes(runs)
    assert shapes.areas.tolist() == [rle.area(run) for run in runs]
    for run, (left, top, right, bottom) in zip(runs, shapes.boxes_xyxy.tolist(), strict=True):
        assert rle.box_xywh(run) == (left, top, right - left, bottom - top)


def test_batches_are_bounded():
    """Masks come in order, at most 16 at a time, fewer where their counts are long, and a long one by itself."""
    dot = rle.from_bitmap(np.ones((1, 1), np.bool_), size=(400, 400))
    noise = rle.from_bitmap(np.random.default_rng(0).random((400, 400)) < 0.5)
    masks = [*[dot] * 20, noise, noise, dot]
    found = list(rle.batches(masks))
    assert [mask for batch in found for mask in batch] == masks
    assert [len(batch) for batch in found] == [16, 4, 1, 1, 1]
    areas, boxes_xyxy = rle.measure(masks)
    assert areas.tolist() == [rle.area(mask) for mask in masks]
    assert boxes_xyxy.tolist() == [[0, 0, 1, 1]] * 20 + [[0, 0, 400, 400]] * 2 + [[0, 0, 1, 1]]


def test_what_is_sure_is_not_compared_with_each_other():
    """Thousands of sure masks on one spot make no pairs; what is not sure is suppressed by the first."""
    box = np.zeros((8, 8), np.bool_)
    box[2:6, 2:6] = True
    many = 3000
    shapes = Shapes([rle.from_bitmap(box)] * (many + 1))
    winners = suppress(shapes, 0.5, order=range(many + 1), sure=range(many))
    assert winners.tolist() == [-1] * many + [0]
