/**
 * What the page, the widget and the file have in common: the shapes of what a host answers. Comments only.
 *
 * @typedef {"new" | "accepted" | "rejected" | "edited"} State
 *
 * @typedef {object} Origin  an answer; all but its id is told only where the answer is gone
 * @property {string} id
 * @property {string} [category]
 * @property {string} [prompt]
 * @property {number | null} [confidence]
 * @property {string} [counts]
 *
 * @typedef {object} Decision  on one instance; without an origin the instance was added
 * @property {Origin | null} origin
 * @property {"accepted" | "rejected"} verdict
 * @property {string | null} category
 * @property {string | null} counts
 * @property {string} how
 * @property {string} at
 * @property {string} part_of  the answer with whose decision it came, by its id
 *
 * @typedef {object} Review  on one image
 * @property {"accepted" | "rejected" | null} verdict
 * @property {string} made_on
 * @property {string} at
 * @property {Decision[]} instances
 *
 * @typedef {object} Sheet  a review as it is kept: `matched` has the answer that each decision is about
 * @property {number} revision
 * @property {Review} review
 * @property {number[]} lost
 * @property {(number | null)[]} matched
 * @property {Record<number, {lost: number[], matched: (number | null)[]}>} [of]  for single files of one content
 * @property {number} [base]  in a file: the revision that the file was made from
 *
 * @typedef {Partial<Decision> & Pick<Decision, "verdict">} ToldDecision
 * @typedef {Omit<Sheet, "review"> & {review: Partial<Review> & {instances: (ToldDecision | string)[]}}} ToldSheet  as
 *   a host tells it
 *
 * @typedef {object} ClassSettings
 * @property {string} name
 * @property {number} confidence
 * @property {number | null} nms_iou
 * @property {number} min_area
 * @property {number | null} max_instances
 *
 * @typedef {object} Index
 * @property {number} version
 * @property {string} title
 * @property {boolean} read_only
 * @property {boolean} can_save
 * @property {string | null} config
 * @property {{name: string, takes: string[]} | null} visual
 * @property {ClassSettings[]} classes
 * @property {{cross_class_iou: number | null, nms_metric: "iou" | "ios", max_area: number | null, floor: number}} filter
 * @property {string[]} prompts
 * @property {{name: string[], image: string[], width: number[], height: number[], split: string[], answers: string[]}} images
 * @property {string} offsets
 * @property {string} category
 * @property {string} prompt
 * @property {string} score
 * @property {string} area
 * @property {string} pair_offsets
 * @property {string} pair_a
 * @property {string} pair_b
 * @property {string} pair_shared
 * @property {Record<string, ToldSheet>} reviews
 * @property {number} [of]  in a file: how many images its run has
 * @property {number} [failed]  how many images of the run are not in it
 * @property {number[]} [gone]  images that are there no more, and keep their place
 *
 * @typedef {object} ImageMasks
 * @property {number} n
 * @property {[string, string][]} instances  id and counts of each answer
 * @property {string} [answers]  what stands for all of them
 * @property {string} [error]  why there are none
 *
 * @typedef {object} MaskPrompt
 * @property {number[] | null} box
 * @property {number[][]} points
 * @property {string} category
 *
 * @typedef {object} NewThresholds  those that were moved
 * @property {Record<string, {confidence?: number, nms_iou?: number | null}>} classes
 * @property {number | null} [cross_class_iou]
 *
 * @typedef {object} Host  who holds the run: a server, a notebook's kernel, or the file itself
 * @property {string} kind
 * @property {string} [made]  which file it is
 * @property {(progress: (share: number) => void) => Promise<Index>} index
 * @property {(numbers: number[]) => Promise<ImageMasks[]>} images
 * @property {(n: number) => string | Promise<string>} thumb  an address
 * @property {(n: number) => string | Promise<string>} picture  an address
 * @property {(n: number, image: string, sheet: Sheet) => Promise<ToldSheet & {ok: boolean}>} decide
 * @property {(n: number, prompt: MaskPrompt) => Promise<{counts: string}>} mask
 * @property {(thresholds: NewThresholds) => Promise<{saved: string}>} save
 */
export {};
