// The keys, and what each does: the help is made of them.

import { make } from "./dom.js";

/** @type {[string, [string, string][]][]} */
export const KEY_HELP = [
  ["Everywhere", [
    ["a", "accept: the image, or the instance that is chosen"],
    ["r", "reject, likewise"],
    ["w", "withdraw what was decided, likewise"],
    ["z / Shift+z", "undo / redo (also with Ctrl)"],
    ["h", "hide or show the masks"],
    ["?", "this help"],
  ]],
  ["Grid", [
    ["arrows, Page, Home, End", "go through the images"],
    ["Enter", "open the image"],
    ["/", "search by file name"],
  ]],
  ["One image", [
    ["n p or → ←", "next, previous image"],
    ["↓ ↑", "choose an instance (Shift: several)"],
    ["Shift+a", "accept all instances and go on"],
    ["1 … 9", "give the chosen instance the class of that number"],
    ["c", "give it a class by typing"],
    ["d", "delete the chosen instance"],
    ["s", "show or hide what was dropped"],
    ["+ − 0", "zoom in, out, fit; Shift+arrows pan"],
    ["Esc", "let go; then back to the grid"],
  ]],
  ["Editing", [
    ["e", "edit the outline: drag points, click an edge to add one"],
    ["g", "draw a polygon"],
    ["b", "draw a box: a model answers with the mask"],
    ["o", "click points on the object (Shift: beside it): a model answers"],
    ["x", "split into parts"],
    ["m", "merge the chosen instances"],
    ["Enter / Esc", "finish / give up"],
    ["Tab, arrows, i, Delete", "edit by keyboard: next point, move it, add one, delete it"],
    ["arrows, Space", "draw by keyboard: move the cross (Shift: faster), set a point"],
  ]],
];

/** @returns {HTMLDialogElement} */
export function makeHelp() {
  const sections = KEY_HELP.map(([title, keys]) =>
    make("section", {}, make("h3", {}, title),
      make("dl", {}, ...keys.flatMap(([key, what]) => [make("dt", {}, key), make("dd", {}, what)]))));
  const dialog = make("dialog", { className: "al-help", "aria-label": "keys" },
    make("div", { className: "al-help-columns" }, ...sections),
    make("button", { type: "button", onclick: () => dialog.close() }, "Close"));
  return dialog;
}
