// Canvases: made in memory, read as pixels, and lines on them that show on every ground.

import { h } from "./dom.js";

/**
 * A canvas in memory and its context.
 * @param {number} width
 * @param {number} height
 * @param {CanvasRenderingContext2DSettings} [settings]
 */
export function sheet(width, height, settings) {
  const canvas = h("canvas", { width, height });
  return { canvas, context: context(canvas, settings) };
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {CanvasRenderingContext2DSettings} [settings]
 */
export function context(canvas, settings) {
  const found = canvas.getContext("2d", settings);
  if (!found) throw new Error("This browser draws no canvas");
  return found;
}

/**
 * A picture's pixels at a size: red, green, blue and opacity.
 * @param {ImageBitmap} picture
 * @param {number} width
 * @param {number} height
 */
export function pixelsOf(picture, width, height) {
  const { context } = sheet(width, height, { willReadFrequently: true });
  context.drawImage(picture, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/**
 * A light line in a dark one, which shows on every ground.
 * @param {CanvasRenderingContext2D} pen
 * @param {Path2D} path
 * @param {number} unit one pixel of the screen
 * @param {number} [width] of the light line
 */
export function strokeTwice(pen, path, unit, width = 1.2) {
  pen.lineJoin = "round";
  pen.lineCap = "butt";
  pen.strokeStyle = "rgba(10, 12, 16, 0.75)";
  pen.lineWidth = (width + 1.6) * unit;
  pen.stroke(path);
  pen.strokeStyle = "#ffffff";
  pen.lineWidth = width * unit;
  pen.stroke(path);
}
