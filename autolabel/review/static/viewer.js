// One image: its instances in a list and on the stage, what is chosen, and the decisions and tools of the keys.

import { make } from "./dom.js";
import { instancesOf, judgeImage } from "./rows.js";
import { contains, decodeCounts, encodeCounts, area, parts, union } from "./masks.js";
import { paintSwatch } from "./paint.js";
import { added, decided, judgedImage, restored, withdrawn } from "./reviews.js";
import { Stage } from "./stage.js";
import { boxTool, outlineTool, pointsTool, polygonTool } from "./tools.js";

/** @typedef {import("./desk.js").Desk} Desk */
/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./types.js").Sheet} Sheet */

const REACH_PX = 10; // on the screen: so near is on it
const KEPT_PICTURES = 8;

export class Viewer {
  /**
   * @param {Desk} desk
   * @param {(n: number) => void} closed
   */
  constructor(desk, closed) {
    this.desk = desk;
    this.closed = closed;
    this.n = -1;
    this.place = 0;
    /** @type {Row[]} */
    this.rows = [];
    /** @type {Set<string>} */
    this.chosen = new Set();
    this.masks = true;
    this.dropped = false;
    /** @type {import("./tools.js").Tool | null} */
    this.tool = null;
    this.asked = {}; // stands for the last question to the model
    /** @type {Map<number, Promise<HTMLImageElement>>} */
    this.pictures = new Map();
    this.lastClass = 0;
    this.stage = new Stage();
    this.title = make("h2", { className: "al-title", tabIndex: -1 });
    this.hint = make("p", { className: "al-hint", role: "status" });
    this.list = make("div", { className: "al-list", role: "listbox", tabIndex: 0, "aria-label": "instances", "aria-multiselectable": "true" });
    this.relabel = this._makeRelabel();
    this.element = make("section", { className: "al-viewer", hidden: true, "aria-label": "one image" },
      make("div", { className: "al-viewer-head" }, this.title, this._makeButtons()),
      make("div", { className: "al-viewer-body" }, this.stage.canvas, make("div", { className: "al-side" }, this.relabel, this.list)),
      this.hint);
    this._listen();
    desk.addEventListener("figures", () => this.isOpen && this.refresh());
    desk.addEventListener("sheet", () => this.isOpen && this.refresh());
  }

  get isOpen() {
    return !this.element.hidden;
  }

  // ---- which image --------------------------------------------------------------------------------------------

  /** @param {number} n @param {number} place  among the shown */
  async open(n, place) {
    this.endTool();
    this.element.hidden = false;
    this.n = n;
    this.place = place;
    this.chosen = new Set();
    this.rows = [];
    this.element.setAttribute("aria-busy", "true");
    this.stage.begin(this.desk.wh(n));
    this.refresh();
    const near = [n, this.desk.shown[place + 1], this.desk.shown[place - 1]].filter((each) => each !== undefined);
    const masks = this.desk.fetchMasks(near).then(() => this.n === n && this.refresh(), (error) => this.desk.say(error.message));
    try {
      const picture = await this._picture(n);
      if (this.n !== n) return;
      this.stage.picture = picture;
      this.stage.draw();
    } catch {
      this.desk.say(`${this.desk.name(n)} can't be shown: its file is gone, or is another one now`);
    }
    await masks;
    if (this.n === n) this.element.setAttribute("aria-busy", "false");
    for (const each of near.slice(1)) this._picture(each).catch(() => {});
  }

  close() {
    this.endTool();
    this.element.hidden = true;
    this.closed(this.n);
  }

  /** @param {number} step */
  go(step) {
    const place = this.place + step;
    const n = this.desk.shown[place];
    if (n === undefined) this.desk.say(step > 0 ? "this was the last image" : "this is the first image");
    else this.open(n, place);
  }

  /** @param {number} n @returns {Promise<HTMLImageElement>} */
  _picture(n) {
    let found = this.pictures.get(n);
    if (!found) {
      found = (async () => {
        const picture = new Image();
        picture.src = await this.desk.host.picture(n);
        await picture.decode();
        return picture;
      })();
      this.pictures.set(n, found);
      found.catch(() => this.pictures.delete(n));
      const [oldest] = this.pictures.keys();
      if (this.pictures.size > KEPT_PICTURES) this.pictures.delete(oldest);
    }
    return found;
  }

  // ---- what is shown ------------------------------------------------------------------------------------------

