"""Runs against pycocotools, numpy and what hosts may send."""

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from pycocotools import mask as coco

from autolabel.geometry import rle
from autolabel.types import RLE
from tests.geometry.masks import bitmaps, coco_encoded, every_nasty_mask, thoroughly


def check_codec(bitmap):
    counts = coco_encoded(bitmap)
    mask = rle.from_bitmap(bitmap)
    assert mask == RLE(bitmap.shape, counts)
    assert rle.encode_counts(rle.decode_counts(counts)) == counts
    assert np.array_equal(rle.to_bitmap(mask), bitmap)
    assert rle.to_bitmap(mask).dtype == np.bool_
    assert rle.to_bitmap(mask).flags["C_CONTIGUOUS"]


@every_nasty_mask
def test_counts_of_nasty_masks_are_those_of_pycocotools(bitmap):
    """The counts of a bitmap are pycocotools' bytes, and lead back to the bitmap."""
    check_codec(bitmap)


@thoroughly
@given(bitmaps())
def test_counts_are_those_of_pycocotools(bitmap):
    """The counts of any bitmap are pycocotools' bytes, and lead back to the bitmap."""
    check_codec(bitmap)


@thoroughly
@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=40))
def test_large_runs_survive_the_string(runs):
    """Run lengths of any 32-bit size are encoded and decoded without loss."""
    array = np.array(runs, np.int64)
    assert rle.decode_counts(rle.encode_counts(array)).tolist() == runs


@thoroughly
@given(st.lists(st.integers(0, 2_000_000), min_size=2, max_size=20))
def test_uncompressed_counts_are_encoded_as_pycocotools_does(runs):
    """The string of large run lengths is the one pycocotools writes."""
    size = (sum(runs), 1)
    assert (
        rle.encode_counts(np.array(runs, np.int64))
        == coco.frPyObjects({"size": size, "counts": runs}, *size)["counts"]
    )


@thoroughly
@given(bitmaps())
def test_area_box_and_columns(bitmap):
    """Area, box and column spans are those of the pixels, and spans in any order give the mask back."""
    mask = rle.from_bitmap(bitmap)
    encoded = {"size": mask.size, "counts": mask.counts}
    assert rle.area(mask) == bitmap.sum()
    assert list(rle.box_xywh(mask)) == coco.toBbox(encoded).tolist()
    x, y0, y1 = rle.column_spans(mask)
    padded = np.pad(bitmap, ((1, 1), (0, 0))).T.astype(np.int8)
    column, row = np.nonzero(np.diff(padded, axis=1) == 1)
    assert np.array_equal(x, column)
    assert np.array_equal(y0, row)
    assert np.array_equal(y1, np.nonzero(np.diff(padded, axis=1) == -1)[1])
    backward = slice(None, None, -1)
    assert rle.from_column_spans(x[backward], y0[backward], y1[backward], mask.size) == mask


@thoroughly
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_spans_may_overlap(spans):
    """Spans that overlap, touch or are empty give the union of their pixels."""
    bitmap = np.zeros((9, 7), np.bool_)
    for x, y0, y1 in spans:
        bitmap[y0 : max(y0, y1), x] = True
    columns = np.array([(x, y0, max(y0, y1)) for x, y0, y1 in spans], np.int64).reshape(-1, 3).T
    assert rle.from_column_spans(*columns, (9, 7)) == rle.from_bitmap(bitmap)


@thoroughly
@given(bitmaps(), st.integers(1, 90), st.integers(1, 90))
def test_scale_takes_the_nearest_pixel_centre(bitmap, height, width):
    """Every target pixel is the source pixel its centre falls into."""
    source_height, source_width = bitmap.shape
    rows = (2 * np.arange(height) + 1) * source_height // (2 * height)
    columns = (2 * np.arange(width) + 1) * source_width // (2 * width)
    scaled = rle.scale(rle.from_bitmap(bitmap), (height, width))
    assert scaled == rle.from_bitmap(bitmap[rows][:, columns])


