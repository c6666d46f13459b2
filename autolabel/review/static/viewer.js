// One image: its instances in a list and on the stage, what is chosen, and what the keys decide about it.

import { make } from "./dom.js";
import { Editor } from "./editor.js";
import { decodeCounts } from "./masks.js";
import { Pictures } from "./pictures.js";
import { followPointer } from "./pointer.js";
import { decided, openAgain, restored, withdrawn } from "./reviews.js";
import { fateOf, instancesOf, judgeImage, takenBack, withoutDoubles } from "./rows.js";
import { Side } from "./side.js";
import { Stage } from "./stage.js";

/** @typedef {import("./desk.js").Desk} Desk */
/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./types.js").Sheet} Sheet */


export class Viewer {
  /**
   * @param {Desk} desk
   * @param {(n: number) => void} closed
   */
  constructor(desk, closed) {
    this.desk = desk;
    this.closed = closed;
    this.n = -1;
    this.place = 0; // among the shown; a half between two
    /** @type {number[]} */
    this.around = []; // what was shown when it was found
    /** @type {Row[]} */
    this.rows = [];
    /** @type {Set<string>} */
    this.chosen = new Set();
    this.masks = true;
    this.dropped = false;
    this.pictures = new Pictures(desk.host);
    this.stage = new Stage();
    this.isWanted = false; // a drawing of the list, in the next frame
    this.title = make("h2", { className: "al-title", tabIndex: -1 });
    this.hint = make("p", { className: "al-hint", role: "status" });
    this.side = new Side(desk, (key, more) => this.choose(key, more), (category) => this.label(category));
    this.element = make("section", { className: "al-viewer", hidden: true, "aria-label": "one image" },
      make("div", { className: "al-viewer-head" }, this.title, this._makeButtons()),
      make("div", { className: "al-viewer-body" }, this.stage.canvas, this.side.element),
      this.hint);
    this.editor = new Editor(this);
    followPointer(this);
    desk.addEventListener("figures", () => this.isOpen && this.refresh());
    desk.addEventListener("shown", () => {
      if (!this.isOpen) return;
      this._find();
      this.refresh();
    });
    desk.addEventListener("sheet", (event) => {
      if (/** @type {CustomEvent} */ (event).detail === this.n) this.editor.check();
    });
  }

  get isOpen() {
    return !this.element.hidden;
  }

  // ---- which image --------------------------------------------------------------------------------------------

  /** @param {number} n */
  async open(n) {
    this.editor.leave();
    this.element.hidden = false;
    this.n = n;
    this._find();
    this.chosen = new Set();
    this.rows = [];
    this.element.setAttribute("aria-busy", "true");
    this.stage.begin(this.desk.wh(n));
    this.refresh();
    const near = [n, this._beside(1), this._beside(-1)].filter((each) => each !== undefined);
    const masks = this.desk.fetchMasks(near).then(() => this.n === n && this.refresh(), (error) => this.desk.say(error.message));
    try {
      const picture = await this.pictures.find(n);
      if (this.n !== n) return;
      this.stage.picture = picture;
      this.stage.draw();
    } catch {
      this.desk.say(`${this.desk.name(n)} can't be shown: its file is gone, or is another one now, or the review was ended`);
    }
    await masks;
    if (this.n === n) this.element.setAttribute("aria-busy", "false");
    for (const each of near.slice(1)) this.pictures.find(each).catch(() => {});
  }

  close() {
    this.editor.leave();
    this.element.hidden = true;
    this.closed(this.n);
  }

  /** @param {number} step */
  go(step) {
    const n = this._beside(step);
    if (n === undefined) this.desk.say(step > 0 ? "this was the last image" : "this is the first image");
    else this.open(n);
  }

  /** @param {number} step @returns {number | undefined} the next image that is shown, or the one before */
  _beside(step) {
    return this.desk.shown[step > 0 ? Math.floor(this.place) + 1 : Math.ceil(this.place) - 1];
  }

