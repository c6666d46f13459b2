// Pictures at full size: the few that were looked at last, and those beside them.

const KEPT_PICTURES = 8;

export class Pictures {
  /** @param {import("./types.js").Host} host */
  constructor(host) {
    this.host = host;
    /** @type {Map<number, Promise<HTMLImageElement>>} */
    this.known = new Map();
  }

  /** @param {number} n @returns {Promise<HTMLImageElement>} decoded; one that failed is asked for anew */
  find(n) {
    const known = this.known.get(n);
    if (known) return known;
    const found = this._load(n);
    this.known.set(n, found);
    found.catch(() => this.known.delete(n));
    const [oldest] = this.known.keys();
    if (this.known.size > KEPT_PICTURES) this.known.delete(oldest);
    return found;
  }

  /** @param {number} n */
  async _load(n) {
    const picture = new Image();
    picture.src = await this.host.picture(n);
    await picture.decode();
    return picture;
  }
}
