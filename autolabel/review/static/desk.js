// What the reviewer works on: the run's figures, the thresholds as the sliders stand, which images are shown in
// which order, and the decisions, each of which is sent as it is made. Draws nothing.

import { area, decodeCounts, sharedPixels } from "./masks.js";
import { filterAll, largestOverlap, REASONS, uncertainty } from "./filters.js";
import { Refusal } from "./hosts.js";
import { bytesOfBase64, prepare } from "./instances.js";
import { sayTheSame, stateOf, UNDECIDED } from "./reviews.js";

/** @typedef {import("./instances.js").Judged} Judged */
/** @typedef {import("./types.js").Host} Host */
/** @typedef {import("./types.js").Index} Index */
/** @typedef {import("./types.js").Review} Review */
/** @typedef {import("./types.js").Sheet} Sheet */

export const DROP_REASONS = ["", ...REASONS.slice(1)]; // by code; "" is kept
const KEPT_MASKS = 1200; // images whose masks stay in memory
const RETRY_MS = 2000;

/**
 * @typedef {object} Chosen  which images are shown, and how
 * @property {string} name
 * @property {number} category  -1 for all
 * @property {string} split
 * @property {string} state
 * @property {string} reason  "" kept, "any", or why it was dropped
 * @property {number} low
 * @property {number} high
 * @property {string} sort
 */

/** @type {Chosen} */
export const ALL_IMAGES = {
  name: "", category: -1, split: "any", state: "any", reason: "", low: 0, high: 1, sort: "name",
};

/** @typedef {{n: number, before: Sheet, after: Sheet, what: string}} Step */
/** @typedef {{n: number, mine: Sheet, theirs: Sheet}} Conflict */

let desks = 0;

/** Tells its listeners of "figures", "shown", "sheet" (with `detail`, the image), "status" and "conflict". */
export class Desk extends EventTarget {
  /**
   * @param {Host} host
   * @param {Index} index
   */
  constructor(host, index) {
    super();
    this.host = host;
    this.index = index;
    this.uid = `al${++desks}`; // a notebook may show several, whose elements need names of their own
    this.data = prepare(index);
    this.prompt = new Uint16Array(bytesOfBase64(index.prompt));
    this.count = index.images.name.length;
    this.classes = index.classes.map(({ name }) => name);
    this.thresholds = {
      classes: index.classes.map((settings) => ({ ...settings })),
      cross_class_iou: index.filter.cross_class_iou,
      nms_metric: index.filter.nms_metric,
      max_area: index.filter.max_area,
    };
    /** @type {Chosen} */
    this.chosen = ALL_IMAGES;
    /** @type {number[]} */
    this.shown = [];
    /** @type {Map<number, Map<string, string>>} */
    this._masks = new Map();
    /** @type {Map<number, Promise<Map<string, string>>>} */
    this._asked = new Map();
    /** @type {Map<string, Sheet>} */
    this._sheets = new Map(Object.entries(index.reviews));
    /** @type {Map<string, number[]>} */
    this._places = new Map();
    index.images.image.forEach((image, n) => {
      const places = this._places.get(image);
      if (places) places.push(n);
      else this._places.set(image, [n]);
    });
    /** @type {Map<number, import("./instances.js").Judged>} */
    this._judged = new Map();
    /** @type {Map<string, {sent: Sheet, busy: boolean, latest: Sheet}>} */
    this._unsaved = new Map();
    /** @type {Step[]} */
    this._done = [];
    /** @type {Step[]} */
    this._undone = [];
    this.trouble = "";
    /** @type {Set<number>} */
    this._lacking = new Set();
    for (const image of this._sheets.keys()) this._judge(image);
    this._complete();
    this.figures = filterAll(this.data, this.thresholds, this._judged);
    this.select({});
  }

  /** @param {string} type @param {unknown} [detail] */
  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  // ---- images -------------------------------------------------------------------------------------------------

  /** @param {number} n */
  name(n) {
    return this.index.images.name[n];
  }

  /** @param {number} n @returns {[number, number]} */
  wh(n) {
    return [this.index.images.width[n], this.index.images.height[n]];
  }

  /** @param {number} n @returns {Sheet} */
  sheet(n) {
    return this._sheets.get(this.index.images.image[n]) ?? UNDECIDED;
  }

  /** @param {number} n */
  state(n) {
    return stateOf(this.sheet(n), this.index.images.answers[n]);
  }

