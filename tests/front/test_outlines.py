"""Outlines of the page: rings that give the mask again, and handles that change pixels only where they move."""

import cv2
import numpy as np
import pytest

from autolabel.geometry import rle
from autolabel.types import RLE
from tests.front.bitmaps import DECODED, bitmaps, counts_of, sent
from tests.front.node import mapped, needs_node, refusals
from tests.geometry.masks import parts

pytestmark = needs_node


def painted(rings: list, size: tuple[int, int]) -> np.ndarray:
    """The bitmap that holds the pixels whose centres lie inside by the even-odd rule, pixel by pixel."""
    x, y = np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5
    inside = np.zeros(size, bool)
    for ring in rings:
        for (xa, ya), (xb, yb) in zip(ring, ring[1:] + ring[:1], strict=True):
            (x0, y0), (x1, y1) = sorted(((xa, ya), (xb, yb)))
            for column in np.flatnonzero((x0 <= x) & (x < x1)):
                inside[:, column] ^= y >= y0 + ((x[column] - x0) * (y1 - y0)) / (x1 - x0)
    return inside


def random_outlines(count: int) -> list[dict]:
    """One to three polygons each, in fractions, in halves or in whole pixels, partly outside the image."""
    rng = np.random.default_rng(3)
    cases = []
    for number in range(count):
        height, width = rng.integers(1, 30, 2).tolist()
        rings = []
        for _ in range(rng.integers(1, 4)):
            points = rng.uniform(-8, 38, (rng.integers(1, 9), 2))
            rings.append(
                (points if number % 3 == 0 else np.round(points * (number % 3)) / (number % 3)).tolist()
            )
        cases.append({"rings": rings, "height": height, "width": width})
    return cases


def test_rings_give_the_mask_again():
    """Filled, the rings of any mask are the mask; there is one for every part and every hole, all points corners."""
    masks = bitmaps(300)
    work = f"""(c) => {{ const found = rings({DECODED});
        return [found, encodeCounts(fillRings(found.map((one) => one.ring), c.height, c.width))]; }}"""
    for mask, (found, again) in zip(masks, mapped(work, [sent(m) for m in masks]), strict=True):
        assert again == counts_of(mask)
        outside = np.pad(~mask, 1, constant_values=True)
        assert [one["hole"] for one in found].count(False) == parts(mask, 8)
        assert [one["hole"] for one in found].count(True) == parts(outside, 4) - 1
        for one in found:
            ring = np.array(one["ring"])
            steps = np.roll(ring, -1, axis=0) - ring
            assert ((steps == 0).sum(axis=1) == 1).all()
            assert ((steps[:, 0] == 0) != (np.roll(steps, 1, axis=0)[:, 0] == 0)).all()
            doubled = (ring[:, 0] * np.roll(ring[:, 1], -1) - np.roll(ring[:, 0], -1) * ring[:, 1]).sum()
            assert (doubled < 0) == one["hole"]


def test_polygons_fill_the_pixels_whose_centres_they_hold():
    """Any polygons, crossing themselves, with fractions, outside the image: the pixels of a brute-force search."""
    cases = random_outlines(400)
    work = "(c) => encodeCounts(fillRings(c.rings, c.height, c.width))"
    for case, found in zip(cases, mapped(work, cases), strict=True):
        assert found == counts_of(painted(case["rings"], (case["height"], case["width"])))


def test_the_way_round_does_not_matter():
    """A ring walked backwards, or from another point, fills the same pixels."""
    work = """(c) => [c.rings, c.rings.map((r) => r.slice().reverse()), c.rings.map((r) => [...r.slice(1), r[0]])]
        .map((rings) => encodeCounts(fillRings(rings, c.height, c.width)))"""
    for found in mapped(work, random_outlines(200)):
        assert len(set(found)) == 1


def test_no_rings_are_no_pixels():
    """Nothing, and rings of no points, fill nothing."""
    empty = rle.empty((4, 5)).counts.decode()
    work = "(c) => encodeCounts(fillRings(c, 4, 5))"
    assert mapped(work, [[], [[]], [[[1, 1]]], [[[1, 1], [3, 3]]]]) == [empty] * 4


