// A mask as one byte per pixel, 0 or 1, row by row.

/** @typedef {import("./rect.js").Rect} Rect */
/** @typedef {{width: number, height: number, data: Uint8Array<ArrayBuffer>}} Bitmap */

/**
 * An empty mask.
 * @param {number} width
 * @param {number} height
 * @returns {Bitmap}
 */
export function createBitmap(width, height) {
  return { width, height, data: new Uint8Array(width * height) };
}

/**
 * The number of masked pixels.
 * @param {Bitmap} mask
 */
export function count(mask) {
  let sum = 0;
  for (let i = 0; i < mask.data.length; i++) sum += mask.data[i];
  return sum;
}

/**
 * Sets the pixels of row y whose centres lie in left..right, both ends included.
 * @param {Bitmap} mask
 * @param {number} y row, may lie outside
 * @param {number} left in pixels, may lie outside
 * @param {number} right
 * @param {0 | 1} value
 */
export function fillSpan(mask, y, left, right, value) {
  if (y < 0 || y >= mask.height) return;
  const from = Math.max(0, Math.ceil(left - 0.5));
  const to = Math.min(mask.width, Math.floor(right - 0.5) + 1);
  if (from < to) mask.data.fill(value, y * mask.width + from, y * mask.width + to);
}

/**
 * Turns every pixel over.
 * @param {Bitmap} mask
 */
export function invert(mask) {
  for (let i = 0; i < mask.data.length; i++) mask.data[i] ^= 1;
}
