// The whole: a head with counts and messages, the panel, the grid and the image view, and the keys they share.

import { Desk } from "./desk.js";
import { download, make, shownNumber } from "./dom.js";
import { Grid } from "./grid.js";
import { fileHost, httpHost, widgetHost } from "./hosts.js";
import { makeHelp } from "./keys.js";
import { makeFilters, makeSliders } from "./panel.js";
import { openAgain } from "./reviews.js";
import { judgeImage } from "./rows.js";
import { Viewer } from "./viewer.js";

/** @typedef {import("./types.js").Host} Host */
/** @typedef {import("./desk.js").Conflict} Conflict */

const SAID_MS = 6000;
const MOVES = /^(Arrow|Page|Home$|End$|Tab$|[np+=\-zZ]$)/;

/**
 * Show a run in an element, and answer its keys, until it is closed.
 *
 * @param {HTMLElement} root
 * @param {Host} host
 * @returns {Promise<() => void>} closes it
 */
export async function start(root, host) {
  root.classList.add("autolabel", `al-in-${host.kind}`);
  root.tabIndex = -1; // a click anywhere in it leaves the keys here
  root.setAttribute("data-lm-suppress-shortcuts", "true"); // JupyterLab leaves our keys alone
  const progress = make("p", { className: "al-loading", role: "status" }, "Reading the answers …");
  root.replaceChildren(progress);
  try {
    const index = await host.index((share) => {
      progress.textContent = `Counting the answers … ${Math.round(100 * share)} %`;
    });
    return new App(root, new Desk(host, index)).close;
  } catch (error) {
    progress.textContent = `This can't be shown: ${error instanceof Error ? error.message : error}`;
    throw error;
  }
}

/** Whether an element has a use of its own for a key. @param {HTMLElement} element @param {string} key */
function takesKey(element, key) {
  if (element instanceof HTMLInputElement && element.type === "range") return /^(Arrow|Page|Home|End|Escape)/.test(key);
  if (element.tagName === "BUTTON") return key === "Enter" || key === " ";
  return /^(INPUT|SELECT|TEXTAREA)$/.test(element.tagName) || element.isContentEditable;
}

class App {
  /**
   * @param {HTMLElement} root
   * @param {Desk} desk
   */
  constructor(root, desk) {
    this.desk = desk;
    this.root = root;
    this.grid = new Grid(desk, (n) => this.open(n));
    this.viewer = new Viewer(desk, (n) => this._closed(n));
    const { element: filters, search } = makeFilters(desk);
    this.search = search;
    this.help = makeHelp();
    this.states = make("p", { className: "al-states" });
    this.status = make("p", { className: "al-status", role: "status" });
    this.message = make("p", { className: "al-message", role: "status" });
    this.conflicts = make("div", { className: "al-conflicts", role: "alert" });
    const panel = make("aside", { className: "al-panel", "aria-label": "filter and thresholds" },
      make("h2", {}, "Filter"), filters, make("h2", {}, "Thresholds"), makeSliders(desk));
    root.replaceChildren(
      this._makeHead(), this.conflicts,
      make("div", { className: "al-body" }, panel, make("main", { className: "al-main" }, this.grid.element, this.viewer.element)),
      this.message, this.help);
    this.close = this._listen();
    this._count();
    this._status();
    this.grid.layout();
    // in a notebook the keys stay with its cells until somebody clicks here
    if (desk.host.kind !== "widget") this.grid.element.focus();
  }

  _makeHead() {
    const { desk } = this;
    const file = desk.host.kind === "file";
    /** @type {[string, string, () => void][]} */
    const buttons = [
      ["Undo", "z", () => this._undo("undo")],
      ["Redo", "Shift+z", () => this._undo("redo")],
      ["Help", "?", () => this.help.showModal()],
    ];
    const save = make("button", { type: "button", className: "al-download", hidden: !file, onclick: () => this._download() }, "Download decisions");
    this.downloads = save;
    return make("header", { className: "al-head" },
      make("h1", {}, desk.index.title), this.states,
      make("p", { className: "al-intro" }, this._intro()),
      make("div", { className: "al-buttons" }, save, ...buttons.map(([text, key, onclick]) =>
        make("button", { type: "button", onclick, title: `key ${key}` }, text, make("kbd", { "aria-hidden": "true" }, key)))),
      this.status);
  }

