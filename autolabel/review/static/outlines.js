// Outlines of masks: rings along the edges of pixels, rings filled again, and handles that a hand can move.

import { area, contains, spans, subtract, union } from "./masks.js";

/** @typedef {import("./masks.js").Mask} Mask */
/** @typedef {[number, number]} Point x and y in px; whole numbers are corners of pixels */
/** @typedef {Point[]} Ring a closed polygon; the first point is not repeated at the end */

/**
 * Its boundary along the edges of pixels: a ring around every part and every hole, each point a corner.
 *
 * Foreground lies to the right of a ring's way (y points down), so holes go the other way round. Parts are those
 * of `parts`: where pixels touch at a corner only, a ring may go through a point twice.
 * @param {Mask} mask
 * @returns {{ring: Ring, hole: boolean}[]}
 */
export function rings(mask) {
  const columns = spans(mask, mask.width, mask.height);
  const following = linkEdges(columns);
  const found = [];
  for (let first = 0; first < following.length; first++) {
    /** @type {Ring} */
    const ring = [];
    for (let edge = first; following[edge] >= 0; ) {
      const next = following[edge];
      const x = columns[3 * (edge >> 1)] + (edge & 1 ? 0 : 1);
      const [from, to] = [edgeRow(columns, edge), edgeRow(columns, next)];
      if (from !== to) ring.push([x, from], [x, to]);
      following[edge] = -1;
      edge = next;
    }
    // The first edge of a ring is its topmost in its leftmost column: a span's bottom there is above a hole.
    if (ring.length) found.push({ ring, hole: first % 2 === 1 });
  }
  return found;
}

/**
 * The edge after each on its ring. Edge 2 i is the top of span i and leads right, 2 i + 1 its bottom and leads left.
 *
 * Along a line between columns the ends of these edges, sorted and taken in pairs, bound the stretches where
 * foreground meets background.
 * @param {Int32Array} columns
 */
function linkEdges(columns) {
  const edges = (columns.length / 3) * 2;
  const following = new Int32Array(edges);
  for (let left = 0, right = 0, open = -1; left < edges; ) {
    const x = Math.min(columns[3 * (left >> 1)] + 1, columns[3 * (right >> 1)] ?? Infinity);
    while (true) {
      const hasLeft = left < edges && columns[3 * (left >> 1)] + 1 === x;
      const hasRight = right < edges && columns[3 * (right >> 1)] === x;
      if (!hasLeft && !hasRight) break;
      const below = hasLeft && hasRight ? edgeRow(columns, left) - edgeRow(columns, right) : hasLeft ? -1 : 1;
      // Where a bottom and a top meet, the top goes first: it closes the stretch above, and the corner connects.
      const isRightEnd = below < 0 || (below === 0 && left % 2 === 0);
      const edge = isRightEnd ? left++ : right++;
      if (open < 0) {
        open = edge;
        continue;
      }
      const isLeaving = isRightEnd === (edge % 2 === 0); // of the two, the other one is not
      following[isLeaving ? edge : open] = isLeaving ? open : edge;
      open = -1;
    }
  }
  return following;
}

/**
 * @param {Int32Array} columns
 * @param {number} edge
 */
function edgeRow(columns, edge) {
  return columns[3 * (edge >> 1) + 1 + (edge & 1)];
}

/**
 * The pixels whose centres lie inside the rings by the even-odd rule: holes are rings too, and which way a ring
 * goes does not matter. What lies outside the image is cut off. A centre on an edge belongs to what is right of or
 * below the edge.
 * @param {Ring[]} outlines vertices anywhere, fractions and all
 * @param {number} height in px
 * @param {number} width in px
 * @returns {Mask}
 * @throws {Error} for a vertex that is not finite
 */
export function fillRings(outlines, height, width) {
  const { rows, closing } = ringCrossings(outlines, height, width);
  const bounds = new Uint32Array(rows.length);
  let used = 0;
  for (let x = 0; x < width; x++) {
    const crossings = rows.subarray(x ? closing[x - 1] : 0, closing[x]).sort();
    for (const row of crossings) {
      // Two crossings at one place undo each other; so do the end of a column and the start of the next.
      if (used && bounds[used - 1] === x * height + row) used--;
      else bounds[used++] = x * height + row;
    }
  }
  return { height, width, bounds: bounds.slice(0, used) };
}

