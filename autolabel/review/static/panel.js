// The side of the page: which images are shown, and a slider for each threshold with what it does.

import { choice, make, shownNumber } from "./dom.js";
import { histograms } from "./filters.js";
import { colourOf, paintSwatch } from "./paint.js";
import { ALL_IMAGES, DROP_REASONS } from "./selection.js";

/** @typedef {import("./desk.js").Desk} Desk */

const BINS = 50;
const SORTS = /** @type {[string, string][]} */ ([
  ["name", "name"],
  ["lowest", "lowest score"],
  ["uncertain", "most uncertain"],
  ["instances", "most instances"],
  ["overlap", "largest overlap"],
]);

/** @param {string} reason */
function inWords(reason) {
  return reason ? reason.replaceAll("_", " ") : "kept";
}

/**
 * @param {Desk} desk
 * @returns {{element: HTMLElement, search: HTMLInputElement}}
 */
export function makeFilters(desk) {
  const search = make("input", {
    type: "search",
    placeholder: "part of a file name",
    oninput: () => desk.select({ name: search.value }),
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Escape" || !search.value) return;
      search.value = ""; // some browsers do it without a word, others do not
      desk.select({ name: "" });
    },
  });
  /** @param {"low" | "high"} key @param {number} value */
  const bound = (key, value) => {
    const input = make("input", {
      type: "number", min: "0", max: "1", step: "0.05", defaultValue: String(value),
      "aria-label": key === "low" ? "lowest score" : "highest score",
      oninput: () => desk.select({ [key]: input.value === "" ? value : input.valueAsNumber }),
    });
    return input;
  };
  const splits = [...new Set(desk.index.images.split)].sort();
  const element = make(
    "form",
    { className: "al-filters", "aria-label": "filter", onsubmit: (/** @type {Event} */ event) => event.preventDefault() },
    make("label", { className: "al-field" }, make("span", {}, "Name"), search),
    choice("State", ["any", "new", "accepted", "rejected", "edited", "outdated"].map((s) => [s, s]), (state) => desk.select({ state })),
    choice("Split", [["any", "any"], .../** @type {[string, string][]} */ (splits.map((s) => [s, s || "none yet"]))], (split) =>
      desk.select({ split })),
    choice("Class", [["-1", "any"], .../** @type {[string, string][]} */ (desk.classes.map((c, i) => [String(i), c]))], (c) =>
      desk.select({ category: Number(c) })),
    choice("Instances", [...DROP_REASONS, "any"].map((r) => [r, r === "any" ? "any" : inWords(r)]), (reason) =>
      desk.select({ reason })),
    make("div", { className: "al-field" }, make("span", {}, "Score"),
      make("span", { className: "al-range" }, bound("low", 0), " to ", bound("high", 1))),
    choice("Sort by", SORTS, (sort) => desk.select({ sort })),
    make("button", { type: "reset", className: "al-quiet" }, "Show all"),
  );
  element.addEventListener("reset", () => desk.select(ALL_IMAGES));
  return { element, search };
}

/**
 * @param {Desk} desk
 * @returns {HTMLElement}
 */
export function makeSliders(desk) {
  const element = make("div", { className: "al-sliders", role: "group", "aria-label": "thresholds" });
  /** @type {import("./types.js").NewThresholds} */
  const moved = { classes: {} }; // since they were saved: another tab may have saved others
  const updates = desk.classes.map((_, category) => {
    const { box, update } = makeClass(desk, category, moved);
    element.append(box);
    return update;
  });
  const cross = makeSlider("overlap between classes", desk.thresholds.cross_class_iou, (value) => {
    desk.thresholds.cross_class_iou = value;
    moved.cross_class_iou = value;
    soon(desk);
  });
  const dropped = make("p", { className: "al-dropped", role: "status" });
  element.append(make("div", { className: "al-class" }, cross), dropped, makeSave(desk, moved));
  // which images are shown may depend on it: they stay where they are until the slider is let go
  element.addEventListener("change", () => desk.select({}));
  const all = () => {
    const { category, counted, data } = desk.figures;
    const bins = histograms({ category, score: data.score }, counted.codes, desk.classes.length, BINS);
    updates.forEach((update, category) => update(bins[category]));
    const totals = DROP_REASONS.map((_, code) => desk.figures.counts.reduce((sum, perCode) => sum + perCode[code], 0));
    const total = totals[0];
    const shown = DROP_REASONS.map((reason, code) => `${inWords(reason)} ${shownNumber(totals[code])}`)
      .filter((_, code) => code && totals[code]);
    dropped.textContent = `${shownNumber(total)} kept` + (shown.length ? ` · ${shown.join(" · ")}` : "");
    dropped.dataset.kept = String(total);
    dropped.dataset.counted = String(Number(dropped.dataset.counted ?? 0) + 1); // for who waits for it
  };
  desk.addEventListener("figures", all);
  requestAnimationFrame(all); // when it is on the page and has its colours
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  return element;
}

/** Count once in a frame, however often a slider moves. @param {Desk} desk */
function soon(desk) {
  if (waiting.has(desk)) return;
  waiting.add(desk);
  requestAnimationFrame(() => {
    waiting.delete(desk);
    desk.refilter();
    desk.tell("moved");
  });
}
/** @type {WeakSet<Desk>} */
const waiting = new WeakSet();

