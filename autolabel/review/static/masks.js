// Masks as runs: COCO's string, sets of pixels, scaling and parts. Nothing here holds a bitmap, so that cost goes
// with the length of outlines and not with the number of pixels. Outlines are in outlines.js.

/**
 * The pixels of one instance in the upright image.
 *
 * `bounds` holds start, end (exclusive), start, end, ... of the foreground's runs along the columns, the first
 * column from top to bottom, then the second: sorted, no run empty, none touching the next.
 * @typedef {{height: number, width: number, bounds: Uint32Array}} Mask
 */

const COUNTS_LETTERS = Array.from({ length: 64 }, (_, code) => String.fromCharCode(48 + code));
const MOST_IN_COUNTS = 32 ** 7; // pycocotools' numbers are of 32 bits and a sign

/**
 * The mask of COCO's compressed counts.
 *
 * 5-bit groups, lowest first, 48 added to each, 32 to all but a number's last, sign-extended; from the fourth
 * on, a number is the difference to the run before the last.
 * @param {string} counts
 * @param {number} height in px
 * @param {number} width in px
 * @returns {Mask}
 * @throws {Error} what is no mask of that size
 */
export function decodeCounts(counts, height, width) {
  const pixels = height * width;
  const bounds = new Uint32Array(counts.length + 1);
  let [used, position, before, last] = [0, 0, 0, 0];
  for (let at = 0, index = 0; at < counts.length; index++) {
    let [run, scale, code] = [0, 1, 32];
    for (; code & 32; scale *= 32) {
      code = counts.charCodeAt(at++) - 48;
      if (!(code >= 0 && code < 64) || scale >= MOST_IN_COUNTS) {
        throw new Error("the counts are not a COCO run-length string");
      }
      run += (code & 31) * scale;
    }
    if (code & 16) run -= scale;
    if (index > 2) run += before;
    [before, last] = [last, run];
    if (run < 0 || position + run > pixels) throw new Error(`a run of the mask leaves its ${height} x ${width} pixels`);
    if (index % 2 && run) {
      if (!used || bounds[used - 1] < position) bounds[used++] = position;
      else used--;
      bounds[used++] = position + run;
    }
    position += run;
  }
  if (position !== pixels) throw new Error(`the mask has ${position} pixels, not ${height} x ${width}`);
  return { height, width, bounds: bounds.slice(0, used) };
}

/**
 * COCO's compressed counts, byte for byte as pycocotools writes them.
 * @param {Mask} mask
 * @returns {string}
 */
export function encodeCounts({ height, width, bounds }) {
  const pixels = height * width;
  let [counts, position, before, last] = ["", 0, 0, 0];
  for (let index = 0; index < bounds.length || position < pixels; index++) {
    const end = index < bounds.length ? bounds[index] : pixels;
    const run = end - position;
    counts += countsNumber(index > 2 ? run - before : run);
    [before, last, position] = [last, run, end];
  }
  return counts;
}

/** @param {number} value */
function countsNumber(value) {
  let letters = "";
  for (let isOpen = true; isOpen; ) {
    const rest = Math.floor(value / 32);
    const group = value - rest * 32;
    isOpen = rest !== (group & 16 ? -1 : 0);
    letters += COUNTS_LETTERS[isOpen ? group + 32 : group];
    value = rest;
  }
  return letters;
}

/**
 * The number of its pixels.
 * @param {Mask} mask
 * @returns {number}
 */
export function area({ bounds }) {
  let pixels = 0;
  for (let i = 0; i < bounds.length; i += 2) pixels += bounds[i + 1] - bounds[i];
  return pixels;
}

/**
 * Whether pixel x, y (the one that a place in it falls on) belongs to it.
 * @param {Mask} mask
 * @param {number} x
 * @param {number} y
 * @returns {boolean}
 */
export function contains({ height, width, bounds }, x, y) {
  if (!(x >= 0 && x < width && y >= 0 && y < height)) return false;
  const position = Math.floor(x) * height + Math.floor(y);
  let [low, high] = [0, bounds.length]; // the number of bounds at or before the position
  while (low < high) {
    const middle = (low + high) >> 1;
    if (bounds[middle] <= position) low = middle + 1;
    else high = middle;
  }
  return low % 2 === 1;
}

/**
 * What is in a or b, masks of one image.
 * @param {Mask} a
 * @param {Mask} b
 * @returns {Mask}
 */
export function union(a, b) {
  return combineMasks(a, b, [0, 1, 1, 1]);
}

/**
 * What is in a and not in b.
 * @param {Mask} a
 * @param {Mask} b
 * @returns {Mask}
 */
export function subtract(a, b) {
  return combineMasks(a, b, [0, 1, 0, 0]);
}

/**
 * @param {Mask} a
 * @param {Mask} b
 * @param {number[]} belongs 0 or 1 for a pixel in neither, a, b, both
 * @returns {Mask}
 */
function combineMasks(a, b, belongs) {
  checkSameFrame(a, b);
  const bounds = new Uint32Array(a.bounds.length + b.bounds.length);
  let used = 0;
  for (let i = 0, j = 0; i < a.bounds.length || j < b.bounds.length; ) {
    const position = Math.min(a.bounds[i] ?? Infinity, b.bounds[j] ?? Infinity);
    if (a.bounds[i] === position) i++;
    if (b.bounds[j] === position) j++;
    if (belongs[(i & 1) + 2 * (j & 1)] !== used % 2) bounds[used++] = position;
  }
  return { height: a.height, width: a.width, bounds: bounds.slice(0, used) };
}

