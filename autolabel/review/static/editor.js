// Masks made and changed in the image view: the tool at work, what a model answers to it, split and merge.

import { encodeCounts, parts, union } from "./masks.js";
import { outlineTool } from "./reshape.js";
import { added, decided, sayTheSame, UNDECIDED, withdrawn } from "./reviews.js";
import { addedKey, fateOf, withoutDoubles } from "./rows.js";
import { boxTool, pointsTool, polygonTool } from "./tools.js";

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./pens.js").Tool} Tool */

const HANDLES_PX = 3; // on the screen: how far the points of an outline may stand from it,
const STAIRS_PX = 1.5; // and in the image: a slanting edge goes in steps

export class Editor {
  /** @param {import("./viewer.js").Viewer} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    this.desk = viewer.desk;
    this.stage = viewer.stage;
    /** @type {Tool | null} */
    this.tool = null;
    this.asked = {}; // stands for the last question to the model
    this.lastClass = 0;
    this.newClass = 0; // of what is drawn
    this.began = UNDECIDED; // what was decided when the tool was taken up
  }

  /** @param {string} name */
  begin(name) {
    const { visual, read_only } = this.desk.index;
    if (read_only) return this.desk.say("this review is read-only");
    const kind = { box: "boxes", points: "points" }[name];
    if (kind && !visual?.takes.includes(kind)) {
      return this.desk.say(visual ? `${visual.name} takes no ${kind}` : "no model answers here: draw a polygon (g)");
    }
    this.leave();
    this.began = this.viewer.sheet;
    this.newClass = this.viewer.chosenRows[0]?.category ?? this.lastClass;
    this.tool = this._make(name);
    if (!this.tool) return undefined;
    this.stage.above = this.tool.draw;
    this.stage.canvas.classList.add("al-drawing");
    this.stage.canvas.focus(); // not the button, which the next key would press again
    this._hint();
    return this.viewer.draw();
  }

  /** What the tool is for; where it makes something new, of which class. */
  _hint() {
    if (!this.tool) return;
    const isNew = this.tool.name !== "outline";
    const given = isNew ? ` It will be: ${this.desk.classes[this.newClass]}; a digit changes that.` : "";
    this.viewer.hint.textContent = this.tool.hint + given;
  }

  /** Let what is drawn be of another class. @param {number} category */
  give(category) {
    if (this.tool?.name === "outline" || this.desk.classes[category] === undefined) return false;
    this.newClass = category;
    this.lastClass = category;
    this._hint();
    this.stage.canvas.focus(); // not a button, which Enter would press again
    return true;
  }

  /** Go on to something else: an outline is kept as it is now, what is half drawn is given up. */
  leave() {
    const { tool } = this;
    if (tool?.name === "outline") tool.finish();
    else if (tool?.begun()) this.desk.say(`the ${tool.name} is given up: it was not finished`);
    this.end();
  }

  end() {
    this.tool = null;
    this.stage.above = null;
    this.stage.canvas.classList.remove("al-drawing");
    this.viewer.hint.textContent = "";
    if (this.viewer.isOpen && this.viewer.n >= 0) this.viewer.draw();
  }

  /** Let go of a tool whose instance may be another one now. */
  check() {
    if (!this.tool || sayTheSame(this.began.review, this.viewer.sheet.review)) return;
    this.desk.say(`the ${this.tool.name} is given up: something else was decided about this image`);
    this.end();
  }

  /** @param {string} counts @param {string} how */
  add(counts, how) {
    this.end();
    if (!counts) return this.desk.say("nothing was drawn");
    const { n, sheet } = this.viewer;
    const name = this.desk.classes[this.newClass];
    this.desk.change(n, added(sheet, name, counts, how), `added a ${name}`);
    this.viewer.choose(addedKey(counts));
    return this.desk.say(`added as ${name}: a digit gives it another class`);
  }

  /** Each part of the chosen instance becomes an instance. */
  split() {
    this.leave();
    const { n, sheet } = this.viewer;
    const row = this._only("to split");
    if (!row) return;
    const pieces = parts(this.viewer.mask(row)).map(encodeCounts);
    if (pieces.length < 2) {
      this.desk.say("it has one part only");
      return;
    }
    let after = decided(sheet, this.viewer.target(row), { counts: pieces[0], verdict: "accepted", how: "split" });
    const whole = this._wholeOf(row);
    for (const piece of pieces.slice(1)) after = added(after, row.name, piece, "split", whole);
    this.desk.change(n, withoutDoubles(this.desk, n, after, row), `split into ${pieces.length}`);
  }

  /** The chosen instances become one: the first of them. */
  merge() {
    this.leave();
    const { n, sheet } = this.viewer;
    const [first, ...others] = this.viewer.chosenRows;
    if (!first || !others.length) return this.desk.say("choose the instances to merge: Shift with ↓ or a click");
    const lost = [first, ...others].find((row) => row.lost);
    if (lost) return this.desk.say(fateOf(this.desk, lost));
    const whole = others.reduce((mask, row) => union(mask, this.viewer.mask(row)), this.viewer.mask(first));
    const counts = encodeCounts(whole);
    const part_of = this._wholeOf(first);
    let after = decided(sheet, this.viewer.target(first), { counts, verdict: "accepted", how: "merge" });
    for (const row of others.sort((a, b) => b.k - a.k)) {
      const drop = row.local === null;
      after = drop ? withdrawn(after, row.k) : decided(after, this.viewer.target(row), { verdict: "rejected", how: "merge", part_of });
    }
    after = [first, ...others].reduce((sheet, row) => withoutDoubles(this.desk, n, sheet, row), after);
    this.desk.change(n, after, `merged ${others.length + 1}`);
    return this.viewer.choose(first.local === null ? addedKey(counts) : first.key);
  }

  /** The answer that an instance is, or is a piece of, by its id. @param {Row} row */
  _wholeOf(row) {
    return row.id || (this.viewer.sheet.review.instances[row.k]?.part_of ?? "");
  }

  /** @param {string} what @returns {Row | null} */
  _only(what) {
    const [row, ...others] = this.viewer.chosenRows;
    if (row && !others.length && !row.lost) return row;
    this.desk.say(row?.lost ? fateOf(this.desk, row) : `choose one instance ${what}`);
    return null;
  }

  /** @param {string} name @returns {Tool | null} */
  _make(name) {
    const wh = this.desk.wh(this.viewer.n);
    const changed = () => this.stage.draw();
    if (name === "polygon") return polygonTool(wh, changed, (counts) => this.add(counts, "polygon"));
    if (name === "points") return this._makePoints(wh, changed);
    if (name === "outline") return this._makeOutline(wh, changed);
    /** @type {Tool} */
    const tool = boxTool(wh, changed, (box) => {
      if (box) this._ask(tool, { box, points: [] }, (counts) => counts && this.add(counts, "box"));
    });
    return tool;
  }

  /** @param {[number, number]} wh @param {() => void} changed @returns {Tool | null} */
  _makeOutline(wh, changed) {
    const row = this._only("to edit");
    if (!row) return null;
    const tolerance = Math.max(STAIRS_PX, HANDLES_PX / this.stage.scale);
    return outlineTool(wh, row.counts, tolerance, changed, (counts) => {
      const { n, sheet } = this.viewer;
      this.end();
      if (counts === row.counts) return;
      const target = this.viewer.target(row);
      const change = counts ? { counts, how: "vertices" } : {};
      const edited = () => decided(sheet, target, { ...change, verdict: counts ? "accepted" : "rejected" });
      const isGone = !counts && row.local === null;
      const after = isGone ? withdrawn(sheet, row.k) : withoutDoubles(this.desk, n, edited(), row);
      this.desk.change(n, after, counts ? "edited an outline" : "deleted an instance");
      if (counts && row.local === null) this.viewer.choose(addedKey(counts));
    });
  }

  /** @param {[number, number]} wh @param {() => void} changed @returns {Tool} */
  _makePoints(wh, changed) {
    let found = "";
    let asking = false;
    let isKept = false; // Enter came before the answer
    /** @type {Tool} */
    const tool = pointsTool(wh, changed, (points) => {
      if (!points.some(([, , positive]) => positive)) {
        this.asked = {}; // what is under way is not wanted any more
        asking = false;
        found = "";
        this.viewer.draw();
        return;
      }
      asking = true;
      this._ask(tool, { box: null, points }, (counts) => {
        asking = false;
        if (counts) found = counts;
        if (counts && isKept) this.add(found, "points");
        else if (counts) this.viewer.preview(found, this.newClass);
        isKept = false;
      });
    }, () => {
      isKept = asking;
      if (!asking) this.add(found, "points");
    });
    return tool;
  }

  /**
   * Ask the model for a mask, which is "" where it has none. Nothing is told once the tool was left, or asked anew.
   *
   * @param {Tool} tool
   * @param {{box: number[] | null, points: number[][]}} prompt
   * @param {(counts: string) => void} told
   */
  async _ask(tool, prompt, told) {
    const mine = (this.asked = {});
    const isWanted = () => this.tool === tool && this.asked === mine;
    let found = "";
    this.viewer.hint.textContent = `asking ${this.desk.index.visual?.name} …`;
    try {
      const category = this.desk.classes[this.newClass];
      found = (await this.desk.host.mask(this.viewer.n, { ...prompt, category })).counts;
    } catch (error) {
      if (isWanted()) this.desk.say(`no mask from the ${tool.name}: ${error instanceof Error ? error.message : error}`);
    }
    if (!isWanted()) return;
    this._hint();
    told(found);
  }
}
