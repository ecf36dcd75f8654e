// A region of the picture: its outline, the cells that it takes, and the words that it listens to.

import { createBitmap } from "../mask/bitmap.js";
import { fillPolygon } from "../mask/polygon.js";
import { gridOf, wordsOf } from "../trace/maps.js";

/** @typedef {import("../mask/raster.js").Point} Point */
/** @typedef {import("../trace/trace.js").Frame} Frame */
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

/**
 * The cells of which the mask takes half or more; where there are none, those that it touches.
 * @param {import("../mask/bitmap.js").Bitmap} mask of the picture, at any scale
 * @param {number} level pixels per cell
 * @param {Pick<import("../trace/trace.js").Opening, "frame" | "crop">} opening
 * @returns {number[]} row-major
 */
export function maskedCells(mask, level, { frame, crop }) {
  const [top, left, height, width] = crop;
  const [across, down] = [Math.floor(frame[1] / level), Math.floor(frame[0] / level)];
  const share = new Float32Array(across * down);
  const [sx, sy] = [width / mask.width, height / mask.height];
  for (let y = 0; y < mask.height; y++) {
    const row = Math.min(down - 1, Math.floor((top + (y + 0.5) * sy) / level));
    for (let x = 0; x < mask.width; x++) {
      if (!mask.data[y * mask.width + x]) continue;
      const column = Math.min(across - 1, Math.floor((left + (x + 0.5) * sx) / level));
      share[row * across + column] += (sx * sy) / level ** 2;
    }
  }
  const over = (/** @type {number} */ least) =>
    [...share.keys()].filter((cell) => share[cell] > 0 && share[cell] >= least);
  const half = over(0.5);
  return half.length ? half : over(0);
}

/** @param {Point[]} points */
function middleOf(points) {
  return {
    x: points.reduce((sum, { x }) => sum + x, 0) / points.length,
    y: points.reduce((sum, { y }) => sum + y, 0) / points.length,
  };
}

/**
 * The mean cross-attention of some cells to each word.
 * @param {Frame} frame
 * @param {number[]} cells of the level's grid
 * @param {Pick<import("../trace/maps.js").Want, "level" | "layer" | "head" | "combine">} how
 * @returns {{text: string, tokens: number[], value: number}[]} in the prompt's order
 */
export function wordMeans(frame, cells, how) {
  const found = [];
  for (const word of wordsOf(frame)) {
    const grid = gridOf(frame, { ...how, kind: "cross", tokens: word.tokens });
    if (!grid) return [];
    const sum = cells.reduce((total, cell) => total + grid.values[cell], 0);
    found.push({ ...word, value: cells.length ? sum / cells.length : 0 });
  }
  return found;
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
