// Which images are shown, and in which order.

import { largestOverlap, REASONS, uncertainty } from "./filters.js";

/** @typedef {import("./desk.js").Desk} Desk */

export const DROP_REASONS = ["", ...REASONS.slice(1)]; // by code; "" is kept

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

/**
 * The images that are as somebody chose, in the order that was chosen.
 *
 * @param {Desk} desk
 * @param {Chosen} chosen
 * @returns {number[]}
 */
export function imagesLike(desk, chosen) {
  const found = [];
  for (let n = 0; n < desk.count; n++) if (isLike(desk, n, chosen)) found.push(n);
  const key = sortKey(desk, chosen.sort);
  if (!key) return found;
  const keys = new Map(found.map((n) => [n, key(n)]));
  return found.sort((a, b) => /** @type {number} */ (keys.get(a)) - /** @type {number} */ (keys.get(b)) || a - b);
}

/** @param {Desk} desk @param {number} n @param {Chosen} chosen */
function isLike(desk, n, { name, category, split, state, reason, low, high }) {
  if (desk.gone.has(n)) return false;
  if (name && !desk.name(n).toLowerCase().includes(name.toLowerCase())) return false;
  if (split !== "any" && desk.index.images.split[n] !== split) return false;
  if (state !== "any" && (state === "outdated" ? !desk.isOutdated(n) : desk.state(n) !== state)) return false;
  if (category < 0 && !reason && low <= 0 && high >= 1) return true;
  const codes = desk.figures.codes(n);
  for (let local = 0; local < codes.length; local++) {
    if (reason === "" ? codes[local] : reason !== "any" && DROP_REASONS[codes[local]] !== reason) continue;
    if (category >= 0 && desk.figures.categoryOf(n, local) !== category) continue;
    const score = desk.figures.scoreOf(n, local);
    if (score === null || (score >= low && score <= high)) return true;
  }
  const additions = reason === "" || reason === "any" ? desk.sheet(n).review.instances : [];
  return additions.some((d) => !d.origin && (category < 0 || desk.classes.indexOf(d.category ?? "") === category));
}

/** @param {Desk} desk @param {string} sort @returns {((n: number) => number) | null} */
function sortKey(desk, sort) {
  const { data } = desk.figures;
  /** @type {Record<string, (n: number) => number>} */
  const keys = {
    lowest: (n) => {
      const { score, offsets, codes } = data;
      let lowest = 2;
      for (let i = offsets[n]; i < offsets[n + 1]; i++) if (!codes[i] && score[i] < lowest) lowest = score[i];
      return lowest;
    },
    uncertain: (n) => uncertainty(data, n, desk.thresholds),
    instances: (n) => -desk.figures.kept(n),
    overlap: (n) => -largestOverlap(data, n, desk.thresholds.nms_metric),
  };
  return keys[sort] ?? null;
}
