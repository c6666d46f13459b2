// What the tools draw with: dots, lines, and a cross that keys move.

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

export const LIGHT = "#fff";
const DARK = "#000";

/** @param {CanvasRenderingContext2D} context @param {Place} at @param {number} size @param {string} colour */
export function drawDot(context, [x, y], size, colour) {
  context.beginPath();
  context.arc(x, y, size, 0, 7);
  context.fillStyle = colour;
  context.fill();
  context.lineWidth = size / 3;
  context.strokeStyle = DARK;
  context.stroke();
}

/** @param {CanvasRenderingContext2D} context @param {Place[]} points @param {number} scale @param {boolean} closed */
export function drawLine(context, points, scale, closed) {
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
export function drawCross(context, [x, y], scale) {
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
export function makeCross(wh, changed) {
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
export function arrowStep(event) {
  const far = event.shiftKey ? 20 : 2; // px
  /** @type {Record<string, Place>} */
  const steps = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] };
  return steps[event.key] ?? null;
}

/** @param {Place} at @param {[number, number]} wh @returns {Place} */
export function clamped([x, y], wh) {
  return [Math.min(wh[0], Math.max(0, x)), Math.min(wh[1], Math.max(0, y))];
}
