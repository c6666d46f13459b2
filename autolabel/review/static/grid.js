// The wall of small pictures: as many elements as fit on the screen and a little more, moved about as one scrolls.

import { make } from "./dom.js";
import { overlay, spansOf } from "./paint.js";
import { instancesOf } from "./rows.js";

/** @typedef {import("./desk.js").Desk} Desk */

const TILE_WIDTH = 208;
const TILE_HEIGHT = 184;
const PICTURE_WIDTH = 200;
const PICTURE_HEIGHT = 150;
const ROWS_AHEAD = 4;
const FRAME_MS = 6; // of drawing in one frame, where somebody scrolls or slides: the rest waits for the next
const STILL_MS = 50; // likewise, where nothing was scrolled for
const STILL_AFTER_MS = 500;
const KEPT_SPANS = 800; // images whose small overlays stay in memory
const STATE_SIGNS = { new: "", accepted: "✓", rejected: "✕", edited: "✎" };

/** @typedef {{element: HTMLElement, picture: HTMLImageElement, canvas: HTMLCanvasElement, name: HTMLElement, sign: HTMLElement, n: number, place: number, drawn: string}} Tile */

/** Pixels are put in once and never drawn upon: they need no graphics card. @param {HTMLCanvasElement} canvas */
function contextOf(canvas) {
  return canvas.getContext("2d", { willReadFrequently: true });
}

export class Grid {
  /**
   * @param {Desk} desk
   * @param {(n: number) => void} open
   */
  constructor(desk, open) {
    this.desk = desk;
    this.open = open;
    this.columns = 1;
    this.focus = 0; // place among the shown
    this.last = -1; // the image there
    this.showsOverlays = true;
    /** @type {Map<number, Tile>} by place */
    this.tiles = new Map();
    /** @type {Tile[]} */
    this.spare = [];
    /** @type {Map<number, {of: string, spans: Map<string, Int32Array>}>} */
    this.spans = new Map();
    this.wanted = false;
    this.scrolled = -Infinity; // when
    this.space = make("div", { className: "al-space", role: "presentation" });
    this.element = make("div", {
      className: "al-grid",
      role: "listbox",
      tabIndex: 0,
      "aria-label": "images",
      onscroll: () => {
        this.scrolled = performance.now();
        this._follow();
        this.draw();
      },
      onclick: (/** @type {MouseEvent} */ event) => this._clicked(event, false),
      ondblclick: (/** @type {MouseEvent} */ event) => this._clicked(event, true),
    }, this.space);
    this.empty = make("p", { className: "al-empty", hidden: true }, "No image is like that: change the filter.");
    this.element.append(this.empty);
    this.watch = new ResizeObserver(() => this.layout());
    this.watch.observe(this.element);
    desk.addEventListener("shown", () => this._reorder());
    desk.addEventListener("figures", () => this.draw(true));
    desk.addEventListener("sheet", () => this.draw(true));
  }

  /** @returns {number} the image that has the focus, or -1 */
  get current() {
    return this.desk.shown[this.focus] ?? -1;
  }

  /** The images changed or their order: the one that has the focus keeps it. */
  _reorder() {
    const place = this.desk.shown.indexOf(this.last);
    if (place >= 0) this.focus = place;
    this.layout();
    if (place >= 0) this.moveTo(place);
  }

  layout() {
    const { length } = this.desk.shown;
    const width = this.element.clientWidth;
    if (!width) return; // it is not on the screen
    const columns = Math.max(1, Math.floor(width / TILE_WIDTH));
    const isOther = columns !== this.columns;
    this.columns = columns;
    this.left = Math.max(0, Math.floor((width - this.columns * TILE_WIDTH) / 2));
    this.space.style.height = `${Math.ceil(length / this.columns) * TILE_HEIGHT}px`;
    this.empty.hidden = length > 0;
    this.focus = Math.max(0, Math.min(this.focus, length - 1));
    if (isOther) this.moveTo(this.focus); // it stays on the screen
    this.draw(true);
  }

  /** Draw what is on the screen, once in a frame. @param {boolean} [anew]  also what stands there already */
  draw(anew = false) {
    this.anew = this.anew || anew;
    if (this.wanted) return;
    this.wanted = true;
    requestAnimationFrame(() => {
      this.wanted = false;
      this._draw();
      this.anew = false;
    });
  }

  /** @returns {[number, number]} first and last row (exclusive), with those ahead */
  _rows() {
    const top = this.element.scrollTop;
    const rows = Math.ceil(this.desk.shown.length / this.columns);
    return [
      Math.max(0, Math.floor(top / TILE_HEIGHT) - ROWS_AHEAD),
      Math.min(rows, Math.ceil((top + this.element.clientHeight) / TILE_HEIGHT) + ROWS_AHEAD),
    ];
  }

