// Which key is which command of a lens.

/** @typedef {{key: string, ctrlKey: boolean, metaKey: boolean, altKey: boolean, shiftKey: boolean}} Key */

/** @type {Record<string, string>} */
const PLAIN = {
  "+": "in",
  "=": "in",
  "-": "out",
  _: "out",
  0: "fit",
  1: "whole",
  o: "mode",
  m: "outline",
  n: "next",
  p: "previous",
  " ": "hold",
  "?": "help",
  ArrowLeft: "left",
  ArrowRight: "right",
  ArrowUp: "up",
  ArrowDown: "down",
};

/**
 * @param {Key} event
 * @returns {string | null} null for keys that belong to someone else
 */
export function command({ key, ctrlKey, metaKey, altKey }) {
  if (ctrlKey || metaKey || altKey) return null;
  const name = key.length === 1 ? key.toLowerCase() : key;
  return Object.hasOwn(PLAIN, name) ? PLAIN[name] : null;
}

/** For the help sheet: [keys, what they do]. A slash separates keys, a plus joins them. */
export const HELP = [
  ["+ / -", "Zoom in or out; also the wheel once the lens was clicked, Ctrl + wheel, or pinch"],
  ["0 / 1", "The whole picture, or 100 %"],
  ["Arrows", "Move; Shift: farther"],
  ["Drag", "Move; with a finger, once zoomed in"],
  ["Double click", "Zoom in there; once more: the whole picture"],
  ["O", "One at a time, or side by side"],
  ["N / P", "One at a time: the next picture, or the one before"],
  ["Space", "While held: the first picture everywhere"],
  ["M", "The mask's outline"],
  ["?", "This list"],
];
