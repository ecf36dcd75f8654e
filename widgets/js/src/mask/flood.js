// Flood fill over pixels of like colour.

/** @typedef {import("./bitmap.js").Bitmap} Bitmap */
/** @typedef {import("./rect.js").Rect} Rect */
/** @typedef {{width: number, height: number, data: Uint8ClampedArray | Uint8Array}} Pixels RGBA */

/**
 * Sets all pixels reached from (x, y) over sides, not corners, whose colour is near the first's.
 * @param {Bitmap} mask
 * @param {Pixels} picture of the mask's size
 * @param {number} x start, inside
 * @param {number} y
 * @param {number} tolerance largest difference in any of red, green and blue, 0 to 255
 * @param {0 | 1} value
 * @returns {Rect | null} where pixels may have changed
 */
export function floodFill(mask, picture, x, y, tolerance, value) {
  const { width, height, data } = mask;
  if (x < 0 || y < 0 || x >= width || y >= height) return null;
  const rgba = picture.data;
  const first = 4 * (y * width + x);
  const [red, green, blue] = [rgba[first], rgba[first + 1], rgba[first + 2]];
  const seen = new Uint8Array(width * height);
  /** @param {number} i */
  const open = (i) =>
    seen[i] === 0 &&
    Math.abs(rgba[4 * i] - red) <= tolerance &&
    Math.abs(rgba[4 * i + 1] - green) <= tolerance &&
    Math.abs(rgba[4 * i + 2] - blue) <= tolerance;

  const changed = { x0: x, y0: y, x1: x + 1, y1: y + 1 };
  const stack = [y * width + x];
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    if (seen[at]) continue;
    const row = at - (at % width);
    let left = at;
    while (left > row && open(left - 1)) left--;
    let right = at;
    while (right < row + width - 1 && open(right + 1)) right++;
    seen.fill(1, left, right + 1);
    data.fill(value, left, right + 1);
    changed.x0 = Math.min(changed.x0, left - row);
    changed.x1 = Math.max(changed.x1, right - row + 1);
    changed.y0 = Math.min(changed.y0, row / width);
    changed.y1 = Math.max(changed.y1, row / width + 1);
    // One start for each run of open pixels in the rows above and below.
    for (const beside of [row - width, row + width]) {
      if (beside < 0 || beside >= data.length) continue;
      let inside = false;
      for (let i = left - row + beside; i <= right - row + beside; i++) {
        const now = open(i);
        if (now && !inside) stack.push(i);
        inside = now;
      }
    }
  }
  return changed;
}
