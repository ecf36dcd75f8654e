// Bicubic enlargement of a small map, clipped to the map's own range.

/** @typedef {{width: number, height: number, values: Float32Array}} Grid numbers, row by row */

const SHARPNESS = -0.75; // of the cubic kernel; what OpenCV's resize uses

/**
 * @param {number} distance in cells
 */
function kernel(distance) {
  const t = Math.abs(distance);
  if (t <= 1) return ((SHARPNESS + 2) * t - (SHARPNESS + 3)) * t * t + 1;
  if (t < 2) return ((t - 5) * t + 8) * t * SHARPNESS - 4 * SHARPNESS;
  return 0;
}

/**
 * For each of `to` places the four cells that it is mixed from, and their weights.
 * @param {number} from
 * @param {number} to
 */
function taps(from, to) {
  const cells = new Int32Array(4 * to);
  const weights = new Float32Array(4 * to);
  for (let i = 0; i < to; i++) {
    const at = ((i + 0.5) * from) / to - 0.5;
    const first = Math.floor(at) - 1;
    for (let n = 0; n < 4; n++) {
      cells[4 * i + n] = Math.min(from - 1, Math.max(0, first + n)); // edges go on
      weights[4 * i + n] = kernel(at - first - n);
    }
  }
  return { cells, weights };
}

/**
 * @param {Grid} grid
 * @param {number} width at least the grid's
 * @param {number} height
 * @returns {Grid}
 */
export function enlarged(grid, width, height) {
  const across = taps(grid.width, width);
  const down = taps(grid.height, height);
  const rows = new Float32Array(width * grid.height);
  for (let y = 0; y < grid.height; y++) {
    const start = y * grid.width;
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let n = 4 * x; n < 4 * x + 4; n++)
        sum += across.weights[n] * grid.values[start + across.cells[n]];
      rows[y * width + x] = sum;
    }
  }
  let [low, high] = [Infinity, -Infinity];
  for (const value of grid.values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const values = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    const [a, b, c, d] = down.cells.subarray(4 * y, 4 * y + 4);
    const [p, q, r, s] = down.weights.subarray(4 * y, 4 * y + 4);
    for (let x = 0; x < width; x++) {
      const sum =
        p * rows[a * width + x] +
        q * rows[b * width + x] +
        r * rows[c * width + x] +
        s * rows[d * width + x];
      values[y * width + x] = Math.min(high, Math.max(low, sum));
    }
  }
  return { width, height, values };
}
