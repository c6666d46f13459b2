// The instances of all images as arrays, and those of one image as its review changes them; pairs that share pixels
// stand beside them, so that nobody needs a mask to count. What is kept of them is for filters.js to say.

/** What a review says about an instance. */
export const VERDICTS = { undecided: 0, sure: 1, rejected: 2 };
const FEW = 64;

/**
 * Instances of one image or of many, one after the other; all numbers of instances count from the first of these.
 *
 * `score` is NaN where there is none, `area` in px, `verdict` 0, 1 for a sure one, 2 for a rejected one. `order` is
 * best first, image by image. A pair is two of one image that share pixels; pairs are sorted by the place of the
 * worse in `order`, then of the better.
 * @typedef {{category: Uint16Array, score: Float64Array, area: Uint32Array, verdict: Uint8Array,
 *   order: Uint32Array, better: Uint32Array, worse: Uint32Array, shared: Uint32Array}} InstanceTable
 */
/**
 * All answers: image n has instances offsets[n]..offsets[n + 1], pairs pairOffsets[n]..pairOffsets[n + 1], and
 * width[n] x height[n] px. `codes` is for `filterAll` to fill, `order` for `orderOf`, image by image: few are asked.
 * @typedef {InstanceTable & {count: number, offsets: Uint32Array, pairOffsets: Uint32Array, width: number[],
 *   height: number[], codes: Uint8Array, isOrdered: Uint8Array}} FilterData
 */
/**
 * The pixels that an instance shares with others of its image: [number of the other, px]. Answers have their
 * numbers within the image, added instances the ones that follow, in order.
 * @typedef {[number, number][]} SharedWith
 */
/**
 * What a review says about an image, as far as it is applied. Made anew where it changes: what is computed from it
 * is kept with it.
 *
 * `sure` are accepted answers with the class that they have now, `redrawn` those of them with another mask, `added`
 * what no model answered; with an empty mask they are as if nothing was decided. Pairs of two of these may be missing
 * or stand with either: they do nothing to one another. `frozen`: nothing undecided is kept; `leftOut`: the whole
 * image is rejected.
 * @typedef {{sure: Map<number, number>, rejected: Set<number>,
 *   redrawn?: Map<number, {area: number, shared: SharedWith}>,
 *   added?: {category: number, area: number, shared: SharedWith}[], frozen?: boolean, leftOut?: boolean}} Judged
 */
/**
 * The arrays of the index, in base64 and little endian; the other fields are for others.
 * @typedef {{images: {width: number[], height: number[]}, offsets: string, category: string, score: string,
 *   area: string, pair_offsets: string, pair_a: string, pair_b: string, pair_shared: string}} IndexArrays
 */

/**
 * The arrays of the index, decoded, with the pairs of each image in their order.
 * @param {IndexArrays} index
 * @returns {FilterData}
 */
export function prepare(index) {
  const offsets = new Uint32Array(bytesOfBase64(index.offsets));
  const pairOffsets = new Uint32Array(bytesOfBase64(index.pair_offsets));
  const score = new Float64Array(bytesOfBase64(index.score));
  const area = new Uint32Array(bytesOfBase64(index.area));
  const [first, second] = [new Uint32Array(bytesOfBase64(index.pair_a)), new Uint32Array(bytesOfBase64(index.pair_b))];
  const pairs = emptyPairs(first.length);
  const verdict = new Uint8Array(score.length);
  const allShared = new Uint32Array(bytesOfBase64(index.pair_shared));
  const count = offsets.length - 1;
  const byWorth = worthOf(score, area, verdict);
  for (let n = 0; n < count; n++) {
    const [from, pairFrom, pairTo] = [offsets[n], pairOffsets[n], pairOffsets[n + 1]];
    for (let p = pairFrom; p < pairTo; p++) {
      first[p] += from;
      second[p] += from;
    }
    placePairs(pairs, first, second, allShared, pairFrom, pairTo, byWorth);
  }
  const category = new Uint16Array(bytesOfBase64(index.category));
  const { width, height } = index.images;
  const [codes, order, isOrdered] = [new Uint8Array(score.length), new Uint32Array(score.length), new Uint8Array(count)];
  return { count, offsets, pairOffsets, width, height, category, score, area, verdict, order, isOrdered, ...pairs, codes };
}

/**
 * The answers of an image, best first, by their numbers among all.
 * @param {FilterData} data
 * @param {number} n the image
 * @returns {Uint32Array}
 */
export function orderOf(data, n) {
  const { score, area, verdict, order, isOrdered, offsets } = data;
  const [from, to] = [offsets[n], offsets[n + 1]];
  if (!isOrdered[n]) order.set(bestFirst(worthOf(score, area, verdict), from, to), from);
  isOrdered[n] = 1;
  return order.subarray(from, to);
}

/** @param {string} text @returns {ArrayBuffer} */
export function bytesOfBase64(text) {
  const own = /** @type {any} */ (Uint8Array).fromBase64; // far faster, where a browser has it
  if (own) return own.call(Uint8Array, text).buffer;
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes.buffer;
}

/** @param {number} count */
function emptyPairs(count) {
  return { better: new Uint32Array(count), worse: new Uint32Array(count), shared: new Uint32Array(count) };
}

/**
 * How two instances compare, the better first: sure before others, scored before unscored, then the higher score, the
 * larger area, the earlier.
 * @param {Float64Array} score
 * @param {Uint32Array} area
 * @param {Uint8Array} verdict
 * @returns {(a: number, b: number) => number}
 */