  _draw() {
    const [first, last] = this._rows();
    const end = Math.min(this.desk.shown.length, last * this.columns);
    for (const [place, tile] of [...this.tiles]) {
      const isOut = place < first * this.columns || place >= end;
      if (isOut || tile.n !== this.desk.shown[place]) this._remove(place);
    }
    const now = performance.now();
    const isStill = now - this.scrolled > STILL_AFTER_MS;
    const until = now + (isStill && !(this.anew && this.tiles.size) ? STILL_MS : FRAME_MS);
    let later = false;
    /** @type {number[]} */
    const lacking = [];
    const { seen, ahead } = this._inOrder(first * this.columns, end);
    for (const place of [...seen, ...ahead]) {
      if (isStill && lacking.length && place === ahead[0]) break; // they come once all that is seen is drawn
      const known = this.tiles.get(place);
      later = performance.now() > until;
      if (later && !(known && this.anew)) break;
      const tile = known ?? this._add(place);
      if (!known || this.anew) {
        this._put(tile);
        this._fill(tile);
      }
      if (!later && !this._paint(tile)) lacking.push(tile.n);
    }
    for (const { element } of this.spare) element.remove();
    this.element.setAttribute("aria-activedescendant", this.tiles.get(this.focus)?.element.id ?? "");
    if (lacking.length) this._fetch(lacking);
    if (later) requestAnimationFrame(() => this.draw());
  }

  /** Places from `start` to `end`: those on the screen, and the others. @param {number} start @param {number} end */
  _inOrder(start, end) {
    const top = Math.floor(this.element.scrollTop / TILE_HEIGHT) * this.columns;
    const bottom = Math.ceil((this.element.scrollTop + this.element.clientHeight) / TILE_HEIGHT) * this.columns;
    const places = Array.from({ length: end - start }, (_, i) => start + i);
    const isSeen = (/** @type {number} */ place) => place >= top && place < bottom;
    return { seen: places.filter(isSeen), ahead: places.filter((place) => !isSeen(place)) };
  }

  /** @param {number[]} lacking */
  _fetch(lacking) {
    for (let i = 0; i < lacking.length; i += 30) {
      this.desk.fetchMasks(lacking.slice(i, i + 30)).then(() => this.draw(), () => {});
    }
  }

  /** @param {number} place @returns {Tile} */
  _add(place) {
    const tile = this.spare.pop() ?? this._make();
    tile.place = place;
    tile.n = this.desk.shown[place];
    tile.drawn = "";
    delete tile.element.dataset.drawn;
    contextOf(tile.canvas)?.clearRect(0, 0, tile.canvas.width, tile.canvas.height);
    tile.element.id = `${this.desk.uid}-tile-${place}`;
    this._load(tile);
    if (!tile.element.isConnected) this.space.append(tile.element);
    this.tiles.set(place, tile);
    return tile;
  }

  /** @param {Tile} tile */
  _put({ element, place }) {
    const [x, y] = [place % this.columns, Math.floor(place / this.columns)];
    element.style.transform = `translate(${(this.left ?? 0) + x * TILE_WIDTH}px, ${y * TILE_HEIGHT}px)`;
  }

  /** @returns {Tile} */
  _make() {
    const picture = make("img", { className: "al-thumb", alt: "", decoding: "async", draggable: false });
    const canvas = make("canvas", { className: "al-thumb" });
    const name = make("span", { className: "al-name" });
    const sign = make("span", { className: "al-sign", "aria-hidden": "true" });
    const element = make("div", { className: "al-tile", role: "option" }, picture, canvas, name, sign);
    return { element, picture, canvas, name, sign, n: -1, place: -1, drawn: "" };
  }

  /** @param {Tile} tile */
  async _load(tile) {
    const { n } = tile;
    tile.picture.removeAttribute("src");
    const address = this.desk.host.thumb(n);
    const place = typeof address === "string" ? address : await address.catch(() => "");
    if (tile.n === n && place) tile.picture.src = place;
  }

  /** @param {number} place */
  _remove(place) {
    const tile = /** @type {Tile} */ (this.tiles.get(place));
    this.tiles.delete(place);
    tile.n = -1;
    this.spare.push(tile);
  }

