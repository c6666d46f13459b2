"""Rings painted as cv2.fillPoly and pycocotools paint them."""

import cv2
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from autolabel.geometry import outline, raster, rle
from tests.geometry.masks import bitmaps, coco_read, every_nasty_mask, filled, same, thoroughly

PAD = 130  # around the frame, so that all of what is drawn lies on the canvas


def on_a_large_canvas(rings, size):
    """What cv2.fillPoly paints on a canvas that no ring leaves, cut to the frame."""
    height, width = size
    moved = [np.rint(np.array(ring, np.float64).reshape(-1, 2)) + PAD for ring in rings if len(ring)]
    return filled(moved, (height + 2 * PAD, width + 2 * PAD))[PAD : PAD + height, PAD : PAD + width]


def check_contours(bitmap):
    for mode in (cv2.RETR_EXTERNAL, cv2.RETR_LIST):
        for method in (cv2.CHAIN_APPROX_SIMPLE, cv2.CHAIN_APPROX_NONE):
            contours = [contour[:, 0] for contour in cv2.findContours(bitmap.view(np.uint8), mode, method)[0]]
            mask = raster.fill_centre_rings(contours, bitmap.shape)
            assert same(mask, filled(contours, bitmap.shape))
    assert same(raster.fill_centre_rings(outline.centre_rings(rle.from_bitmap(bitmap)), bitmap.shape), bitmap)


@every_nasty_mask
def test_contours_of_nasty_masks(bitmap):
    """The contours cv2 finds in a nasty mask, and its keyholed rings, are filled as cv2 fills them."""
    check_contours(bitmap)


@thoroughly
@given(bitmaps())
def test_contours_of_random_masks(bitmap):
    """The contours cv2 finds in any mask, and its keyholed rings, are filled as cv2 fills them."""
    check_contours(bitmap)


@thoroughly
@given(st.data(), st.tuples(st.integers(1, 40), st.integers(1, 40)), st.booleans())
def test_any_rings(data, size, whole):
    """Rings of any kind, crossing themselves and the frame, are filled as on an unbounded canvas."""
    number = st.integers(-50, 90) if whole else st.floats(-50, 90)
    rings = data.draw(st.lists(st.lists(st.tuples(number, number), max_size=9), max_size=4))
    assert same(raster.fill_centre_rings(rings, size), on_a_large_canvas(rings, size))


@thoroughly
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 6)), min_size=1, max_size=14))
def test_rings_of_right_and_half_right_angles(walk):
    """Rings along rows, columns and diagonals that cross themselves at will are filled as cv2 fills them."""
    ways = np.array([(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)])
    ring = np.cumsum([ways[way] * length for way, length in walk], axis=0)
    back = ring[0] - ring[-1]
    ring = np.concatenate((ring, [ring[-1] + np.sign(back) * np.abs(back).min()]))
    ring -= ring.min(axis=0)
    size = (int(ring[:, 1].max()) + 2, int(ring[:, 0].max()) + 2)
    assert same(raster.fill_centre_rings([ring], size), filled([ring], size))


def test_parts_are_united():
    """Rings that overlap are united, not cut out of each other."""
    box = [[1, 1], [8, 1], [8, 8], [1, 8]]
    inner = [[3, 3], [5, 3], [5, 5], [3, 5]]
    assert raster.fill_centre_rings([box, inner], (10, 10)) == raster.fill_centre_rings([box], (10, 10))
    bitmap = np.zeros((10, 10), np.bool_)
    bitmap[1:9, 1:9] = True
    assert same(raster.fill_centre_rings([box, inner, box], (10, 10)), bitmap)


def test_dots_lines_and_nothing():
    """One point is a dot, two are a line, no point is nothing, and so is no ring."""
    bitmap = np.zeros((6, 8), np.bool_)
    bitmap[2, 3] = bitmap[4, 1:6] = True
    assert same(raster.fill_centre_rings([[[3, 2]], [[1, 4], [5, 4]], [], [[]]], (6, 8)), bitmap)
    assert same(raster.fill_centre_rings([[[2.6, 1.7]], [[5.4, 4.2], [1.2, 3.8]]], (6, 8)), bitmap)
    assert (
        raster.fill_centre_rings([], (6, 8)) == raster.fill_centre_rings([[[]]], (6, 8)) == rle.empty((6, 8))
    )