  /** @param {number} n @returns {Map<string, string> | undefined} id to counts, in the order of the answers */
  masks(n) {
    return this._masks.get(n);
  }

  /**
   * Fetch the masks of images that are not there yet, all in one request.
   *
   * @param {number[]} numbers
   * @returns {Promise<void>}
   */
  async fetchMasks(numbers) {
    const wanted = numbers.filter((n) => !this._masks.has(n) && !this._asked.has(n));
    if (wanted.length) {
      const answer = this.host.images(wanted);
      for (const n of wanted) {
        const mine = answer.then((found) => {
          const entry = found.find((image) => image.n === n);
          return new Map(entry ? entry.instances : []);
        });
        this._asked.set(n, mine);
        mine.then((masks) => this._masks.set(n, masks), () => {}).finally(() => this._asked.delete(n));
      }
      await answer;
      for (const oldest of this._masks.keys()) {
        if (this._masks.size <= KEPT_MASKS) break;
        this._masks.delete(oldest);
      }
    }
    await Promise.all(numbers.map((n) => this._asked.get(n)));
  }

  // ---- figures ------------------------------------------------------------------------------------------------

  /** Apply the thresholds to every answer. */
  refilter() {
    this.figures = filterAll(this.data, this.thresholds, this._judged);
    this.tell("figures");
  }

  /** @param {number} n @returns {Uint8Array} why each answer of an image is dropped, 0 where it is kept */
  codes(n) {
    return this.figures.codes.subarray(this.data.offsets[n], this.data.offsets[n + 1]);
  }

  /** @param {number} n @returns {number} how many instances are kept */
  kept(n) {
    const judged = this._judged.get(n);
    let kept = judged?.leftOut ? 0 : (judged?.added?.length ?? 0);
    for (const code of this.codes(n)) if (!code) kept++;
    return kept;
  }

  /** What a decision says it is about. @param {number} n @param {number} local @param {string} id */
  origin(n, local, id) {
    const i = this.data.offsets[n] + local;
    const score = this.data.score[i];
    return {
      id,
      category: this.classes[this.data.category[i]],
      prompt: this.index.prompts[this.prompt[i]],
      confidence: Number.isNaN(score) ? null : score,
      counts: [...(this.masks(n)?.values() ?? [])][local],
    };
  }

  /** @param {Partial<Chosen>} change */
  select(change) {
    this.chosen = { ...this.chosen, ...change };
    const found = [];
    for (let n = 0; n < this.count; n++) if (this._isShown(n)) found.push(n);
    const key = this._sortKey();
    if (key) {
      const keys = new Map(found.map((n) => [n, key(n)]));
      found.sort((a, b) => /** @type {number} */ (keys.get(a)) - /** @type {number} */ (keys.get(b)) || a - b);
    }
    this.shown = found;
    this.tell("shown");
  }

  /** @param {number} n */
  _isShown(n) {
    const { name, category, split, state, reason, low, high } = this.chosen;
    if (name && !this.name(n).toLowerCase().includes(name.toLowerCase())) return false;
    if (split !== "any" && this.index.images.split[n] !== split) return false;
    if (state !== "any" && this.state(n) !== state) return false;
    if (category < 0 && !reason && low <= 0 && high >= 1) return true;
    const { offsets, score } = this.data;
    const { codes } = this.figures;
    for (let i = offsets[n]; i < offsets[n + 1]; i++) {
      if (reason === "" ? codes[i] : reason !== "any" && DROP_REASONS[codes[i]] !== reason) continue;
      if (category >= 0 && this.categoryOf(n, i - offsets[n]) !== category) continue;
      if (!Number.isNaN(score[i]) && (score[i] < low || score[i] > high)) continue;
      return true;
    }
    const additions = reason === "" || reason === "any" ? this.sheet(n).review.instances : [];
    return additions.some((d) => !d.origin && (category < 0 || this.classes.indexOf(d.category ?? "") === category));
  }

  /** @param {number} n @param {number} local @returns {number} its class, as decided */
  categoryOf(n, local) {
    return this._judged.get(n)?.sure.get(local) ?? this.data.category[this.data.offsets[n] + local];
  }

