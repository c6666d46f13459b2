"""Rings of masks, painted by the tools that will read them."""

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from autolabel.geometry import outline, raster, rle
from tests.geometry.masks import bitmaps, coco_read, every_nasty_mask, filled, parts, thoroughly


def area(ring):
    """The signed area by the shoelace formula, positive where the inside is on the right hand."""
    x, y = ring.T
    return (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2


def painted_by_pil(rings, size):
    image = Image.new("L", size[::-1])
    for ring in rings:
        ImageDraw.Draw(image).polygon([tuple(point) for point in ring.tolist()], fill=1, outline=1)
    return np.array(image, np.bool_)


def check_band(bitmap):
    rings = outline.band_rings(rle.from_bitmap(bitmap))
    assert len(rings) == parts(bitmap, 4)
    assert all(len(ring) >= 4 and np.array_equal(ring * 4, np.rint(ring * 4)) for ring in rings)
    assert np.array_equal(coco_read([ring.ravel().tolist() for ring in rings], bitmap.shape), bitmap)
    assert np.array_equal(painted_by_pil(rings, bitmap.shape), bitmap)
    assert np.array_equal(filled(rings, bitmap.shape), bitmap)


def check_centre(bitmap):
    rings = outline.centre_rings(rle.from_bitmap(bitmap))
    assert len(rings) == parts(bitmap, 8)
    assert all(np.issubdtype(ring.dtype, np.integer) for ring in rings)
    assert np.array_equal(filled(rings, bitmap.shape), bitmap)
    for ring in rings:
        assert bitmap[ring[:, 1], ring[:, 0]].all()
        steps = np.abs(np.diff(ring, axis=0, append=ring[:1]))
        assert ((steps == 0).any(axis=1) | (steps[:, 0] == steps[:, 1])).all()
        assert len(ring) == 1 or steps.any(axis=1).all()


def check_one_ring(bitmap):
    mask = rle.from_bitmap(bitmap)
    ring, separate = outline.centre_ring(mask), outline.centre_rings(mask)
    canvas = filled([ring] if len(ring) else [], bitmap.shape)
    if len(separate) <= 1:
        assert np.array_equal(canvas, bitmap)
        return
    part_of = {tuple(point): index for index, points in enumerate(separate) for point in points.tolist()}
    allowed = bitmap.astype(np.uint8)
    bridges = set()
    for one, other in zip(ring.tolist(), np.roll(ring, -1, axis=0).tolist(), strict=True):
        if part_of[tuple(one)] != part_of[tuple(other)]:
            cv2.fillPoly(allowed, [np.array([one, other], np.int32)], [1])
            bridges.add(frozenset((tuple(one), tuple(other))))
    assert len(bridges) == len(separate) - 1
    assert canvas[bitmap].all()
    assert not canvas[allowed == 0].any()
    assert sum(np.hypot(*np.subtract(*bridge)) for bridge in bridges) == pytest.approx(
        shortest_join(separate)
    )


def shortest_join(rings):
    """The summed length of a minimum spanning tree over the rings' nearest vertices (Prim)."""
    joined, rest, total = [rings[0]], list(rings[1:]), 0.0
    while rest:
        inside = np.concatenate(joined)
        gaps = [np.hypot(*(inside[:, None] - ring[None]).T).min() for ring in rest]
        total += min(gaps)
        joined.append(rest.pop(int(np.argmin(gaps))))
    return total


def check_polygons(bitmap):
    polygons = outline.edge_polygons(rle.from_bitmap(bitmap))
    assert len(polygons) == parts(bitmap, 4)
    assert sum(area(outer) + sum(area(hole) for hole in holes) for outer, holes in polygons) == bitmap.sum()
    for outer, holes in polygons:
        assert area(outer) > 0
        assert all(area(hole) < 0 for hole in holes)
        around = shapely.make_valid(shapely.Polygon(outer), method="structure", keep_collapsed=False)
        assert all(shapely.covers(around, shapely.LinearRing(hole)) for hole in holes)


CHECKS = [check_band, check_centre, check_one_ring, check_polygons]
every_check = pytest.mark.parametrize("check", CHECKS, ids=["band", "centre", "one_ring", "polygons"])


@every_nasty_mask
@every_check
def test_nasty_masks_are_read_back(bitmap, check):
    """Band and centre rings of a nasty mask are painted as the mask; its polygons have its area."""
    check(bitmap)


@every_check
def test_random_masks_are_read_back(check):
    """Band and centre rings of any mask are painted as the mask; its polygons have its area."""

    @thoroughly
    @given(bitmaps(48))
    def holds(bitmap):
        check(bitmap)

    holds()


@thoroughly
@given(bitmaps(40))
def test_centre_points_survive_six_decimals(bitmap):
    """(i + 0.5) / size in six decimals, read as float32 and truncated, is pixel i again."""
    height, width = bitmap.shape
    ring = outline.centre_ring(rle.from_bitmap(bitmap))
    check_decimals(ring, np.array([width, height]))


@pytest.mark.parametrize("side", [1, 7, 480, 640, 1023, 1024, 1920, 4000, 8191])
def test_every_pixel_index_survives_six_decimals(side):
    """No index of a frame up to 8191 pixels is lost between the row of text and the loader."""
    check_decimals(np.arange(side), side)


def check_decimals(indices, size):
    text = [f"{value:.6f}" for value in ((indices + 0.5) / size).ravel().tolist()]
    read = np.array(text, np.float32).reshape(indices.shape) * np.asarray(size).astype(np.float32)
    assert np.array_equal(read.astype(np.int32), indices)


def test_an_empty_mask_has_no_rings():
    """An empty mask has no rings and an empty joined ring."""
    mask = rle.empty((5, 7))
    assert (outline.band_rings(mask), outline.centre_rings(mask), outline.edge_polygons(mask)) == ([], [], [])
    assert outline.centre_ring(mask).shape == (0, 2)


def test_rings_of_a_box_with_a_hole():
    """The seam leaves the left side in the row of the hole's first pixel and comes back along it."""
    bitmap = np.ones((5, 6), np.bool_)
    bitmap[2, 3] = False
    (band,) = outline.band_rings(rle.from_bitmap(bitmap))
    (centre,) = outline.centre_rings(rle.from_bitmap(bitmap))
    assert band.tolist() == [
        *([0.25, 4.75], [0.25, 2.5]),
        *([2.75, 2.5], [2.75, 3.25], [4.25, 3.25], [4.25, 1.75], [2.75, 1.75], [2.75, 2.5]),
        *([0.25, 2.5], [0.25, 0.25], [5.75, 0.25], [5.75, 4.75]),
    ]
    assert centre.tolist() == [
        *([0, 4], [0, 2]),
        *([2, 2], [2, 3], [4, 3], [4, 1], [2, 1], [2, 2]),
        *([0, 2], [0, 0], [5, 0], [5, 4]),
    ]


def test_dots_and_lines_have_one_and_two_points():
    """A pixel is one point and a straight line two; in the band they are boxes."""
    bitmap = np.zeros((9, 9), np.bool_)
    bitmap[1, 1] = bitmap[3, 2:8] = True
    bitmap[range(5, 8), range(5, 8)] = True
    rings = outline.centre_rings(rle.from_bitmap(bitmap))
    assert sorted(sorted(ring.tolist()) for ring in rings) == [[[1, 1]], [[2, 3], [7, 3]], [[5, 5], [7, 7]]]
    assert outline.band_rings(rle.from_bitmap(bitmap))[0].tolist() == [
        [1.25, 1.75],
        [1.25, 1.25],
        [1.75, 1.25],
        [1.75, 1.75],
    ]


def test_a_bridge_is_walked_there_and_back():
    """Two dots are joined by a line that is walked twice."""
    bitmap = np.zeros((4, 6), np.bool_)
    bitmap[1, 1] = bitmap[2, 4] = True
    assert outline.centre_ring(rle.from_bitmap(bitmap)).tolist() == [[1, 1], [4, 2], [4, 2], [1, 1]]


def test_large_masks_can_be_outlined():
    """A checkerboard of 640 x 480 and 5,000 specks come back as the pixels they were."""
    checkers = rle.from_bitmap(np.indices((480, 640)).sum(axis=0) % 2 == 0)
    specks = rle.from_bitmap(np.random.default_rng(0).random((1000, 1000)) < 0.005)
    for mask in (checkers, specks):
        assert raster.fill_centre_rings(outline.centre_rings(mask), mask.size) == mask
        assert len(outline.centre_ring(mask)) >= len(outline.centre_rings(mask))
        assert len(outline.band_rings(mask)) == len(outline.edge_polygons(mask))


@thoroughly
@given(st.lists(bitmaps(16), max_size=20))
def test_rings_made_together(masks):
    """Several masks, also empty ones, have together the rings that each has alone."""
    runs = [rle.from_bitmap(mask, size=(16, 17)) for mask in masks]
    for together, alone in (
        (outline.band_rings_of, outline.band_rings),
        (outline.centre_rings_of, outline.centre_rings),
    ):
        for found, run in zip(together(runs), runs, strict=True):
            assert [ring.tolist() for ring in found] == [ring.tolist() for ring in alone(run)]


def test_rings_of_nothing():
    """No masks have no rings."""
    assert outline.band_rings_of([]) == outline.centre_rings_of([]) == []
