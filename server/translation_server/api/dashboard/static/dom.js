// Creates elements. Texts are set as text, so nothing that a caller has sent can become markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Creates an element.
 * @param {string} tag its name; `svg:` begins the names of SVG elements
 * @param {Record<string, unknown>} [attributes] attributes; functions are listeners, `true` is an empty attribute, and
 *     null, undefined and `false` leave the attribute out
 * @param {...(Node | string | number | null | undefined)} children elements and texts
 * @returns {any}
 */
export function h(tag, attributes = {}, ...children) {
  const element = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, /** @type {EventListener} */ (value));
    else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined).map(asNode));
  return element;
}

/** @param {Node | string | number | null | undefined} child */
function asNode(child) {
  return child instanceof Node ? child : String(child);
}

/**
 * Replaces the text of an element, unless it is the same: a screen reader would announce it again.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Returns the element of the page with an id.
 * @param {string} id
 * @returns {any}
 */
export function byId(id) {
  return document.getElementById(id);
}

/**
 * Creates a button.
 * @param {string} text
 * @param {() => unknown} act
 * @param {Record<string, unknown>} [attributes]
 */
export function button(text, act, attributes = {}) {
  return h("button", { type: "button", click: act, ...attributes }, text);
}

/**
 * Creates a table.
 * @param {string} caption
 * @param {string[]} columns
 * @param {(Node | string | number | null)[][]} rows
 */
export function table(caption, columns, rows) {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {},
      h("caption", {}, caption),
      h("thead", {}, h("tr", {}, ...columns.map((column) => h("th", { scope: "col" }, column)))),
      h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row.map((cell) => h("td", {}, cell)))))));
}
