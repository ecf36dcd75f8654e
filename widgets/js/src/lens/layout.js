// The layout of a lens as numbers: which part is shown, how large, in how many panes.

/** @typedef {import("../ui/viewport.js").Viewport} Viewport */
/**
 * @typedef {object} Position
 * @property {number} zoom pixels of the screen to one of the picture; 0 shows all of it
 * @property {number} x what is in the middle, in pixels of the picture
 * @property {number} y
 */
/** @typedef {{columns: number, width: number, height: number}} Layout a pane's size */

export const GAP = 4; // CSS pixels between panes
export const CAPTION = 22; // CSS pixels above each pane
const ENOUGH = 0.8; // of the largest size: worth it for a row fewer
const SMALLEST = 96; // CSS pixels: a lower pane shows nothing

/**
 * @param {Viewport} view
 * @returns {Position}
 */
export function positionOf(view) {
  const { width, height } = view.screen;
  const { x, y } = view.toPicture({ x: width / 2, y: height / 2 });
  return { zoom: view.fitted ? 0 : round(view.scale, 4), x: round(x, 2), y: round(y, 2) };
}

/**
 * Moves a view to a position; what lies beyond the picture's edges is not shown.
 * @param {Viewport} view
 * @param {Position} position
 */
export function place(view, { zoom, x, y }) {
  view.fit();
  if (!(zoom > 0)) return;
  view.zoom(zoom / view.scale);
  const { width, height } = view.screen;
  view.pan(width / 2 - x * view.scale - view.x, height / 2 - y * view.scale - view.y);
}

/**
 * The arrangement of panes in which a whole picture is about as large as can be. A row fewer counts
 * more than a little size: what lies beside each other is compared at a glance.
 * @param {number} count of panes
 * @param {number} room for all of them: width in CSS pixels
 * @param {number} ratio of the pictures, width over height
 * @param {number} tallest height in CSS pixels that all panes together should not exceed
 * @returns {Layout}
 */
export function layoutOf(count, room, ratio, tallest) {
  const found = [];
  for (let columns = 1; columns <= Math.max(1, count); columns++) {
    const rows = Math.ceil(count / columns) || 1;
    const width = Math.max(1, (room - GAP * (columns - 1)) / columns);
    const highest = (tallest - GAP * (rows - 1)) / rows - CAPTION;
    const height = Math.max(SMALLEST, Math.min(width / ratio, highest));
    const shown = Math.min(width, height * ratio); // the picture's own width in there
    found.push({ shown, rows, columns, width: Math.floor(width), height: Math.round(height) });
  }
  const enough = ENOUGH * Math.max(...found.map(({ shown }) => shown));
  const fewest = Math.min(...found.filter(({ shown }) => shown >= enough).map(({ rows }) => rows));
  const { columns, width, height } = found
    .filter(({ rows, shown }) => rows === fewest && shown >= enough)
    .reduce((best, one) => (one.shown > best.shown ? one : best));
  return { columns, width, height };
}

/**
 * How a scale reads: per cent up to 1000 %, times beyond.
 * @param {number} scale
 */
export function scaleText(scale) {
  return scale < 10 ? `${Math.round(100 * scale)} %` : `${round(scale, 1)} ×`;
}

/**
 * Colours as they are compared: "12 34 56".
 * @param {ArrayLike<number>} rgb
 */
export function colorText(rgb) {
  return `${rgb[0]} ${rgb[1]} ${rgb[2]}`;
}

/**
 * The pictures on display.
 * @param {number} count of pictures there are
 * @param {string} mode "side" or "one"
 * @param {number} chosen the one, where one is shown
 * @param {number[]} hidden those that are not shown side by side
 * @returns {number[]} at least one where there is one
 */
export function shownOf(count, mode, chosen, hidden) {
  const all = Array.from({ length: count }, (_, i) => i);
  if (mode === "one") return all.slice(0, 1).map(() => Math.min(Math.max(0, chosen), count - 1));
  const left = all.filter((i) => !hidden.includes(i));
  return left.length ? left : all.slice(0, 1);
}

/** @param {number} value @param {number} places */
function round(value, places) {
  const by = 10 ** places;
  return Math.round(value * by) / by;
}
