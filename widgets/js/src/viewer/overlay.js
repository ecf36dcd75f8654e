// What lies over the picture: the region's outline, and the cell under the pointer.

import { createBitmap } from "../mask/bitmap.js";
import { outlinePath } from "../mask/outline.js";
import { short } from "../ui/format.js";
import { cellsOf, cornersOf } from "./region.js";

/** @typedef {import("../trace/trace.js").Trace} Trace */
/** @typedef {import("../trace/maps.js").Grid} Grid */
/** @typedef {import("../mask/raster.js").Point} Point */

/** @type {WeakMap<object, {level: number, path: Path2D}>} */
const drawn = new WeakMap();

/**
 * @param {import("./picker.js").Picker} picker
 * @param {Trace} trace
 * @param {number} level
 * @returns {{cells: Path2D | null, outline: Path2D | null, corners: Point[]}}
 */
export function overlayOf({ region, corners, hover }, { opening }, level) {
  let cells = null;
  let outline = null;
  if (region) {
    let kept = drawn.get(region);
    if (kept?.level !== level) {
      const [height, width] = opening.frame.map((size) => Math.floor(size / level));
      const mask = createBitmap(width, height);
      for (const cell of cellsOf(region, level, opening.frame)) mask.data[cell] = 1;
      kept = { level, path: outlinePath(mask, 0, 0, width * level, height * level) };
      drawn.set(region, kept);
    }
    cells = kept.path;
    const points = cornersOf(region);
    if (points.length) outline = lines(points, true);
  }
  if (corners.length) outline = lines(hover ? [...corners, hover] : corners, false);
  return { cells, outline, corners };
}

/** @param {Point[]} points @param {boolean} closed */
function lines(points, closed) {
  const path = new Path2D();
  points.forEach(({ x, y }, i) => {
    if (i) path.lineTo(x, y);
    else path.moveTo(x, y);
  });
  if (closed) path.closePath();
  return path;
}

/**
 * What lies under the pointer.
 * @param {Point | null} at in pixels of the frame
 * @param {Trace} trace
 * @param {number} level
 * @param {Grid | null} grid
 */
export function readingAt(at, { opening }, level, grid) {
  if (!at || !(opening.frame[0] && opening.frame[1])) return null;
  const wide = grid?.width ?? Math.max(1, Math.floor(opening.frame[1] / level));
  const tall = grid?.height ?? Math.max(1, Math.floor(opening.frame[0] / level));
  const [cellWidth, cellHeight] = [opening.frame[1] / wide, opening.frame[0] / tall];
  const x = Math.min(wide - 1, Math.max(0, Math.floor(at.x / cellWidth)));
  const y = Math.min(tall - 1, Math.max(0, Math.floor(at.y / cellHeight)));
  const value = grid ? grid.values[y * wide + x] : null;
  const [top, left, height, width] = opening.crop;
  const column = Math.floor(((at.x - left) * opening.size[1]) / (width || 1));
  const row = Math.floor(((at.y - top) * opening.size[0]) / (height || 1));
  const box = { left: x * cellWidth, top: y * cellHeight, width: cellWidth, height: cellHeight };
  const cell = `cell ${x}, ${y}`;
  const pixel = `pixel ${column}, ${row}`;
  const text = [...(value === null ? [] : [short(value)]), cell, pixel].join(" · ");
  return { value, box, cell, pixel, text };
}
