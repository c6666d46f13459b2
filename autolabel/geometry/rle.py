"""Masks as run lengths: the COCO string, bitmaps, columns, area, box and scaling.

Run lengths are column-major (down the first column, then the second), background first.
Nothing here but `to_bitmap`, `from_bitmap` and `from_labels` touches pixels; rings are in `outline` and
`raster`.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from autolabel.types import RLE

Spans = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]

_MAX_PIXELS = 2**32 - 1  # pycocotools holds run lengths in 32 bits
_MAX_GROUPS = 7  # 5-bit groups of a number of 32 bits and its sign
_GROUP_SHIFT = np.arange(0, 60, 5)[:, None]
_GROUP_FROM = np.array([[0], *([1 << (shift - 1)] for shift in range(5, 60, 5))], np.int64)
_MOST_TOGETHER = 16  # masks whose spans are made at once, and
_MOST_COUNTS = 2**14  # bytes of their counts: more would take memory and save no more time


def decode_counts(counts: bytes) -> NDArray[np.int64]:
    """Run lengths of COCO's compressed string.

    The string is pycocotools' (`rleFrString`): 5-bit groups, lowest first, 48 added to each, 32 added
    to all but a number's last, sign-extended; from the fourth on, a number is the difference to the
    run before the last. Raises ValueError when the bytes are no such string.
    """
    runs, _ = _numbers(counts)
    np.cumsum(runs[1::2], out=runs[1::2])
    np.cumsum(runs[2::2], out=runs[2::2])
    return runs


def encode_counts(runs: NDArray[np.int64]) -> bytes:
    """COCO's compressed string of run lengths, byte for byte as pycocotools writes it."""
    if not runs.size:
        return b""
    numbers = runs.astype(np.int64)
    numbers[3:] -= runs[1:-2]
    # A number, or the one's complement of a negative one, needs a further group from these sizes on.
    size = numbers ^ (numbers >> 63)
    groups = 1 + int(size.max()).bit_length() // 5
    used = size >= _GROUP_FROM[:groups]
    codes = (((numbers >> _GROUP_SHIFT[:groups]) & 31) + 48).astype(np.uint8)
    codes[:-1] += used[1:] * np.uint8(32)
    return codes.T.ravel()[used.T.ravel()].tobytes()


def from_coco(segmentation: object, size: tuple[int, int]) -> RLE:
    """The mask of a COCO RLE object, checked, with canonical counts.

    `segmentation` is {"size": [h, w], "counts": ...} with counts compressed (str or bytes) or a list of
    run lengths, from any source. Raises ValueError, saying what is wrong, unless it is a mask of
    exactly `size` = (height, width).
    """
    check_frame(size)
    if not isinstance(segmentation, Mapping):
        raise ValueError("the mask is not a COCO RLE object with size and counts")
    stated, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(stated, list | tuple) or tuple(stated) != tuple(size):
        raise ValueError(f"the mask is of size {str(stated)[:40]}, not {list(size)} (height, width)")
    if isinstance(counts, str):
        counts = counts.encode("utf-8", "surrogatepass")  # whatever is not ASCII is refused as bytes
    runs = decode_counts(counts) if isinstance(counts, bytes) else _listed_runs(counts)
    pixels = size[0] * size[1]
    if runs.size and (int(runs.min()) < 0 or int(runs.max()) > pixels):
        raise ValueError(f"the mask has a run length outside 0..{pixels}")
    if int(runs.sum()) != pixels:
        raise ValueError(f"the mask's run lengths add up to {int(runs.sum())}, not to {pixels} pixels")
    if runs[1:].all():
        return RLE(size, encode_counts(runs))
    return _from_changes(np.cumsum(runs)[:-1], size)


