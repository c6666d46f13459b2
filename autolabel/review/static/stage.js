// The picture of one image with its masks, to zoom and pan. Coordinates are px of the image, unless they say "screen".

import { make } from "./dom.js";
import { decodeCounts } from "./masks.js";
import { colourOf, dashOf, outline, overlay, spansOf } from "./paint.js";

/** @typedef {import("./rows.js").Row} Row */

const OVERLAY_SIDE = 1400; // px, the longer side of what masks are filled in

/**
 * @typedef {object} Scene
 * @property {string} name  of the image, once its masks are there
 * @property {Row[]} rows
 * @property {Set<string>} chosen  their keys
 * @property {boolean} masks  whether they are drawn
 * @property {boolean} dropped  whether the dropped ones are, too
 * @property {boolean} dimmed  whether a tool is at work, so that masks step back
 */

export class Stage {
  constructor() {
    this.canvas = make("canvas", { className: "al-canvas", "aria-label": "the image with its masks", role: "img", tabIndex: -1 });
    /** @type {[number, number]} */
    this.wh = [1, 1];
    this.scale = 1;
    this.x = 0; // of the image's corner on the screen, in CSS px
    this.y = 0;
    /** @type {HTMLImageElement | null} */
    this.picture = null;
    /** @type {Scene} */
    this.scene = { name: "", rows: [], chosen: new Set(), masks: true, dropped: false, dimmed: false };
    /** @type {((context: CanvasRenderingContext2D, scale: number) => void) | null} */
    this.above = null; // what a tool draws
    /** @type {Map<string, Path2D>} */
    this.paths = new Map();
    /** @type {Map<string, {id: number, spans: Int32Array}>} */
    this.spans = new Map(); // of this image's masks, by their counts
    this.drawn = ""; // what stands for what is filled
    this.filled = document.createElement("canvas");
    this.fitted = true;
    this.wanted = false;
    this.watch = new ResizeObserver(() => (this.fitted ? this.fit() : this.draw()));
    this.watch.observe(this.canvas);
  }

  /** @param {[number, number]} wh */
  begin(wh) {
    this.wh = wh;
    this.scene = { ...this.scene, name: "", rows: [] }; // masks of another size can't be drawn here
    this.picture = null;
    this.paths.clear();
    this.spans.clear();
    this.drawn = "";
    this.fit();
  }

  /** @param {Scene} scene */
  show(scene) {
    this.scene = scene;
    const shown = scene.masks ? scene.rows.filter((row) => row.reason === "" && !row.lost).reverse() : [];
    const found = shown.map((row) => ({ ...this._spans(row.counts), category: row.category }));
    const drawn = `${scene.dimmed} ${found.map(({ id, category }) => `${id}:${category}`).join()}`;
    if (drawn !== this.drawn) this._fill(found, scene.dimmed ? 0.15 : 0.4);
    this.drawn = drawn;
    this.draw();
  }

  /** @param {{spans: Int32Array, category: number}[]} found @param {number} opacity */
  _fill(found, opacity) {
    const [width, height] = this._size();
    this.filled.width = width;
    this.filled.height = height;
    this.filled.getContext("2d")?.putImageData(overlay(found, width, height, opacity), 0, 0);
  }

  /** @returns {[number, number]} of what masks are filled in */
  _size() {
    const scale = Math.min(1, OVERLAY_SIDE / Math.max(...this.wh));
    return [Math.max(1, Math.round(this.wh[0] * scale)), Math.max(1, Math.round(this.wh[1] * scale))];
  }

  /** @param {string} counts */
  _spans(counts) {
    let known = this.spans.get(counts);
    if (!known) {
      known = { id: this.spans.size, spans: spansOf(counts, this.wh, this._size()) };
      this.spans.set(counts, known);
    }
    return known;
  }

  fit() {
    const { clientWidth, clientHeight } = this.canvas;
    if (!clientWidth) return;
    const scale = Math.min((clientWidth - 16) / this.wh[0], (clientHeight - 16) / this.wh[1]);
    this.scale = Math.max(scale, 0.01);
    this.x = (clientWidth - this.wh[0] * this.scale) / 2;
    this.y = (clientHeight - this.wh[1] * this.scale) / 2;
    this.fitted = true;
    this.draw();
  }

  /** Zoom about a place on the screen. @param {number} factor @param {number} [x] @param {number} [y] */
  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const scale = Math.min(64, Math.max(0.02, this.scale * factor));
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.fitted = false;
    this.draw();
  }

  /** @param {number} dx @param {number} dy  screen px */
  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.fitted = false;
    this.draw();
  }

  /** @param {MouseEvent} event @returns {[number, number]} */
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left - this.x) / this.scale, (event.clientY - box.top - this.y) / this.scale];
  }

  draw() {
    if (this.wanted) return;
    this.wanted = true;
    requestAnimationFrame(() => {
      this.wanted = false;
      this._draw();
    });
  }

  _draw() {
    const { canvas, scale } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    context.setTransform(scale * ratio, 0, 0, scale * ratio, this.x * ratio, this.y * ratio);
    context.imageSmoothingEnabled = scale < 3;
    if (this.picture) context.drawImage(this.picture, 0, 0, this.wh[0], this.wh[1]);
    context.drawImage(this.filled, 0, 0, this.wh[0], this.wh[1]);
    this._outlines(context);
    this.above?.(context, scale);
    canvas.dataset.shown = this.picture ? this.scene.name : ""; // for who waits for it
  }

  /** @param {CanvasRenderingContext2D} context */
  _outlines(context) {
    const { rows, chosen, masks, dropped } = this.scene;
    if (!masks) return;
    const line = 1 / this.scale;
    for (const row of rows) {
      const isChosen = chosen.has(row.key);
      const isGone = row.reason !== "" || row.lost;
      if (!isChosen && !(isGone && dropped)) continue;
      const path = this._path(row);
      context.setLineDash(isGone ? [4 * line, 4 * line] : []);
      if (isChosen) {
        context.lineWidth = 5 * line;
        context.strokeStyle = "#000";
        context.stroke(path);
      }
      context.lineWidth = (isChosen ? 2.5 : 1.5) * line;
      context.strokeStyle = isChosen ? "#fff" : colourOf(row.category);
      if (!isChosen && !isGone) context.setLineDash(dashOf(row.category).map((length) => length * line));
      context.stroke(path);
    }
    context.setLineDash([]);
  }

  /** @param {Row} row */
  _path(row) {
    let path = this.paths.get(row.counts);
    if (!path) {
      path = outline(decodeCounts(row.counts, this.wh[1], this.wh[0]));
      this.paths.set(row.counts, path);
    }
    return path;
  }
}