  _intro() {
    if (this.desk.index.read_only) return "Look around: arrows move, Enter opens an image, ? shows all keys. Nothing can be decided here.";
    return "Arrows move, a accepts an image, r rejects it, z undoes, Enter opens it; ? shows all keys.";
  }

  /** @returns {() => void} */
  _listen() {
    const { desk, root } = this;
    /** @param {KeyboardEvent} event */
    const keys = (event) => this._key(event);
    const target = desk.host.kind === "widget" ? root : document;
    target.addEventListener("keydown", /** @type {EventListener} */ (keys));
    /** @param {BeforeUnloadEvent} event */
    const leaving = (event) => desk.unsaved && event.preventDefault();
    window.addEventListener("beforeunload", leaving);
    desk.addEventListener("sheet", () => this._count());
    desk.addEventListener("status", () => this._status());
    desk.addEventListener("shown", () => this._count());
    desk.addEventListener("said", (event) => this._say(/** @type {CustomEvent} */ (event).detail));
    desk.addEventListener("conflict", (event) => this._conflict(/** @type {CustomEvent} */ (event).detail));
    return () => {
      target.removeEventListener("keydown", /** @type {EventListener} */ (keys));
      window.removeEventListener("beforeunload", leaving);
      root.replaceChildren();
    };
  }

  _count() {
    const { desk } = this;
    const { outdated, ...counts } = desk.states();
    const shown = desk.shown.length === desk.count ? "" : `${shownNumber(desk.shown.length)} of `;
    const { of = 0 } = desk.index;
    const whole = of > desk.count ? ` (a sample of ${shownNumber(of)})` : "";
    const judged = Object.entries(counts).filter(([, n]) => n).map(([state, n]) => `${shownNumber(n)} ${state}`);
    const { failed } = desk.index;
    const missing = failed ? `; ${shownNumber(failed)} without an answer, or gone, are not shown` : "";
    const again = outdated ? `; ${shownNumber(outdated)} outdated: look again` : "";
    this.states.textContent = `${shown}${shownNumber(desk.count)} images${whole}: ${judged.join(", ")}${again}${missing}`;
  }

  _status() {
    const { unsaved, host, index } = this.desk;
    const { trouble } = this.desk.outbox;
    const where = host.kind === "file" ? "kept in this browser: download them when you are done" : "saved";
    const text = trouble || (unsaved ? "saving …" : index.read_only ? "read-only" : where);
    this.status.textContent = text;
    this.status.dataset.saved = String(!unsaved && !trouble);
    if (trouble && this.downloads) this.downloads.hidden = false;
  }

  /** @param {string} text */
  _say(text) {
    this.message.textContent = text;
    clearTimeout(this.saying);
    this.saying = setTimeout(() => (this.message.textContent = ""), SAID_MS);
  }

  /** @param {Conflict} conflict */
  _conflict(conflict) {
    const name = this.desk.name(conflict.n);
    const verdict = conflict.theirs.review.verdict ?? `${conflict.theirs.review.instances.length} decisions`;
    const close = () => {
      box.remove();
      this.desk.removeEventListener("decided", decidedAgain);
      this.focus();
    };
    /** @param {Event} event */
    const decidedAgain = (event) => /** @type {CustomEvent} */ (event).detail === conflict.n && close();
    const box = make("p", {},
      `${name} was changed elsewhere meanwhile (${verdict}, shown now); yours is not saved. `,
      make("button", { type: "button", onclick: close }, "Keep theirs"),
      make("button", { type: "button", onclick: () => this.desk.insist(conflict) }, "Save mine over it"));
    this.conflicts.append(box);
    this.desk.addEventListener("decided", decidedAgain);
  }

