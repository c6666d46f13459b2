// What the pointer does on the image: a tool has it first, else it chooses, pans and zooms.

import { area, contains } from "./masks.js";

/** @typedef {import("./viewer.js").Viewer} Viewer */

const REACH_PX = 10; // on the screen: so near is on it
const STILL_PX = 4; // so little is a click

/** @param {Viewer} viewer */
export function followPointer(viewer) {
  const { canvas } = viewer.stage;
  let panned = 0;
  let held = false;
  let byTool = false;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    canvas.focus(); // in a notebook, keys would go to its cells otherwise
    panned = 0;
    held = true;
    byTool = Boolean(viewer.editor.tool?.down(viewer.stage.at(event), event, REACH_PX / viewer.stage.scale));
  });
  canvas.addEventListener("pointermove", (event) => {
    const { tool } = viewer.editor;
    if (tool && (byTool || !held)) tool.move(viewer.stage.at(event));
    else if (held) {
      panned += Math.abs(event.movementX) + Math.abs(event.movementY);
      if (panned > STILL_PX) viewer.stage.pan(event.movementX, event.movementY);
    }
  });
  canvas.addEventListener("pointerup", (event) => {
    held = false;
    if (byTool) viewer.editor.tool?.up();
    else if (panned <= STILL_PX && !viewer.editor.tool) viewer.choose(instanceAt(viewer, viewer.stage.at(event)), event.shiftKey || event.ctrlKey);
    byTool = false;
  });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = canvas.getBoundingClientRect();
    viewer.stage.zoom(Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
}

/** @param {Viewer} viewer @param {[number, number]} at @returns {string | null} the smallest instance there, by its key */
function instanceAt(viewer, [x, y]) {
  const there = viewer.rows
    .filter((row) => row.lost || row.reason === "" || viewer.dropped)
    .map((row) => ({ row, mask: viewer.mask(row) }))
    .filter(({ mask }) => contains(mask, Math.floor(x), Math.floor(y)))
    .sort((a, b) => Number(a.row.lost) - Number(b.row.lost) || area(a.mask) - area(b.mask));
  return there[0]?.row.key ?? null;
}