  /** Show the image as it is decided and filtered now. */
  refresh() {
    const { desk, n } = this;
    this.rows = instancesOf(desk, n);
    for (const key of this.chosen) if (!this.rows.some((row) => row.key === key)) this.chosen.delete(key);
    const state = desk.state(n);
    this.title.textContent = `${this.place + 1} of ${desk.shown.length} · ${desk.name(n)} · ${state}`;
    this.title.dataset.state = state;
    const visible = this.rows.filter((row) => this._isListed(row));
    this.list.replaceChildren(...visible.map((row) => this._item(row)));
    const active = this.list.querySelector('[aria-selected="true"]');
    this.list.setAttribute("aria-activedescendant", active?.id ?? "");
    active?.scrollIntoView({ block: "nearest" });
    this._draw();
  }

  _draw() {
    const { rows, chosen, masks, dropped, tool } = this;
    const name = this.desk.masks(this.n) ? this.desk.name(this.n) : "";
    this.stage.show({ name, rows, chosen, masks, dropped, dimmed: tool !== null });
  }

  /** @param {Row} row */
  _isListed(row) {
    return this.dropped || row.lost || row.reason === "" || row.verdict !== "" || this.chosen.has(row.key);
  }

  /** @param {Row} row @returns {HTMLElement} */
  _item(row) {
    const swatch = make("span", { className: "al-swatch", "aria-hidden": "true" });
    paintSwatch(swatch, row.category);
    const what = row.lost ? "its answer is gone: Enter keeps it, w drops it" : row.reason.replaceAll("_", " ");
    const sign = row.lost ? "?" : row.reason === "review_rejected" ? "✕" : row.verdict === "accepted" ? "✓" : "";
    const name = this.desk.classes[row.category] ?? "";
    const score = row.score === null ? "" : row.score.toFixed(2);
    const notes = [row.prompt === name ? "" : row.prompt, row.changed ? "changed" : "", what].filter(Boolean).join(" · ");
    return make("div", {
      className: `al-row${row.reason || row.lost ? " al-gone" : ""}`,
      id: `${this.desk.uid}-row-${this.rows.indexOf(row)}`,
      role: "option",
      "aria-selected": String(this.chosen.has(row.key)),
      onclick: (/** @type {MouseEvent} */ event) => this.choose(row.key, event.shiftKey || event.ctrlKey),
    }, swatch, make("span", { className: "al-row-name" }, name), make("span", { className: "al-row-score" }, score),
    make("span", { className: "al-row-sign", "aria-label": row.verdict }, sign), make("span", { className: "al-row-notes" }, notes));
  }

  /** @param {string | null} key @param {boolean} [more]  beside what is chosen already */
  choose(key, more = false) {
    if (!more) this.chosen = new Set();
    if (key !== null && !(more && this.chosen.delete(key))) this.chosen.add(key);
    this.refresh();
  }

  /** @param {number} step @param {boolean} more */
  _step(step, more) {
    const visible = this.rows.filter((row) => this._isListed(row));
    if (!visible.length) return;
    const last = [...this.chosen].pop();
    const at = visible.findIndex((row) => row.key === last);
    const next = at < 0 ? (step > 0 ? 0 : visible.length - 1) : (at + step + visible.length) % visible.length;
    this.choose(visible[next].key, more);
  }

  // ---- decisions ----------------------------------------------------------------------------------------------

  get sheet() {
    return this.desk.sheet(this.n);
  }

  get chosenRows() {
    return this.rows.filter((row) => this.chosen.has(row.key));
  }

  /** @param {Row} row @returns {import("./reviews.js").Target} */
  _target(row) {
    return row.local === null ? { k: row.k } : { local: row.local, origin: this.desk.origin(this.n, row.local, row.id) };
  }

  /** @param {(sheet: Sheet, row: Row) => Sheet} decide @param {string} what */
  _onChosen(decide, what) {
    const rows = this.chosenRows;
    if (!rows.length) return this.desk.say("choose an instance first: ↓ or a click");
    // from the last decision on: taking one away moves those after it
    const after = rows.sort((a, b) => b.k - a.k).reduce(decide, this.sheet);
    this.desk.change(this.n, after, `${what} in ${this.desk.name(this.n)}`);
  }

