// A region of the picture: the corners of its outline and the cells that it takes.

import { createBitmap } from "../mask/bitmap.js";
import { fillPolygon } from "../mask/polygon.js";

/** @typedef {import("../mask/raster.js").Point} Point */
/** @typedef {{kind: "point" | "box" | "polygon", points: Point[]}} Region in pixels of the frame */

/**
 * The corners of a region's outline.
 * @param {Region} region a point has none: its cell is its outline
 * @returns {Point[]}
 */
export function cornersOf({ kind, points }) {
  if (kind === "polygon") return points;
  if (kind === "point") return [];
  const [a, b] = points;
  return [a, { x: b.x, y: a.y }, b, { x: a.x, y: b.y }];
}

/**
 * The cells whose centres lie inside, or the one at its middle where it holds no centre.
 * @param {Region} region
 * @param {number} level pixels per cell
 * @param {[number, number]} frame height and width in pixels
 * @returns {number[]} row-major
 */
export function cellsOf(region, level, frame) {
  const mask = createBitmap(Math.floor(frame[1] / level), Math.floor(frame[0] / level));
  const corners = cornersOf(region).map(({ x, y }) => ({ x: x / level, y: y / level }));
  fillPolygon(mask, corners, 1);
  /** @type {number[]} */
  const cells = [];
  mask.data.forEach((value, i) => {
    if (value) cells.push(i);
  });
  if (!cells.length) {
    const middle = middleOf(region.points);
    const x = Math.min(mask.width - 1, Math.max(0, Math.floor(middle.x / level)));
    const y = Math.min(mask.height - 1, Math.max(0, Math.floor(middle.y / level)));
    cells.push(y * mask.width + x);
  }
  return cells;
}

/** @param {Point[]} points */
function middleOf(points) {
  return {
    x: points.reduce((sum, { x }) => sum + x, 0) / points.length,
    y: points.reduce((sum, { y }) => sum + y, 0) / points.length,
  };
}

/**
 * What names a region where answers are kept.
 * @param {Region} region
 */
export function regionKey({ kind, points }) {
  return `${kind} ${points.map(({ x, y }) => `${round(x)},${round(y)}`).join(" ")}`;
}

/** @param {number} value */
function round(value) {
  return Math.round(10 * value) / 10;
}