/**
 * The number of pixels in both.
 * @param {Mask} a
 * @param {Mask} b
 * @returns {number}
 */
export function sharedPixels(a, b) {
  checkSameFrame(a, b);
  const [mine, others] = [a.bounds, b.bounds];
  let pixels = 0;
  for (let i = 0, j = 0; i < mine.length && j < others.length; ) {
    const shared = Math.min(mine[i + 1], others[j + 1]) - Math.max(mine[i], others[j]);
    if (shared > 0) pixels += shared;
    if (mine[i + 1] < others[j + 1]) i += 2;
    else j += 2;
  }
  return pixels;
}

/**
 * @param {Mask} a
 * @param {Mask} b
 */
function checkSameFrame(a, b) {
  if (a.height !== b.height || a.width !== b.width) throw new Error("masks of different sizes cannot be compared");
}

/**
 * The mask at another size by pixel centres, as runs within columns to paint: x, y0, y1 (exclusive), x, y0, ...
 * sorted. At its own size these are its pixels, exactly.
 * @param {Mask} mask
 * @param {number} targetWidth in px
 * @param {number} targetHeight in px
 * @returns {Int32Array}
 */
export function spans({ height, width, bounds }, targetWidth, targetHeight) {
  let found = new Int32Array(3 * (bounds.length + targetWidth));
  let used = 0;
  const first = firstTargetPixel(Math.floor((bounds[0] ?? 0) / height), width, targetWidth);
  for (let x = first, opening = 0; x < targetWidth; x++) {
    const top = Math.floor(((2 * x + 1) * width) / (2 * targetWidth)) * height;
    while (bounds[opening + 1] <= top) opening += 2;
    for (let i = opening; bounds[i] < top + height; i += 2) {
      const y0 = firstTargetPixel(Math.max(bounds[i] - top, 0), height, targetHeight);
      const y1 = firstTargetPixel(Math.min(bounds[i + 1] - top, height), height, targetHeight);
      if (y0 === y1) continue;
      if (used === found.length) found = longerArray(found);
      [found[used], found[used + 1], found[used + 2]] = [x, y0, y1];
      used += 3;
    }
    if (opening >= bounds.length) break;
  }
  return found.slice(0, used);
}

/**
 * The first of `target` pixels whose centre lies at or after edge `edge` of `source` pixels.
 * @param {number} edge
 * @param {number} source
 * @param {number} target
 */
function firstTargetPixel(edge, source, target) {
  return Math.ceil((2 * edge * target - source) / (2 * source));
}

/** @param {Int32Array<ArrayBuffer>} array */
function longerArray(array) {
  const longer = new Int32Array(2 * array.length);
  longer.set(array);
  return longer;
}

/**
 * Its parts, the largest first; pixels that touch at a corner are of one part.
 * @param {Mask} mask
 * @returns {Mask[]}
 */
export function parts(mask) {
  const { height, width } = mask;
  const columns = spans(mask, width, height);
  const parents = joinTouchingSpans(columns);
  /** @type {Map<number, {area: number, bounds: number[]}>} */
  const found = new Map();
  for (let i = 0; i < parents.length; i++) {
    const root = rootOfSpan(parents, i);
    const part = found.get(root) ?? { area: 0, bounds: [] };
    const [start, end] = [columns[3 * i] * height + columns[3 * i + 1], columns[3 * i] * height + columns[3 * i + 2]];
    if (part.bounds.at(-1) === start) part.bounds.pop(); // one run goes over the end of a column
    else part.bounds.push(start);
    part.bounds.push(end);
    part.area += end - start;
    found.set(root, part);
  }
  const sorted = [...found.values()].sort((a, b) => b.area - a.area);
  return sorted.map((part) => ({ height, width, bounds: Uint32Array.from(part.bounds) }));
}

/**
 * A forest of spans, one tree a part.
 * @param {Int32Array} columns
 */
function joinTouchingSpans(columns) {
  const parents = Int32Array.from({ length: columns.length / 3 }, (_, i) => i);
  for (let i = 0, opening = 0; i < parents.length; i++) {
    const [x, y0, y1] = [columns[3 * i] - 1, columns[3 * i + 1], columns[3 * i + 2]];
    // Spans are sorted, so what ended above this one ended above all after it too.
    while (columns[3 * opening] < x || (columns[3 * opening] === x && columns[3 * opening + 2] < y0)) opening++;
    for (let j = opening; columns[3 * j] === x && columns[3 * j + 1] <= y1; j++) {
      const [a, b] = [rootOfSpan(parents, i), rootOfSpan(parents, j)];
      parents[Math.max(a, b)] = Math.min(a, b);
    }
  }
  return parents;
}

/**
 * @param {Int32Array} parents shortened on the way, in place
 * @param {number} i
 */
function rootOfSpan(parents, i) {
  while (parents[i] !== i) i = parents[i] = parents[parents[i]];
  return i;
}
