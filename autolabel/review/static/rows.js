// The instances of one image as people see them: answers with what was decided about each, and what was added.

import { DROP_REASONS } from "./desk.js";
import { decided, judgedImage } from "./reviews.js";

/** @typedef {import("./desk.js").Desk} Desk */
/** @typedef {import("./types.js").Decision} Decision */

/**
 * @typedef {object} Row
 * @property {string} key  stays the same while the page is open
 * @property {number | null} local  its answer
 * @property {number} k  its decision, -1 where there is none
 * @property {string} id  of its answer
 * @property {number} category
 * @property {string} prompt
 * @property {number | null} score
 * @property {string} counts
 * @property {string} reason  why it is dropped, "" where it is kept
 * @property {"" | "accepted" | "rejected"} verdict
 * @property {boolean} changed  its class or mask is not the answer's
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
  const { offsets, score, order } = desk.data;
  const sheet = desk.sheet(n);
  const codes = desk.codes(n);
  const given = [...masks];
  const from = offsets[n];
  /** @type {Row[]} */
  const rows = [];
  for (let place = 0; place < codes.length && place < given.length; place++) {
    const local = order[from + place] - from;
    const k = sheet.matched.indexOf(local);
    /** @type {Decision | undefined} */
    const decision = sheet.review.instances[k];
    const [id, counts] = given[local];
    rows.push({
      key: id,
      local,
      k,
      id,
      category: desk.categoryOf(n, local),
      prompt: desk.index.prompts[desk.prompt[from + local]] ?? "",
      score: Number.isNaN(score[from + local]) ? null : score[from + local],
      counts: decision?.counts ?? counts,
      reason: DROP_REASONS[codes[local]],
      verdict: decision?.verdict ?? "",
      changed: Boolean(decision && (decision.category || decision.counts)),
      lost: false,
    });
  }
  sheet.review.instances.forEach((decision, k) => {
    const lost = sheet.lost.includes(k);
    if (decision.origin && !lost) return;
    const name = decision.category ?? decision.origin?.category ?? "";
    const rejected = decision.verdict === "rejected" || sheet.review.verdict === "rejected";
    rows.push({
      key: `decision ${k}`,
      local: null,
      k,
      id: "",
      category: Math.max(0, desk.classes.indexOf(name)),
      prompt: decision.how ? `by hand: ${decision.how}` : "by hand",
      score: null,
      counts: decision.counts ?? decision.origin?.counts ?? "",
      reason: rejected ? "review_rejected" : "",
      verdict: decision.verdict,
      changed: true,
      lost,
    });
  });
  return rows;
}

/**
 * Accept an image with all that is kept of it, or reject it.
 *
 * @param {Desk} desk
 * @param {number} n
 * @param {"accepted" | "rejected"} verdict
 */
export async function judgeImage(desk, n, verdict) {
  if (verdict === "accepted") await desk.fetchMasks([n]);
  let sheet = desk.sheet(n);
  for (const row of verdict === "accepted" ? instancesOf(desk, n) : []) {
    if (row.local === null || row.reason !== "" || row.verdict === "accepted") continue;
    sheet = decided(sheet, { local: row.local, origin: desk.origin(n, row.local, row.id) }, { verdict });
  }
  desk.change(n, judgedImage(sheet, verdict, desk.index.images.answers[n]), `${verdict} ${desk.name(n)}`);
}