  /** @param {"accepted" | "rejected"} verdict */
  judge(verdict) {
    if (!this.chosen.size) {
      judgeImage(this.desk, this.n, verdict).catch((error) => this.desk.say(`not judged: ${error.message}`));
      this.go(1);
      return;
    }
    const single = this.chosen.size === 1;
    this._onChosen((sheet, row) => {
      if (row.lost) return verdict === "accepted" ? restored(sheet, row.k) : withdrawn(sheet, row.k);
      if (verdict === "rejected" && row.local === null) return withdrawn(sheet, row.k);
      return decided(sheet, this._target(row), { verdict });
    }, `${verdict} an instance`);
    if (single) this._step(1, false);
  }

  withdraw() {
    if (this.chosen.size) return this._onChosen((sheet, row) => (row.k < 0 ? sheet : withdrawn(sheet, row.k)), "withdrew a decision");
    return this.desk.change(this.n, judgedImage(this.sheet, null, ""), `withdrew the verdict on ${this.desk.name(this.n)}`);
  }

  /** @param {number} category */
  label(category) {
    const name = this.desk.classes[category];
    if (name === undefined) return this.desk.say(`there is no class ${category + 1}`);
    this.lastClass = category;
    return this._onChosen((sheet, row) => {
      const own = row.local !== null && this.desk.data.category[this.desk.data.offsets[this.n] + row.local] === category;
      return decided(sheet, this._target(row), { category: own ? null : name, verdict: "accepted" });
    }, `relabelled as ${name}`);
  }

  /** Each part of the chosen instance becomes an instance. */
  split() {
    const [row, ...others] = this.chosenRows;
    if (!row || others.length) return this.desk.say("choose one instance to split");
    const pieces = parts(this._mask(row)).map(encodeCounts);
    if (pieces.length < 2) return this.desk.say("it has one part only");
    const name = this.desk.classes[row.category];
    let after = decided(this.sheet, this._target(row), { counts: pieces[0], verdict: "accepted", how: "split" });
    for (const piece of pieces.slice(1)) after = added(after, name, piece, "split");
    return this.desk.change(this.n, after, `split into ${pieces.length}`);
  }

  /** The chosen instances become one: the first of them. */
  merge() {
    const [first, ...others] = this.chosenRows;
    if (!first || !others.length) return this.desk.say("choose the instances to merge: Shift with ↓ or a click");
    const whole = others.reduce((mask, row) => union(mask, this._mask(row)), this._mask(first));
    const change = { counts: encodeCounts(whole), verdict: /** @type {const} */ ("accepted"), how: "merge" };
    let after = decided(this.sheet, this._target(first), change);
    for (const row of others.sort((a, b) => b.k - a.k)) {
      after = row.local === null ? withdrawn(after, row.k) : decided(after, this._target(row), { verdict: "rejected" });
    }
    this.choose(first.key);
    return this.desk.change(this.n, after, `merged ${others.length + 1}`);
  }

  /** @param {Row} row */
  _mask(row) {
    const [width, height] = this.desk.wh(this.n);
    return decodeCounts(row.counts, height, width);
  }

  // ---- tools --------------------------------------------------------------------------------------------------

  /** @param {string} name */
  begin(name) {
    if (this.desk.index.read_only) return this.desk.say("this review is read-only");
    const { visual } = this.desk.index;
    const kind = { box: "boxes", points: "points" }[name];
    if (kind && !visual?.takes.includes(kind)) {
      return this.desk.say(visual ? `${visual.name} takes no ${kind}` : "no model answers here: draw a polygon (g)");
    }
    this.endTool();
    this.tool = this._make(name);
    if (!this.tool) return undefined;
    this.stage.above = this.tool.draw;
    this.stage.canvas.classList.add("al-drawing");
    this.hint.textContent = this.tool.hint;
    return this._draw();
  }

  /** @param {string} name @returns {import("./tools.js").Tool | null} */
  _make(name) {
    const wh = this.desk.wh(this.n);
    const changed = () => this.stage.draw();
    /** @param {string} counts @param {string} how */
    const add = (counts, how) => {
      this.endTool();
      if (!counts) return this.desk.say("nothing was drawn");
      return this.add(counts, how);
    };
    if (name === "polygon") return polygonTool(wh, changed, (counts) => add(counts, "polygon"));
    if (name === "box") {
      /** @type {import("./tools.js").Tool} */
      const tool = boxTool(wh, changed, (box) => {
        if (box) this._askFor(tool, { box, points: [] }, (counts) => counts && add(counts, "box"));
      });
      return tool;
    }
    if (name === "points") return this._makePoints(wh, changed, add);
    const [row, ...others] = this.chosenRows;
    if (!row || others.length) {
      this.desk.say("choose one instance to edit");
      return null;
    }
    return outlineTool(wh, row.counts, Math.max(1, 3 / this.stage.scale), changed, (counts) => {
      this.endTool();
      if (!counts) return this.judge("rejected");
      if (counts === row.counts) return undefined;
      const change = { counts, verdict: /** @type {const} */ ("accepted"), how: "vertices" };
      return this.desk.change(this.n, decided(this.sheet, this._target(row), change), "edited an outline");
    });
  }

