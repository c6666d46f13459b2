"""Masks of the page: the same bytes, pixels and parts as pycocotools, OpenCV and plain bitmaps have them."""

import cv2
import numpy as np

from autolabel.geometry import rle
from autolabel.types import RLE
from tests.front.bitmaps import DECODED, bitmaps, counts_of, sent
from tests.front.node import mapped, needs_node, refusals
from tests.geometry.masks import coco_encoded

pytestmark = needs_node

PAIR = "const a = decodeCounts(c.a, c.height, c.width), b = decodeCounts(c.b, c.height, c.width);"


def pairs(count: int) -> tuple[list[dict], list[tuple[np.ndarray, np.ndarray]]]:
    """Two masks of one frame each, the second partly the first one moved."""
    rng = np.random.default_rng(1)
    both = []
    for first in bitmaps(count):
        moved = np.roll(first, rng.integers(-3, 4, 2), (0, 1))
        both.append((first, moved if rng.random() < 0.5 else rng.random(first.shape) < 0.4))
    cases = [
        {"a": counts_of(a), "b": counts_of(b), "height": a.shape[0], "width": a.shape[1]} for a, b in both
    ]
    return cases, both


def test_counts_are_pycocotools_own():
    """Counts that were decoded and encoded again are the same bytes, and the area is the mask's."""
    masks = bitmaps(300)
    work = f"(c) => {{ const m = {DECODED}; return [encodeCounts(m), area(m)]; }}"
    for mask, (counts, area) in zip(masks, mapped(work, [sent(m) for m in masks]), strict=True):
        assert counts.encode() == coco_encoded(mask)
        assert area == mask.sum()


def test_frames_of_billions_of_pixels_keep_their_runs():
    """Runs and differences of 32 bits survive, to the last pixel that pycocotools can count."""
    pixels = 65535 * 65537
    shapes = [
        [pixels], [0, pixels], [1, 2**31, 7, pixels - 2**31 - 8], [5, 1, 2**31 + 3, 1, 2, 3, pixels - 2**31 - 15],
    ]  # fmt: skip
    known = [rle.encode_counts(np.array(runs)).decode() for runs in shapes]
    cases = [{"counts": counts, "height": 65535, "width": 65537} for counts in known]
    assert mapped(f"(c) => encodeCounts({DECODED})", cases) == known


def test_empty_runs_are_joined():
    """Counts with runs of no length, as some tools write them, become the mask's one form."""
    shapes = [[3, 2, 0, 4, 0, 0, 3], [0, 0, 12], [0, 5, 0, 7], [12, 0], [4, 0, 4, 0, 4]]
    cases = [
        {"counts": rle.encode_counts(np.array(runs)).decode(), "height": 3, "width": 4} for runs in shapes
    ]
    expected = [
        rle.from_coco({"size": [3, 4], "counts": case["counts"]}, (3, 4)).counts.decode() for case in cases
    ]
    assert mapped(f"(c) => encodeCounts({DECODED})", cases) == expected


def test_what_is_no_mask_is_refused():
    """Cut strings, foreign letters, runs that do not fill the frame: an error that says which."""
    words = {
        "": "has 0 pixels",
        "11": "has 2 pixels",
        "@": "leaves its 3 x 4",
        "=00": "leaves its 3 x 4",
        "k": "not a COCO",
        "é": "not a COCO",
        "/": "not a COCO",
        "oooooooo0": "not a COCO",
    }
    cases = [{"counts": counts, "height": 3, "width": 4} for counts in words]
    for said, error in zip(words.values(), refusals(f"(c) => {DECODED}", cases), strict=True):
        assert error and said in error


def test_sets_are_those_of_pixels():
    """Union, difference and shared pixels equal NumPy's."""
    cases, both = pairs(200)
    work = f"""(c) => {{ {PAIR}
        return [union, subtract].map((f) => encodeCounts(f(a, b))).concat(sharedPixels(a, b)); }}"""
    for (a, b), found in zip(both, mapped(work, cases), strict=True):
        pixels = [counts_of(a | b), counts_of(a & ~b)]
        assert found == [*pixels, int((a & b).sum())]


def test_masks_of_two_sizes_are_not_compared():
    """Masks of different images are refused, not mixed up."""
    frames = "{ height: 2, width: 3, bounds: [0, 6] }, { height: 3, width: 2, bounds: [0, 6] }"
    for error in refusals(f"(f) => (f ? union({frames}) : sharedPixels({frames}))", [True, False]):
        assert "different sizes" in error


def test_a_place_is_in_the_mask_or_not():
    """Every pixel, by any place in it, and nothing outside the frame."""
    masks = bitmaps(30)
    work = f"""(c) => {{ const m = {DECODED}; const rows = [];
        for (let y = -1; y <= c.height; y++) for (let x = -1; x <= c.width; x++) rows.push(contains(m, x + 0.7, y));
        return rows; }}"""
    for mask, found in zip(masks, mapped(work, [sent(m) for m in masks]), strict=True):
        assert np.array_equal(np.array(found).reshape(np.pad(mask, 1).shape), np.pad(mask, 1))


def test_spans_are_the_pixels_under_the_centres():
    """At any size the spans paint what lies under the target's pixel centres; at its own size, the mask."""
    rng = np.random.default_rng(2)
    masks = bitmaps(200)
    sizes = [
        mask.shape if number % 4 == 0 else tuple(rng.integers(1, 60, 2).tolist())
        for number, mask in enumerate(masks)
    ]
    cases = [sent(mask) | {"h": h, "w": w} for mask, (h, w) in zip(masks, sizes, strict=True)]
    for mask, (h, w), found in zip(
        masks, sizes, mapped(f"(c) => spans({DECODED}, c.w, c.h)", cases), strict=True
    ):
        rows = (2 * np.arange(h) + 1) * mask.shape[0] // (2 * h)
        columns = (2 * np.arange(w) + 1) * mask.shape[1] // (2 * w)
        painted = np.zeros((h, w), int)
        triples = np.array(found, int).reshape(-1, 3)
        for x, y0, y1 in triples:
            painted[y0:y1, x] += 1
        assert np.array_equal(painted, mask[np.ix_(rows, columns)])
        assert triples.tolist() == sorted(triples.tolist())
        if (h, w) == mask.shape:
            own = rle.column_spans(RLE(mask.shape, coco_encoded(mask)))
            assert np.array_equal(triples, np.stack(own, axis=1))


def test_parts_touch_at_corners_and_come_largest_first():
    """The parts are OpenCV's 8-connected components, sorted by area."""
    masks = bitmaps(200)
    work = f"(c) => parts({DECODED}).map((part) => [area(part), encodeCounts(part)])"
    for mask, found in zip(masks, mapped(work, [sent(m) for m in masks]), strict=True):
        number, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
        expected = {counts_of(labels == label) for label in range(1, number)}
        areas = [area for area, _ in found]
        assert len(found) == len(expected)
        assert {counts for _, counts in found} == expected
        assert areas == sorted(areas, reverse=True)
