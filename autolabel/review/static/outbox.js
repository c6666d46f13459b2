// Decisions on their way to the host: one at a time for each image, sent again until they are kept or refused.

import { Refusal } from "./hosts.js";
import { sayTheSame, whole } from "./reviews.js";

/** @typedef {import("./types.js").Host} Host */
/** @typedef {import("./types.js").Sheet} Sheet */

const RETRY_MS = 2000;
const SLOW_MS = 8000; // without an answer: who waits is told

/**
 * @typedef {object} Letter  what is under way of one image
 * @property {number} n
 * @property {Sheet} confirmed  what the host has, as far as is known
 * @property {Sheet} latest  what it shall have
 * @property {Sheet | null} sent
 */

/**
 * @typedef {object} Told
 * @property {(n: number, kept: Sheet) => void} saved
 * @property {(n: number, mine: Sheet, theirs: Sheet) => void} conflict  another one came first
 * @property {(n: number, confirmed: Sheet, reason: string) => void} refused
 * @property {() => void} changed  how much is under way, or in trouble
 */

export class Outbox {
  /**
   * @param {Host} host
   * @param {Told} told
   */
  constructor(host, told) {
    this.host = host;
    this.told = told;
    this.trouble = "";
    /** @type {Map<string, Letter>} */
    this.letters = new Map();
  }

  /**
   * @param {number} n
   * @param {string} image
   * @param {Sheet} confirmed  what was shown before, where nothing is under way
   * @param {Sheet} latest
   */
  put(n, image, confirmed, latest) {
    const letter = this.letters.get(image);
    if (letter) letter.latest = latest;
    else this.letters.set(image, { n, confirmed, latest, sent: null });
    this._send(image);
  }

  /** @param {string} image */
  async _send(image) {
    const letter = this.letters.get(image);
    if (!letter || letter.sent) return;
    const sent = (letter.sent = { ...letter.latest, revision: letter.confirmed.revision, base: letter.confirmed.base });
    this.told.changed();
    const slow = setTimeout(() => this._inTrouble("not saved yet: no answer comes"), SLOW_MS);
    try {
      const { ok, ...told } = await this.host.decide(letter.n, image, sent);
      const kept = whole(told);
      this.trouble = "";
      letter.sent = null;
      // our own, whose answer was lost on the way, is no conflict
      if (ok || sayTheSame(kept.review, sent.review)) this._kept(image, letter, sent, kept);
      else {
        this.letters.delete(image);
        this.told.conflict(letter.n, letter.latest, kept);
      }
    } catch (error) {
      letter.sent = null;
      this._failed(image, letter, error instanceof Error ? error : new Error(String(error)));
    } finally {
      clearTimeout(slow);
    }
    this.told.changed();
  }

  /** @param {string} image @param {Letter} letter @param {Sheet} sent @param {Sheet} kept */
  _kept(image, letter, sent, kept) {
    letter.confirmed = kept;
    if (sayTheSame(letter.latest.review, sent.review)) {
      this.letters.delete(image);
      this.told.saved(letter.n, kept);
    } else {
      this._send(image);
    }
  }

  /** @param {string} image @param {Letter} letter @param {Error} error */
  _failed(image, letter, error) {
    if (error instanceof Refusal) {
      this.trouble = "";
      this.letters.delete(image);
      this.told.refused(letter.n, letter.confirmed, error.message);
    } else {
      this._inTrouble(`not saved, trying again: ${error.message}`);
      setTimeout(() => this._send(image), RETRY_MS);
    }
  }

  /** @param {string} text */
  _inTrouble(text) {
    this.trouble = text;
    this.told.changed();
  }
}
