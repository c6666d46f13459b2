// What the reviewer works on: which images are shown in which order, their masks, and the decisions, each of which
// is sent as it is made. Draws nothing.

import { Figures } from "./figures.js";
import { Outbox } from "./outbox.js";
import { sayTheSame, stateOf, UNDECIDED, whole } from "./reviews.js";
import { ALL_IMAGES, imagesLike } from "./selection.js";

/** @typedef {import("./types.js").Host} Host */
/** @typedef {import("./selection.js").Chosen} Chosen */
/** @typedef {import("./types.js").Index} Index */
/** @typedef {import("./types.js").Sheet} Sheet */

const KEPT_MASKS = 1200; // images whose masks stay in memory
const SEEN_FIRST = 30; // images, about: asked for while all is counted

/** @typedef {{n: number, before: Sheet, after: Sheet, what: string}} Step */
/** @typedef {{n: number, mine: Sheet, theirs: Sheet}} Conflict */

let desks = 0;

/**
 * Tells its listeners of "figures", "shown", "sheet" (with `detail`, the image), "decided" (likewise, by the reviewer
 * here), "status", "said" (a sentence) and "conflict".
 */
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
    this.count = index.images.name.length;
    this.gone = new Set(index.gone ?? []);
    /** @type {Map<number, Map<string, string>>} */
    this._masks = new Map();
    /** @type {Map<number, Promise<void>>} */
    this._asked = new Map();
    this.fetchMasks([...index.images.name.keys()].filter((n) => !this.gone.has(n)).slice(0, SEEN_FIRST)).catch(() => {}); // meanwhile
    this.figures = new Figures(index, (n) => this._masks.get(n));
    this.classes = this.figures.classes;
    this.thresholds = this.figures.thresholds;
    this.outbox = new Outbox(host, {
      saved: (n, kept) => this._show(n, kept),
      conflict: (n, mine, theirs) => this._conflict(n, mine, theirs),
      refused: (n, confirmed, reason) => this._refused(n, confirmed, reason),
      changed: () => this.tell("status"),
    });
    /** @type {Chosen} */
    this.chosen = ALL_IMAGES;
    /** @type {number[]} */
    this.shown = [];
    /** @type {Map<string, Sheet>} */
    this._sheets = new Map(Object.entries(index.reviews).map(([image, sheet]) => [image, whole(sheet)]));
    /** @type {Map<string, number[]>} */
    this._places = new Map();
    index.images.image.forEach((image, n) => {
      const places = this._places.get(image);
      if (places) places.push(n);
      else this._places.set(image, [n]);
    });
    /** @type {Map<number, Promise<void>>} */
    this._turns = new Map();
    /** @type {Step[]} */
    this._done = [];
    /** @type {Step[]} */
    this._undone = [];
    for (const image of this._sheets.keys()) this._judge(image);
    this._complete();
    this.figures.count();
    this.select({});
  }

  /** @param {string} type @param {unknown} [detail] */
  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** @param {string} text */
  say(text) {
    this.tell("said", text);
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

  /** @param {number} n @returns {Sheet} what is decided about an image; answers are matched for this very file */
  sheet(n) {
    const sheet = this._sheets.get(this.index.images.image[n]) ?? UNDECIDED;
    return sheet.of?.[n] ? { ...sheet, ...sheet.of[n] } : sheet;
  }

  /** @param {number} n */
  state(n) {
    return stateOf(this.sheet(n), this.index.images.answers[n]);
  }

  /** @param {number} n whether its decisions were made on answers that no file of its content has any more */
  isOutdated(n) {
    const { verdict } = this.sheet(n).review;
    if (!verdict && !this.sheet(n).lost.length) return false;
    const isAccepted = this._placesOf(n).some((place) => this.state(place) === "accepted");
    return verdict !== "rejected" && (this.lostBy(n).length > 0 || (verdict === "accepted" && !isAccepted));
  }

  /** @param {number} n @returns {number[]} the decisions, by place, whose answers are in no file of its content */
  lostBy(n) {
    const sheets = this._placesOf(n).map((place) => this.sheet(place));
    return this.sheet(n).lost.filter((k) => sheets.every(({ lost }) => lost.includes(k)));
  }

  /** @param {number} n @returns {number[]} all images with its content */
  _placesOf(n) {
    return (this._places.get(this.index.images.image[n]) ?? []).filter((place) => !this.gone.has(place));
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
    for (const n of numbers) {
      const known = this._masks.get(n);
      if (!known) continue;
      this._masks.delete(n); // what is asked for is kept longest
      this._masks.set(n, known);
    }
    const wanted = numbers.filter((n) => !this._masks.has(n) && !this._asked.has(n));
    if (wanted.length) {
      const answer = this.host.images(wanted).then((found) => found.forEach((image) => this._keepMasks(image)));
      for (const n of wanted) this._asked.set(n, answer);
      const forget = () => wanted.forEach((n) => this._asked.delete(n));
      answer.then(forget, forget);
      await answer;
    }
    await Promise.all(numbers.map((n) => this._asked.get(n)));
  }

  /** @param {import("./types.js").ImageMasks} found */
  _keepMasks({ n, instances, answers, error }) {
    const stale = error ?? (answers !== undefined && answers !== this.index.images.answers[n] ? "its answers changed" : "");
    if (stale) this.say(`${this.name(n)}: ${stale}; reload the page`);
    this._masks.set(n, new Map(stale ? [] : instances)); // one that is stale is not asked for again and again
    for (const oldest of this._masks.keys()) {
      if (this._masks.size <= KEPT_MASKS) break;
      this._masks.delete(oldest);
    }
    if (!this.figures.lacking.has(n)) return;
    this._judge(this.index.images.image[n]);
    this.refilter();
  }

  // ---- figures ------------------------------------------------------------------------------------------------

  /** Apply the thresholds to every answer. */
  refilter() {
    this.figures.count();
    this.tell("figures");
  }

  /** @param {Partial<Chosen>} change */
  select(change) {
    this.chosen = { ...this.chosen, ...change };
    this.shown = imagesLike(this, this.chosen);
    this.tell("shown");
  }

  /** @returns {Record<string, number>} */
  states() {
    /** @type {Record<string, number>} */
    const found = { new: 0, edited: 0, accepted: 0, rejected: 0, outdated: 0 };
    for (let n = 0; n < this.count; n++) {
      if (this.gone.has(n)) continue;
      found[this.state(n)]++;
      found.outdated += Number(this.isOutdated(n));
    }
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
    if (sayTheSame(before.review, after.review)) return this.say(`${this.name(n)}: nothing changes`);
    this._done.push({ n, before, after, what });
    this._undone = [];
    this._put(n, after);
    this.say(what);
    this.tell("decided", n);
  }

  /** Do something about an image after what was asked for it before. @param {number} n @param {() => Promise<void>} deed */
  inTurn(n, deed) {
    const mine = (this._turns.get(n) ?? Promise.resolve()).then(deed).finally(() => {
      if (this._turns.get(n) === mine) this._turns.delete(n);
      this.tell("status");
    });
    this._turns.set(n, mine);
    this.tell("status");
    return mine;
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

  /** @param {number} n @param {Sheet} latest */
  _put(n, latest) {
    const before = this.sheet(n);
    const { answers } = this.index.images;
    const matched = latest.review.instances.map(() => null); // in a file with other answers, until the host tells
    const others = this._placesOf(n).filter((place) => answers[place] !== answers[n]);
    const of = others.length ? Object.fromEntries(others.map((place) => [place, { lost: [], matched }])) : undefined;
    this._show(n, { ...latest, of });
    this._complete();
    this.outbox.put(n, this.index.images.image[n], before, { ...latest, of });
  }

  /** @param {number} n @param {Sheet} sheet */
  _show(n, sheet) {
    const image = this.index.images.image[n];
    this._sheets.set(image, sheet);
    this._judge(image);
    this.refilter();
    for (const place of this._places.get(image) ?? []) this.tell("sheet", place);
  }

  /** @param {number} n @param {Sheet} mine @param {Sheet} theirs */
  _conflict(n, mine, theirs) {
    this._show(n, theirs);
    this.tell("conflict", { n, mine, theirs });
  }

  /** What is not kept is not shown as if it were, nor can it be undone. @param {number} n @param {Sheet} confirmed @param {string} reason */
  _refused(n, confirmed, reason) {
    const isOther = (/** @type {Step} */ step) => step.n !== n;
    this._done = this._done.filter(isOther);
    this._undone = this._undone.filter(isOther);
    this._show(n, confirmed);
    this.say(`${this.name(n)} is not saved: ${reason}`);
  }

  /** Put one's own decision over another's. @param {Conflict} conflict */
  insist({ n, mine }) {
    this.change(n, { ...this.sheet(n), review: mine.review, matched: mine.matched, lost: mine.lost }, "your decision over the other");
  }

  get unsaved() {
    return this.outbox.letters.size + this._turns.size;
  }

  /**
   * What `autolabel review CONFIG --apply` takes: in a file all that was decided there, else what is not saved.
   *
   * @returns {Promise<object>}
   */
  async decisions() {
    const images = [];
    for (const [image, sheet] of this._sheets) {
      const base = sheet.base ?? this.outbox.letters.get(image)?.confirmed.revision;
      const [n] = this._places.get(image) ?? [];
      if (base === undefined || n === undefined) continue;
      await this.fetchMasks([n]).catch(() => {}); // a server that is gone has no masks: ids say enough for it
      images.push({ image, name: this.name(n), base, review: this._withMasks(n, sheet) });
    }
    return { autolabel_decisions: 1, ...(this.host.made ? { made: this.host.made } : {}), images };
  }

  /** A review whose origins say all, for a run whose answers may be others by then. @param {number} n @param {Sheet} sheet */
  _withMasks(n, sheet) {
    const masks = [...(this.masks(n) ?? [])];
    const instances = sheet.review.instances.map((decision, k) => {
      const local = sheet.matched[k] ?? null;
      if (!decision.origin || local === null || !masks[local]) return decision;
      const [id, counts] = masks[local];
      const [confidence, prompt] = [this.figures.scoreOf(n, local), this.figures.promptOf(n, local)];
      const category = this.classes[this.figures.ownCategory(n, local)];
      return { ...decision, origin: { id, category, prompt, confidence, counts } };
    });
    return { ...sheet.review, instances };
  }

  /** @param {string} image */
  _judge(image) {
    for (const n of this._places.get(image) ?? []) this.figures.judge(n, this.sheet(n));
  }

  /** Fetch the masks that drawn ones have to be compared with. */
  async _complete() {
    const lacking = [...this.figures.lacking].filter((n) => !this._asked.has(n));
    for (let i = 0; i < lacking.length; i += 50) {
      try {
        await this.fetchMasks(lacking.slice(i, i + 50));
      } catch {
        return; // they are compared when somebody looks at their image
      }
    }
  }
}
