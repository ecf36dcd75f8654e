// One picture with one map over it. Everything is placed in pixels of the padded frame, of which
// the pane shows the picture's part.

import { colored } from "../color/colormaps.js";
import { enlarged } from "../color/resample.js";
import { context, sheet, strokeTwice } from "../ui/canvas.js";
import { h } from "../ui/dom.js";
import { short } from "../ui/format.js";
import { createRedraw } from "../ui/redraw.js";

/** @typedef {import("../mask/raster.js").Point} Point */
/** @typedef {import("../trace/maps.js").Grid} Grid */
/** @typedef {import("../color/colormaps.js").Range} Range */
/** @typedef {{left: number, top: number, width: number, height: number}} Box */
/**
 * @typedef {object} Scene
 * @property {Box} view the part of the frame that is shown
 * @property {Box} frame
 * @property {object | null} step whose picture it is: a sharper one of the same step is faded in
 * @property {{image: ImageBitmap, box: Box} | null} below
 * @property {{grid: Grid, range: Range, colormap: string} | null} heat
 * @property {number} opacity of the heat
 * @property {boolean} crisp cells as they are, not smoothed
 * @property {Path2D | null} mask its outline
 * @property {CanvasImageSource | null} veil laid over the picture's part
 * @property {{cells: Path2D | null, outline: Path2D | null, corners: Point[]}} region the cells
 *   that it takes, what was drawn for it, and the corners of a polygon that is not closed
 * @property {Box | null} cell under the pointer
 */

const FADE = 180; // milliseconds
const FINEST = 384; // pixels on the long side of a smoothed map

export class Pane {
  constructor() {
    this.canvas = h("canvas", { role: "img" });
    this.frame = h("div", { class: "hdp-pane" }, this.canvas);
    this.title = h("b");
    this.numbers = h("span", { class: "hdp-number" });
    this.foot = h("figcaption", { hidden: true }, this.title, this.numbers);
    this.element = h("figure", { class: "hdp-figure" }, this.frame, this.foot);
    /** @type {Scene | null} */
    this.scene = null;
    /** @type {{below: NonNullable<Scene["below"]>, since: number} | null} */
    this.fading = null;
    this.heat = sheet(1, 1);
    this.drawn = { grid: /** @type {Grid | null} */ (null), key: "" };
    this.redraw = createRedraw(() => this.#draw());
    this.observer = new ResizeObserver(() => this.redraw());
    this.observer.observe(this.frame);
  }

  /**
   * @param {string} label for screen readers
   * @param {string} title shown below; empty for none
   */
  name(label, title) {
    if (this.canvas.getAttribute("aria-label") !== label)
      this.canvas.setAttribute("aria-label", label);
    if (this.title.textContent !== title) this.title.textContent = title;
    this.foot.hidden = !title;
  }

  /**
   * The numbers below: between which values the colours run, and the one pointed at.
   * @param {Range | null} range
   * @param {number | null} value
   */
  caption(range, value) {
    const ends = range ? `${short(range[0])} … ${short(range[1])}` : "";
    this.numbers.textContent = value === null ? ends : `${short(value)} in ${ends}`;
  }

  /** @param {Scene} scene */
  show(scene) {
    const { width, height } = scene.view;
    if (this.scene?.view.width !== width || this.scene?.view.height !== height)
      this.element.style.setProperty("--hdp-ratio", String(width / height));
    const [old, next] = [this.scene, scene];
    if (old?.step !== next.step) this.fading = null;
    else if (old?.below && next.below && old.below.image !== next.below.image && moves())
      this.fading = { below: old.below, since: performance.now() };
    this.scene = scene;
    this.redraw();
  }

  close() {
    this.redraw.close();
    this.observer.disconnect();
    this.element.remove();
  }

  /**
   * Where an event happened, in pixels of the frame; it may lie outside.
   * @param {MouseEvent} event
   * @returns {Point}
   */
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const view = this.scene?.view ?? { left: 0, top: 0, width: 1, height: 1 };
    return {
      x: view.left + ((event.clientX - box.left) * view.width) / (box.width || 1),
      y: view.top + ((event.clientY - box.top) * view.height) / (box.height || 1),
    };
  }

