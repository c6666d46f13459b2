// Which instances are kept at given thresholds, and why each of the others is not: what autolabel/filters.py says,
// to the last one, from the index alone and for all images at once.

import { orderOf, VERDICTS, reviewedTable } from "./instances.js";

/** @typedef {import("./instances.js").FilterData} FilterData */
/** @typedef {import("./instances.js").InstanceTable} InstanceTable */
/** @typedef {import("./instances.js").Judged} Judged */

/** The reasons by their code; 0 is kept. */
export const REASONS = [
  "kept",
  "below_confidence",
  "empty_mask",
  "too_small",
  "too_large",
  "nms_same_class",
  "nms_cross_class",
  "max_instances",
  "review_rejected",
];
const [KEPT, BELOW_CONFIDENCE, EMPTY_MASK, TOO_SMALL, TOO_LARGE, NMS_SAME, NMS_CROSS, MAX_INSTANCES, REVIEW_REJECTED] =
  REASONS.keys();

/**
 * The thresholds of every class and of all: `{classes: index.classes, ...index.filter}` are those that hold now.
 * @typedef {{confidence: number, nms_iou: number | null, min_area: number,
 *   max_instances: number | null}} ClassThresholds
 * @typedef {{classes: ClassThresholds[], cross_class_iou: number | null, nms_metric: "iou" | "ios",
 *   max_area: number | null}} Thresholds
 */
/**
 * The codes of one image's answers in their order, then of its added instances, and for each the one that won
 * over it (numbers within the image; -1 for none).
 * @param {FilterData} data
 * @param {number} n the image
 * @param {Thresholds} thresholds
 * @param {Judged | null} [judged]
 * @returns {{codes: Uint8Array, winners: Int32Array}}
 */
export function filterImage(data, n, thresholds, judged = null) {
  const asReviewed = judged ?? { sure: new Map(), rejected: new Set() };
  const { codes, winners } = filterReviewed(data, n, limitsOf(thresholds), asReviewed);
  return { codes, winners };
}

/**
 * The codes of all answers, in `data.codes`, and how many instances of each class got each code:
 * `counts[class][code]`. Those with another class since the review count there, and added ones count too.
 * @param {FilterData} data
 * @param {Thresholds} thresholds
 * @param {Map<number, Judged>} [judgedByImage]
 * @returns {{codes: Uint8Array, counts: Uint32Array[]}}
 */
export function filterAll(data, thresholds, judgedByImage = new Map()) {
  const { codes, offsets, pairOffsets } = data;
  const limits = limitsOf(thresholds);
  const counts = thresholds.classes.map(() => new Uint32Array(REASONS.length));
  for (let n = 0; n < data.count; n++) {
    const [from, to] = [offsets[n], offsets[n + 1]];
    const judged = judgedByImage.get(n);
    if (judged) {
      const reviewed = filterReviewed(data, n, limits, judged);
      codes.set(reviewed.codes.subarray(0, to - from), from);
      reviewed.codes.forEach((code, i) => counts[reviewed.category[i]][code]++);
    } else {
      const maxArea = largestArea(data, n, limits);
      if (limits.leastMost < to - from) orderOf(data, n);
      filterTable(data, from, to, pairOffsets[n], pairOffsets[n + 1], limits, maxArea, codes, null);
      for (let i = from; i < to; i++) counts[data.category[i]][codes[i]]++;
    }
  }
  return { codes, counts };
}

/**
 * Thresholds by class in arrays; none is infinite, and never reached.
 * @param {Thresholds} thresholds
 */
function limitsOf({ classes, cross_class_iou, nms_metric, max_area }) {
  const most = Float64Array.from(classes, (one) => one.max_instances ?? Infinity);
  return {
    confidence: Float64Array.from(classes, (one) => one.confidence),
    sameClass: Float64Array.from(classes, (one) => one.nms_iou ?? Infinity),
    minArea: Float64Array.from(classes, (one) => one.min_area),
    most,
    leastMost: Math.min(...most),
    crossClass: cross_class_iou ?? Infinity,
    isIou: nms_metric === "iou",
    maxArea: max_area ?? Infinity,
  };
}

/**
 * @param {FilterData} data
 * @param {number} n
 * @param {ReturnType<typeof limitsOf>} limits
 */
function largestArea(data, n, { maxArea }) {
  return maxArea * data.width[n] * data.height[n]; // multiplied in Python's order: to the last bit
}

/**
 * Fills in, in place, the codes of instances `from` to `to` of a table, those of one image, and who won.
 * @param {InstanceTable} table
 * @param {number} from
 * @param {number} to
 * @param {number} pairFrom
 * @param {number} pairTo
 * @param {ReturnType<typeof limitsOf>} limits
 * @param {number} maxArea in px
 * @param {Uint8Array} codes
 * @param {Int32Array | null} winners
 */
function filterTable(table, from, to, pairFrom, pairTo, limits, maxArea, codes, winners) {
  const { category, score, area, verdict } = table;
  for (let i = from; i < to; i++) {
    const own = category[i];
    if (verdict[i] !== VERDICTS.undecided) codes[i] = verdict[i] === VERDICTS.sure ? KEPT : REVIEW_REJECTED;
    else if (score[i] < limits.confidence[own]) codes[i] = BELOW_CONFIDENCE;
    else if (area[i] === 0) codes[i] = EMPTY_MASK;
    else if (area[i] < limits.minArea[own]) codes[i] = TOO_SMALL;
    else codes[i] = area[i] > maxArea ? TOO_LARGE : KEPT;
  }
  suppressPairs(table, pairFrom, pairTo, limits, true, codes, winners);
  if (limits.crossClass < Infinity) suppressPairs(table, pairFrom, pairTo, limits, false, codes, winners);
  if (limits.leastMost < to - from) capClasses(table, from, to, limits.most, codes);
}

