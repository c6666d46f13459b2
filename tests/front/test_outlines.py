"""Outlines of the page: rings that give the mask again, and handles that change pixels only where they move."""

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


def test_handles_that_stay_change_nothing():
    """With every handle where it was, and with new ones put in, the mask is the same to the last pixel."""
    work = f"""(c) => {{ const m = {DECODED}; const found = outlinesOf(m, c.tolerance);
        const more = found.map((one) => one.handles.flatMap((a, i) => {{
            const b = one.handles[(i + 1) % one.handles.length];
            return [a, handleBetween(one, a, b, [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2])]; }}));
        const again = more.map((ring) => ring.filter((_, i) => i % 2 === 0));
        return [found.map((one) => one.handles), more, again].map((each) => encodeCounts(redraw(m, found, each))); }}"""
    masks = bitmaps(150)
    cases = [sent(mask) | {"tolerance": i % 4} for i, mask in enumerate(masks)]
    for mask, found in zip(masks, mapped(work, cases), strict=True):
        assert found == [counts_of(mask)] * 3


def test_moved_handles_change_pixels_only_between_the_outlines():
    """Between handles that stay a ring goes as before, straight otherwise; each part loses its own holes alone."""
    work = f"""(c) => {{ const m = {DECODED}; const found = outlinesOf(m, c.tolerance);
        const handles = found.map((one) => one.handles.slice());
        c.moves.forEach(([ring, handle, ...by]) => {{
            const r = Math.floor(ring * found.length);
            const p = Math.floor(handle * handles[r].length);
            handles[r][p] = [handles[r][p][0] + by[0], handles[r][p][1] + by[1]]; }});
        const gone = Math.floor(c.gone * found.length * 3);
        if (handles[gone]) handles[gone] = [];
        return [found, handles, found.map((one, r) => followHandles(one, handles[r])),
            encodeCounts(redraw(m, found, handles))]; }}"""
    rng = np.random.default_rng(4)
    masks = [mask for mask in bitmaps(300) if mask.any()]
    cases = [
        sent(mask)
        | {"tolerance": rng.random(), "gone": rng.random()}
        | {"moves": [[*rng.random(2), *rng.uniform(-9, 9, 2)] for _ in range(3)]}
        for mask in masks
    ]
    still = 0
    for mask, (outlines, handles, followed, moved) in zip(masks, mapped(work, cases), strict=True):
        before = [painted([one["ring"]], mask.shape) for one in outlines]
        after = [painted([ring], mask.shape) for ring in followed]
        edges = [i for i, one in enumerate(outlines) if not one["hole"]]
        parts = {i: after[i].copy() for i in edges}
        for i, one in enumerate(outlines):
            if one["hole"]:
                around = [edge for edge in edges if (before[edge] >= before[i]).all()]
                parts[min(around, key=lambda edge: before[edge].sum())] &= ~after[i]
        assert moved == counts_of(np.logical_or.reduce(list(parts.values())))
        for one, ring, found in zip(outlines, handles, followed, strict=True):
            kept = list(zip(one["handles"], one["handles"][1:] + one["handles"][:1], strict=True))
            for a, b in zip(ring, ring[1:] + ring[:1], strict=True):
                if (a, b) in kept and one["ring"].count(a) == one["ring"].count(b) == 1:
                    before_it, after_it = turned(one["ring"], a), turned(found, a)
                    arc = before_it[: before_it.index(b) + 1]
                    assert after_it[: len(arc)] == arc
                    still += 1
    assert still > 500


def turned(ring: list, start: list) -> list:
    """The same ring from another of its points on."""
    at = ring.index(start)
    return ring[at:] + ring[:at] + [start]


@pytest.mark.parametrize("tolerance", [1, 2.5])
def test_a_moved_handle_leaves_no_crumbs(tolerance):
    """On a ring, whichever handle of its edge or its hole is moved wherever, it stays one part with one hole."""
    y, x = np.mgrid[:80, :80]
    away = (x - 40) ** 2 + (y - 40) ** 2
    mask = (away < 30**2) & (away > 14**2)
    work = f"""(c) => {{ const m = {DECODED}; const found = outlinesOf(m, c.tolerance); const all = [];
        found.forEach((one, r) => one.handles.forEach((_, p) => c.steps.forEach((by) => {{
            const handles = found.map((each) => each.handles.slice());
            handles[r][p] = [handles[r][p][0] + by[0], handles[r][p][1] + by[1]];
            all.push(rings(redraw(m, found, handles)).map((each) => each.hole)); }})));
        return all; }}"""
    steps = [[dx, dy] for dx in (-5, 0, 5) for dy in (-5, 0, 5)]
    (found,) = mapped(work, [sent(mask) | {"tolerance": tolerance, "steps": steps}])
    assert len(found) > 100
    assert all(sorted(holes) == [False, True] for holes in found)


def test_a_ring_without_handles_is_gone():
    """A hole whose points are deleted is filled, a part whose points are deleted vanishes with its hole."""
    mask = np.zeros((20, 20), bool)
    mask[2:12, 2:12] = True
    mask[5:8, 5:8] = False
    mask[15:18, 15:18] = True
    work = f"""(c) => {{ const m = {DECODED}; const found = outlinesOf(m, 1);
        return found.map((_, gone) => encodeCounts(redraw(m, found, found.map((one, r) =>
            r === gone ? [] : one.handles)))); }}"""
    first, hole, other = mask.copy(), mask.copy(), mask.copy()
    first[2:12, 2:12] = False
    hole[5:8, 5:8] = True
    other[15:18, 15:18] = False
    (found,) = mapped(work, [sent(mask)])
    assert sorted(found) == sorted(counts_of(one) for one in (first, hole, other))


def test_a_small_ring_keeps_its_corners():
    """Whatever the tolerance, a box of 3 x 2 px has four handles."""
    mask = np.zeros((5, 6), bool)
    mask[1:3, 2:5] = True
    (found,) = mapped(f"(c) => outlinesOf({DECODED}, 9).map((one) => one.handles)", [sent(mask)])
    assert sorted(map(tuple, found[0])) == [(2, 1), (2, 3), (5, 1), (5, 3)]


def test_what_lies_in_a_hole_outlives_its_ring():
    """A part whose points are deleted leaves the part in its hole; a part drawn over another makes no hole."""
    mask = np.zeros((30, 30), bool)
    mask[2:28, 2:20] = True
    mask[6:24, 6:16] = False
    mask[12:15, 10:13] = True  # in the hole
    mask[12:15, 24:27] = True  # beside it
    work = f"""(c) => {{ const m = {DECODED}; const found = outlinesOf(m, 1);
        const largest = found.reduce((best, one, i) => (one.ring.some(([x]) => x === 2) ? i : best), 0);
        const gone = found.map((one, i) => (i === largest ? [] : one.handles));
        const over = found.map((one, i) => (i !== largest ? one.handles
            : one.handles.map((p) => (p[0] === 20 ? [29, p[1]] : p))));
        return [gone, over].map((each) => encodeCounts(redraw(m, found, each))); }}"""
    ((gone, over),) = mapped(work, [sent(mask)])
    assert rle.to_bitmap(RLE((30, 30), gone.encode())).sum() == 18
    wider = rle.to_bitmap(RLE((30, 30), over.encode()))
    assert wider[2:28, 20:29].all()
    assert wider[12:15, 10:13].all()