  /** @param {[number, number]} wh @param {() => void} changed @param {(counts: string, how: string) => void} add */
  _makePoints(wh, changed, add) {
    let found = "";
    let asking = false;
    let isKept = false; // Enter came before the answer
    /** @type {import("./tools.js").Tool} */
    const tool = pointsTool(wh, changed, (points) => {
      asking = true;
      this._askFor(tool, { box: null, points }, (counts) => {
        asking = false;
        if (counts) found = counts;
        if (counts && isKept) add(found, "points");
        else if (counts) this._preview(found);
        isKept = false;
      });
    }, () => {
      isKept = asking;
      if (!asking) add(found, "points");
    });
    return tool;
  }

  /** Show a mask that is not kept yet. @param {string} counts */
  _preview(counts) {
    this.stage.show({
      name: this.desk.name(this.n), rows: [...this.rows, { ...this._blank(), counts }],
      chosen: new Set(["found"]), masks: true, dropped: false, dimmed: true,
    });
  }

  /** @returns {Row} */
  _blank() {
    return {
      key: "found", local: null, k: -1, id: "", category: this._newClass(), prompt: "", score: null, counts: "",
      reason: "", verdict: "", changed: true, lost: false,
    };
  }

  /** The class of what is drawn: that of the chosen instance, else the last one given. */
  _newClass() {
    return this.chosenRows[0]?.category ?? this.lastClass;
  }

  /**
   * Ask the model for a mask, which is "" where it has none. Nothing is told once the tool was left, or asked anew.
   *
   * @param {import("./tools.js").Tool} tool
   * @param {{box: number[] | null, points: number[][]}} prompt
   * @param {(counts: string) => void} told
   */
  async _askFor(tool, prompt, told) {
    const mine = (this.asked = {});
    const isWanted = () => this.tool === tool && this.asked === mine;
    let found = "";
    this.hint.textContent = `asking ${this.desk.index.visual?.name} …`;
    try {
      const category = this.desk.classes[this._newClass()];
      found = (await this.desk.host.mask(this.n, { ...prompt, category })).counts;
    } catch (error) {
      if (isWanted()) this.desk.say(`no mask from the ${tool.name}: ${error instanceof Error ? error.message : error}`);
    }
    if (!isWanted()) return;
    this.hint.textContent = tool.hint;
    told(found);
  }

  /** @param {string} counts @param {string} how */
  add(counts, how) {
    const category = this._newClass();
    const after = added(this.sheet, this.desk.classes[category], counts, how);
    this.desk.change(this.n, after, `added a ${this.desk.classes[category]}`);
    this.choose(`decision ${after.review.instances.length - 1}`);
    this.desk.say(`added as ${this.desk.classes[category]}: a digit gives it another class`);
  }

  endTool() {
    this.tool = null;
    this.stage.above = null;
    this.stage.canvas.classList.remove("al-drawing");
    this.hint.textContent = "";
    if (this.isOpen && this.n >= 0) this._draw();
  }

  // ---- pointer and keys ---------------------------------------------------------------------------------------

