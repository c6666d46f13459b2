// How long the review page takes to filter a large run anew, and to decode and scale masks for small pictures:
// node benchmarks/front_filters.mjs

import { filterAll, histograms, REASONS } from "../autolabel/review/static/filters.js";
import { prepare } from "../autolabel/review/static/instances.js";
import { decodeCounts, encodeCounts, parts, spans } from "../autolabel/review/static/masks.js";
import { fillRings, rings } from "../autolabel/review/static/outlines.js";

const [IMAGES, PER_IMAGE, CLASSES] = [10_000, 20, 8];

let seed = 1;
function random() {
  seed = (seed * 48271) % 2147483647;
  return seed / 2147483647;
}

function base64(array) {
  return Buffer.from(array.buffer).toString("base64");
}

function largeIndex() {
  const count = IMAGES * PER_IMAGE;
  const steps = Uint32Array.from({ length: IMAGES + 1 }, (_, n) => n * PER_IMAGE);
  const area = Uint32Array.from({ length: count }, () => 100 + random() * 10_000);
  // A ring of neighbours: as many pairs as instances.
  const first = Uint32Array.from({ length: count }, (_, i) => Math.min(i % PER_IMAGE, (i + 1) % PER_IMAGE));
  const second = Uint32Array.from({ length: count }, (_, i) => Math.max(i % PER_IMAGE, (i + 1) % PER_IMAGE));
  const shared = Uint32Array.from({ length: count }, (_, i) => {
    const from = i - (i % PER_IMAGE);
    return Math.min(area[from + first[i]], area[from + second[i]]) * random();
  });
  return {
    images: { width: Array(IMAGES).fill(1024), height: Array(IMAGES).fill(768) },
    offsets: base64(steps),
    category: base64(Uint16Array.from({ length: count }, () => random() * CLASSES)),
    score: base64(Float64Array.from({ length: count }, () => (random() < 0.02 ? NaN : random()))),
    area: base64(area),
    pair_offsets: base64(steps),
    pair_a: base64(first),
    pair_b: base64(second),
    pair_shared: base64(shared),
  };
}

function thresholdsAt(confidence) {
  const one = { confidence, nms_iou: 0.7, min_area: 64, max_instances: 10 };
  return { classes: Array(CLASSES).fill(one), cross_class_iou: 0.9, nms_metric: "iou", max_area: 0.9 };
}

function blob(size, cx, cy, radius, points = 200) {
  const ring = Array.from({ length: points }, (_, i) => {
    const [angle, r] = [(2 * Math.PI * i) / points, radius * (0.8 + 0.2 * random())];
    return [cx + r * Math.cos(angle), cy + r * Math.sin(angle)];
  });
  return fillRings([ring], size, size);
}

function time(name, times, work) {
  const took = [];
  for (let i = 0; i < times; i++) {
    const start = performance.now();
    work(i);
    took.push(performance.now() - start);
  }
  const median = took.slice().sort((a, b) => a - b)[times >> 1];
  console.log(`${name}: ${took[0].toFixed(1)} ms at first, ${median.toFixed(2)} ms then`);
}

const index = largeIndex();
let data = prepare(index);
const judged = new Map(
  Array.from({ length: IMAGES }, (_, n) => [n, { sure: new Map([[0, 1]]), rejected: new Set([1]) }]),
);
console.log(`${IMAGES} images, ${IMAGES * PER_IMAGE} instances, as many pairs; node ${process.version}`);
time("prepare", 5, () => (data = prepare(index)));
time("filterAll", 21, (i) => filterAll(data, thresholdsAt(0.3 + i / 100)));
time("filterAll, every image reviewed", 21, (i) => filterAll(data, thresholdsAt(0.3 + i / 100), judged));
time("histograms of all classes", 21, () => histograms(data, data.codes, data.classes ?? 4, 50));
const { counts } = filterAll(data, thresholdsAt(0.5));
console.log(REASONS.map((reason, code) => `${reason} ${counts.reduce((sum, one) => sum + one[code], 0)}`).join(", "));

const masks = Array.from({ length: 20 }, () => blob(1024, 512, 512, 400));
const strings = masks.map(encodeCounts);
const outlines = masks.map((mask) => rings(mask).map(({ ring }) => ring));
console.log(`\n20 masks of 1024 x 1024, ${masks[0].bounds.length / 2} runs each`);
time("decodeCounts", 21, () => strings.forEach((counts) => decodeCounts(counts, 1024, 1024)));
time("spans at 256 x 256", 21, () => masks.forEach((mask) => spans(mask, 256, 256)));
time("parts", 21, () => masks.forEach(parts));
time("rings", 21, () => masks.forEach(rings));
time("fillRings of all corners", 21, () => outlines.forEach((one) => fillRings(one, 1024, 1024)));