def test_a_vertex_that_is_no_place_is_refused():
    """NaN and infinity never become a mask."""
    for vertex in ("NaN", "-Infinity"):
        (error,) = refusals(f"() => fillRings([[[0, 0], [2, {vertex}], [2, 2]]], 4, 5)", [0])
        assert "not a place" in error


@pytest.mark.parametrize("tolerance", [0, 0.75, 3])
def test_a_simplified_ring_stays_within_its_tolerance(tolerance):
    """Its points are the ring's own, in order, and every other one lies no further from it than allowed."""
    work = f"(c) => rings({DECODED}).map(({{ ring }}) => [ring, simplify(ring, c.tolerance)])"
    cases = [sent(mask) | {"tolerance": tolerance} for mask in bitmaps(60)]
    for ring, simple in (pair for found in mapped(work, cases) for pair in found):
        points, at = [tuple(point) for point in ring], 0
        assert len(simple) >= 3
        start = points.index(tuple(simple[0]))
        turned = points[start:] + points[:start]
        for point in simple:
            at = turned.index(tuple(point), at) + 1
        corners = np.array(simple, float)
        ways = np.roll(corners, -1, axis=0) - corners
        for point in ring:
            apart = np.array(point) - corners
            along = np.clip((apart * ways).sum(axis=1) / (ways**2).sum(axis=1), 0, 1)
            assert np.hypot(*(apart - along[:, None] * ways).T).min() <= tolerance + 1e-9


def test_a_ring_of_few_points_is_left_alone():
    """Three points stay three, whatever the tolerance, and so does what would fall to two."""
    triangle, sliver = [[0, 0], [9, 0], [0, 9]], [[0, 0], [50, 0], [50, 1], [0, 1]]
    found = mapped("(c) => simplify(c, 5)", [triangle, sliver])
    assert found[0] == triangle
    assert len(found[1]) == 3


def test_a_moved_handle_changes_pixels_only_between_the_outlines():
    """What both outlines hold, or neither does, stays as it was; what only the new one holds is added."""
    rng = np.random.default_rng(4)
    cases = []
    for mask in bitmaps(120):
        box = cv2.boundingRect(mask.view(np.uint8))
        before = [[[box[0], box[1]], [box[0] + box[2], box[1]], [box[0] + box[2], box[1] + box[3]]]]
        after = (np.array(before) + rng.uniform(-4, 4, (1, 3, 2))).tolist()
        cases.append(sent(mask) | {"before": before, "after": after, "mask": mask})
    work = (
        f"""(c) => [c.after, c.before].map((rings) => encodeCounts(moveEdges({DECODED}, c.before, rings)))"""
    )
    plain = [{key: case[key] for key in case if key != "mask"} for case in cases]
    for case, (moved, same) in zip(cases, mapped(work, plain), strict=True):
        mask = case["mask"]
        before, after = painted(case["before"], mask.shape), painted(case["after"], mask.shape)
        assert moved == counts_of((mask | after & ~before) & ~(before & ~after))
        assert same == counts_of(mask)


def test_handles_of_a_real_outline_move_alone():
    """On a simplified outline one handle is moved: far from it, no pixel changes."""
    y, x = np.mgrid[:80, :80]
    mask = (x - 40) ** 2 + (y - 40) ** 2 < 30**2
    work = f"""(c) => {{ const m = {DECODED}; const before = rings(m).map(({{ ring }}) => simplify(ring, 2));
        const at = before[0].reduce((best, p, i) => (p[0] > before[0][best][0] ? i : best), 0);
        const after = [before[0].map((p, i) => (i === at ? [p[0] + 9, p[1]] : p))];
        return encodeCounts(moveEdges(m, before, after)); }}"""
    (counts,) = mapped(work, [sent(mask)])
    changed = cv2.boundingRect((rle.to_bitmap(RLE((80, 80), counts.encode())) ^ mask).view(np.uint8))
    assert changed[2] and changed[0] > 50
