// Beside one image: its instances, and the classes that they can be given.

import { make } from "./dom.js";
import { paintSwatch } from "./paint.js";
import { fateOf } from "./rows.js";

/** @typedef {import("./rows.js").Row} Row */

const DIGITS = 9;

export class Side {
  /**
   * @param {import("./desk.js").Desk} desk
   * @param {(key: string, more: boolean) => void} choose
   * @param {(category: number) => void} label
   */
  constructor(desk, choose, label) {
    this.desk = desk;
    this.choose = choose;
    this.label = label;
    this.list = make("div", { className: "al-list", role: "listbox", tabIndex: 0, "aria-label": "instances", "aria-multiselectable": "true" });
    const id = `${desk.uid}-classes`;
    this.input = make("input", {
      type: "text", "aria-label": "class of the chosen instance", placeholder: "class (c)", autocomplete: "off",
      onkeydown: (/** @type {KeyboardEvent} */ event) => this._typed(event),
    });
    this.input.setAttribute("list", id);
    const options = make("datalist", { id }, ...desk.classes.map((value) => make("option", { value })));
    this.element = make("div", { className: "al-side" },
      make("div", { className: "al-relabel" }, this._makeClasses(), this.input, options), this.list);
  }

  /** @param {Row[]} rows @param {Set<string>} chosen */
  show(rows, chosen) {
    this.list.replaceChildren(...rows.map((row, i) => this._item(row, i, chosen.has(row.key))));
    const active = this.list.querySelector('[aria-selected="true"]');
    this.list.setAttribute("aria-activedescendant", active?.id ?? "");
    active?.scrollIntoView({ block: "nearest" });
  }

  /** The classes that a digit gives, each a button with its digit. */
  _makeClasses() {
    const buttons = this.desk.classes.slice(0, DIGITS).map((name, category) => {
      const swatch = make("span", { className: "al-swatch", "aria-hidden": "true" });
      paintSwatch(swatch, category);
      return make("button", {
        type: "button", title: `give the chosen instance the class ${name}: key ${category + 1}`, onclick: () => this.label(category),
      }, swatch, make("span", { className: "al-row-name" }, name), make("kbd", { "aria-hidden": "true" }, String(category + 1)));
    });
    return make("div", { className: "al-classes", role: "group", "aria-label": "classes" }, ...buttons);
  }

  /** @param {Row} row @param {number} i @param {boolean} isChosen @returns {HTMLElement} */
  _item(row, i, isChosen) {
    const swatch = make("span", { className: "al-swatch", "aria-hidden": "true" });
    paintSwatch(swatch, row.category);
    const what = fateOf(this.desk, row);
    const sign = row.lost ? "?" : row.reason === "review_rejected" ? "✕" : row.verdict === "accepted" ? "✓" : "";
    const score = row.score === null ? "" : row.score.toFixed(2);
    const notes = [row.prompt === row.name ? "" : row.prompt, row.changed ? "changed" : "", what].filter(Boolean).join(" · ");
    return make("div", {
      className: `al-row${row.reason || row.lost ? " al-gone" : ""}`,
      id: `${this.desk.uid}-row-${i}`,
      role: "option",
      "aria-selected": String(isChosen),
      onclick: (/** @type {MouseEvent} */ event) => this.choose(row.key, event.shiftKey || event.ctrlKey),
    }, swatch, make("span", { className: "al-row-name" }, row.name), make("span", { className: "al-row-score" }, score),
    make("span", { className: "al-row-sign", "aria-label": row.verdict }, sign), make("span", { className: "al-row-notes" }, notes));
  }

  /** @param {KeyboardEvent} event */
  _typed(event) {
    event.stopPropagation();
    if (event.key === "Escape") this.list.focus();
    if (event.key !== "Enter") return;
    const found = this._meant(this.input.value.trim().toLowerCase());
    if (found.length !== 1) {
      const names = found.slice(0, 5).map((category) => this.desk.classes[category]);
      this.desk.say(names.length ? `${this.input.value} may be ${names.join(", ")}: type more` : `there is no class ${this.input.value}`);
      return;
    }
    this.input.value = "";
    this.list.focus();
    this.label(found[0]);
  }

  /** The classes that a text may mean: the one of that name, else those that begin so, else those with it inside. @param {string} typed */
  _meant(typed) {
    const names = this.desk.classes.map((name) => name.toLowerCase());
    const all = [...names.keys()].filter((category) => typed && names[category].includes(typed));
    const exact = all.filter((category) => names[category] === typed);
    const first = all.filter((category) => names[category].startsWith(typed));
    return exact.length ? exact.slice(0, 1) : first.length ? first : all;
  }
}