/**
 * Non-maximum suppression within classes or across them. Pairs come in the order of the worse, so whether the
 * better is kept is settled before it is asked, and the first that overlaps too much is the best that does.
 * @param {InstanceTable} table
 * @param {number} pairFrom
 * @param {number} pairTo
 * @param {ReturnType<typeof limitsOf>} limits
 * @param {boolean} isWithin
 * @param {Uint8Array} codes
 * @param {Int32Array | null} winners
 */
function suppressPairs(table, pairFrom, pairTo, limits, isWithin, codes, winners) {
  const { category, area, verdict, better, worse, shared } = table;
  for (let p = pairFrom; p < pairTo; p++) {
    const [a, b] = [better[p], worse[p]];
    if (codes[a] || codes[b] || (category[a] === category[b]) !== isWithin || verdict[b] === VERDICTS.sure) continue;
    const whole = limits.isIou ? area[a] + area[b] - shared[p] : Math.min(area[a], area[b]);
    if (shared[p] / whole <= (isWithin ? limits.sameClass[category[b]] : limits.crossClass)) continue;
    codes[b] = isWithin ? NMS_SAME : NMS_CROSS;
    if (winners) winners[b] = a;
  }
}

/**
 * @param {InstanceTable} table
 * @param {number} from
 * @param {number} to
 * @param {Float64Array} most
 * @param {Uint8Array} codes
 */
function capClasses({ category, order, verdict }, from, to, most, codes) {
  const room = Float64Array.from(most);
  for (let place = from; place < to; place++) {
    const i = order[place];
    if (codes[i] === KEPT && room[category[i]]-- <= 0 && verdict[i] !== VERDICTS.sure) codes[i] = MAX_INSTANCES;
  }
}

/** @type {WeakMap<Judged, InstanceTable>} */
const keptTables = new WeakMap(); // thresholds change far more often than decisions
/** @type {WeakMap<Judged, {codes: Uint8Array, winners: Int32Array, category: Uint16Array}>} */
const settled = new WeakMap(); // what was found where nothing is undecided: no threshold changes it

/**
 * The codes, winners and classes of one image after its review.
 * @param {FilterData} data
 * @param {number} n
 * @param {ReturnType<typeof limitsOf>} limits
 * @param {Judged} judged
 */
function filterReviewed(data, n, limits, judged) {
  const known = settled.get(judged);
  if (known) return known;
  const table = keptTables.get(judged) ?? reviewedTable(data, n, judged);
  keptTables.set(judged, table);
  const { category, verdict } = table;
  const codes = new Uint8Array(category.length);
  const winners = new Int32Array(category.length).fill(-1);
  filterTable(table, 0, codes.length, 0, table.worse.length, limits, largestArea(data, n, limits), codes, winners);
  for (let i = 0; i < codes.length; i++) {
    if (judged.leftOut) winners[i] = -1;
    const isClosed = judged.leftOut || (judged.frozen && verdict[i] !== VERDICTS.sure && codes[i] === KEPT);
    if (isClosed) codes[i] = REVIEW_REJECTED;
  }
  const found = { codes, winners, category };
  if (!verdict.includes(VERDICTS.undecided)) settled.set(judged, found);
  return found;
}

/**
 * How the scores of each class lie, kept and dropped apart, in `bins` equal bins of 0..1 (1 is in the last), and how
 * many have none. `codes` are those of `filterAll`, `category` may be as decided.
 * @param {Pick<FilterData, "category" | "score">} data
 * @param {Uint8Array} codes
 * @param {number} classes
 * @param {number} bins
 * @returns {{kept: Uint32Array, dropped: Uint32Array, unscored: {kept: number, dropped: number}}[]}
 */
export function histograms(data, codes, classes, bins) {
  const found = Array.from({ length: classes }, () => ({
    kept: new Uint32Array(bins), dropped: new Uint32Array(bins), unscored: { kept: 0, dropped: 0 },
  }));
  for (let i = 0; i < codes.length; i++) {
    const { kept, dropped, unscored } = found[data.category[i]];
    const bin = Math.max(0, Math.min(bins - 1, Math.floor(data.score[i] * bins)));
    if (Number.isNaN(bin)) unscored[codes[i] === KEPT ? "kept" : "dropped"]++;
    else (codes[i] === KEPT ? kept : dropped)[bin]++;
  }
  return found;
}

/**
 * How close the nearest score of an image is to the confidence of its class; infinite where nothing has a score.
 * @param {FilterData} data
 * @param {number} n the image
 * @param {Thresholds} thresholds
 * @returns {number}
 */
export function uncertainty(data, n, { classes }) {
  let least = Infinity;
  for (let i = data.offsets[n]; i < data.offsets[n + 1]; i++) {
    const distance = Math.abs(data.score[i] - classes[data.category[i]].confidence);
    if (distance < least) least = distance;
  }
  return least;
}

/**
 * The largest overlap of two answers of an image; 0 where none share a pixel.
 * @param {FilterData} data
 * @param {number} n the image
 * @param {"iou" | "ios"} metric
 * @returns {number}
 */
export function largestOverlap({ pairOffsets, better, worse, shared, area }, n, metric) {
  let most = 0;
  for (let p = pairOffsets[n]; p < pairOffsets[n + 1]; p++) {
    const [a, b] = [area[better[p]], area[worse[p]]];
    most = Math.max(most, shared[p] / (metric === "iou" ? a + b - shared[p] : Math.min(a, b)));
  }
  return most;
}
