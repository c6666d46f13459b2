// The instances of one image as people see them: answers with what was decided about each, and what was added.

import { orderOf } from "./instances.js";
import { area, decodeCounts, sharedPixels } from "./masks.js";
import { decided, judgedImage, withdrawn } from "./reviews.js";
import { DROP_REASONS } from "./selection.js";

/** @typedef {import("./desk.js").Desk} Desk */
/** @typedef {import("./masks.js").Mask} Mask */
/** @typedef {import("./types.js").Decision} Decision */
/** @typedef {import("./types.js").Sheet} Sheet */

/**
 * @typedef {object} Row
 * @property {string} key  stays the same while the page is open
 * @property {number | null} local  its answer
 * @property {number} k  its decision, -1 where there is none
 * @property {string} id  of its answer
 * @property {number} category
 * @property {string} name  of its class
 * @property {string} prompt
 * @property {number | null} score
 * @property {string} counts
 * @property {string} reason  why it is dropped, "" where it is kept
 * @property {"" | "accepted" | "rejected"} verdict
 * @property {boolean} changed  its class or mask is not its answer's
 * @property {boolean} lost  a decision whose answer is gone
 */

/**
 * All instances of an image whose masks are there, best first; what was added comes after the answers.
 *
 * @param {Desk} desk
 * @param {number} n
 * @returns {Row[]}
 */
export function instancesOf(desk, n) {
  const masks = desk.masks(n);
  if (!masks) return [];
  return [...answeredRows(desk, n, [...masks]), ...drawnRows(desk, n)];
}

/** @param {Desk} desk @param {number} n @param {[string, string][]} masks @returns {Row[]} */
function answeredRows(desk, n, masks) {
  const { data } = desk.figures;
  const order = orderOf(data, n);
  const sheet = desk.sheet(n);
  const codes = desk.figures.codes(n);
  const places = new Map(sheet.matched.map((local, k) => [local, k]));
  const rows = [];
  for (let place = 0; place < codes.length && place < masks.length; place++) {
    const local = order[place] - data.offsets[n];
    const k = places.get(local) ?? -1;
    /** @type {Decision | undefined} */
    const decision = sheet.review.instances[k];
    const [id, counts] = masks[local];
    const category = desk.figures.categoryOf(n, local);
    rows.push({
      key: id,
      local,
      k,
      id,
      category,
      name: desk.classes[category],
      prompt: desk.figures.promptOf(n, local),
      score: desk.figures.scoreOf(n, local),
      counts: decision?.counts ?? counts,
      reason: DROP_REASONS[codes[local]],
      verdict: decision?.verdict ?? "",
      changed: Boolean(decision && (decision.category || decision.counts)),
      lost: false,
    });
  }
  return rows;
}

/** What was added, and decisions whose answer is gone. @param {Desk} desk @param {number} n @returns {Row[]} */
function drawnRows(desk, n) {
  const { review } = desk.sheet(n);
  const lost = desk.lostBy(n); // what another file of this content answers is not missed here
  /** @type {Map<string, number>} */
  const times = new Map();
  /** @type {Row[]} */
  const rows = [];
  review.instances.forEach((decision, k) => {
    const { origin, category, verdict, how } = decision;
    const isLost = lost.includes(k);
    if (origin && !isLost) return;
    const name = category ?? origin?.category ?? "";
    const counts = decision.counts ?? origin?.counts ?? "";
    const time = (times.get(counts) ?? 0) + 1;
    times.set(counts, time);
    rows.push({
      key: addedKey(counts, time),
      local: null,
      k,
      id: "",
      category: Math.max(0, desk.classes.indexOf(name)),
      name,
      prompt: origin ? promptOf(origin) : how ? `by hand: ${how}` : "by hand",
      score: origin?.confidence ?? null,
      counts,
      reason: verdict === "rejected" || review.verdict === "rejected" ? "review_rejected" : "",
      verdict,
      changed: false,
      lost: isLost,
    });
  });
  return rows;
}

/** What an answer that is gone was asked by; boxes and points have a key for machines. @param {import("./types.js").Origin} origin */
function promptOf({ prompt = "" }) {
  return prompt.startsWith("{") ? "by a box or points" : prompt;
}

/**
 * Reject what an answer suppresses, which would come up in its place once that is rejected, or is another one.
 *
 * @param {Desk} desk
 * @param {number} n
 * @param {Sheet} sheet
 * @param {Row} row
 */
export function withoutDoubles(desk, n, sheet, row) {
  if (row.local === null) return sheet;
  const ids = [...(desk.masks(n)?.keys() ?? [])];
  return desk.figures
    .suppressedBy(n, row.local, desk.sheet(n))
    .reduce((after, local) => decided(after, { local, id: ids[local] }, { verdict: "rejected", how: "double" }), sheet);
}

