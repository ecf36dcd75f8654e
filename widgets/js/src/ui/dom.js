// Elements in one line each.

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
 * Marks an element that can have the focus, so that a notebook's shortcuts leave its keys alone.
 * The notebook looks at the focused element first, so marking only the widget's root is too late.
 * @param {Element} element
 */
export function keepKeys(element) {
  element.setAttribute("data-lm-suppress-shortcuts", "true");
}

/**
 * A canvas in memory and its context.
 * @param {number} width
 * @param {number} height
 * @param {CanvasRenderingContext2DSettings} [settings]
 */
export function sheet(width, height, settings) {
  const canvas = h("canvas", { width, height });
  return { canvas, context: context(canvas, settings) };
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {CanvasRenderingContext2DSettings} [settings]
 */
export function context(canvas, settings) {
  const found = canvas.getContext("2d", settings);
  if (!found) throw new Error("This browser draws no canvas");
  return found;
}