  /** Leave the keys where they do most. */
  focus() {
    (this.viewer.isOpen ? this.viewer.title : this.grid.element).focus();
  }

  /** @param {number} n */
  open(n) {
    this.grid.element.hidden = true;
    this.viewer.open(n);
    this.viewer.title.focus();
  }

  /** @param {number} n */
  _closed(n) {
    this.grid.element.hidden = false;
    this.desk.select({});
    const place = this.desk.shown.indexOf(n);
    this.grid.layout();
    this.grid.moveTo(place < 0 ? this.grid.focus : place);
    this.grid.element.focus();
  }

  /** @param {"undo" | "redo"} which */
  _undo(which) {
    const { editor } = this.viewer;
    if (editor.tool) {
      this.viewer.key(new KeyboardEvent("keydown", { key: which === "undo" ? "z" : "y" })); // it is the tool's
      editor.stage.canvas.focus();
      return;
    }
    const n = this.desk[which]();
    if (n < 0) return;
    const place = this.desk.shown.indexOf(n);
    if (this.viewer.isOpen && this.viewer.n === n) return; // it is shown, and what is chosen stays so
    if (this.viewer.isOpen) this.viewer.open(n);
    else if (place >= 0) this.grid.moveTo(place);
  }

  async _download() {
    download("decisions.json", JSON.stringify(await this.desk.decisions()));
  }

  /** @param {KeyboardEvent} event */
  _key(event) {
    const at = /** @type {HTMLElement} */ (event.target);
    if (this.help.open || event.defaultPrevented) return;
    if (takesKey(at, event.key)) {
      if (event.key === "Escape" || (event.key === "Enter" && at === this.search)) this.focus();
      return;
    }
    if (!this.root.contains(at) && at !== document.body) return;
    const command = event.ctrlKey || event.metaKey;
    if (command && event.key.toLowerCase() !== "z") return;
    if (event.altKey && !event.key.startsWith("Arrow")) return; // the browser's own
    // a key that is held goes through images and instances, and judges none that nobody has seen
    if ((event.repeat && !MOVES.test(event.key)) || this._act(event)) {
      event.preventDefault();
      event.stopPropagation();
    }
  }

  /** @param {KeyboardEvent} event @returns {boolean} */
  _act(event) {
    const { viewer, grid } = this;
    if (viewer.isOpen && viewer.key(event)) return true;
    if (event.key === "?") this.help.showModal();
    else if (event.key.toLowerCase() === "z") this._undo(event.shiftKey || event.key === "Z" ? "redo" : "undo");
    else if (event.key === "y") this._undo("redo");
    else if (viewer.isOpen) return false;
    else if (event.key === "/") this.search.focus();
    else if (event.key === "h") {
      grid.showsOverlays = !grid.showsOverlays;
      grid.draw(true);
    } else if (grid.current >= 0 && event.key === "Enter") this.open(grid.current);
    else if (grid.current >= 0 && "arwA".includes(event.key)) this._judge(event.key);
    else return grid.move(event.key);
    return true;
  }

  /** @param {string} key */
  _judge(key) {
    const { desk, grid } = this;
    const n = grid.current;
    if (key === "w") {
      desk.change(n, openAgain(desk.sheet(n)), `withdrew the verdict on ${desk.name(n)}`);
      return;
    }
    judgeImage(desk, n, key === "r" ? "rejected" : "accepted").catch((error) => this._say(`not judged: ${error.message}`));
    grid.moveTo(grid.focus + 1);
  }
}

/**
 * What a notebook calls.
 *
 * @param {{model: any, el: HTMLElement}} given
 */
export async function render({ model, el }) {
  const host = widgetHost(model);
  const root = make("div", {});
  el.append(root);
  const close = await start(root, host);
  return () => {
    close();
    host.close();
  };
}

const ownPage = globalThis.document?.getElementById("autolabel-page");
const ownRun = globalThis.document?.getElementById("autolabel-run");
if (ownPage) start(ownPage, ownRun ? fileHost(JSON.parse(ownRun.textContent ?? "")) : httpHost());