def from_bitmap(
    bitmap: NDArray[np.bool_] | NDArray[np.uint8],
    *,
    offset_xy: tuple[int, int] = (0, 0),
    size: tuple[int, int] | None = None,
) -> RLE:
    """The mask of an (h, w) bitmap, foreground where it is not zero.

    The bitmap may be a crop: its upper left pixel lies at `offset_xy` of a frame of `size` (height,
    width), which is the bitmap's own shape where not given. Raises ValueError when it does not fit.
    """
    if bitmap.ndim != 2 or bitmap.dtype not in (np.bool_, np.uint8):
        raise ValueError(f"a mask is a 2-d array of bool or uint8, not {bitmap.ndim}-d {bitmap.dtype}")
    height, width = size = bitmap.shape if size is None else size
    check_frame(size)
    left, top = offset_xy
    if min(left, top) < 0 or top + bitmap.shape[0] > height or left + bitmap.shape[1] > width:
        raise ValueError(f"a bitmap of {bitmap.shape} at {offset_xy} does not fit a frame of {size}")
    rows = np.logical_or.reduce(bitmap, axis=1)
    if not rows.any():
        return empty(size)
    y0, y1 = _extent(rows)
    x0, x1 = _extent(np.logical_or.reduce(bitmap[y0:y1], axis=0))
    pixels = bitmap[y0:y1, x0:x1].view(np.uint8)
    # The columns as rows, each closed by a background pixel, so that no run goes over a column's end.
    columns = np.zeros((x1 - x0, y1 - y0 + 1), np.bool_)
    columns[:, :-1] = cv2.transpose(pixels)
    flat = columns.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    if flat[0]:
        changes = np.concatenate(([0], changes))
    column, row = np.divmod(changes, y1 - y0 + 1)
    return _from_changes((column + (left + x0)) * height + (row + (top + y0)), size)


def from_labels(labels: NDArray[np.uint8] | NDArray[np.int32]) -> dict[int, RLE]:
    """All masks of an (h, w) label picture at once: value to mask, sorted by value, 0 (background) left out.

    Raises ValueError for what is no such picture.
    """
    if labels.ndim != 2 or labels.dtype not in (np.uint8, np.int32):
        raise ValueError(f"labels are a 2-d array of uint8 or int32, not {labels.ndim}-d {labels.dtype}")
    size = (labels.shape[0], labels.shape[1])
    check_frame(size)
    flat = cv2.transpose(labels).reshape(-1)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts, ends = np.append(0, changes), np.append(changes, flat.size)
    # The runs of a value one after the other, still in order.
    order = np.argsort(flat[starts], kind="stable")
    values, opening = np.unique(flat[starts[order]], return_index=True)
    bounds = np.stack((starts[order], ends[order]), axis=1)
    masks = zip(values.tolist(), np.split(bounds, opening[1:]), strict=True)
    return {value: _from_changes(runs.reshape(-1), size) for value, runs in masks if value}


def to_bitmap(rle: RLE) -> NDArray[np.bool_]:
    """The mask's pixels as an (h, w) array."""
    height, width = rle.size
    starts, ends = _foreground(rle.counts)
    flat = np.zeros(height * width, np.uint8)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        flat[start:end] = 1
    return cv2.transpose(flat.reshape(width, height)).view(np.bool_)


def column_spans(rle: RLE) -> Spans:
    """The foreground as maximal runs within one column: x, y0 and y1 (exclusive), sorted by x, then y0."""
    return _by_column(*_foreground(rle.counts), rle.size[0])


def from_column_spans(
    x: NDArray[np.int64], y0: NDArray[np.int64], y1: NDArray[np.int64], size: tuple[int, int]
) -> RLE:
    """The union of spans [y0, y1) of columns x, which lie in the frame; any order, overlaps and all."""
    starts, ends = x * size[0] + y0, x * size[0] + y1
    if starts.size > 1 and not bool((starts[1:] > ends[:-1]).all()):
        order = np.argsort(starts, kind="stable")
        starts, ends = starts[order], np.maximum.accumulate(ends[order])
        apart = np.ones(starts.size + 1, np.bool_)
        np.greater(starts[1:], ends[:-1], out=apart[1:-1])
        starts, ends = starts[apart[:-1]], ends[apart[1:]]
    changes = np.empty(2 * starts.size, np.int64)
    changes[0::2], changes[1::2] = starts, ends
    return _from_changes(changes, size)


def side_by_side(masks: Sequence[RLE]) -> Spans:
    """The column spans of masks of one frame of width w, each w + 1 columns to the right of the one before.

    So x // (w + 1) is the index of the mask and x % (w + 1) the column in it. What is done to all masks
    at once saves the fixed cost of every step for all but one. There must be at least one mask. Read-only.
    """
    if len(masks) == 1:
        return column_spans(masks[0])
    is_batch = len(masks) <= _MOST_TOGETHER and sum(len(mask.counts) for mask in masks) <= _MOST_COUNTS
    return (_kept_side_by_side if is_batch else _side_by_side)(tuple(masks))


def batches(masks: Sequence[RLE]) -> Iterator[tuple[RLE, ...]]:
    """The masks in order, as many at a time as are well worked on `side_by_side`: memory stays bounded."""
    opening = length = 0
    for index, mask in enumerate(masks):
        length += len(mask.counts)
        if index > opening and (index - opening == _MOST_TOGETHER or length > _MOST_COUNTS):
            yield tuple(masks[opening:index])
            opening, length = index, len(mask.counts)
    if opening < len(masks):
        yield tuple(masks[opening:])


