// One picture of a lens: its name, the colour under the pointer, and the part that is shown.

import { outlinePath } from "../mask/outline.js";
import { maskOfWhite } from "../mask/pngmask.js";
import { context, pixelsOf, sheet, strokeTwice } from "../ui/canvas.js";
import { h } from "../ui/dom.js";

/** @typedef {import("../mask/raster.js").Point} Point */
/** @typedef {import("../ui/viewport.js").Viewport} Viewport */
/**
 * @typedef {object} Scene
 * @property {ImageBitmap | null} picture
 * @property {Viewport} view
 * @property {Path2D | null} outline in the picture's pixels
 * @property {Point | null} mark where the pointer is in another pane, in the picture's pixels
 * @property {boolean} overview whether to show where in the picture this is
 */

const INSET = 84; // CSS pixels: the longer side of the overview

export class LensPane {
  constructor() {
    this.canvas = h("canvas", { role: "img" });
    this.title = h("b");
    this.reading = h("span", { class: "hdp-number hdp-faint" });
    this.swatch = h("i", { class: "hdp-swatch", hidden: true });
    this.element = h(
      "figure",
      { class: "hdp-figure" },
      h("figcaption", {}, this.title, this.swatch, this.reading),
      this.canvas,
    );
  }

  /** @param {string} title @param {string} label for screen readers */
  name(title, label) {
    if (this.title.textContent !== title) this.title.textContent = title;
    if (this.title.title !== title) this.title.title = title;
    if (this.canvas.getAttribute("aria-label") !== label)
      this.canvas.setAttribute("aria-label", label);
  }

  /** @param {string} text @param {string} color as css has it; empty for none */
  read(text, color) {
    if (this.reading.textContent !== text) this.reading.textContent = text;
    this.swatch.hidden = !color;
    this.swatch.style.background = color;
  }

  /** @param {Scene} scene */
  draw({ picture, view, outline, mark, overview }) {
    const ratio = Math.min(3, window.devicePixelRatio || 1);
    const { width, height } = view.screen;
    const [columns, rows] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== columns) this.canvas.width = columns;
    if (this.canvas.height !== rows) this.canvas.height = rows;
    const pen = context(this.canvas);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    if (!picture) return;
    const { scale, x, y } = view;
    // Pixels are shown as they are from two of the screen's own on.
    pen.imageSmoothingEnabled = scale * ratio < 2;
    pen.imageSmoothingQuality = "high";
    pen.drawImage(picture, x, y, view.picture.width * scale, view.picture.height * scale);
    if (outline) {
      pen.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * x, ratio * y);
      strokeTwice(pen, outline, 1 / scale);
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    if (mark) drawMark(pen, view.toScreen(mark));
    if (overview && !view.fitted) drawOverview(pen, picture, view);
  }
}

/**
 * Reads single pixels of pictures.
 * @returns {(picture: ImageBitmap, at: Point) => Uint8ClampedArray} red, green, blue, alpha
 */
export function createProbe() {
  const { context: pen } = sheet(1, 1, { willReadFrequently: true });
  return (picture, { x, y }) => {
    pen.drawImage(picture, Math.floor(x), Math.floor(y), 1, 1, 0, 0, 1, 1);
    return pen.getImageData(0, 0, 1, 1).data;
  };
}

/**
 * Outlines of masks; the last one is kept.
 * @returns {(mask: ImageBitmap | null, width: number, height: number) => Path2D | null} in the
 *   pixels of pictures of that size
 */
export function createEdge() {
  /** @type {{of: ImageBitmap, path: Path2D} | null} */
  let kept = null;
  return (mask, width, height) => {
    if (mask && kept?.of !== mask)
      kept = {
        of: mask,
        path: outlinePath(
          maskOfWhite(pixelsOf(mask, mask.width, mask.height)),
          0,
          0,
          width,
          height,
        ),
      };
    return mask && kept ? kept.path : null;
  };
}

/** @param {CanvasRenderingContext2D} pen @param {Point} at */
function drawMark(pen, { x, y }) {
  const path = new Path2D();
  for (const [dx, dy] of [
    [1, 0],
    [-1, 0],
    [0, 1],
    [0, -1],
  ]) {
    path.moveTo(x + 4 * dx, y + 4 * dy);
    path.lineTo(x + 10 * dx, y + 10 * dy);
  }
  strokeTwice(pen, path, 1);
}

/**
 * The whole picture in a corner, and what of it is shown.
 * @param {CanvasRenderingContext2D} pen
 * @param {ImageBitmap} picture
 * @param {Viewport} view
 */
function drawOverview(pen, picture, view) {
  const { width, height } = view.picture;
  const small = Math.min(
    INSET / Math.max(width, height),
    (0.4 * Math.min(view.screen.width, view.screen.height)) / Math.max(width, height),
  );
  const box = { width: width * small, height: height * small };
  const left = Math.round(view.screen.width - box.width - 6);
  const top = Math.round(view.screen.height - box.height - 6);
  pen.fillStyle = "rgba(10, 12, 16, 0.75)";
  pen.fillRect(left - 1, top - 1, box.width + 2, box.height + 2);
  pen.imageSmoothingEnabled = true;
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture, left, top, box.width, box.height);
  const from = view.toPicture({ x: 0, y: 0 });
  const to = view.toPicture({ x: view.screen.width, y: view.screen.height });
  const [x0, x1] = [from.x, to.x].map((x) => Math.min(width, Math.max(0, x)) * small + left);
  const [y0, y1] = [from.y, to.y].map((y) => Math.min(height, Math.max(0, y)) * small + top);
  const path = new Path2D();
  path.rect(x0, y0, Math.max(2, x1 - x0), Math.max(2, y1 - y0));
  strokeTwice(pen, path, 1);
}
