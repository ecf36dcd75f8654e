// Rectangles of whole pixels, half open: x0 <= x < x1, y0 <= y < y1.

/** @typedef {{x0: number, y0: number, x1: number, y1: number}} Rect */

/**
 * The smallest rectangle around both; null stands for nothing.
 * @param {Rect | null} a
 * @param {Rect | null} b
 * @returns {Rect | null}
 */
export function union(a, b) {
  if (!a || !b) return a ?? b;
  return {
    x0: Math.min(a.x0, b.x0),
    y0: Math.min(a.y0, b.y0),
    x1: Math.max(a.x1, b.x1),
    y1: Math.max(a.y1, b.y1),
  };
}

/**
 * The part of a box with any corners, fractions included, that lies on the picture.
 * @param {Rect} box
 * @param {number} width
 * @param {number} height
 * @returns {Rect | null}
 */
export function clip(box, width, height) {
  const x0 = Math.max(0, Math.floor(box.x0));
  const y0 = Math.max(0, Math.floor(box.y0));
  const x1 = Math.min(width, Math.ceil(box.x1));
  const y1 = Math.min(height, Math.ceil(box.y1));
  return x0 < x1 && y0 < y1 ? { x0, y0, x1, y1 } : null;
}