  _listen() {
    const { canvas } = this.stage;
    let panned = 0;
    let held = false;
    let byTool = false;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      panned = 0;
      held = true;
      byTool = Boolean(this.tool?.down(this.stage.at(event), event, REACH_PX / this.stage.scale));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (this.tool && (byTool || !held)) this.tool.move(this.stage.at(event));
      else if (held) {
        panned += Math.abs(event.movementX) + Math.abs(event.movementY);
        if (panned > 4) this.stage.pan(event.movementX, event.movementY);
      }
    });
    canvas.addEventListener("pointerup", (event) => {
      held = false;
      if (byTool) this.tool?.up();
      else if (panned <= 4 && !this.tool) this._pick(this.stage.at(event), event.shiftKey || event.ctrlKey);
      byTool = false;
    });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = canvas.getBoundingClientRect();
      this.stage.zoom(Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
    }, { passive: false });
  }

  /** Choose the smallest instance there. @param {[number, number]} at @param {boolean} more */
  _pick([x, y], more) {
    const there = this.rows
      .filter((row) => (row.reason === "" || this.dropped) && !row.lost)
      .map((row) => ({ row, mask: this._mask(row) }))
      .filter(({ mask }) => contains(mask, Math.floor(x), Math.floor(y)))
      .sort((a, b) => area(a.mask) - area(b.mask));
    this.choose(there[0]?.row.key ?? null, more);
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether it was one of the viewer's */
  key(event) {
    if (this.tool) {
      if (event.key === "Escape") this.endTool();
      else if (event.key === "Enter") this.tool.finish();
      else if (!this.tool.key(event)) return this._view(event);
      return true;
    }
    if (/^[1-9]$/.test(event.key)) this.label(Number(event.key) - 1);
    else if (event.key === "Enter") this._restore();
    else if (event.key === "Escape") {
      if (this.chosen.size) this.choose(null);
      else this.close();
    } else if (event.key === "ArrowDown" && !event.altKey) this._step(1, event.shiftKey);
    else if (event.key === "ArrowUp" && !event.altKey) this._step(-1, event.shiftKey);
    else {
      const act = this._actions()[event.key];
      if (!act) return this._view(event);
      act();
    }
    return true;
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
      c: () => this._type(),
      h: () => this.toggleMasks(),
      s: () => {
        this.dropped = !this.dropped;
        this.refresh();
      },
      e: () => this.begin("outline"),
      g: () => this.begin("polygon"),
      b: () => this.begin("box"),
      o: () => this.begin("points"),
      x: () => this.split(),
      m: () => this.merge(),
    };
  }

  toggleMasks() {
    this.masks = !this.masks;
    this._draw();
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
    if (views[event.key]) views[event.key]();
    else if (pans[event.key] && event.altKey) this.stage.pan(...pans[event.key]);
    else return false;
    return true;
  }

  _restore() {
    if (this.chosenRows.some((row) => row.lost)) this.judge("accepted");
  }

  // ---- parts of the page --------------------------------------------------------------------------------------

  _makeRelabel() {
    const input = make("input", {
      type: "text", "aria-label": "class of the chosen instance", placeholder: "class (c)", autocomplete: "off",
    });
    const id = `${this.desk.uid}-classes`;
    input.setAttribute("list", id);
    const options = make("datalist", { id }, ...this.desk.classes.map((value) => make("option", { value })));
    input.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Escape") this.list.focus();
      if (event.key !== "Enter") return;
      const typed = input.value.trim().toLowerCase();
      const exact = this.desk.classes.findIndex((name) => name.toLowerCase() === typed);
      const found = exact >= 0 ? exact : this.desk.classes.findIndex((name) => name.toLowerCase().startsWith(typed));
      if (!typed || found < 0) return this.desk.say(`there is no class ${input.value}`);
      input.value = "";
      this.list.focus();
      return this.label(found);
    });
    return make("div", { className: "al-relabel" }, input, options);
  }

  _type() {
    /** @type {HTMLInputElement} */ (this.relabel.querySelector("input")).focus();
  }

  _makeButtons() {
    /** @type {[string, string, () => void][]} */
    const buttons = [
      ["← Previous", "p", () => this.go(-1)],
      ["Next →", "n", () => this.go(1)],
      ["Accept", "a", () => this.judge("accepted")],
      ["Reject", "r", () => this.judge("rejected")],
      ["Edit", "e", () => this.begin("outline")],
      ["Polygon", "g", () => this.begin("polygon")],
      ["Box", "b", () => this.begin("box")],
      ["Points", "o", () => this.begin("points")],
      ["Split", "x", () => this.split()],
      ["Merge", "m", () => this.merge()],
      ["Dropped", "s", () => this._actions().s()],
      ["Back", "Esc", () => this.close()],
    ];
    return make("div", { className: "al-buttons", role: "toolbar", "aria-label": "this image" },
      ...buttons.map(([text, key, onclick]) =>
        make("button", { type: "button", onclick, title: `key ${key}` }, text, make("kbd", { "aria-hidden": "true" }, key))));
  }
}