  /** @param {Tile} tile */
  _fill(tile) {
    const { desk } = this;
    const { n } = tile;
    const state = desk.state(n);
    const kept = desk.figures.kept(n);
    tile.element.className = `al-tile al-${state}${tile.place === this.focus ? " al-focus" : ""}`;
    tile.element.setAttribute("aria-selected", String(tile.place === this.focus));
    tile.element.setAttribute("aria-posinset", String(tile.place + 1));
    tile.element.setAttribute("aria-setsize", String(desk.shown.length));
    // begins with what is seen, so that it is found by saying it
    tile.element.setAttribute("aria-label", `${kept} · ${desk.name(n)}, ${state}, ${kept} instances`);
    tile.element.dataset.name = desk.name(n);
    tile.name.textContent = `${kept} · ${desk.name(n)}`;
    tile.name.title = desk.name(n);
    tile.sign.textContent = desk.isOutdated(n) ? "?" : STATE_SIGNS[state];
    tile.drawn = "";
  }

  /** Draw a tile's masks. @param {Tile} tile @returns {boolean} whether they are there */
  _paint(tile) {
    if (tile.drawn) return true;
    const { n, canvas } = tile;
    const masks = this.desk.masks(n);
    if (!masks) return false;
    const wh = this.desk.wh(n);
    const scale = Math.min(PICTURE_WIDTH / wh[0], PICTURE_HEIGHT / wh[1]);
    const width = Math.max(1, Math.round(wh[0] * scale));
    const height = Math.max(1, Math.round(wh[1] * scale));
    canvas.width = width;
    canvas.height = height;
    tile.drawn = "yes";
    tile.element.dataset.drawn = "yes"; // for who waits for it
    if (!this.showsOverlays || this.desk.state(n) === "rejected") return true;
    const small = this._smallSpans(n, [width, height]);
    const found = instancesOf(this.desk, n)
      .filter((row) => row.reason === "" && !row.lost)
      .reverse()
      .map((row) => ({ spans: small(row.counts), category: row.category }));
    contextOf(canvas)?.putImageData(overlay(found, width, height), 0, 0);
    return true;
  }

  /** @param {number} n @param {[number, number]} target @returns {(counts: string) => Int32Array} */
  _smallSpans(n, target) {
    const of = target.join("x");
    let known = this.spans.get(n);
    if (!known || known.of !== of) {
      known = { of, spans: new Map() };
      this.spans.set(n, known);
      for (const oldest of this.spans.keys()) {
        if (this.spans.size <= KEPT_SPANS) break;
        this.spans.delete(oldest);
      }
    }
    const { spans } = known;
    return (counts) => {
      let found = spans.get(counts);
      if (!found) spans.set(counts, (found = spansOf(counts, this.desk.wh(n), target)));
      return found;
    };
  }

  /** @param {number} place @param {boolean} [quietly]  without scrolling */
  moveTo(place, quietly = false) {
    const before = this.focus;
    this.focus = Math.max(0, Math.min(place, this.desk.shown.length - 1));
    this.last = this.current;
    if (!quietly) {
      const top = Math.floor(this.focus / this.columns) * TILE_HEIGHT;
      const { scrollTop, clientHeight } = this.element;
      if (top < scrollTop) this.element.scrollTop = top;
      else if (top + TILE_HEIGHT > scrollTop + clientHeight) this.element.scrollTop = top + TILE_HEIGHT - clientHeight;
    }
    for (const changed of [before, this.focus]) {
      const tile = this.tiles.get(changed);
      if (tile) this._fill(tile);
    }
    this.draw();
  }

  /** Keep the focus on the screen when somebody scrolls: keys judge what is seen. */
  _follow() {
    const { scrollTop, clientHeight } = this.element;
    const row = Math.floor(this.focus / this.columns);
    const first = Math.ceil(scrollTop / TILE_HEIGHT - 0.1); // a browser may round
    const last = Math.max(first, Math.floor((scrollTop + clientHeight) / TILE_HEIGHT + 0.1) - 1);
    const nearest = Math.max(first, Math.min(row, last));
    if (nearest !== row) this.moveTo(nearest * this.columns + (this.focus % this.columns), true);
  }

  /** @param {string} key @returns {boolean} whether it was one of the grid's */
  move(key) {
    const page = this.columns * Math.max(1, Math.floor(this.element.clientHeight / TILE_HEIGHT));
    /** @type {Record<string, number>} */
    const steps = {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns,
      PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity,
    };
    if (!(key in steps)) return false;
    this.moveTo(this.focus + steps[key]);
    return true;
  }

  /** @param {MouseEvent} event @param {boolean} twice */
  _clicked(event, twice) {
    const element = /** @type {Element} */ (event.target).closest(".al-tile");
    const tile = [...this.tiles.values()].find((each) => each.element === element);
    if (!tile) return;
    this.moveTo(tile.place, true);
    if (twice) this.open(tile.n);
  }
}