  /** @returns {((n: number) => number) | null} */
  _sortKey() {
    const { offsets, score } = this.data;
    const { codes } = this.figures;
    /** @type {Record<string, (n: number) => number>} */
    const keys = {
      lowest: (n) => {
        let lowest = 2;
        for (let i = offsets[n]; i < offsets[n + 1]; i++) if (!codes[i] && score[i] < lowest) lowest = score[i];
        return lowest;
      },
      uncertain: (n) => uncertainty(this.data, n, this.thresholds),
      instances: (n) => -this.kept(n),
      overlap: (n) => -largestOverlap(this.data, n, this.thresholds.nms_metric),
    };
    return keys[this.chosen.sort] ?? null;
  }

  /** @returns {Record<string, number>} */
  states() {
    /** @type {Record<string, number>} */
    const found = { new: 0, edited: 0, accepted: 0, rejected: 0 };
    for (let n = 0; n < this.count; n++) found[this.state(n)]++;
    return found;
  }

  // ---- decisions ----------------------------------------------------------------------------------------------

  /**
   * Decide: shown at once, sent at once, and undone with `undo`.
   *
   * @param {number} n
   * @param {Sheet} after
   * @param {string} what  for people
   */
  change(n, after, what) {
    const before = this.sheet(n);
    if (this.index.read_only) return this.say("this review is read-only");
    if (sayTheSame(before.review, after.review)) return;
    this._done.push({ n, before, after, what });
    this._undone = [];
    this._put(n, after);
  }

  undo() {
    return this._go(this._done, this._undone, (step) => [step.after, step.before], "undone");
  }

  redo() {
    return this._go(this._undone, this._done, (step) => [step.before, step.after], "done again");
  }

  /**
   * @param {Step[]} from
   * @param {Step[]} to
   * @param {(step: Step) => [Sheet, Sheet]} sides  as it should be now, and as it shall be
   * @param {string} verb
   * @returns {number} the image, or -1
   */
  _go(from, to, sides, verb) {
    const step = from.pop();
    if (!step) {
      this.say(`nothing to be ${verb}`);
      return -1;
    }
    const [now, then] = sides(step);
    if (!sayTheSame(this.sheet(step.n).review, now.review)) {
      this.say(`${this.name(step.n)} was changed elsewhere since: not ${verb}`);
      return step.n;
    }
    to.push(step);
    this._put(step.n, then);
    this.say(`${verb}: ${step.what}`);
    return step.n;
  }

  /** @param {number} n @param {Sheet} sheet */
  _put(n, sheet) {
    const image = this.index.images.image[n];
    const now = this.sheet(n);
    const own = { ...sheet, revision: now.revision, base: now.base };
    this._show(image, own);
    this._complete();
    const waiting = this._unsaved.get(image);
    if (waiting) waiting.latest = own;
    else this._unsaved.set(image, { sent: own, busy: false, latest: own });
    this._send(n);
  }

  /** @param {string} image @param {Sheet} sheet */
  _show(image, sheet) {
    this._sheets.set(image, sheet);
    this._judge(image);
    this.refilter();
    for (const n of this._places.get(image) ?? []) this.tell("sheet", n);
  }

  /** @param {number} n */
  async _send(n) {
    const image = this.index.images.image[n];
    const waiting = this._unsaved.get(image);
    if (!waiting || waiting.busy) return;
    waiting.busy = true;
    waiting.sent = waiting.latest;
    this.tell("status");
    try {
      const { ok, ...kept } = await this.host.decide(n, image, waiting.sent);
      this.trouble = "";
      if (ok) this._saved(n, waiting, kept);
      else this._conflict(n, waiting.latest, kept);
    } catch (error) {
      waiting.busy = false;
      const reason = error instanceof Error ? error.message : String(error);
      if (error instanceof Refusal) {
        this._refused(n, waiting.latest, reason);
      } else {
        this.trouble = `not saved, trying again: ${reason}`;
        setTimeout(() => this._send(n), RETRY_MS);
      }
    }
    this.tell("status");
  }

  /** @param {number} n @param {{sent: Sheet, busy: boolean, latest: Sheet}} waiting @param {Sheet} kept */
  _saved(n, waiting, kept) {
    const image = this.index.images.image[n];
    waiting.busy = false;
    if (waiting.latest !== waiting.sent) {
      waiting.latest = { ...waiting.latest, revision: kept.revision };
      this._sheets.set(image, waiting.latest);
      this._send(n);
      return;
    }
    this._unsaved.delete(image);
    this._show(image, kept);
  }