function worthOf(score, area, verdict) {
  /** @param {number} i */
  const scoreOf = (i) => (Number.isNaN(score[i]) ? -Infinity : score[i]);
  /** @param {number} i */
  const isSure = (i) => Number(verdict[i] === VERDICTS.sure);
  return (a, b) => isSure(b) - isSure(a) || scoreOf(b) - scoreOf(a) || area[b] - area[a] || a - b;
}

/**
 * Instances `from` to `to`, the best first.
 * @param {(a: number, b: number) => number} byWorth
 * @param {number} from
 * @param {number} to
 */
function bestFirst(byWorth, from, to) {
  const order = new Uint32Array(to - from);
  for (let i = from; i < to; i++) order[i - from] = i;
  return order.length > FEW ? order.sort(byWorth) : insertionSort(order, byWorth);
}

/**
 * Sort a few numbers in place: of thousands of short rows the browser's own takes several times as long.
 * @param {Uint32Array} row
 * @param {(a: number, b: number) => number} compare
 */
function insertionSort(row, compare) {
  for (let end = 1; end < row.length; end++) {
    const own = row[end];
    let at = end;
    for (; at > 0 && compare(own, row[at - 1]) < 0; at--) row[at] = row[at - 1];
    row[at] = own;
  }
  return row;
}

/**
 * Writes pairs `from` to `to`, those of one image, into `pairs` at the same places, better and worse told apart and
 * in their order.
 * @param {{better: Uint32Array, worse: Uint32Array, shared: Uint32Array}} pairs
 * @param {ArrayLike<number>} first
 * @param {ArrayLike<number>} second
 * @param {ArrayLike<number>} shared
 * @param {number} from
 * @param {number} to
 * @param {(a: number, b: number) => number} byWorth of the instances
 */
function placePairs(pairs, first, second, shared, from, to, byWorth) {
  const found = [];
  for (let p = from; p < to; p++) {
    const isFirst = byWorth(first[p], second[p]) < 0;
    const [better, worse] = isFirst ? [first[p], second[p]] : [second[p], first[p]];
    found.push({ better, worse, shared: shared[p] });
  }
  found.sort((a, b) => byWorth(a.worse, b.worse) || byWorth(a.better, b.better));
  found.forEach(({ better, worse, shared: px }, i) => {
    pairs.better[from + i] = better;
    pairs.worse[from + i] = worse;
    pairs.shared[from + i] = px;
  });
}

/**
 * One image's answers as they are after its review, then its added instances; numbers count within the image.
 * @param {FilterData} data
 * @param {number} n
 * @param {Judged} judged
 * @returns {InstanceTable}
 */
export function reviewedTable(data, n, { sure, rejected, redrawn = new Map(), added = [] }) {
  const [from, to] = [data.offsets[n], data.offsets[n + 1]];
  const [answers, count] = [to - from, to - from + added.length];
  const category = new Uint16Array(count);
  const score = new Float64Array(count).fill(NaN);
  const [area, verdict] = [new Uint32Array(count), new Uint8Array(count)];
  for (let i = 0; i < count; i++) {
    const own = i < answers ? undefined : added[i - answers];
    category[i] = own?.category ?? sure.get(i) ?? data.category[from + i];
    area[i] = (own ?? redrawn.get(i))?.area ?? data.area[from + i];
    if (rejected.has(i)) verdict[i] = VERDICTS.rejected;
    else if (area[i] && (own || sure.has(i))) verdict[i] = VERDICTS.sure; // no file could hold an empty one
    if (!own) score[i] = data.score[from + i];
  }
  const settled = { category, score, area, verdict, order: new Uint32Array(count), ...emptyPairs(0) };
  if (!verdict.includes(VERDICTS.undecided)) return settled; // whatever its order and its pairs: nothing happens to it
  const byWorth = worthOf(score, area, verdict);
  const order = bestFirst(byWorth, 0, count);
  const [first, second, shared] = reviewedPairs(data, n, redrawn, added);
  const pairs = emptyPairs(first.length);
  placePairs(pairs, first, second, shared, 0, first.length, byWorth);
  return { category, score, area, verdict, order, ...pairs };
}

/**
 * The pairs of the index whose masks are what they were, and those of the masks that are new. One that stands there
 * twice is asked twice, and nothing else.
 * @param {FilterData} data
 * @param {number} n
 * @param {NonNullable<Judged["redrawn"]>} redrawn
 * @param {NonNullable<Judged["added"]>} added
 */
function reviewedPairs(data, n, redrawn, added) {
  /** @type {number[][]} */
  const pairs = [];
  const from = data.offsets[n];
  for (let p = data.pairOffsets[n]; p < data.pairOffsets[n + 1]; p++) {
    const [a, b] = [data.better[p] - from, data.worse[p] - from];
    if (redrawn.has(a) || redrawn.has(b)) continue;
    pairs.push([a, b, data.shared[p]]);
  }
  const answers = data.offsets[n + 1] - from;
  const changed = [...redrawn, ...added.map((one, i) => /** @type {const} */ ([answers + i, one]))];
  for (const [a, { shared }] of changed) {
    for (const [b, px] of shared) pairs.push([a, b, px]);
  }
  return [0, 1, 2].map((column) => pairs.map((pair) => pair[column]));
}