  /** Find the place of the image; one that is not among the shown lies between those that were around it. */
  _find() {
    const { shown } = this.desk;
    const at = shown.indexOf(this.n);
    if (at >= 0) this.place = at;
    else if (this.around === shown) this.place = Math.ceil(this.place) - 0.5;
    else {
      const places = new Map(shown.map((n, place) => [n, place]));
      const next = this.around.slice(Math.floor(this.place) + 1).find((n) => places.has(n));
      this.place = (places.get(next ?? -1) ?? shown.length) - 0.5;
    }
    this.around = shown;
  }

  // ---- what is shown ------------------------------------------------------------------------------------------

  /** Show the image as it is decided and filtered now. */
  refresh() {
    const { desk, n } = this;
    this.rows = instancesOf(desk, n);
    const keys = new Set(this.rows.map((row) => row.key));
    for (const key of this.chosen) if (!keys.has(key)) this.chosen.delete(key);
    const state = desk.state(n);
    const place = Number.isInteger(this.place) ? this.place + 1 : "–";
    this.title.textContent = `${place} of ${desk.shown.length} · ${desk.name(n)} · ${state}`;
    this.title.dataset.state = state;
    if (this.isWanted) return;
    this.isWanted = true;
    requestAnimationFrame(() => {
      this.isWanted = false;
      this.side.show(this.listed, this.chosen);
      this.draw();
    });
  }

  draw() {
    const { rows, chosen, masks, dropped } = this;
    const name = this.desk.masks(this.n) ? this.desk.name(this.n) : "";
    this.stage.show({ name, rows, chosen, masks, dropped, dimmed: this.editor.tool !== null });
  }

  /** Show a mask that is not kept yet. @param {string} counts @param {number} category */
  preview(counts, category) {
    /** @type {Row} */
    const row = {
      key: "found", local: null, k: -1, id: "", category, name: "", prompt: "", score: null, counts, reason: "",
      verdict: "", changed: false, lost: false,
    };
    this.stage.show({
      name: this.desk.name(this.n), rows: [...this.rows, row], chosen: new Set(["found"]), masks: true, dropped: false,
      dimmed: true,
    });
  }

  /** The instances in the list. */
  get listed() {
    return this.rows.filter((row) => this._isListed(row));
  }

  /** @param {Row} row */
  _isListed(row) {
    return this.dropped || row.lost || row.reason === "" || row.verdict !== "" || this.chosen.has(row.key);
  }

  /** @param {string | null} key @param {boolean} [more]  beside what is chosen already */
  choose(key, more = false) {
    this.editor.leave();
    if (!more) this.chosen = new Set();
    if (key !== null && !(more && this.chosen.delete(key))) this.chosen.add(key);
    this.refresh();
  }

  /** @param {number} step @param {boolean} more */
  _step(step, more) {
    const { listed } = this;
    if (!listed.length) return;
    const last = [...this.chosen].pop();
    const at = listed.findIndex((row) => row.key === last);
    const next = at < 0 ? (step > 0 ? 0 : listed.length - 1) : (at + step + listed.length) % listed.length;
    this.choose(listed[next].key, more);
    this.side.list.focus();
  }

  // ---- decisions ----------------------------------------------------------------------------------------------

  get sheet() {
    return this.desk.sheet(this.n);
  }

  get chosenRows() {
    return this.rows.filter((row) => this.chosen.has(row.key));
  }

  /** @param {Row} row @returns {import("./reviews.js").Target} */
  target(row) {
    return row.local === null ? { k: row.k } : { local: row.local, id: row.id };
  }

  /** @param {Row} row */
  mask(row) {
    const [width, height] = this.desk.wh(this.n);
    return decodeCounts(row.counts, height, width);
  }

  /** @param {(sheet: Sheet, row: Row) => Sheet} decide @param {string} what */
  _onChosen(decide, what) {
    this.editor.leave();
    const rows = this.chosenRows;
    if (!rows.length) return this.desk.say("choose an instance first: ↓ or a click");
    // from the last decision on: taking one away moves those after it
    const after = rows.sort((a, b) => b.k - a.k).reduce(decide, this.sheet);
    return this.desk.change(this.n, after, `${what} in ${this.desk.name(this.n)}`);
  }