def test_scale_to_its_own_size_is_the_mask():
    """A mask scaled to its own size is the same object."""
    mask = rle.from_bitmap(np.eye(5, dtype=np.bool_))
    assert rle.scale(mask, (5, 5)) is mask


def test_empty():
    """An empty mask has no area, no box, no spans and no pixels."""
    mask = rle.empty((3, 4))
    assert mask == rle.from_bitmap(np.zeros((3, 4), np.bool_)) == RLE((3, 4), b"<")
    assert (rle.area(mask), rle.box_xywh(mask), rle.column_spans(mask)[0].size) == (0, (0, 0, 0, 0), 0)
    assert rle.scale(mask, (6, 5)) == rle.empty((6, 5))
    assert not rle.to_bitmap(mask).any()


@thoroughly
@given(bitmaps(), *[st.integers(0, 9)] * 4)
def test_a_crop_lies_at_its_offset(bitmap, left, top, right, bottom):
    """A crop in a larger frame is the bitmap padded to that frame."""
    padded = np.pad(bitmap, ((top, bottom), (left, right)))
    assert rle.from_bitmap(bitmap, offset_xy=(left, top), size=padded.shape) == rle.from_bitmap(padded)


def test_bitmaps_of_other_kinds():
    """Any non-zero byte is foreground, views are read right, and other arrays are refused."""
    bitmap = np.zeros((6, 8), np.uint8)
    bitmap[2:4, 1:7] = 255
    assert rle.from_bitmap(bitmap) == rle.from_bitmap(bitmap > 0)
    assert rle.from_bitmap(bitmap.T) == rle.from_bitmap(np.ascontiguousarray(bitmap.T) > 0)
    assert rle.from_bitmap(bitmap[::2, 1::3]) == rle.from_bitmap(bitmap[::2, 1::3].copy())
    assert rle.from_bitmap(np.zeros((0, 3), np.bool_), size=(2, 3)) == rle.empty((2, 3))
    for wrong in (bitmap.astype(np.float32), bitmap[None]):
        with pytest.raises(ValueError, match="2-d array of bool or uint8"):
            rle.from_bitmap(wrong)
    with pytest.raises(ValueError, match="does not fit"):
        rle.from_bitmap(bitmap, offset_xy=(3, 0), size=(6, 8))


@thoroughly
@given(bitmaps(), st.sampled_from(["bytes", "str", "list", "padded"]))
def test_coco_masks_are_read(bitmap, kind):
    """Compressed and uncompressed counts of a mask, with runs of nothing or not, give the same RLE."""
    counts = coco_encoded(bitmap)
    runs = rle.decode_counts(counts).tolist()
    half = runs[0] // 2
    given_as = {"bytes": counts, "str": counts.decode(), "list": runs}
    given_as["padded"] = [half, 0, runs[0] - half, *runs[1:], 0, 0]
    size = bitmap.shape
    assert rle.from_coco({"size": list(size), "counts": given_as[kind]}, size) == RLE(size, counts)


