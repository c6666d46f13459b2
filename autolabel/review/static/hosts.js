// Who answers the front end: the server of `autolabel review`, a notebook's kernel, or the file it stands in.

/** @typedef {import("./types.js").Host} Host */
/** @typedef {import("./types.js").Index} Index */
/** @typedef {import("./types.js").ImageMasks} ImageMasks */
/** @typedef {import("./types.js").Sheet} Sheet */

/** A refusal that is final: trying again would not help. */
export class Refusal extends Error {}

/**
 * @param {string} address
 * @param {RequestInit} [request]
 * @returns {Promise<{status: number, body: any}>}
 */
async function fetchJson(address, request) {
  const response = await fetch(address, { cache: "no-store", ...request });
  const text = await response.text();
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    if (response.ok) throw new Error("the server's answer was cut off");
  }
  if (!response.ok && response.status !== 409) {
    const reason = body?.error ?? `the server answered ${response.status}`;
    // a server that was started again lets this browser in once it has opened the new address
    const isFinal = response.status < 500 && response.status !== 403;
    throw isFinal ? new Refusal(reason) : new Error(reason);
  }
  return { status: response.status, body };
}

/**
 * @param {string} method
 * @param {unknown} data
 * @returns {RequestInit}
 */
function jsonRequest(method, data) {
  return { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(data) };
}

/** @returns {Host} */
export function httpHost() {
  return {
    kind: "page",
    async index(progress) {
      for (;;) {
        const { status, body } = await fetchJson("/api/index");
        if (status === 200) return body;
        progress(body.progress);
        await new Promise((done) => setTimeout(done, 250));
      }
    },
    images: async (numbers) => (await fetchJson(`/api/images?n=${numbers.join(",")}`)).body,
    thumb: (n) => `/thumb/${n}`,
    picture: (n) => `/picture/${n}`,
    async decide(n, image, sheet) {
      const change = { image, base: sheet.revision, review: sheet.review };
      const { status, body } = await fetchJson(`/api/images/${n}/review`, jsonRequest("PUT", change));
      if (status === 409 && !body.review) throw new Refusal(body.error);
      return { ...body, ok: status === 200 };
    },
    mask: async (n, prompt) => (await fetchJson(`/api/images/${n}/mask`, jsonRequest("POST", prompt))).body,
    save: async (thresholds) => (await fetchJson("/api/config", jsonRequest("POST", thresholds))).body,
  };
}

/**
 * What a notebook's kernel answers: each request has a number, which its answer repeats.
 *
 * @param {{send: (message: object) => void, on: Function, off: Function}} model
 * @returns {Host & {close: () => void}}
 */
export function widgetHost(model) {
  /** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void}>} */
  const waiting = new Map();
  /** @type {Map<string, Promise<string>>} */
  const pictures = new Map();
  let last = 0;

  /** @param {any} message @param {DataView[]} buffers */
  function answered(message, buffers) {
    const call = waiting.get(message.id);
    if (!call) return;
    waiting.delete(message.id);
    if (message.error) call.reject(new Refusal(message.error));
    else call.resolve(buffers?.length ? { ...message.result, data: buffers[0] } : message.result);
  }
  model.on("msg:custom", answered);

  /** @param {string} method @param {unknown[]} given @returns {Promise<any>} */
  function call(method, ...given) {
    const id = ++last;
    return new Promise((resolve, reject) => {
      waiting.set(id, { resolve, reject });
      model.send({ id, method, given });
    });
  }

  /** @param {string} method @param {number} n */
  function address(method, n) {
    const key = `${method} ${n}`;
    const known = pictures.get(key);
    if (known) return known;
    const found = call(method, n).then(({ data, type }) =>
      URL.createObjectURL(new Blob([data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength)], { type })),
    );
    found.catch(() => pictures.delete(key));
    pictures.set(key, found);
    if (pictures.size > 1500) {
      const [oldest, gone] = /** @type {[string, Promise<string>]} */ (pictures.entries().next().value);
      pictures.delete(oldest);
      gone.then((place) => URL.revokeObjectURL(place));
    }
    return found;
  }

  return {
    kind: "widget",
    async index(progress) {
      for (;;) {
        const { data, ...found } = await call("index");
        if (data) return JSON.parse(new TextDecoder().decode(data));
        progress(found.progress);
        await new Promise((done) => setTimeout(done, 250));
      }
    },
    images: (numbers) => call("images", numbers),
    thumb: (n) => address("thumb", n),
    picture: (n) => address("picture", n),
    decide: (n, image, sheet) => call("decide", n, image, sheet.revision, sheet.review),
    mask: (n, prompt) => call("mask", n, prompt),
    save: (thresholds) => call("save", thresholds),
    close() {
      model.off("msg:custom", answered);
      for (const found of pictures.values()) found.then((place) => URL.revokeObjectURL(place), () => {});
    },
  };
}

/**
 * The run in the file itself. Decisions stay in this browser's storage until they are downloaded.
 *
 * @param {{index: Index, images: ImageMasks[], pictures: string[], made: string}} given
 * @returns {Host}
 */
export function fileHost(given) {
  const { index, images, pictures } = given;
  const place = `autolabel ${given.made}`;
  /** @type {Record<string, Sheet>} */
  let own = {};
  try {
    own = JSON.parse(localStorage.getItem(place) ?? "{}");
  } catch {
    // a browser may keep no storage for files: decisions then last as long as the tab
  }
  const first = index.reviews;
  return {
    kind: "file",
    index: async () => ({ ...index, reviews: { ...first, ...own } }),
    images: async (numbers) => numbers.map((n) => images[n]),
    thumb: (n) => pictures[n],
    picture: (n) => pictures[n],
    async decide(n, image, sheet) {
      const at = new Date().toISOString().replace(/\.\d+/, "");
      const review = { ...sheet.review, at, instances: sheet.review.instances.map((d) => ({ ...d, at: d.at || at })) };
      own[image] = { ...sheet, review, revision: sheet.revision + 1, base: first[image]?.revision ?? 0 };
      try {
        localStorage.setItem(place, JSON.stringify(own));
      } catch {
        // as above
      }
      return { ...own[image], ok: true };
    },
    mask: () => Promise.reject(new Refusal("a file has no model: run `autolabel review` to ask for masks")),
    save: () => Promise.reject(new Refusal("a file can't be saved to")),
  };
}