  /** @param {"accepted" | "rejected"} verdict */
  judge(verdict) {
    this.editor.leave();
    if (!this.chosen.size) {
      judgeImage(this.desk, this.n, verdict).catch((error) => this.desk.say(`not judged: ${error.message}`));
      this.go(1);
      return;
    }
    const stuck = this.chosenRows.find((row) => row.lost && (row.verdict === "rejected" || !this.desk.classes.includes(row.name)));
    if (stuck && verdict === "accepted") {
      this.desk.say(fateOf(this.desk, stuck));
      return;
    }
    const { listed } = this;
    const at = listed.findIndex((row) => this.chosen.has(row.key));
    const next = this.chosen.size === 1 ? (listed[at + 1] ?? listed[at]) : null;
    const isSo = verdict === "accepted" && this.chosenRows.every((row) => row.verdict === "accepted" && !row.lost);
    if (isSo) this.desk.say(`accepted an instance in ${this.desk.name(this.n)}`); // an edited one is
    else this._onChosen((sheet, row) => {
      if (row.lost) return verdict === "accepted" ? restored(sheet, row.k, row.name) : withdrawn(sheet, row.k);
      if (verdict === "rejected" && row.local === null) return withdrawn(sheet, row.k);
      const after = decided(sheet, this.target(row), { verdict });
      return verdict === "rejected" ? withoutDoubles(this.desk, this.n, after, row) : after;
    }, `${verdict} an instance`);
    if (next) this.choose(next.key);
  }

  withdraw() {
    this.editor.leave();
    if (this.chosen.size) {
      const { instances } = this.sheet.review;
      return this._onChosen((sheet, row) => {
        const decision = instances[row.k]; // it may have gone with another one
        return sheet.review.instances.includes(decision) ? takenBack(sheet, decision) : sheet;
      }, "withdrew a decision");
    }
    return this.desk.change(this.n, openAgain(this.sheet), `withdrew the verdict on ${this.desk.name(this.n)}`);
  }

  /** @param {number} category */
  label(category) {
    const name = this.desk.classes[category];
    if (name === undefined) return this.desk.say(`there is no class ${category + 1}`);
    if (this.editor.tool && this.editor.give(category)) return undefined; // what is drawn is meant
    this.editor.lastClass = category;
    return this._onChosen((sheet, row) => {
      if (row.lost && row.verdict === "rejected") return sheet;
      // where its class alone is gone, the answer may still be there
      if (row.lost && !this.desk.classes.includes(row.name)) return decided(sheet, this.target(row), { category: name });
      if (row.lost) return restored(sheet, row.k, name);
      const own = row.local !== null && this.desk.figures.ownCategory(this.n, row.local) === category;
      const after = decided(sheet, this.target(row), { category: own ? null : name, verdict: "accepted" });
      return withoutDoubles(this.desk, this.n, after, row);
    }, `relabelled as ${name}`);
  }

  // ---- keys ---------------------------------------------------------------------------------------------------

  /** @param {KeyboardEvent} event @returns {boolean} whether it was one of the viewer's */
  key(event) {
    if (this._view(event)) return true;
    const { tool } = this.editor;
    if (tool) return this._toolKey(tool, event);
    const act = this._actions()[event.key];
    if (/^[1-9]$/.test(event.key)) this.label(Number(event.key) - 1);
    else if (event.key === "Enter") this._restore();
    else if (event.key === "Escape" && this.chosen.size) this.choose(null);
    else if (event.key === "Escape") this.close();
    else if (event.key === "ArrowDown") this._step(1, event.shiftKey);
    else if (event.key === "ArrowUp") this._step(-1, event.shiftKey);
    else if (act) act();
    else return false;
    return true;
  }

