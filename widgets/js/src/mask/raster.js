// Brush strokes, rectangles and ellipses as pixels. A pixel belongs to a shape if its centre does.

import { fillSpan } from "./bitmap.js";
import { clip } from "./rect.js";

/** @typedef {import("./bitmap.js").Bitmap} Bitmap */
/** @typedef {import("./rect.js").Rect} Rect */
/** @typedef {{x: number, y: number}} Point */

/**
 * One segment of a stroke with a round brush: all within `radius` of the line from a to b.
 * @param {Bitmap} mask
 * @param {Point} a
 * @param {Point} b may equal a: a dab
 * @param {number} radius
 * @param {0 | 1} value
 * @returns {Rect | null} where pixels may have changed
 */
export function fillCapsule(mask, a, b, radius, value) {
  const box = clip(
    {
      x0: Math.min(a.x, b.x) - radius,
      y0: Math.min(a.y, b.y) - radius,
      x1: Math.max(a.x, b.x) + radius,
      y1: Math.max(a.y, b.y) + radius,
    },
    mask.width,
    mask.height,
  );
  if (!box) return null;
  for (let y = box.y0; y < box.y1; y++) {
    const span = capsuleSpan(a, b, radius, y + 0.5);
    if (span) fillSpan(mask, y, span[0], span[1], value);
  }
  return box;
}

/**
 * Where the horizontal line at height y crosses a capsule: two discs and the band between them.
 * @param {Point} a
 * @param {Point} b
 * @param {number} radius
 * @param {number} y
 * @returns {[number, number] | null}
 */
export function capsuleSpan(a, b, radius, y) {
  let left = Number.POSITIVE_INFINITY;
  let right = Number.NEGATIVE_INFINITY;
  for (const end of [a, b]) {
    const half = radius * radius - (y - end.y) ** 2;
    if (half < 0) continue;
    left = Math.min(left, end.x - Math.sqrt(half));
    right = Math.max(right, end.x + Math.sqrt(half));
  }
  const dx = b.x - a.x;
  const dy = b.y - a.y;
  const length = Math.hypot(dx, dy);
  if (length > 0) {
    // Both conditions are linear in x - a.x: -r <= distance from the line <= r, 0 <= along <= 1.
    const above = y - a.y;
    const across = between(-dy / length, (dx * above) / length, -radius, radius);
    const along = between(dx, dy * above, 0, length * length);
    const from = Math.max(across[0], along[0]);
    const to = Math.min(across[1], along[1]);
    if (from <= to) {
      left = Math.min(left, a.x + from);
      right = Math.max(right, a.x + to);
    }
  }
  return left <= right ? [left, right] : null;
}

/**
 * The u with low <= slope u + offset <= high.
 * @param {number} slope
 * @param {number} offset
 * @param {number} low
 * @param {number} high
 * @returns {[number, number]} empty if the first is larger
 */
function between(slope, offset, low, high) {
  if (slope === 0) {
    const all = offset >= low && offset <= high;
    return all ? [-Infinity, Infinity] : [Infinity, -Infinity];
  }
  const u = (low - offset) / slope;
  const v = (high - offset) / slope;
  return u < v ? [u, v] : [v, u];
}

/**
 * The box between two corners in any order.
 * @param {Point} a
 * @param {Point} b
 * @returns {Rect}
 */
export function box(a, b) {
  return {
    x0: Math.min(a.x, b.x),
    y0: Math.min(a.y, b.y),
    x1: Math.max(a.x, b.x),
    y1: Math.max(a.y, b.y),
  };
}

/**
 * @param {Bitmap} mask
 * @param {Point} a a corner
 * @param {Point} b the opposite one
 * @param {0 | 1} value
 * @returns {Rect | null} where pixels may have changed
 */
export function fillRectangle(mask, a, b, value) {
  const { x0, y0, x1, y1 } = box(a, b);
  const changed = clip({ x0, y0, x1, y1 }, mask.width, mask.height);
  if (!changed) return null;
  for (let y = changed.y0; y < changed.y1; y++) {
    if (y + 0.5 >= y0 && y + 0.5 <= y1) fillSpan(mask, y, x0, x1, value);
  }
  return changed;
}

/**
 * The ellipse that touches the four sides of a box.
 * @param {Bitmap} mask
 * @param {Point} a a corner of the box
 * @param {Point} b the opposite one
 * @param {0 | 1} value
 * @returns {Rect | null} where pixels may have changed
 */
export function fillEllipse(mask, a, b, value) {
  const { x0, y0, x1, y1 } = box(a, b);
  const changed = clip({ x0, y0, x1, y1 }, mask.width, mask.height);
  if (!changed || x1 === x0 || y1 === y0) return null;
  const middle = (x0 + x1) / 2;
  for (let y = changed.y0; y < changed.y1; y++) {
    const v = (2 * (y + 0.5) - y0 - y1) / (y1 - y0); // -1 at the top, 1 at the bottom
    if (v * v > 1) continue;
    const half = ((x1 - x0) / 2) * Math.sqrt(1 - v * v);
    fillSpan(mask, y, middle - half, middle + half, value);
  }
  return changed;
}