  /** Pixels of the frame for one of the screen. */
  get scale() {
    return (this.scene?.view.width ?? 1) / (this.canvas.clientWidth || 1);
  }

  #draw() {
    const { scene, canvas } = this;
    const { clientWidth, clientHeight } = this.frame;
    if (!scene || !clientWidth || !clientHeight) return;
    const dense = Math.min(3, window.devicePixelRatio || 1);
    const [width, height] = [Math.round(clientWidth * dense), Math.round(clientHeight * dense)];
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const pen = context(canvas);
    const { view } = scene;
    const scale = width / view.width;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.setTransform(scale, 0, 0, height / view.height, -view.left * scale, 0);
    pen.translate(0, -view.top);
    pen.imageSmoothingEnabled = true;
    pen.imageSmoothingQuality = "high";
    if (scene.below) this.#drawBelow(pen, scene.below);
    if (scene.heat) this.#drawHeat(pen, scene, scene.heat);
    if (scene.veil) put(pen, scene.veil, view);
    const thin = dense / scale;
    if (scene.cell) {
      const path = new Path2D();
      path.rect(scene.cell.left, scene.cell.top, scene.cell.width, scene.cell.height);
      strokeTwice(pen, path, thin, 0.8);
    }
    if (scene.mask) strokeTwice(pen, scene.mask, thin, 1.2);
    const { cells, outline, corners } = scene.region;
    if (cells) strokeTwice(pen, cells, thin, 1.6);
    if (outline) {
      if (!corners.length) pen.setLineDash([5 * thin, 4 * thin]);
      strokeTwice(pen, outline, thin, 0.9);
      pen.setLineDash([]);
    }
    for (const { x, y } of corners) {
      const dot = new Path2D();
      dot.arc(x, y, 3.5 * thin, 0, 7);
      pen.fillStyle = "#ffffff";
      strokeTwice(pen, dot, thin, 1.2);
      pen.fill(dot);
    }
  }

  /**
   * The picture; over the blurred one of the same step, if it has come just now.
   * @param {CanvasRenderingContext2D} pen
   * @param {NonNullable<Scene["below"]>} below
   */
  #drawBelow(pen, below) {
    const share = this.fading ? (performance.now() - this.fading.since) / FADE : 1;
    const old = this.fading?.below;
    if (share < 1 && old?.image.width) {
      put(pen, old.image, old.box); // a bitmap that was let go meanwhile has no width
      pen.globalAlpha = share;
      this.redraw();
    } else this.fading = null;
    put(pen, below.image, below.box);
    pen.globalAlpha = 1;
  }

  /**
   * @param {CanvasRenderingContext2D} pen
   * @param {Scene} scene
   * @param {NonNullable<Scene["heat"]>} heat
   */
  #drawHeat(pen, scene, { grid, range, colormap }) {
    const key = `${range} ${colormap} ${scene.crisp}`;
    if (this.drawn.grid !== grid || this.drawn.key !== key) {
      const factor = FINEST / Math.max(grid.width, grid.height);
      const large =
        scene.crisp || factor <= 1
          ? grid
          : enlarged(grid, Math.round(grid.width * factor), Math.round(grid.height * factor));
      this.heat.canvas.width = large.width;
      this.heat.canvas.height = large.height;
      const pixels = new ImageData(
        colored(large.values, range, colormap),
        large.width,
        large.height,
      );
      this.heat.context.putImageData(pixels, 0, 0);
      this.drawn = { grid, key };
    }
    pen.globalAlpha = scene.opacity;
    pen.imageSmoothingEnabled = !scene.crisp;
    put(pen, this.heat.canvas, scene.frame);
    pen.globalAlpha = 1;
  }
}

/** Whether the reader wants things to move. */
function moves() {
  return !matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {CanvasImageSource} image
 * @param {Box} box
 */
function put(pen, image, { left, top, width, height }) {
  pen.drawImage(image, left, top, width, height);
}
