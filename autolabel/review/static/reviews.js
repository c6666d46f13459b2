// Decisions as values: each function takes what is decided about an image and gives what is decided then.

/** @typedef {import("./types.js").Decision} Decision */
/** @typedef {import("./types.js").Review} Review */
/** @typedef {import("./types.js").Sheet} Sheet */
/** @typedef {import("./types.js").State} State */

/** @typedef {{local: number, id: string} | {k: number}} Target  an answer, or a decision by its place */

/** @type {Sheet} */
export const UNDECIDED = {
  revision: 0,
  review: { verdict: null, made_on: "", at: "", instances: [] },
  lost: [],
  matched: [],
};

/**
 * A sheet as a host tells it, with what it leaves out because it says nothing. An id alone is an answer that was
 * accepted with its image.
 *
 * @param {import("./types.js").ToldSheet} sheet
 * @returns {Sheet}
 */
export function whole(sheet) {
  const { review } = sheet;
  const instances = review.instances.map((told) => {
    const { origin = null, verdict, category = null, counts = null, how = "", at = "", part_of = "" } =
      typeof told === "string" ? { origin: { id: told }, verdict: /** @type {const} */ ("accepted"), how: "image" } : told;
    return { origin, verdict, category, counts, how, at, part_of };
  });
  return { ...sheet, review: { ...UNDECIDED.review, ...review, instances } };
}

/**
 * @param {Sheet} sheet
 * @param {Decision[]} instances
 * @param {(number | null)[]} matched
 * @returns {Sheet}
 */
function withInstances(sheet, instances, matched) {
  return { ...sheet, review: { ...sheet.review, instances }, matched };
}

/**
 * Decide about an answer, or decide otherwise.
 *
 * @param {Sheet} sheet
 * @param {Target} target
 * @param {Partial<Decision>} change
 * @returns {Sheet}
 */
export function decided(sheet, target, change) {
  const { instances } = sheet.review;
  const k = "k" in target ? target.k : sheet.matched.indexOf(target.local);
  if (k >= 0) {
    // what came with something else is decided for itself now; a piece stays one
    const forItself = instances[k].counts ? {} : { how: "", part_of: "" };
    const changed = { ...instances[k], ...forItself, ...change, at: "" };
    return withInstances(sheet, instances.map((d, i) => (i === k ? changed : d)), sheet.matched);
  }
  const { id, local } = /** @type {{local: number, id: string}} */ (target);
  /** @type {Decision} */
  const made = { origin: { id }, verdict: "accepted", category: null, counts: null, how: "", at: "", part_of: "", ...change };
  return withInstances(sheet, [...instances, made], [...sheet.matched, local]);
}

/**
 * Add an instance that no answer has.
 *
 * @param {Sheet} sheet
 * @param {string} category
 * @param {string} counts
 * @param {string} how
 * @param {string} [part_of]  the answer that it is a piece of
 * @returns {Sheet}
 */
export function added(sheet, category, counts, how, part_of = "") {
  /** @type {Decision} */
  const made = { origin: null, verdict: "accepted", category, counts, how, at: "", part_of };
  return withInstances(sheet, [...sheet.review.instances, made], [...sheet.matched, null]);
}

/**
 * Take a decision back: the answer is undecided again, what was added is gone.
 *
 * @param {Sheet} sheet
 * @param {number} k
 * @returns {Sheet}
 */
export function withdrawn(sheet, k) {
  const lost = sheet.lost.filter((i) => i !== k).map((i) => (i > k ? i - 1 : i));
  const left = withInstances(
    sheet,
    sheet.review.instances.filter((_, i) => i !== k),
    sheet.matched.filter((_, i) => i !== k),
  );
  return { ...left, lost };
}

/**
 * Keep a decision whose answer is gone, as an instance of its own.
 *
 * @param {Sheet} sheet
 * @param {number} k
 * @param {string} name  of its class
 * @returns {Sheet}
 */
export function restored(sheet, k, name) {
  const { origin, counts, how } = sheet.review.instances[k];
  return added(withdrawn(sheet, k), name, /** @type {string} */ (counts ?? origin?.counts), how === "image" ? "" : how);
}

/**
 * Judge the whole image; `answers` says which answers it was judged by.
 *
 * @param {Sheet} sheet
 * @param {"accepted" | "rejected" | null} verdict
 * @param {string} answers
 * @returns {Sheet}
 */
export function judgedImage(sheet, verdict, answers) {
  return { ...sheet, review: { ...sheet.review, verdict, made_on: verdict ? answers : "", at: "" } };
}

/**
 * Take the verdict on an image back, and what accepting it said about its instances.
 *
 * @param {Sheet} sheet
 * @returns {Sheet}
 */
export function openAgain(sheet) {
  const came = [...sheet.review.instances.keys()].filter((k) => sheet.review.instances[k].how === "image");
  return came.reverse().reduce(withdrawn, judgedImage(sheet, null, ""));
}

/** Whether the config has a class no more that an instance was given: then it is not what was accepted. @param {Sheet} sheet */
function lacksClass({ lost, review }) {
  return lost.some((k) => review.instances[k].category !== null);
}

/**
 * @param {Sheet} sheet
 * @param {string} answers
 * @returns {State}
 */
export function stateOf(sheet, answers) {
  const { verdict, made_on, instances } = sheet.review;
  if (verdict === "rejected") return "rejected";
  if (verdict === "accepted" && made_on === answers && !lacksClass(sheet)) return "accepted";
  return verdict || instances.length ? "edited" : "new";
}

/**
 * Whether two reviews say the same, whenever it was said.
 *
 * @param {Review} one
 * @param {Review} other
 */
export function sayTheSame(one, other) {
  const bare = (/** @type {Review} */ review) =>
    JSON.stringify([
      review.verdict,
      review.made_on,
      review.instances.map((d) => [d.origin?.id ?? "", d.verdict, d.category, d.counts, d.how, d.part_of]),
    ]);
  return bare(one) === bare(other);
}
