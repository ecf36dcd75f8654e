// HTML and SVG elements made in one line each.

const SVG = "http://www.w3.org/2000/svg";

/** Tags that take the focus by themselves. */
const FOCUSABLE = new Set(["a", "button", "input", "select", "textarea", "summary"]);

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string | number | boolean | EventListener>} [attributes] functions listen
 *   to the event they are named after; false leaves out, true sets an empty attribute
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  if (FOCUSABLE.has(tag) || "tabindex" in attributes) keepKeys(element);
  element.append(...children);
  return element;
}

/**
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {...(Node | string)} children
 * @returns {SVGElementTagNameMap[T]}
 */
export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  put(element, attributes);
  if ("tabindex" in attributes) keepKeys(element);
  element.append(...children);
  return element;
}

/**
 * Sets attributes, and touches only those that change.
 * @param {Element} element
 * @param {Record<string, string | number>} attributes
 */
export function put(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    const text = String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

/**
 * Marks an element that can have the focus, so that a notebook's shortcuts leave its keys alone.
 * The notebook looks at the focused element first, so marking only the widget's root is too late.
 * @param {Element} element
 */
export function keepKeys(element) {
  element.setAttribute("data-lm-suppress-shortcuts", "true");
}
