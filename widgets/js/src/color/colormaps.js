// Colour maps: values as colours.

import { TABLES } from "./tables.js";

/** @typedef {[low: number, high: number]} Range */

/** Those to choose from; a difference is always drawn in the diverging one. */
export const COLORMAPS = ["jet", "viridis", "inferno"];
export const DIVERGING = "coolwarm";

/** @type {Map<string, Uint8Array>} */
const decoded = new Map();

/**
 * @param {string} name unknown ones give JET
 * @returns {Uint8Array} red, green, blue of 256 colours
 */
export function tableOf(name) {
  let table = decoded.get(name);
  if (!table) {
    table = Uint8Array.from(atob(TABLES[name] ?? TABLES.jet), (c) => c.charCodeAt(0));
    decoded.set(name, table);
  }
  return table;
}

/**
 * @param {ArrayLike<number>} values what is not finite, or below the range, takes the first colour
 * @param {Range} range one of no width gives the first colour throughout
 * @param {string} colormap
 * @returns {Uint8ClampedArray<ArrayBuffer>} red, green, blue and full opacity of each value
 */
export function colored(values, range, colormap) {
  const table = tableOf(colormap);
  const colors = new Uint32Array(256); // a pixel at a time, as a big map has many
  const bytes = new Uint8Array(colors.buffer);
  for (let i = 0; i < 256; i++) bytes.set([...table.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  const pixels = new Uint8ClampedArray(4 * values.length);
  const whole = new Uint32Array(pixels.buffer);
  const [low, high] = range;
  const scale = high > low ? 255 / (high - low) : 0;
  for (let i = 0; i < values.length; i++) {
    const at = Math.round((values[i] - low) * scale);
    whole[i] = colors[at > 0 ? Math.min(255, at) : 0];
  }
  return pixels;
}

/**
 * A css gradient through a colour map.
 * @param {string} colormap
 * @param {string} [direction]
 */
export function cssGradient(colormap, direction = "to right") {
  const table = tableOf(colormap);
  const stops = [];
  for (let i = 0; i <= 255; i += 5) stops.push(`rgb(${table.slice(3 * i, 3 * i + 3).join(" ")})`);
  return `linear-gradient(${direction}, ${stops.join(", ")})`;
}