def measure(masks: Sequence[RLE]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Areas (n,) in pixels and boxes (n, 4) as x0, y0, x1, y1 (exclusive) of masks of one frame.

    Both are zero for an empty mask.
    """
    measured = [measure_spans(side_by_side(some), len(some), some[0].size[1]) for some in batches(masks)]
    if not measured:
        return np.zeros(0, np.int64), np.zeros((0, 4), np.int64)
    areas, boxes_xyxy = zip(*measured, strict=True)
    return np.concatenate(areas), np.concatenate(boxes_xyxy)


def measure_spans(spans: Spans, count: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`measure` for the spans of `count` masks of a frame of `width`, as `side_by_side` makes them."""
    x, y0, y1 = spans
    areas, boxes_xyxy = np.zeros(count, np.int64), np.zeros((count, 4), np.int64)
    # Spans are sorted by x, so those of a mask follow each other from its first column to its last.
    bounds = np.searchsorted(x, np.arange(count + 1) * (width + 1))
    some = np.flatnonzero(bounds[1:] > bounds[:-1])
    if some.size:
        first, last = bounds[some], bounds[some + 1] - 1
        areas[some] = np.add.reduceat(y1 - y0, first)
        boxes_xyxy[some, 0] = x[first] - some * (width + 1)
        boxes_xyxy[some, 1] = np.minimum.reduceat(y0, first)
        boxes_xyxy[some, 2] = x[last] - some * (width + 1) + 1
        boxes_xyxy[some, 3] = np.maximum.reduceat(y1, first)
    return areas, boxes_xyxy


def area(rle: RLE) -> int:
    """The number of foreground pixels."""
    starts, ends = _foreground(rle.counts)
    return int((ends - starts).sum())


def box_xywh(rle: RLE) -> tuple[int, int, int, int]:
    """The bounding box in whole pixels, (x0, y0, width, height); zeros for an empty mask."""
    height = rle.size[0]
    starts, ends = _foreground(rle.counts)
    if not starts.size:
        return 0, 0, 0, 0
    first, last = starts // height, (ends - 1) // height
    x0, x1 = int(first[0]), int(last[-1]) + 1
    if not np.array_equal(first, last):
        return x0, 0, x1 - x0, height
    y0, y1 = int((starts - first * height).min()), int((ends - last * height).max())
    return x0, y0, x1 - x0, y1 - y0


def empty(size: tuple[int, int]) -> RLE:
    """The mask without foreground in a frame of `size` = (height, width)."""
    return RLE(size, encode_counts(np.array([size[0] * size[1]], np.int64)))


def scale(rle: RLE, size: tuple[int, int]) -> RLE:
    """The mask in a frame of another `size` = (height, width), by pixel centres.

    Target pixel (X, Y) takes source pixel (floor((X + 1/2) w / W), floor((Y + 1/2) h / H)), in integers.
    """
    if tuple(size) == tuple(rle.size):
        return rle
    check_frame(size)
    x, y0, y1 = column_spans(rle)
    left = _first_target(x, rle.size[1], size[1])
    copies = _first_target(x + 1, rle.size[1], size[1]) - left
    y0, y1 = _first_target(y0, rle.size[0], size[0]), _first_target(y1, rle.size[0], size[0])
    copies[y0 == y1] = 0
    opening = np.cumsum(copies) - copies
    columns = np.repeat(left - opening, copies) + np.arange(int(copies.sum()))
    return from_column_spans(columns, np.repeat(y0, copies), np.repeat(y1, copies), size)


def check_frame(size: tuple[int, int]) -> None:
    """Raises ValueError for a (height, width) that no mask has."""
    height, width = size
    if height < 1 or width < 1 or height * width > _MAX_PIXELS:
        raise ValueError(f"a mask cannot have {height} x {width} pixels")


def _extent(some: NDArray[np.bool_]) -> tuple[int, int]:
    """The first true element and the one after the last."""
    return int(some.argmax()), len(some) - int(some[::-1].argmax())


def _listed_runs(counts: object) -> NDArray[np.int64]:
    """Uncompressed counts as an array; ValueError unless they are a list of 64-bit integers."""
    if not isinstance(counts, list | tuple) or not all(type(run) is int for run in counts):
        raise ValueError("the mask's counts are neither a string nor a list of whole numbers")
    try:
        return np.array(counts, np.int64)
    except OverflowError:
        raise ValueError("the mask has a run length of more than 64 bits") from None


def _numbers(counts: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The numbers of COCO's string as they stand there, and the position of the last byte of each."""
    codes = np.frombuffer(counts, np.uint8) - np.uint8(48)
    if not codes.size:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    ends = np.flatnonzero(codes < 32)
    if int(codes.max()) > 63 or codes[-1] >= 32:
        raise ValueError("the counts are not a COCO run-length string")
    extra = ends.copy()
    extra[1:] -= ends[:-1] + 1
    most = int(extra.max())
    if most >= _MAX_GROUPS:
        raise ValueError("the counts hold a number of more than 32 bits")
    numbers = ((codes[ends] ^ 16).view(np.int8) - 16).astype(np.int64)
    longer = np.flatnonzero(extra)
    for group in range(most):
        longer = longer[extra[longer] > group]
        numbers[longer] = numbers[longer] * 32 + (codes[ends[longer] - group - 1] & 31)
    return numbers, ends


def _side_by_side(masks: tuple[RLE, ...]) -> Spans:
    height = masks[0].size[0]
    numbers, ends = _numbers(b"".join([mask.counts for mask in masks]))
    runs = np.searchsorted(ends, np.cumsum([len(mask.counts) for mask in masks]))
    runs[1:] -= runs[:-1].copy()
    # Pairs of background and foreground, the last of a mask filled up, so that no pair spans two masks.
    pairs = (runs + 1) // 2
    closing = np.cumsum(pairs)
    opening, filled_up = closing - pairs, (closing - 1)[runs % 2 == 1]
    mask = np.repeat(np.arange(len(masks)), pairs)
    is_number = np.ones(2 * len(mask), np.bool_)
    is_number[2 * filled_up + 1] = False
    paired = np.zeros(2 * len(mask), np.int64)
    paired[np.flatnonzero(is_number)] = numbers
    background, foreground = np.cumsum(paired[0::2]), np.cumsum(paired[1::2])
    foreground -= (foreground[opening] - paired[2 * opening + 1])[mask]
    background -= background[opening][mask]  # the second background run is no difference yet
    background[opening] = paired[2 * opening]
    foreground[filled_up] = 0
    stops = np.cumsum(background + foreground) + mask * height
    some = np.flatnonzero(foreground)
    spans = _by_column((stops - foreground)[some], stops[some], height)
    for values in spans:
        values.flags.writeable = False
    return spans


_kept_side_by_side = lru_cache(maxsize=4)(_side_by_side)  # one format after the other asks


@lru_cache(maxsize=4)  # area, box and rings of a mask are asked for one after the other
def _foreground(counts: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the foreground runs start and end (exclusive) in the column-major mask; read-only."""
    ends = np.cumsum(decode_counts(counts))
    ends.flags.writeable = False
    return ends[: ends.size - 1 : 2], ends[1::2]


def _by_column(starts: NDArray[np.int64], ends: NDArray[np.int64], height: int) -> Spans:
    """Column-major runs, given by where they start and end, cut at the ends of the columns."""
    first, last = starts // height, (ends - 1) // height
    y0, y1 = starts - first * height, ends - last * height
    lengths = last - first + 1
    if not starts.size or int(lengths.max()) == 1:
        return first, y0, y1
    opening = np.cumsum(lengths) - lengths
    x = np.repeat(first - opening, lengths) + np.arange(int(lengths.sum()))
    tops, bottoms = np.zeros_like(x), np.full_like(x, height)
    tops[opening], bottoms[opening + lengths - 1] = y0, y1
    return x, tops, bottoms


def _from_changes(changes: NDArray[np.int64], size: tuple[int, int]) -> RLE:
    """The mask that changes between background and foreground at sorted column-major positions.

    Two changes at one position undo each other, and one at the very end does nothing.
    """
    pixels = size[0] * size[1]
    if (changes[1:] == changes[:-1]).any():
        values, times = np.unique(changes, return_counts=True)
        changes = values[times % 2 == 1]
    if changes.size and changes[-1] == pixels:
        changes = changes[:-1]
    bounds = np.empty(changes.size + 2, np.int64)
    bounds[0], bounds[1:-1], bounds[-1] = 0, changes, pixels
    return RLE(size, encode_counts(bounds[1:] - bounds[:-1]))


def _first_target(edge: NDArray[np.int64], source: int, target: int) -> NDArray[np.int64]:
    """The first of `target` pixels whose centre lies at or after source pixel edge `edge`."""
    return -((source - 2 * target * edge) // (2 * source))