/**
 * The rows at which edges cross the centres of columns, column by column, and where in `rows` each column ends.
 * @param {Ring[]} outlines
 * @param {number} height
 * @param {number} width
 */
function ringCrossings(outlines, height, width) {
  const edges = outlines.flatMap((ring) => ring.map((point, i) => orderedEdge(ring.at(i - 1) ?? point, point, width)));
  const closing = new Uint32Array(width);
  for (const { first, end } of edges) for (let x = first; x < end; x++) closing[x]++;
  let total = 0;
  for (let x = 0; x < width; x++) [closing[x], total] = [total, total + closing[x]];
  const rows = new Int32Array(total);
  for (const { left, right, first, end } of edges) {
    for (let x = first; x < end; x++) {
      const y = left[1] + ((x + 0.5 - left[0]) * (right[1] - left[1])) / (right[0] - left[0]);
      rows[closing[x]++] = Math.max(0, Math.min(height, Math.ceil(y - 0.5)));
    }
  }
  return { rows, closing };
}

/**
 * An edge from left to right, so that both ways along it cross at the same rows, with the columns [first, end)
 * whose centres it passes.
 * @param {Point} a
 * @param {Point} b
 * @param {number} width
 */
function orderedEdge(a, b, width) {
  if (![...a, ...b].every(Number.isFinite)) throw new Error("an outline has a vertex that is not a place");
  const [left, right] = a[0] <= b[0] ? [a, b] : [b, a];
  const first = Math.max(0, Math.min(width, Math.ceil(left[0] - 0.5)));
  return { left, right, first, end: Math.max(first, Math.min(width, Math.ceil(right[0] - 0.5))) };
}

/**
 * A ring of fewer points, at least 3 of them and its own, none of the left-out ones further than `tolerance` px from
 * the edge that replaces them (Douglas-Peucker from its leftmost point, the one furthest from that, and the one
 * furthest from the line between these).
 * @param {Ring} ring
 * @param {number} tolerance in px
 * @returns {Ring}
 */
export function simplify(ring, tolerance) {
  if (ring.length <= 3) return ring.slice();
  const leftmost = ring.reduce((best, point, i) => (point[0] < ring[best][0] ? i : best), 0);
  const turned = [...ring.slice(leftmost), ...ring.slice(0, leftmost + 1)];
  const last = turned.length - 1;
  const furthest = furthestPoint(turned, 0, last).index;
  const [near, far] = [furthestPoint(turned, 0, furthest), furthestPoint(turned, furthest, last)];
  const first = [furthest, near.distance >= far.distance ? near.index : far.index].sort((a, b) => a - b);
  const kept = new Set([0, ...first]);
  const open = [[0, first[0]], first, [first[1], last]];
  for (let arc = open.pop(); arc; arc = open.pop()) {
    const { index, distance } = furthestPoint(turned, arc[0], arc[1]);
    if (index < 0 || distance <= tolerance) continue;
    kept.add(index);
    open.push([arc[0], index], [index, arc[1]]);
  }
  return turned.filter((_, i) => kept.has(i));
}

/**
 * Of the points between two, the one furthest from the straight line from the one to the other; -1 for none.
 * @param {Ring} points
 * @param {number} from
 * @param {number} to
 */
function furthestPoint(points, from, to) {
  let [index, distance] = [-1, -1];
  for (let i = from + 1; i < to; i++) {
    const [x, y] = nearestOnLine(points[from], points[to], points[i]);
    const away = Math.hypot(points[i][0] - x, points[i][1] - y);
    if (away > distance) [index, distance] = [i, away];
  }
  return { index, distance };
}

/**
 * A ring of a mask with handles, `ways` from which of its points to which others it is followed: from each handle to
 * the next.
 * @typedef {{ring: Ring, hole: boolean, handles: Ring, ways: Map<Point, Set<Point>>}} Outline
 */

/**
 * The rings of a mask with handles, no further than `tolerance` px from each; on a small one they stand closer.
 * @param {Mask} mask
 * @param {number} tolerance in px
 * @returns {Outline[]}
 */
