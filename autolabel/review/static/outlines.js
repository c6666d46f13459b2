// Outlines of masks: rings along the edges of pixels, rings filled again, and handles that a hand can move.

import { spans, subtract, union } from "./masks.js";

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
 * A ring of fewer points, at least 3 of them, none of the left-out ones further than `tolerance` px from the edge
 * that replaces them (Douglas-Peucker from its leftmost point and the one furthest from that).
 * @param {Ring} ring
 * @param {number} tolerance in px
 * @returns {Ring}
 */
export function simplify(ring, tolerance) {
  if (ring.length <= 3) return ring.slice();
  const leftmost = ring.reduce((best, point, i) => (point[0] < ring[best][0] ? i : best), 0);
  const turned = [...ring.slice(leftmost), ...ring.slice(0, leftmost + 1)];
  const furthest = furthestPoint(turned, 0, turned.length - 1).index;
  const kept = new Set([0, furthest]);
  const open = [[0, furthest], [furthest, turned.length - 1]];
  for (let arc = open.pop(); arc; arc = open.pop()) {
    const { index, distance } = furthestPoint(turned, arc[0], arc[1]);
    if (index < 0 || distance <= tolerance) continue;
    kept.add(index);
    open.push([arc[0], index], [index, arc[1]]);
  }
  if (kept.size < 3) {
    const [near, far] = [furthestPoint(turned, 0, furthest), furthestPoint(turned, furthest, turned.length - 1)];
    kept.add(near.distance >= far.distance ? near.index : far.index);
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
  const [[x0, y0], [x1, y1]] = [points[from], points[to]];
  const [dx, dy] = [x1 - x0, y1 - y0];
  const length = dx * dx + dy * dy;
  let [index, distance] = [-1, -1];
  for (let i = from + 1; i < to; i++) {
    const [x, y] = [points[i][0] - x0, points[i][1] - y0];
    const along = length ? Math.max(0, Math.min(1, (x * dx + y * dy) / length)) : 0;
    const away = Math.hypot(x - along * dx, y - along * dy);
    if (away > distance) [index, distance] = [i, away];
  }
  return { index, distance };
}

/**
 * The mask with what changed between two sets of rings: a moved handle of a simplified outline changes pixels
 * where it was moved and nowhere else.
 * @param {Mask} mask
 * @param {Ring[]} before
 * @param {Ring[]} after
 * @returns {Mask}
 */
export function moveEdges(mask, before, after) {
  const old = fillRings(before, mask.height, mask.width);
  const moved = fillRings(after, mask.height, mask.width);
  return subtract(union(mask, subtract(moved, old)), subtract(old, moved));
}
