// The tools of the image view: each follows the pointer and the keys, draws itself, and ends with a result.

import { area, decodeCounts, encodeCounts } from "./masks.js";
import { fillRings, handleBetween, nearestOnLine, outlinesOf, redraw } from "./outlines.js";

/** @typedef {[number, number]} Place  x, y in px of the image */

/**
 * @typedef {object} Tool
 * @property {string} name
 * @property {string} hint
 * @property {(context: CanvasRenderingContext2D, scale: number) => void} draw
 * @property {(at: Place, event: PointerEvent, reach: number) => boolean} down  whether it takes the pointer
 * @property {(at: Place) => void} move
 * @property {() => void} up
 * @property {(event: KeyboardEvent) => boolean} key  whether it was one of the tool's
 * @property {() => boolean} begun  whether something is drawn that would be lost
 * @property {() => void} finish
 */

const LEAST_SIDE = 3; // px of a box that is meant
const LIGHT = "#fff";
const DARK = "#000";

/** @param {CanvasRenderingContext2D} context @param {Place} at @param {number} size @param {string} colour */
function drawDot(context, [x, y], size, colour) {
  context.beginPath();
  context.arc(x, y, size, 0, 7);
  context.fillStyle = colour;
  context.fill();
  context.lineWidth = size / 3;
  context.strokeStyle = DARK;
  context.stroke();
}

/** @param {CanvasRenderingContext2D} context @param {Place[]} points @param {number} scale @param {boolean} closed */
function drawLine(context, points, scale, closed) {
  if (!points.length) return;
  context.beginPath();
  points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  if (closed) context.closePath();
  context.lineWidth = 3.5 / scale;
  context.strokeStyle = DARK;
  context.stroke();
  context.lineWidth = 1.5 / scale;
  context.strokeStyle = LIGHT;
  context.stroke();
}

/** @param {CanvasRenderingContext2D} context @param {Place} at @param {number} scale */
function drawCross(context, [x, y], scale) {
  const arm = 12 / scale;
  drawLine(context, [[x - arm, y], [x + arm, y]], scale, false);
  drawLine(context, [[x, y - arm], [x, y + arm]], scale, false);
}

/**
 * A cross that arrow keys move, for drawing without a pointer. Not seen before it is used.
 *
 * @param {[number, number]} wh
 * @param {() => void} changed
 */
function makeCross(wh, changed) {
  /** @type {{at: Place, seen: boolean, key: (event: KeyboardEvent) => boolean, draw: Tool["draw"]}} */
  const cross = {
    at: [Math.round(wh[0] / 2), Math.round(wh[1] / 2)],
    seen: false,
    key(event) {
      const step = arrowStep(event);
      if (!step) return false;
      cross.seen = true;
      cross.at = clamped([cross.at[0] + step[0], cross.at[1] + step[1]], wh);
      changed();
      return true;
    },
    draw(context, scale) {
      if (cross.seen) drawCross(context, cross.at, scale);
    },
  };
  return cross;
}

/** @param {KeyboardEvent} event @returns {Place | null} */
function arrowStep(event) {
  const far = event.shiftKey ? 20 : 2; // px
  /** @type {Record<string, Place>} */
  const steps = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] };
  return steps[event.key] ?? null;
}

/** @param {Place} at @param {[number, number]} wh @returns {Place} */
function clamped([x, y], wh) {
  return [Math.min(wh[0], Math.max(0, x)), Math.min(wh[1], Math.max(0, y))];
}

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
    if (points.some(([, , positive]) => positive)) asked(points);
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
        if (points.some(([, , positive]) => positive)) asked(points);
      } else return false;
      return true;
    },
    begun: () => points.length > 0,
    finish: done,
  };
}

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
      const edited = redraw(mask, outlines, after);
      done(area(edited) ? encodeCounts(edited) : "");
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