/**
 * @param {string} label
 * @param {number | null} value  null: the step is off
 * @param {(value: number | null) => void} moved
 * @param {number} [least]
 */
function makeSlider(label, value, moved, least = 0) {
  const shown = make("output", {}, "");
  const input = make("input", { type: "range", min: String(least), max: "1", step: "0.01", value: String(value ?? 1) });
  const off = least === 0 ? " (off)" : "";
  const show = () => {
    shown.value = input.value === "1" && off ? "off" : Number(input.value).toFixed(2);
    input.setAttribute("aria-valuetext", shown.value);
  };
  input.addEventListener("input", () => {
    show();
    moved(off && input.value === "1" ? null : Number(input.value));
  });
  show();
  return make("label", { className: "al-slider" }, make("span", {}, label), input, shown);
}

/**
 * @param {Desk} desk
 * @param {number} category
 * @param {import("./types.js").NewThresholds} moved
 */
function makeClass(desk, category, moved) {
  /** @param {{confidence?: number, nms_iou?: number | null}} change */
  const move = (change) => {
    Object.assign(settings, change);
    moved.classes[settings.name] = { ...moved.classes[settings.name], ...change };
    soon(desk);
  };
  const settings = desk.thresholds.classes[category];
  const chart = make("canvas", { className: "al-chart", width: 240, height: 36, "aria-hidden": "true" });
  const counts = make("span", { className: "al-counts" });
  const swatch = make("span", { className: "al-swatch", "aria-hidden": "true" });
  paintSwatch(swatch, category);
  const name = make("span", { className: "al-class-name" }, desk.classes[category]);
  const least = Math.min(settings.confidence, desk.index.filter.floor);
  const confidence = makeSlider("confidence", settings.confidence, (value) => move({ confidence: value ?? 1 }), least);
  const nms = makeSlider("overlap (NMS)", settings.nms_iou, (value) => move({ nms_iou: value }));
  const box = make("div", { className: "al-class", role: "group", "aria-label": desk.classes[category] },
    make("div", { className: "al-class-head" }, swatch, name, counts), chart, confidence, nms);
  /** @param {{kept: ArrayLike<number>, dropped: ArrayLike<number>}} bins */
  const update = (bins) => {
    const [kept, ...reasons] = desk.figures.counts[category];
    const gone = reasons.reduce((sum, n) => sum + n, 0);
    counts.textContent = `${shownNumber(kept)} kept, ${shownNumber(gone)} dropped`;
    counts.dataset.kept = String(kept);
    drawChart(chart, bins, settings.confidence, colourOf(category));
  };
  return { box, update };
}

/**
 * @param {HTMLCanvasElement} chart
 * @param {{kept: ArrayLike<number>, dropped: ArrayLike<number>}} bins
 * @param {number} threshold
 * @param {string} colour
 */
function drawChart(chart, bins, threshold, colour) {
  const context = /** @type {CanvasRenderingContext2D} */ (chart.getContext("2d"));
  const { width, height } = chart;
  const ink = getComputedStyle(chart).color;
  context.clearRect(0, 0, width, height);
  let most = 1;
  for (let i = 0; i < BINS; i++) most = Math.max(most, bins.kept[i] + bins.dropped[i]);
  const step = width / BINS;
  for (let i = 0; i < BINS; i++) {
    // by square roots, so that a few are seen beside many
    const all = Math.sqrt((bins.kept[i] + bins.dropped[i]) / most) * (height - 2);
    const kept = bins.kept[i] + bins.dropped[i] ? (all * bins.kept[i]) / (bins.kept[i] + bins.dropped[i]) : 0;
    context.globalAlpha = 0.35;
    context.fillStyle = ink;
    context.fillRect(i * step, height - all, step - 1, all - kept);
    context.globalAlpha = 1;
    context.fillStyle = colour;
    context.fillRect(i * step, height - kept, step - 1, kept);
  }
  context.fillStyle = ink;
  context.fillRect(Math.min(width - 2, threshold * width - 1), 0, 2, height);
}

/** @param {Desk} desk @param {import("./types.js").NewThresholds} moved */
function makeSave(desk, moved) {
  const save = make("button", {
    type: "button",
    disabled: !desk.index.can_save || desk.index.read_only,
    onclick: async () => {
      const sent = structuredClone(moved);
      try {
        const { saved } = await desk.host.save(sent);
        if (JSON.stringify(sent) === JSON.stringify(moved)) {
          moved.classes = {};
          delete moved.cross_class_iou;
        }
        show();
        desk.say(`saved to ${saved}`);
      } catch (error) {
        desk.say(`not saved: ${error instanceof Error ? error.message : error}`);
      }
    },
  }, "Save to config");
  const show = () => {
    const isDue = Object.keys(moved.classes).length > 0 || "cross_class_iou" in moved;
    save.textContent = isDue ? "Save to config: not saved yet" : "Save to config";
    save.classList.toggle("al-due", isDue);
  };
  desk.addEventListener("moved", show);
  save.title = desk.index.can_save ? `write what was moved into ${desk.index.config}` : "there is no config file here";
  return make("div", { className: "al-save" }, save);
}