  /** A tool takes z as its own undo. @param {import("./pens.js").Tool} tool @param {KeyboardEvent} event */
  _toolKey(tool, event) {
    if (event.key === "Escape") this.editor.end();
    else if (event.key === "Enter") tool.finish();
    else if (event.key === "h") this.toggleMasks();
    else if (/^[1-9]$/.test(event.key) && this.editor.give(Number(event.key) - 1)) return true;
    else if (!tool.key(event)) return this._otherKey(tool, event.key);
    return true;
  }

  /** @param {import("./pens.js").Tool} tool @param {string} key */
  _otherKey(tool, key) {
    const isOurs = /^[1-9]$/.test(key) || key in this._actions();
    const isUndo = /^[zy]$/i.test(key);
    if (isOurs) this.desk.say(`Enter finishes the ${tool.name}, Esc gives it up`);
    if (isUndo) this.desk.say(`nothing to be undone in the ${tool.name}: Esc gives it up`);
    return isOurs || isUndo;
  }

  /** @returns {Record<string, () => void>} */
  _actions() {
    return {
      n: () => this.go(1),
      ArrowRight: () => this.go(1),
      p: () => this.go(-1),
      ArrowLeft: () => this.go(-1),
      a: () => this.judge("accepted"),
      A: () => {
        this.chosen = new Set();
        this.judge("accepted");
      },
      r: () => this.judge("rejected"),
      w: () => this.withdraw(),
      d: () => (this.chosen.size ? this.judge("rejected") : this.desk.say("choose an instance to delete")),
      Delete: () => (this.chosen.size ? this.judge("rejected") : this.desk.say("choose an instance to delete")),
      c: () => {
        this.side.input.focus();
        this.side.input.select();
      },
      h: () => this.toggleMasks(),
      s: () => {
        this.dropped = !this.dropped;
        this.refresh();
      },
      e: () => this.editor.begin("outline"),
      g: () => this.editor.begin("polygon"),
      b: () => this.editor.begin("box"),
      o: () => this.editor.begin("points"),
      x: () => this.editor.split(),
      m: () => this.editor.merge(),
    };
  }

  toggleMasks() {
    this.masks = !this.masks;
    this.draw();
  }

  /** Keys that move the view. @param {KeyboardEvent} event */
  _view(event) {
    /** @type {Record<string, () => void>} */
    const views = {
      "+": () => this.stage.zoom(1.25),
      "=": () => this.stage.zoom(1.25),
      "-": () => this.stage.zoom(0.8),
      0: () => this.stage.fit(),
    };
    const pans = /** @type {Record<string, [number, number]>} */ ({
      ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60],
    });
    if (event.altKey && pans[event.key]) this.stage.pan(...pans[event.key]);
    else if (views[event.key]) views[event.key]();
    else return false;
    return true;
  }

  _restore() {
    if (this.chosenRows.some((row) => row.lost)) this.judge("accepted");
  }

  // ---- parts of the page --------------------------------------------------------------------------------------

  _makeButtons() {
    /** @type {[string, string, () => void][]} */
    const buttons = [
      ["← Previous", "p", () => this.go(-1)],
      ["Next →", "n", () => this.go(1)],
      ["Accept", "a", () => this.judge("accepted")],
      ["Reject", "r", () => this.judge("rejected")],
      ["Edit", "e", () => this.editor.begin("outline")],
      ["Polygon", "g", () => this.editor.begin("polygon")],
      ["Box", "b", () => this.editor.begin("box")],
      ["Points", "o", () => this.editor.begin("points")],
      ["Split", "x", () => this.editor.split()],
      ["Merge", "m", () => this.editor.merge()],
      ["Dropped", "s", () => this._actions().s()],
      ["Back", "Esc", () => this.close()],
    ];
    return make("div", { className: "al-buttons", role: "toolbar", "aria-label": "this image" },
      ...buttons.map(([text, key, onclick]) =>
        make("button", { type: "button", onclick: () => this._pressed(onclick), title: `key ${key}` },
          text, make("kbd", { "aria-hidden": "true" }, key))));
  }

  /** While a tool is open, keys are its own, not those of the button that was clicked. @param {() => void} act */
  _pressed(act) {
    act();
    if (this.editor.tool) this.stage.canvas.focus();
  }
}
