// Cells of a coarse grid that a mask takes: those of which it fills half or more.

/**
 * The cells of which the mask takes half or more; where there are none, those that it touches.
 * @param {import("./bitmap.js").Bitmap} mask of the picture, at any scale
 * @param {number} level pixels per cell
 * @param {object} place where the picture lies
 * @param {[number, number]} place.frame height and width of the padded picture in pixels
 * @param {[number, number, number, number]} place.crop top, left, height and width in the frame
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
