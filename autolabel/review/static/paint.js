// Colours, and masks drawn into pictures. The colours are those of Okabe and Ito, which colour-blind people tell
// apart; from the ninth class on they come again, with stripes and a dashed line.

import { decodeCounts, spans } from "./masks.js";
import { rings } from "./outlines.js";

const CLASS_COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#b5b5b5"];
const CLASS_DASHES = [[], [6, 3], [2, 3], [9, 3, 2, 3]];

/** @param {number} category */
export function colourOf(category) {
  return CLASS_COLOURS[category % CLASS_COLOURS.length];
}

/** @param {number} category */
export function dashOf(category) {
  return CLASS_DASHES[turnOf(category)];
}

/** Show a class by its colour, and stripes. @param {HTMLElement} swatch @param {number} category */
export function paintSwatch(swatch, category) {
  const colour = colourOf(category);
  const stripes = `repeating-linear-gradient(${45 * turnOf(category)}deg, ${colour} 0 3px, #fff 3px 5px)`;
  swatch.style.background = turnOf(category) ? stripes : colour;
}

/** How often the colours have come before. @param {number} category */
function turnOf(category) {
  return Math.floor(category / CLASS_COLOURS.length) % 4;
}

/** Whether a pixel of a striped class is between its stripes. @param {number} turn @param {number} x @param {number} y */
function isBetween(turn, x, y) {
  const at = turn === 1 ? x + y : turn === 2 ? y : x - y + 65536;
  return (at & 7) < 4;
}

/** @param {number} category @returns {[number, number, number]} */
function rgbOf(category) {
  const value = parseInt(colourOf(category).slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/**
 * The spans of a mask in a picture of another size: [x, y0, y1 (exclusive), ...].
 *
 * @param {string} counts
 * @param {[number, number]} wh  of the mask
 * @param {[number, number]} target  width and height in px
 * @returns {Int32Array}
 */
export function spansOf(counts, wh, target) {
  return spans(decodeCounts(counts, wh[1], wh[0]), target[0], target[1]);
}

/**
 * Draw masks over nothing: filled, with a line at their edges.
 *
 * @param {{spans: Int32Array, category: number}[]} instances  the best last
 * @param {number} width
 * @param {number} height
 * @param {number} opacity  of the fill, 0..1
 * @returns {ImageData}
 */
export function overlay(instances, width, height, opacity = 0.4) {
  const image = new ImageData(width, height);
  const labels = new Uint16Array(width * height);
  instances.forEach(({ spans: found }, i) => {
    for (let s = 0; s < found.length; s += 3) {
      const x = found[s];
      for (let p = found[s + 1] * width + x, end = found[s + 2] * width + x; p < end; p += width) labels[p] = i + 1;
    }
  });
  const colours = instances.map(({ category }) => rgbOf(category));
  const turns = instances.map(({ category }) => turnOf(category));
  const fill = Math.round(255 * opacity);
  const { data } = image;
  for (let y = 0, p = 0; y < height; y++) {
    for (let x = 0; x < width; x++, p++) {
      const label = labels[p];
      if (!label) continue;
      const inside =
        x > 0 && labels[p - 1] === label && x < width - 1 && labels[p + 1] === label &&
        y > 0 && labels[p - width] === label && y < height - 1 && labels[p + width] === label;
      const [r, g, b] = colours[label - 1];
      data[4 * p] = r;
      data[4 * p + 1] = g;
      data[4 * p + 2] = b;
      const turn = turns[label - 1];
      data[4 * p + 3] = !inside ? 255 : turn && isBetween(turn, x, y) ? fill / 4 : fill;
    }
  }
  return image;
}

/**
 * The outline of a mask as a path in px of its image.
 *
 * @param {import("./masks.js").Mask} mask
 * @returns {Path2D}
 */
export function outline(mask) {
  const path = new Path2D();
  for (const { ring } of rings(mask)) {
    ring.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
  }
  return path;
}
