// The mask on the model's own grids: small arrays, and where their cells lie.

/** @typedef {import("../mask/rect.js").Rect} Rect */
/**
 * @typedef {object} Grid
 * @property {string} name what reads it
 * @property {number} level pixels of the fitted picture per cell
 * @property {number} rows
 * @property {number} columns
 * @property {Uint8Array} values 0 to 255, row by row
 */
/**
 * @typedef {object} GridsMessage as Python sends it; the buffers come beside it
 * @property {[number, number, number, number]} crop top, left, height, width in the fitted picture
 * @property {{name: string, level: number, shape: [number, number]}[]} grids
 */

/**
 * @param {GridsMessage} message
 * @param {DataView[]} buffers one a grid
 * @returns {Grid[]}
 */
export function readGrids(message, buffers) {
  return message.grids.map(({ name, level, shape: [rows, columns] }, i) => {
    const { buffer, byteOffset, byteLength } = buffers[i];
    if (byteLength !== rows * columns) {
      throw new RangeError(`${byteLength} bytes are not a grid of ${rows} x ${columns}`);
    }
    return { name, level, rows, columns, values: new Uint8Array(buffer, byteOffset, byteLength) };
  });
}

/**
 * Where a cell lies in the picture as given, which was scaled and padded to be fitted.
 * @param {{level: number}} grid
 * @param {[number, number, number, number]} crop
 * @param {{width: number, height: number}} picture
 * @param {number} row
 * @param {number} column
 * @returns {Rect} may reach beyond the picture, into the padding
 */
export function cellBox({ level }, [top, left, height, width], picture, row, column) {
  const down = picture.height / height;
  const across = picture.width / width;
  return {
    x0: (column * level - left) * across,
    y0: (row * level - top) * down,
    x1: ((column + 1) * level - left) * across,
    y1: ((row + 1) * level - top) * down,
  };
}

/**
 * How many cells are masked, in words for the status line.
 * @param {Grid} grid
 */
export function describe({ rows, columns, values }) {
  const soft = values.some((v) => v > 0 && v < 255);
  const masked = values.reduce((sum, v) => sum + (v > 0 ? 1 : 0), 0);
  const hint = masked === 0 ? ": the hole has vanished here" : soft ? ", some of them partly" : "";
  return `${columns} × ${rows} cells, ${masked} masked${hint}`;
}

/**
 * How much of the picture is masked, in words.
 * @param {number} share 0 to 1
 */
export function shareText(share) {
  if (share === 0) return "nothing masked yet";
  return `${share < 0.001 ? "under 0.1" : (100 * share).toFixed(1)} % masked`;
}