  /** @param {number} n @param {Sheet} mine @param {Sheet} theirs */
  _conflict(n, mine, theirs) {
    this._unsaved.delete(this.index.images.image[n]);
    this._show(this.index.images.image[n], theirs);
    this.tell("conflict", { n, mine, theirs });
  }

  /** What is not saved is not shown as if it were. @param {number} n @param {Sheet} mine @param {string} reason */
  _refused(n, mine, reason) {
    const image = this.index.images.image[n];
    this._unsaved.delete(image);
    const step = this._done.findLast((each) => each.n === n && sayTheSame(each.after.review, mine.review));
    if (step) this._done.splice(this._done.indexOf(step), 1);
    this._show(image, step ? { ...step.before, revision: mine.revision } : { ...UNDECIDED, revision: mine.revision });
    this.say(`not saved: ${reason}`);
  }

  get unsaved() {
    return this._unsaved.size;
  }

  /** Put one's own decision over another's. @param {Conflict} conflict */
  insist({ n, mine, theirs }) {
    this._done.push({ n, before: theirs, after: mine, what: "your decision over the other" });
    this._put(n, mine);
  }

  /** @returns {object} what `autolabel review CONFIG --apply` takes */
  decisions() {
    const images = [];
    for (const [image, sheet] of this._sheets) {
      const base = sheet.base ?? (this._unsaved.has(image) ? sheet.revision : null);
      const [n] = this._places.get(image) ?? [];
      if (base !== null && n !== undefined) images.push({ image, name: this.name(n), base, review: sheet.review });
    }
    return { autolabel_decisions: 1, images };
  }

  /** @param {string} text */
  say(text) {
    this.tell("said", text);
  }

  // ---- what decisions do to the filters -----------------------------------------------------------------------

  /** @param {string} image */
  _judge(image) {
    for (const n of this._places.get(image) ?? []) {
      const sheet = this.sheet(n);
      if (!sheet.review.verdict && !sheet.review.instances.length) this._judged.delete(n);
      else this._judged.set(n, this._judgementOf(n, sheet));
    }
  }

  /** @param {number} n @param {Sheet} sheet @returns {Judged} */
  _judgementOf(n, sheet) {
    /** @type {Map<number, number>} */
    const sure = new Map();
    /** @type {Set<number>} */
    const rejected = new Set();
    /** @type {Map<number, {area: number, shared: [number, number][]}>} */
    const redrawn = new Map();
    /** @type {{category: number, area: number, shared: [number, number][]}[]} */
    const added = [];
    sheet.review.instances.forEach((decision, k) => {
      const local = sheet.matched[k] ?? null;
      const category = this.classes.indexOf(decision.category ?? "");
      if (sheet.lost.includes(k)) return;
      if (local === null) added.push({ category: Math.max(0, category), ...this._drawn(n, decision) });
      else if (decision.verdict === "rejected") rejected.add(local);
      else {
        sure.set(local, category < 0 ? this.data.category[this.data.offsets[n] + local] : category);
        if (decision.counts) redrawn.set(local, this._drawn(n, decision));
      }
    });
    const state = this.state(n);
    return { sure, rejected, redrawn, added, frozen: state === "accepted", leftOut: state === "rejected" };
  }

  /**
   * What a mask by hand shares with the answers. Their masks may not be here yet: it is done again when they are.
   *
   * @param {number} n
   * @param {import("./types.js").Decision} decision
   * @returns {{area: number, shared: [number, number][]}}
   */
  _drawn(n, decision) {
    const [width, height] = this.wh(n);
    const mask = decodeCounts(/** @type {string} */ (decision.counts), height, width);
    const masks = this.masks(n);
    if (!masks) this._lacking.add(n);
    /** @type {[number, number][]} */
    const shared = [];
    [...(masks?.values() ?? [])].forEach((counts, local) => {
      const pixels = sharedPixels(mask, decodeCounts(counts, height, width));
      if (pixels) shared.push([local, pixels]);
    });
    return { area: area(mask), shared };
  }

  /** Fetch the masks that drawn ones have to be compared with. */
  async _complete() {
    while (this._lacking.size) {
      const some = [...this._lacking].slice(0, 50);
      for (const n of some) this._lacking.delete(n);
      try {
        await this.fetchMasks(some);
      } catch {
        return; // they are fetched again when their image is looked at
      }
      for (const n of some) this._judge(this.index.images.image[n]);
      this.refilter();
    }
  }
}