/**
 * Take a decision on an answer back with what came with it: the doubles of its instance, the pieces of a split, the
 * answers that were merged. What was drawn by hand before it was merged is back by undo only.
 *
 * @param {Desk} desk
 * @param {number} n
 * @param {Sheet} sheet
 * @param {Decision} decision  one of its
 * @returns {Sheet}
 */
export function takenBack(desk, n, sheet, decision) {
  const { instances } = sheet.review;
  const root = rootOf(desk, n, sheet, decision);
  const whole = root.how === "split" ? ownMask(desk, n, root) : maskOf(desk, n, root);
  const isPart = (/** @type {Decision} */ d) =>
    root.origin && /^(split|merge)$/.test(root.how) && d.how === root.how && isMostlyIn(maskOf(desk, n, d), whole);
  const after = instances.filter((d) => d === root || d === decision || isPart(d)).reduce(without, sheet);
  const local = sheet.matched[instances.indexOf(root)] ?? null;
  if (local === null) return after;
  const doubles = after.review.instances.filter((d) => d.how === "double");
  const suppressed = desk.figures.suppressedBy(n, local, doubles.reduce(without, after));
  return doubles
    .filter((d) => suppressed.includes(after.matched[after.review.instances.indexOf(d)] ?? -1))
    .reduce(without, after);
}

/** The decision on the answer that was split, for one of its pieces; else the decision itself. @param {Desk} desk @param {number} n @param {Sheet} sheet @param {Decision} decision */
function rootOf(desk, n, sheet, decision) {
  if (decision.origin || decision.how !== "split") return decision;
  const piece = maskOf(desk, n, decision);
  const isRoot = (/** @type {Decision} */ d) => d.origin && d.how === "split" && isMostlyIn(piece, ownMask(desk, n, d));
  return sheet.review.instances.find(isRoot) ?? decision;
}

/** @param {Sheet} sheet @param {Decision} decision */
function without(sheet, decision) {
  return withdrawn(sheet, sheet.review.instances.indexOf(decision));
}

/** @param {Desk} desk @param {number} n @param {Decision} decision @returns {Mask} as it is now */
function maskOf(desk, n, decision) {
  const [width, height] = desk.wh(n);
  return decision.counts ? decodeCounts(decision.counts, height, width) : ownMask(desk, n, decision);
}

/** @param {Desk} desk @param {number} n @param {Decision} decision @returns {Mask} that of its answer, empty where there is none */
function ownMask(desk, n, { origin }) {
  const [width, height] = desk.wh(n);
  const counts = origin && (desk.masks(n)?.get(origin.id) ?? origin.counts);
  return counts ? decodeCounts(counts, height, width) : { height, width, bounds: new Uint32Array(0) };
}

/** Whether more than half of a mask lies in another: its edge may have been moved since. @param {Mask} one @param {Mask} other */
function isMostlyIn(one, other) {
  return 2 * sharedPixels(one, other) > area(one);
}

/** What became of an instance, where it is not simply kept. @param {Desk} desk @param {Row} row */
export function fateOf(desk, row) {
  if (!row.lost) return row.reason.replaceAll("_", " ");
  if (row.verdict === "rejected") return "what it rejected is gone: w drops it";
  if (!desk.classes.includes(row.name)) return `the class ${row.name} is gone: give it another, or w drops it`;
  return "its answer is gone: Enter keeps it, w drops it";
}

/** What an added instance is called by: its place changes as others come and go. @param {string} counts */
export function addedKey(counts, time = 1) {
  return `added ${counts} ${time}`;
}

/**
 * Accept an image with all that is kept of it, or reject it, once what was decided before it is done. Decisions that
 * lost their answers are no part of what is accepted.
 *
 * @param {Desk} desk
 * @param {number} n
 * @param {"accepted" | "rejected"} verdict
 */
export function judgeImage(desk, n, verdict) {
  const answers = desk.index.images.answers[n];
  return desk.inTurn(n, async () => {
    let sheet = desk.sheet(n);
    let what = `${verdict} ${desk.name(n)}`;
    if (verdict === "accepted") {
      await desk.fetchMasks([n]);
      sheet = desk.sheet(n);
      // of an image that was rejected, what would be kept if it were not
      if (sheet.review.verdict === "rejected") sheet = judgedImage(sheet, null, "");
      const lost = desk.lostBy(n);
      sheet = [...lost].sort((a, b) => b - a).reduce(withdrawn, sheet);
      if (lost.length) what += ` without ${lost.length} lost decision(s)`;
      const codes = desk.figures.codesWith(n, sheet);
      const ids = [...(desk.masks(n)?.keys() ?? [])];
      if (ids.length !== desk.figures.codes(n).length) throw new Error("its masks are not here; reload the page");
      ids.forEach((id, local) => {
        const isOpen = codes[local] === 0 && !sheet.matched.includes(local);
        if (isOpen) sheet = decided(sheet, { local, id }, { verdict, how: "image" });
      });
    }
    desk.change(n, judgedImage(sheet, verdict, answers), what);
  });
}