export function outlinesOf(mask, tolerance) {
  return rings(mask).map(({ ring, hole }) => {
    const handles = simplify(ring, Math.min(tolerance, shorterSide(ring) / 4));
    const ways = new Map(handles.map((a, i) => [a, new Set([handles[(i + 1) % handles.length]])]));
    return { ring, hole, handles, ways };
  });
}

/** @param {Ring} ring @returns {number} of the box around it, in px */
function shorterSide(ring) {
  const [[left, top], [right, bottom]] = [Math.min, Math.max].map((most) =>
    ring.reduce(([x, y], point) => [most(x, point[0]), most(y, point[1])]));
  return Math.min(right - left, bottom - top);
}

/**
 * The points of an outline's ring between two of its points, null where it is not followed from the one to the other.
 * @param {Outline} outline
 * @param {Point} a  the very point, not one at its place
 * @param {Point} b  likewise
 * @returns {Ring | null}
 */
function arcBetween({ ring, ways }, a, b) {
  if (!ways.get(a)?.has(b)) return null;
  const [from, to] = [ring.indexOf(a), ring.indexOf(b)];
  return from < to ? ring.slice(from + 1, to) : [...ring.slice(from + 1), ...ring.slice(0, to)];
}

/**
 * The ring of an outline whose handles were moved: between two that were not it goes as before, pixel by pixel,
 * straight otherwise.
 * @param {Outline} outline
 * @param {Ring} handles  its own, in their order, some replaced, left out or put in
 * @returns {Ring}
 */
export function followHandles(outline, handles) {
  return handles.flatMap((a, i) => [a, ...(arcBetween(outline, a, handles[(i + 1) % handles.length]) ?? [])]);
}

/**
 * A new handle between two: the point of the ring that is nearest where it is followed there, else the nearest on
 * the straight line; so nothing changes until it is moved. The outline learns the ways to it.
 * @param {Outline} outline
 * @param {Point} a
 * @param {Point} b  the handle after it
 * @param {Point} at
 * @returns {Point}
 */
export function handleBetween(outline, a, b, at) {
  const away = (/** @type {Point} */ [x, y]) => Math.hypot(x - at[0], y - at[1]);
  const arc = arcBetween(outline, a, b) ?? [];
  if (!arc.length) return nearestOnLine(a, b, at);
  const found = arc.reduce((best, point) => (away(point) < away(best) ? point : best));
  outline.ways.get(a)?.add(found);
  outline.ways.set(found, (outline.ways.get(found) ?? new Set()).add(b));
  return found;
}

/** @param {Point} a @param {Point} b @param {Point} at @returns {Point} the point of the line from a to b nearest to another */
export function nearestOnLine(a, b, at) {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const length = dx * dx + dy * dy;
  const along = length ? Math.max(0, Math.min(1, ((at[0] - a[0]) * dx + (at[1] - a[1]) * dy) / length)) : 0;
  return [a[0] + along * dx, a[1] + along * dy];
}

/**
 * The mask whose outlines follow their handles; where none was moved it is the same to the last pixel.
 *
 * Each part is what its edge holds less its own holes, so a part that is drawn over another, or over what lies in
 * one of its holes, takes nothing away there.
 * @param {Mask} mask
 * @param {Outline[]} outlines  `outlinesOf(mask, ...)`
 * @param {Ring[]} handles  of each; fewer than 3 take the ring away
 * @returns {Mask}
 */
export function redraw({ height, width }, outlines, handles) {
  const before = outlines.map(({ ring }) => fillRings([ring], height, width));
  const edges = [...outlines.keys()].filter((i) => !outlines[i].hole).sort((a, b) => area(before[a]) - area(before[b]));
  const after = outlines.map((outline, i) =>
    fillRings(handles[i].length < 3 ? [] : [followHandles(outline, handles[i])], height, width));
  outlines.forEach(({ hole }, i) => {
    if (!hole) return;
    const [first] = before[i].bounds; // its first pixel, which no part within it holds
    const around = edges.find((edge) => contains(before[edge], Math.floor(first / height), first % height));
    if (around !== undefined) after[around] = subtract(after[around], after[i]);
  });
  /** @type {Mask} */
  const nothing = { height, width, bounds: new Uint32Array(0) };
  return edges.reduce((all, edge) => union(all, after[edge]), nothing);
}
