// Who answers the front end: the server of `autolabel review`, a notebook's kernel, or the file it stands in.

/** @typedef {import("./types.js").Host} Host */
/** @typedef {import("./types.js").Index} Index */
/** @typedef {import("./types.js").ImageMasks} ImageMasks */
/** @typedef {import("./types.js").Sheet} Sheet */

const SMALL_ADDRESSES = 1500;
const LARGE_ADDRESSES = 8; // they may be large

/** A refusal that is final: trying again would not help. */
export class Refusal extends Error {}

/**
 * @param {string} address
 * @param {RequestInit} [request]
 * @returns {Promise<{status: number, body: any}>}
 */
async function fetchJson(address, request) {
  const response = await fetch(address, request).catch(() => {
    throw new Error("the review does not answer: start `autolabel review` again");
  });
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
  let last = 0;

  /** @param {any} message @param {DataView[]} buffers */
  function answered(message, buffers) {
    const call = waiting.get(message.id);
    if (!call) return;
    waiting.delete(message.id);
    if (message.error) call.reject(message.final ? new Refusal(message.error) : new Error(message.error));
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

  const thumbs = addressBook((n) => call("thumb", n), SMALL_ADDRESSES);
  const pictures = addressBook((n) => call("picture", n), LARGE_ADDRESSES);
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
    thumb: thumbs.find,
    picture: pictures.find,
    decide: (n, image, sheet) => call("decide", n, image, sheet.revision, sheet.review),
    mask: (n, prompt) => call("mask", n, prompt),
    save: (thresholds) => call("save", thresholds),
    close() {
      model.off("msg:custom", answered);
      thumbs.clear();
      pictures.clear();
    },
  };
}

/**
 * Addresses of pictures that came as bytes, the `most` that were asked for last.
 *
 * @param {(n: number) => Promise<{data: DataView, type: string}>} fetched
 * @param {number} most
 */
function addressBook(fetched, most) {
  /** @type {Map<number, Promise<string>>} */
  const known = new Map();
  /** @param {number} n */
  const forget = (n) => {
    known.get(n)?.then((place) => URL.revokeObjectURL(place), () => {});
    known.delete(n);
  };
  return {
    /** @param {number} n */
    find(n) {
      const address =
        known.get(n) ??
        fetched(n).then(({ data, type }) => {
          const bytes = data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
          return URL.createObjectURL(new Blob([/** @type {ArrayBuffer} */ (bytes)], { type }));
        });
      known.delete(n);
      known.set(n, address);
      address.catch(() => known.delete(n));
      const [oldest] = known.keys();
      if (known.size > most) forget(oldest);
      return address;
    },
    clear: () => [...known.keys()].forEach(forget),
  };
}

/** A name for this browser, which it keeps. @param {string} place */
function ownId(place) {
  const id = crypto.getRandomValues(new Uint32Array(2)).join("-");
  try {
    const known = localStorage.getItem(place);
    if (known) return known;
    localStorage.setItem(place, id);
  } catch {
    // one that keeps nothing is another each time
  }
  return id;
}

/**
 * The run in the file itself. Decisions stay in this browser's storage until they are downloaded; another tab with
 * the same file has the same storage.
 *
 * @param {{index: Index, images: ImageMasks[], pictures: string[], made: string}} given
 * @returns {Host}
 */
export function fileHost(given) {
  const { index, images, pictures } = given;
  const made = `${given.made} ${ownId(`autolabel ${given.made}`)}`; // two people with one file are two
  const first = index.reviews;
  /** @param {string} image */
  const place = (image) => `autolabel ${given.made} ${image}`;
  /** @param {string} image @returns {Sheet | null} */
  const stored = (image) => JSON.parse(localStorage.getItem(place(image)) ?? "null");
  return {
    kind: "file",
    made,
    async index() {
      const reviews = { ...first };
      for (const image of index.images.image) {
        try {
          const own = stored(image);
          if (own) reviews[image] = own;
        } catch {
          break; // a browser may keep no storage for files: decide says so
        }
      }
      return { ...index, reviews };
    },
    images: async (numbers) => numbers.map((n) => images[n]),
    thumb: (n) => pictures[n],
    picture: (n) => pictures[n],
    async decide(n, image, sheet) {
      const at = new Date().toISOString().replace(/\.\d+/, "");
      const review = { ...sheet.review, at, instances: sheet.review.instances.map((d) => ({ ...d, at: d.at || at })) };
      const kept = { ...sheet, review, revision: sheet.revision + 1, base: first[image]?.revision ?? 0 };
      try {
        const now = stored(image);
        if (now && now.revision !== sheet.revision) return { ...now, ok: false };
        localStorage.setItem(place(image), JSON.stringify(kept));
      } catch {
        throw new Error("this browser keeps nothing for this file; download your decisions before you close it");
      }
      return { ...kept, ok: true };
    },
    mask: () => Promise.reject(new Refusal("a file has no model: run `autolabel review` to ask for masks")),
    save: () => Promise.reject(new Refusal("a file can't be saved to")),
  };
}
