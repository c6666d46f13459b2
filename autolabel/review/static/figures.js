// What the thresholds and the decisions do to every answer: counted at once, for all images or for one.

import { filterAll, filterImage } from "./filters.js";
import { bytesOfBase64, prepare } from "./instances.js";
import { area, decodeCounts, sharedPixels } from "./masks.js";
import { stateOf } from "./reviews.js";

/** @typedef {import("./instances.js").Judged} Judged */
/** @typedef {import("./types.js").Decision} Decision */
/** @typedef {import("./types.js").Index} Index */
/** @typedef {import("./types.js").Sheet} Sheet */

const KEPT_DRAWN = 2000; // masks by hand of which it is kept what they share with the answers

/** @typedef {{area: number, shared: [number, number][]}} Drawn */

export class Figures {
  /**
   * @param {Index} index
   * @param {(n: number) => Map<string, string> | undefined} masks  of an image, where they are here
   */
  constructor(index, masks) {
    this.index = index;
    this.masks = masks;
    this.data = prepare(index);
    this.prompt = new Uint16Array(bytesOfBase64(index.prompt));
    this.category = this.data.category.slice(); // of every answer, as decided
    this.classes = index.classes.map(({ name }) => name);
    const { cross_class_iou, nms_metric, max_area } = index.filter;
    this.thresholds = { classes: index.classes.map((own) => ({ ...own })), cross_class_iou, nms_metric, max_area };
    /** @type {Map<number, Judged>} */
    this.judged = new Map();
    /** @type {Set<number>} */
    this.lacking = new Set(); // images whose masks are needed to compare drawn ones with
    /** @type {Map<string, Drawn>} */
    this._drawn = new Map();
    /** @type {ReturnType<typeof filterAll>} */
    this.counted = { codes: this.data.codes, counts: [] };
  }

  /** Apply the thresholds to every answer. What is asked for before is as if all were kept. */
  count() {
    this.counted = filterAll(this.data, this.thresholds, this.judged);
  }

  /** How many instances of each class got each code: [class][code]. */
  get counts() {
    return this.counted.counts;
  }

  /** @param {number} n @returns {Uint8Array} why each answer of an image is dropped, 0 where it is kept */
  codes(n) {
    return this.data.codes.subarray(this.data.offsets[n], this.data.offsets[n + 1]);
  }

  /** What `codes` would be with other decisions. @param {number} n @param {Sheet} sheet */
  codesWith(n, sheet) {
    return filterImage(this.data, n, this.thresholds, this._judgement(n, sheet)).codes;
  }

  /** The answers that another one suppresses. @param {number} n @param {number} local @returns {number[]} */
  suppressedBy(n, local) {
    const { winners } = filterImage(this.data, n, this.thresholds, this.judged.get(n));
    const found = [...winners.slice(0, this.codes(n).length).keys()];
    return found.filter((other) => winners[other] === local);
  }

  /** @param {number} n @returns {number} how many instances are kept */
  kept(n) {
    const judged = this.judged.get(n);
    let kept = judged?.leftOut ? 0 : (judged?.added?.length ?? 0);
    for (const code of this.codes(n)) if (!code) kept++;
    return kept;
  }

  /** @param {number} n @param {number} local @returns {number} the class of an answer, as decided */
  categoryOf(n, local) {
    return this.category[this.data.offsets[n] + local];
  }

  /** @param {number} n @param {number} local */
  ownCategory(n, local) {
    return this.data.category[this.data.offsets[n] + local];
  }

  /** @param {number} n @param {number} local @returns {number | null} */
  scoreOf(n, local) {
    const score = this.data.score[this.data.offsets[n] + local];
    return Number.isNaN(score) ? null : score;
  }

  /** @param {number} n @param {number} local */
  promptOf(n, local) {
    return this.index.prompts[this.prompt[this.data.offsets[n] + local]] ?? "";
  }

  /** Let the decisions about an image hold; `count` is to follow. @param {number} n @param {Sheet} sheet */
  judge(n, sheet) {
    const [from, to] = [this.data.offsets[n], this.data.offsets[n + 1]];
    this.category.set(this.data.category.subarray(from, to), from);
    if (!sheet.review.verdict && !sheet.review.instances.length) {
      this.judged.delete(n);
      return;
    }
    const judged = this._judgement(n, sheet);
    this.judged.set(n, judged);
    for (const [local, category] of judged.sure) if (from + local < to) this.category[from + local] = category;
  }

  /** @param {number} n @param {Sheet} sheet @returns {Judged} */
  _judgement(n, sheet) {
    /** @type {Map<number, number>} */
    const sure = new Map();
    /** @type {Set<number>} */
    const rejected = new Set();
    /** @type {Map<number, Drawn>} */
    const redrawn = new Map();
    /** @type {(Drawn & {category: number})[]} */
    const added = [];
    this.lacking.delete(n);
    sheet.review.instances.forEach((decision, k) => {
      const local = sheet.matched[k] ?? null;
      const category = this.classes.indexOf(decision.category ?? "");
      const isElsewhere = decision.origin && local === null; // in another file of this content
      if (sheet.lost.includes(k) || isElsewhere) return;
      if (local === null) added.push({ category: Math.max(0, category), ...this._compared(n, decision) });
      else if (decision.verdict === "rejected") rejected.add(local);
      else {
        sure.set(local, category < 0 ? this.ownCategory(n, local) : category);
        if (decision.counts) redrawn.set(local, this._compared(n, decision));
      }
    });
    const state = stateOf(sheet, this.index.images.answers[n]);
    return { sure, rejected, redrawn, added, frozen: state === "accepted", leftOut: state === "rejected" };
  }

  /** What a mask by hand shares with the answers, as far as their masks are here. @param {number} n @param {Decision} decision */
  _compared(n, decision) {
    const counts = /** @type {string} */ (decision.counts);
    const key = `${n} ${counts}`;
    const known = this._drawn.get(key);
    if (known) return known;
    const [width, height] = [this.index.images.width[n], this.index.images.height[n]];
    const mask = decodeCounts(counts, height, width);
    const masks = this.masks(n);
    /** @type {Drawn} */
    const drawn = { area: area(mask), shared: [] };
    [...(masks?.values() ?? [])].forEach((other, local) => {
      const pixels = sharedPixels(mask, decodeCounts(other, height, width));
      if (pixels) drawn.shared.push([local, pixels]);
    });
    if (!masks) this.lacking.add(n);
    else this._drawn.set(key, drawn);
    for (const oldest of this._drawn.keys()) {
      if (this._drawn.size <= KEPT_DRAWN) break;
      this._drawn.delete(oldest);
    }
    return drawn;
  }
}
