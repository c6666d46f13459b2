// Elements made of values. Text is always text: nothing here takes HTML.

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [properties]  attributes (with a dash, `role` or `for`), listeners (on...), properties
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
    else /** @type {any} */ (element)[name] = value;
  }
  element.append(...children);
  return element;
}

/**
 * A choice with a label of its own.
 *
 * @param {string} label
 * @param {[string, string][]} options  value and text
 * @param {(value: string) => void} chosen
 */
export function choice(label, options, chosen) {
  const select = make(
    "select",
    { onchange: () => chosen(select.value) },
    ...options.map(([value, text]) => make("option", { value }, text)),
  );
  return make("label", { className: "al-field" }, make("span", {}, label), select);
}

/** @param {number} value  whole; a browser takes 20 ms to say the first number in a language */
export function shownNumber(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** @param {string} name @param {string} text */
export function download(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
