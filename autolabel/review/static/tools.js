// The tools that make a new instance: each follows the pointer and the keys, draws itself, and ends with a result.

import { area, encodeCounts } from "./masks.js";
import { fillRings } from "./outlines.js";
import { clamped, drawDot, drawLine, LIGHT, makeCross } from "./pens.js";

/** @typedef {import("./pens.js").Place} Place */
/** @typedef {import("./pens.js").Tool} Tool */

const LEAST_SIDE = 3; // px of a box that is meant

/**
 * Draw a polygon, point by point; its first point or Enter closes it.
 *
 * @param {[number, number]} wh
 * @param {() => void} changed
 * @param {(counts: string) => void} done
 * @returns {Tool}
 */
export function polygonTool(wh, changed, done) {
  /** @type {Place[]} */
  const points = [];
  const cross = makeCross(wh, changed);
  /** @type {Place | null} */
  let pointer = null;
  const tool = {
    name: "polygon",
    hint: "Click the corners; Enter closes the polygon, Backspace takes the last point back, Esc gives up.",
    /** @type {Tool["draw"]} */
    draw(context, scale) {
      const open = pointer && points.length ? [...points, pointer] : points;
      drawLine(context, open, scale, false);
      points.forEach((at, i) => drawDot(context, at, (i ? 4 : 6) / scale, LIGHT));
      cross.draw(context, scale);
    },
    /** @type {Tool["down"]} */
    down(at, _event, reach) {
      const closes = points.length > 2 && Math.hypot(at[0] - points[0][0], at[1] - points[0][1]) < reach;
      if (closes) tool.finish();
      else points.push(clamped(at, wh));
      changed();
      return true;
    },
    /** @type {Tool["move"]} */
    move(at) {
      pointer = clamped(at, wh);
      changed();
    },
    up() {},
    /** @type {Tool["key"]} */
    key(event) {
      if (cross.key(event)) return true;
      if (event.key === " ") points.push(cross.at);
      else if (event.key === "Backspace" || event.key === "z") points.pop();
      else return false;
      changed();
      return true;
    },
    begun: () => points.length > 0,
    finish() {
      const mask = fillRings([points], wh[1], wh[0]);
      done(points.length > 2 && area(mask) ? encodeCounts(mask) : "");
    },
  };
  return tool;
}

/**
 * Draw a box from corner to corner.
 *
 * @param {[number, number]} wh
 * @param {() => void} changed
 * @param {(box: number[] | null) => void} done
 * @returns {Tool}
 */
export function boxTool(wh, changed, done) {
  /** @type {Place | null} */
  let from = null;
  /** @type {Place | null} */
  let to = null;
  const cross = makeCross(wh, () => {
    if (from) to = cross.at;
    changed();
  });
  const tool = {
    name: "box",
    hint: "Drag a box around the object: a model answers with its mask. Space sets corners at the cross.",
    /** @type {Tool["draw"]} */
    draw(context, scale) {
      if (from && to) drawLine(context, [from, [to[0], from[1]], to, [from[0], to[1]]], scale, true);
      cross.draw(context, scale);
    },
    /** @type {Tool["down"]} */
    down(at) {
      from = clamped(at, wh);
      to = from;
      return true;
    },
    /** @type {Tool["move"]} */
    move(at) {
      if (!from) return;
      to = clamped(at, wh);
      changed();
    },
    up() {
      if (from && to && (from[0] !== to[0] || from[1] !== to[1])) tool.finish();
    },
    /** @type {Tool["key"]} */
    key(event) {
      if (cross.key(event)) return true;
      if (event.key !== " ") return false;
      if (from) tool.finish();
      else from = cross.at;
      changed();
      return true;
    },
    begun: () => from !== null,
    finish() {
      if (!from || !to) return done(null);
      const [a, b] = [from, to];
      from = to = null;
      changed();
      if (Math.min(Math.abs(a[0] - b[0]), Math.abs(a[1] - b[1])) < LEAST_SIDE) return done(null); // a slip
      done([Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])]);
    },
  };
  return tool;
}

/**
 * Points on the object and beside it; each asks anew, Enter keeps the mask.
 *
 * @param {[number, number]} wh
 * @param {() => void} changed
 * @param {(points: number[][]) => void} asked
 * @param {() => void} done
 * @returns {Tool}
 */
export function pointsTool(wh, changed, asked, done) {
  /** @type {[number, number, number][]} */
  const points = [];
  const cross = makeCross(wh, changed);
  /** @param {Place} at @param {boolean} beside */
  const set = (at, beside) => {
    const [x, y] = clamped(at, wh);
    points.push([x, y, beside ? 0 : 1]);
    changed();
    asked(points);
  };
  return {
    name: "points",
    hint: "Click on the object, with Shift beside it: a model answers with its mask. Enter keeps it.",
    draw(context, scale) {
      for (const [x, y, positive] of points) drawDot(context, [x, y], 5 / scale, positive ? "#009e73" : "#d55e00");
      cross.draw(context, scale);
    },
    down(at, event) {
      set(at, event.shiftKey);
      return true;
    },
    move() {},
    up() {},
    key(event) {
      if (cross.key(event)) return true;
      if (event.key === " ") set(cross.at, event.shiftKey);
      else if (event.key === "Backspace" || event.key === "z") {
        points.pop();
        changed();
        asked(points);
      } else return false;
      return true;
    },
    begun: () => points.length > 0,
    finish: done,
  };
}
