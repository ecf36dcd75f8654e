// Which key is which command of the painter.

/** @typedef {{key: string, ctrlKey: boolean, metaKey: boolean, altKey: boolean, shiftKey: boolean}} Key */

/** @type {Record<string, string>} */
const PLAIN = {
  b: "tool:brush",
  e: "tool:eraser",
  r: "tool:rectangle",
  o: "tool:ellipse",
  l: "tool:lasso",
  p: "tool:polygon",
  f: "tool:fill",
  i: "invert",
  x: "clear",
  m: "mode",
  g: "grow",
  h: "shrink",
  v: "cells",
  "[": "smaller",
  "]": "larger",
  "+": "zoom-in",
  "=": "zoom-in",
  "-": "zoom-out",
  _: "zoom-out",
  0: "fit",
  1: "full-size",
  "?": "help",
  Escape: "cancel",
  Enter: "confirm",
  Backspace: "remove-point",
  ArrowLeft: "left",
  ArrowRight: "right",
  ArrowUp: "up",
  ArrowDown: "down",
  " ": "pan",
};

/**
 * @param {Key} event
 * @returns {string | null} null for keys that belong to someone else
 */
export function command(event) {
  const { key, ctrlKey, metaKey, altKey, shiftKey } = event;
  if (ctrlKey || metaKey) {
    if (key.toLowerCase() === "z") return shiftKey ? "redo" : "undo";
    return key.toLowerCase() === "y" && !shiftKey ? "redo" : null;
  }
  if (altKey) return null;
  const name = key.length === 1 ? key.toLowerCase() : key;
  return Object.hasOwn(PLAIN, name) ? PLAIN[name] : null;
}

/** For the help sheet: [keys, what they do]. A slash separates keys, a plus joins them. */
export const HELP = [
  ["B", "Brush"],
  ["E", "Eraser"],
  ["R", "Rectangle; Shift: a square"],
  ["O", "Ellipse; Shift: a circle"],
  ["L", "Lasso: draw around it"],
  ["P", "Polygon: click corner by corner, Enter or double click closes it"],
  ["F", "Fill what is alike in colour"],
  ["M", "Add or take away; while drawing: hold Alt, or use the right button"],
  ["[ / ]", "Smaller or larger brush"],
  ["Shift + click", "A straight line from the last dab"],
  ["Ctrl + Z", "Undo"],
  ["Ctrl + Shift + Z", "Redo"],
  ["I", "Invert"],
  ["X", "Clear"],
  ["G / H", "Grow or shrink by some pixels"],
  ["V", "As the model sees it"],
  ["+ / -", "Zoom in or out; also Ctrl + wheel, or pinch"],
  ["0 / 1", "Fit, or 100 %"],
  ["Space + drag", "Move the picture; also the middle button, or two fingers"],
  ["Arrows, Enter", "Move the pointer, press and release; Shift: ten times as far"],
  ["Backspace", "Remove the polygon's last corner"],
  ["Escape", "Cancel what is being drawn"],
  ["Drop a file", "A black and white picture is a mask, any other the picture to paint on"],
];
