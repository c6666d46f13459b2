// Maps a function over cases with every function of the page in scope; both come as JSON on stdin, the results go to
// stdout. See node.py.

import { readFileSync } from "node:fs";

import * as filters from "../../autolabel/review/static/filters.js";
import * as instances from "../../autolabel/review/static/instances.js";
import * as masks from "../../autolabel/review/static/masks.js";
import * as outlines from "../../autolabel/review/static/outlines.js";

const scope = { ...masks, ...outlines, ...instances, ...filters };
const { work, cases } = JSON.parse(readFileSync(0, "utf8"));
const each = new Function(...Object.keys(scope), `return (${work});`)(...Object.values(scope));

const results = cases.map((one) => {
  try {
    return { value: each(one) };
  } catch (error) {
    return { error: `${error.name}: ${error.message}` };
  }
});
process.stdout.write(JSON.stringify(results, (_, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value)));
