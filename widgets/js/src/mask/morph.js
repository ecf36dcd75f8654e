// Grow and shrink by steps to the four neighbours, as `hdpainter_nb.method.masks.dilate` does.

/** @typedef {import("./bitmap.js").Bitmap} Bitmap */

/**
 * Masks every pixel within `steps` steps of a masked one, or unmasks likewise.
 * The world outside the picture is neither: a mask does not shrink away from the border.
 * @param {Bitmap} mask
 * @param {number} steps 0 or more
 * @param {0 | 1} value 1 grows, 0 shrinks
 */
export function spread(mask, steps, value) {
  const { width, height, data } = mask;
  const far = steps + 1;
  const wide = far > 255 ? new Uint16Array(data.length) : new Uint8Array(data.length);
  // Distances in steps, in two sweeps: from the left and above, then from the right and below.
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      let near = data[i] === value ? 0 : far;
      if (near && x > 0) near = Math.min(near, wide[i - 1] + 1);
      if (near && y > 0) near = Math.min(near, wide[i - width] + 1);
      wide[i] = near;
    }
  }
  for (let y = height - 1, i = data.length - 1; y >= 0; y--) {
    for (let x = width - 1; x >= 0; x--, i--) {
      let near = wide[i];
      if (near && x < width - 1) near = Math.min(near, wide[i + 1] + 1);
      if (near && y < height - 1) near = Math.min(near, wide[i + width] + 1);
      wide[i] = near;
      if (near <= steps) data[i] = value;
    }
  }
}
