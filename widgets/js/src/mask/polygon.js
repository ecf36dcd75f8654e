// Closed outlines, drawn free hand or point by point, filled by the even-odd rule.

import { clip } from "./rect.js";

/** @typedef {import("./bitmap.js").Bitmap} Bitmap */
/** @typedef {import("./rect.js").Rect} Rect */
/** @typedef {import("./raster.js").Point} Point */

/**
 * Fills every pixel whose centre lies inside an odd number of times.
 * @param {Bitmap} mask
 * @param {Point[]} points the corners; the last is joined to the first
 * @param {0 | 1} value
 * @returns {Rect | null} where pixels may have changed
 */
export function fillPolygon(mask, points, value) {
  if (points.length < 3) return null;
  const box = { x0: Infinity, y0: Infinity, x1: -Infinity, y1: -Infinity };
  for (const { x, y } of points) {
    box.x0 = Math.min(box.x0, x);
    box.y0 = Math.min(box.y0, y);
    box.x1 = Math.max(box.x1, x);
    box.y1 = Math.max(box.y1, y);
  }
  const changed = clip(box, mask.width, mask.height);
  if (!changed) return null;
  const rows = crossings(points, changed.y0, changed.y1);
  for (let y = changed.y0; y < changed.y1; y++) {
    const xs = rows[y - changed.y0].sort((a, b) => a - b);
    for (let i = 0; i + 1 < xs.length; i += 2) {
      const from = Math.max(0, Math.ceil(xs[i] - 0.5));
      const to = Math.min(mask.width, Math.ceil(xs[i + 1] - 0.5));
      if (from < to) mask.data.fill(value, y * mask.width + from, y * mask.width + to);
    }
  }
  return changed;
}

/**
 * Where the edges cross the middle of each row. A corner belongs to the edge below it.
 * @param {Point[]} points
 * @param {number} top first row
 * @param {number} bottom row after the last
 * @returns {number[][]}
 */
function crossings(points, top, bottom) {
  /** @type {number[][]} */
  const rows = Array.from({ length: bottom - top }, () => []);
  for (let i = 0; i < points.length; i++) {
    let a = points[i];
    let b = points[(i + 1) % points.length];
    if (a.y === b.y) continue;
    if (a.y > b.y) [a, b] = [b, a];
    const slope = (b.x - a.x) / (b.y - a.y);
    const from = Math.max(top, Math.ceil(a.y - 0.5));
    const to = Math.min(bottom, Math.ceil(b.y - 0.5));
    for (let y = from; y < to; y++) rows[y - top].push(a.x + (y + 0.5 - a.y) * slope);
  }
  return rows;
}