@pytest.mark.parametrize("far", [1e6, 1e9, 2.0**62, 1e300, 1.7e308])
def test_far_coordinates_cost_nothing(far):
    """Coordinates far outside are cut off: half planes stay half planes."""
    bitmap = np.zeros((30, 40), np.bool_)
    bitmap[10:] = True
    below = [[-far, 10], [far, 10], [far, far], [-far, far]]
    assert same(raster.fill_centre_rings([below], (30, 40)), bitmap)
    assert same(raster.from_polygons([np.ravel(below)], (30, 40)), bitmap)
    assert raster.fill_centre_rings([[[far, far]], [[far, 3], [far, -far]]], (30, 40)) == rle.empty((30, 40))
    assert raster.from_polygons([[far, 0, far, 5, far, 9]], (30, 40)) == rle.empty((30, 40))


NO_RINGS = {
    "three_columns": [[1, 2, 3]],
    "flat": [1, 2, 3, 4],
    "cv2_contour": [[[1, 2]], [[3, 4]]],
    "nan": [[1, float("nan")], [2, 3]],
    "infinite": [[1, float("inf")], [2, 3]],
    "ragged": [[1], [2, 3]],
    "text": [["1", "2"]],
    "none": None,
    "none_inside": [[None, 1]],
    "word": "ring",
    "number": 5,
    "huge_integer": [[10**400, 1]],
    "mapping": [{"x": 1, "y": 2}],
}


@pytest.mark.parametrize("ring", NO_RINGS.values(), ids=NO_RINGS)
def test_what_is_no_ring_is_refused(ring):
    """Anything but n finite points is a ValueError with a plain sentence."""
    with pytest.raises(ValueError, match=r"^a (ring|polygon) "):
        raster.fill_centre_rings([ring], (9, 9))


@thoroughly
@given(
    st.lists(
        st.lists(st.floats(-20, 60), min_size=6, max_size=16).map(lambda xy: xy[: len(xy) // 2 * 2]),
        max_size=4,
    ),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_polygons_are_those_of_pycocotools(polygons, size):
    """COCO polygons are painted as pycocotools paints them, wherever they lie."""
    assert same(raster.from_polygons(polygons, size), coco_read(polygons, size))


@every_nasty_mask
def test_band_rings_lead_back(bitmap):
    """The band rings of a mask, as COCO polygons, are the mask."""
    rings = [ring.ravel() for ring in outline.band_rings(rle.from_bitmap(bitmap))]
    assert same(raster.from_polygons(rings, bitmap.shape), bitmap)


NO_POLYGONS = {
    "four_numbers": [1, 2, 3, 4],
    "empty": [],
    "odd": [1, 2, 3, 4, 5, 6, 7],
    "nested": [[1, 2], [3, 4], [5, 6]],
    "nan": [1, 2, 3, 4, 5, float("nan")],
    "infinite": [1, 2, 3, 4, 5, float("-inf")],
    "text": ["1", "2", "3", "4", "5", "6"],
    "none": [1, 2, 3, 4, 5, None],
    "word": "polygon",
    "nothing": None,
}


@pytest.mark.parametrize("polygon", NO_POLYGONS.values(), ids=NO_POLYGONS)
def test_what_is_no_polygon_is_refused(polygon):
    """A box, an odd list and anything not finite is a ValueError with a plain sentence."""
    with pytest.raises(ValueError, match=r"^a polygon "):
        raster.from_polygons([[1, 1, 5, 1, 5, 5], polygon], (9, 9))


def test_an_endless_ring_costs_no_memory():
    """A ring that crosses the frame a hundred thousand times is painted like any other."""
    ring = np.array([[0, 2], [3999, 2]] * 50_000 + [[3999, 4], [0, 4]])
    bitmap = np.zeros((6, 4000), np.bool_)
    bitmap[2:5] = True
    assert same(raster.fill_centre_rings([ring], bitmap.shape), bitmap)


def test_an_endless_outline_is_refused():
    """A polygon that would take gigabytes to paint is a ValueError."""
    with pytest.raises(ValueError, match="longer than"):
        raster.from_polygons([[0, 0, 4000, 4000] * 5000], (4000, 4000))
    assert raster.from_polygons([], (4, 4)) == rle.empty((4, 4))
