// The tool that changes an outline, point by point.

import { area, decodeCounts, encodeCounts } from "./masks.js";
import { handleBetween, nearestOnLine, outlinesOf, redraw } from "./outlines.js";
import { arrowStep, clamped, drawCross, drawDot, drawLine, LIGHT } from "./pens.js";

/** @typedef {import("./pens.js").Place} Place */
/** @typedef {import("./pens.js").Tool} Tool */

/**
 * Move, add and delete the points of an outline, holes included. What is not touched keeps every pixel.
 *
 * @param {[number, number]} wh
 * @param {string} counts
 * @param {number} tolerance  in px: how far the points may stand from the outline
 * @param {() => void} changed
 * @param {(counts: string) => void} done  with "" where nothing is left
 * @returns {Tool}
 */
export function outlineTool(wh, counts, tolerance, changed, done) {
  const mask = decodeCounts(counts, wh[1], wh[0]);
  const outlines = outlinesOf(mask, tolerance);
  // a handle that was not moved is the very point of its ring; rings that were taken away are empty
  let after = outlines.map(({ handles }) => handles.slice());
  /** @type {Place[][][]} */
  const past = [];
  /** @type {[number, number] | null} */
  let held = null; // ring and point
  let grip = /** @type {Place} */ ([0, 0]); // from the pointer to that point
  let picked = /** @type {[number, number]} */ ([0, 0]);
  let byKey = false;

  const firstLeft = () => Math.max(0, after.findIndex((ring) => ring.length));
  const remember = () => past.push(after.map((ring) => ring.slice()));
  const remove = () => {
    remember();
    const [r, p] = picked;
    after[r].splice(p, 1);
    if (after[r].length < 3) after[r] = [];
    picked = [after[r].length ? r : firstLeft(), 0];
    changed();
  };
  /** A new point after another. @param {number} r @param {number} p @param {Place} at */
  const insert = (r, p, at) => {
    remember();
    const [a, b] = [after[r][p], after[r][(p + 1) % after[r].length]];
    after[r].splice(p + 1, 0, handleBetween(outlines[r], a, b, at));
    picked = [r, p + 1];
  };
  /** The point within reach, or that on the nearest edge as a new one. @param {Place} at @param {number} reach */
  const pick = (at, reach) => {
    const point = nearestPoint(after, at);
    if (point && point.away < reach) return (picked = [point.r, point.p]);
    const edge = nearestEdge(after, at);
    if (!edge || edge.away > reach) return null;
    insert(edge.r, edge.p, at);
    return picked;
  };

  /** @type {Tool} */
  const tool = {
    name: "outline",
    hint: "Drag points; click an edge to add one; Delete or a right click removes one. Enter keeps, Esc gives up.",
    draw(context, scale) {
      after.forEach((ring, r) => {
        drawLine(context, ring, scale, true);
        ring.forEach((at, p) => {
          const isPicked = r === picked[0] && p === picked[1];
          drawDot(context, at, (isPicked ? 6 : 3.5) / scale, isPicked ? "#f0e442" : LIGHT);
        });
      });
      if (byKey && after[picked[0]]?.[picked[1]]) drawCross(context, after[picked[0]][picked[1]], scale);
    },
    down(at, event, reach) {
      if (event.button === 2) {
        const point = nearestPoint(after, at);
        if (!point || point.away > reach) return false;
        picked = [point.r, point.p];
        remove();
        return true;
      }
      const known = past.length;
      held = pick(at, reach);
      if (held && past.length === known) remember();
      const [x, y] = held ? after[held[0]][held[1]] : at;
      grip = [x - at[0], y - at[1]];
      changed();
      return held !== null;
    },
    move(at) {
      if (!held) return;
      after[held[0]][held[1]] = clamped([at[0] + grip[0], at[1] + grip[1]], wh);
      changed();
    },
    up() {
      held = null;
    },
    key(event) {
      const [r, p] = picked;
      const ring = after[r]?.length ? after[r] : null;
      const step = arrowStep(event);
      if (step && ring) {
        byKey = true;
        remember();
        after[r][p] = clamped([ring[p][0] + step[0] / 2, ring[p][1] + step[1] / 2], wh);
      } else if (event.key === "Tab" && ring) {
        byKey = true;
        picked = neighbour(after, picked, event.shiftKey ? -1 : 1);
      } else if (event.key === "i" && ring) {
        const next = ring[(p + 1) % ring.length];
        insert(r, p, [(ring[p][0] + next[0]) / 2, (ring[p][1] + next[1]) / 2]);
      } else if ((event.key === "Delete" || event.key === "Backspace") && ring) {
        remove();
      } else if (event.key === "z" && past.length) {
        after = past.pop() ?? after;
        picked = [firstLeft(), 0];
      } else {
        return false;
      }
      changed();
      return true;
    },
    begun: () => past.length > 0,
    finish() {
      if (!past.length) return done(counts); // as it was told, to the letter
      const edited = redraw(mask, outlines, after);
      return done(area(edited) ? encodeCounts(edited) : "");
    },
  };
  return tool;
}

/** @param {Place[][]} outlines @param {[number, number]} from @param {number} step @returns {[number, number]} */
function neighbour(outlines, [r, p], step) {
  const next = p + step;
  if (next >= 0 && next < outlines[r].length) return [r, next];
  let ring = r;
  do ring = (ring + step + outlines.length) % outlines.length;
  while (!outlines[ring].length);
  return [ring, step > 0 ? 0 : outlines[ring].length - 1];
}

/** @param {Place[][]} outlines @param {Place} at */
function nearestPoint(outlines, [x, y]) {
  /** @type {{r: number, p: number, away: number} | null} */
  let best = null;
  outlines.forEach((ring, r) =>
    ring.forEach((point, p) => {
      const away = Math.hypot(point[0] - x, point[1] - y);
      if (!best || away < best.away) best = { r, p, away };
    }),
  );
  return /** @type {{r: number, p: number, away: number} | null} */ (best);
}

/** @param {Place[][]} outlines @param {Place} at */
function nearestEdge(outlines, [x, y]) {
  /** @type {{r: number, p: number, away: number} | null} */
  let best = null;
  outlines.forEach((ring, r) =>
    ring.forEach((point, p) => {
      const [nearX, nearY] = nearestOnLine(point, ring[(p + 1) % ring.length], [x, y]);
      const away = Math.hypot(nearX - x, nearY - y);
      if (!best || away < best.away) best = { r, p, away };
    }),
  );
  return /** @type {{r: number, p: number, away: number} | null} */ (best);
}