HOSTILE = {
    "none": None,
    "list": [1, 2],
    "nothing": {},
    "no_counts": {"size": [4, 5]},
    "no_size": {"counts": "d0"},
    "other_size": {"size": [5, 4], "counts": "d0"},
    "long_size": {"size": [4, 5, 1], "counts": "d0"},
    "size_in_words": {"size": "45", "counts": "d0"},
    "size_of_lists": {"size": [[4], [5]], "counts": "d0"},
    "empty_string": {"size": [4, 5], "counts": ""},
    "empty_list": {"size": [4, 5], "counts": []},
    "too_few": {"size": [4, 5], "counts": [10]},
    "too_many": {"size": [4, 5], "counts": [10, 11]},
    "negative": {"size": [4, 5], "counts": [30, -10]},
    "negative_compressed": {"size": [4, 5], "counts": rle.encode_counts(np.array([30, -10]))},
    "overflow": {"size": [4, 5], "counts": [2**63 - 1, 2**63 - 1, 22]},
    "more_than_64_bits": {"size": [4, 5], "counts": [10**30]},
    "floats": {"size": [4, 5], "counts": [10.0, 10.0]},
    "nan": {"size": [4, 5], "counts": [float("nan")]},
    "booleans": {"size": [4, 5], "counts": [19, True]},
    "strings": {"size": [4, 5], "counts": ["20"]},
    "nested": {"size": [4, 5], "counts": [[20]]},
    "number": {"size": [4, 5], "counts": 20},
    "not_ascii": {"size": [4, 5], "counts": "dé0"},
    "surrogate": {"size": [4, 5], "counts": "d\ud8000"},
    "below_the_alphabet": {"size": [4, 5], "counts": "d0!"},
    "above_the_alphabet": {"size": [4, 5], "counts": b"d0\xff"},
    "cut_off": {"size": [4, 5], "counts": "d"},
    "endless_number": {"size": [4, 5], "counts": "o" * 50 + "0"},
    "zero_bytes": {"size": [4, 5], "counts": b"\0\0\0"},
    "polygon": [[0, 0, 4, 0, 4, 4]],
}


@pytest.mark.parametrize("segmentation", HOSTILE.values(), ids=HOSTILE)
def test_hostile_masks_are_refused(segmentation):
    """Whatever is not a mask of the frame is a ValueError with a plain sentence."""
    with pytest.raises(ValueError, match=r"^(the mask|the counts)"):
        rle.from_coco(segmentation, (4, 5))


@thoroughly
@given(st.binary(max_size=30) | st.lists(st.integers(-(2**70), 2**70), max_size=8) | st.text(max_size=12))
def test_garbage_is_refused_or_canonical(counts):
    """Random counts are a ValueError or a mask of the frame, never another error."""
    try:
        mask = rle.from_coco({"size": [4, 5], "counts": counts}, (4, 5))
    except ValueError:
        return
    assert mask == rle.from_bitmap(rle.to_bitmap(mask))


def test_frames_beyond_32_bits_are_refused():
    """A frame of 10^18 pixels is refused, and one of 10^9 costs no memory."""
    with pytest.raises(ValueError, match="cannot have"):
        rle.from_coco({"size": [10**9, 10**9], "counts": [10**18]}, (10**9, 10**9))
    with pytest.raises(ValueError, match="cannot have"):
        rle.from_coco({"size": [0, 5], "counts": []}, (0, 5))
    size = (10**9, 1)
    mask = rle.from_coco({"size": list(size), "counts": [10**9 - 3, 3]}, size)
    assert (rle.area(mask), rle.box_xywh(mask)) == (3, (0, 10**9 - 3, 1, 3))


@thoroughly
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int32]),
        st.tuples(st.integers(1, 12), st.integers(1, 12)),
        elements=st.sampled_from([0, 1, 2, 7, 255]),
    )
)
def test_masks_of_a_label_picture(labels):
    """All masks at once are those of each value alone, in order; 0 is none, and layout does not matter."""
    expected = {value: rle.from_bitmap(labels == value) for value in np.unique(labels).tolist() if value}
    for array in (labels, np.asfortranarray(labels), np.repeat(labels, 2, axis=1)[:, ::2]):
        masks = rle.from_labels(array)
        assert masks == expected
        assert list(masks) == list(expected)


@pytest.mark.parametrize("labels", [np.zeros((2, 2)), np.zeros(4, np.uint8), np.zeros((0, 3), np.uint8)])
def test_what_is_no_label_picture(labels):
    """Floats, one dimension and pictures without a pixel are refused."""
    with pytest.raises(ValueError, match=r"labels are|cannot have"):
        rle.from_labels(labels)
