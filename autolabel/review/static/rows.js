// The instances of one image as people see them: answers with what was decided about each, and what was added.

import { orderOf } from "./instances.js";
import { decided, judgedImage, withdrawn } from "./reviews.js";
import { DROP_REASONS } from "./selection.js";

/** @typedef {import("./desk.js").Desk} Desk */
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
    .suppressedBy(n, row.local)
    .reduce((after, local) => decided(after, { local, id: ids[local] }, { verdict: "rejected", part_of: row.id }), sheet);
}

/**
 * Take a decision back with what came with it: the pieces of a split, what was merged, the doubles. A piece, or what
 * was merged, takes the whole deed back.
 *
 * @param {Sheet} sheet
 * @param {Decision} decision  one of its
 * @returns {Sheet}
 */
export function takenBack(sheet, decision) {
  const { instances } = sheet.review;
  const isPiece = decision.part_of && (decision.counts || decision.how === "merge");
  const gone = new Set([isPiece ? decision.part_of : (decision.origin?.id ?? "")]);
  gone.delete(""); // what was drawn by hand has nothing with it
  for (let size = 0; size < gone.size; ) {
    size = gone.size;
    for (const { origin, part_of } of instances) if (origin && gone.has(part_of)) gone.add(origin.id);
  }
  const goes = (/** @type {Decision} */ d) => d === decision || gone.has(d.part_of) || gone.has(d.origin?.id ?? "");
  return instances.filter(goes).reduce((after, d) => withdrawn(after, after.review.instances.indexOf(d)), sheet);
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
