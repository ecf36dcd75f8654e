// The outline of a mask, along the sides of its pixels.

/** @typedef {import("./bitmap.js").Bitmap} Bitmap */
/** @typedef {[x0: number, y0: number, x1: number, y1: number]} Segment */

/**
 * Straight pieces along the sides of pixels. The mask's border counts as an edge.
 * @param {Bitmap} mask
 * @returns {Segment[]}
 */
export function edgesOf({ width, height, data }) {
  /** @type {Segment[]} */
  const found = [];
  const at = (/** @type {number} */ x, /** @type {number} */ y) =>
    x >= 0 && y >= 0 && x < width && y < height ? data[y * width + x] : 0;
  for (let y = 0; y <= height; y++) {
    for (let x = 0, start = -1; x <= width; x++) {
      const edge = x < width && at(x, y) !== at(x, y - 1);
      if (edge && start < 0) start = x;
      if (!edge && start >= 0) {
        found.push([start, y, x, y]);
        start = -1;
      }
    }
  }
  for (let x = 0; x <= width; x++) {
    for (let y = 0, start = -1; y <= height; y++) {
      const edge = y < height && at(x, y) !== at(x - 1, y);
      if (edge && start < 0) start = y;
      if (!edge && start >= 0) {
        found.push([x, start, x, y]);
        start = -1;
      }
    }
  }
  return found;
}

/**
 * @param {Bitmap} mask
 * @param {number} left where the mask lies
 * @param {number} top
 * @param {number} width how large it is there
 * @param {number} height
 */
export function outlinePath(mask, left, top, width, height) {
  const path = new Path2D();
  const [sx, sy] = [width / mask.width, height / mask.height];
  for (const [x0, y0, x1, y1] of edgesOf(mask)) {
    path.moveTo(left + x0 * sx, top + y0 * sy);
    path.lineTo(left + x1 * sx, top + y1 * sy);
  }
  return path;
}
