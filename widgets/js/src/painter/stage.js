// What the painter draws: picture, mask, grids, the shape being drawn, and the pointer.

import { union } from "../mask/rect.js";
import { context, sheet } from "../ui/canvas.js";
import { h } from "../ui/dom.js";
import { cellBox } from "./grids.js";

/** @typedef {import("../mask/bitmap.js").Bitmap} Bitmap */
/** @typedef {import("./grids.js").Grid} Grid */
/** @typedef {import("../mask/raster.js").Point} Point */
/** @typedef {import("../mask/rect.js").Rect} Rect */
/** @typedef {import("./tools.js").Draft} Draft */
/** @typedef {{color: string, opacity: number}} Looks */
/** @typedef {{at: Point | null, radius: number}} Cursor in pixels of the picture */

const CLOSE = 9; // CSS pixels: near enough to a polygon's first corner to close it

export class Stage {
  /**
   * @param {ImageBitmap} picture
   * @param {Bitmap} mask
   * @param {import("../ui/viewport.js").Viewport} view
   * @param {() => Looks} looks
   */
  constructor(picture, mask, view, looks) {
    this.picture = picture;
    this.mask = mask;
    this.view = view;
    this.looks = looks;
    this.tint = sheet(mask.width, mask.height);
    this.below = h("canvas", { "aria-hidden": "true" });
    this.above = h("canvas", { "aria-hidden": "true" });
    /** @type {Rect | null} of the tint, to be drawn anew */
    this.stale = { x0: 0, y0: 0, x1: mask.width, y1: mask.height };
    /** @type {Grid | null} */
    this.grid = null;
    /** @type {[number, number, number, number]} */
    this.crop = [0, 0, mask.height, mask.width];
    /** @type {Draft | null} */
    this.draft = null;
    /** @type {Cursor} */
    this.cursor = { at: null, radius: 0 };
    this.frame = 0;
    this.whole = true; // the canvas below is to be drawn too
  }

  /** @param {Rect} [rect] where the mask changed; everything if left out */
  refresh(rect = { x0: 0, y0: 0, x1: this.mask.width, y1: this.mask.height }) {
    this.stale = union(this.stale, rect);
    this.redraw();
  }

  /** Draws everything in the next frame. */
  redraw() {
    this.whole = true;
    this.hover();
  }

  /** Draws what lies above the picture in the next frame. */
  hover() {
    this.frame ||= requestAnimationFrame(() => this.#draw());
  }

  close() {
    cancelAnimationFrame(this.frame);
    this.frame = -1; // no more frames
    this.picture.close();
  }

  /**
   * Sets a canvas to the screen's own pixels and its context to CSS pixels.
   * @param {HTMLCanvasElement} canvas
   */
  #begin(canvas) {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(this.view.screen.width * ratio);
    const height = Math.round(this.view.screen.height * ratio);
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const ctx = context(canvas);
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, this.view.screen.width, this.view.screen.height);
    return ctx;
  }

  #draw() {
    this.frame = 0;
    if (this.stale) this.#stain(this.stale);
    this.stale = null;
    if (this.whole) this.#drawPicture(this.#begin(this.below));
    this.whole = false;
    const ctx = this.#begin(this.above);
    if (this.draft) this.#drawDraft(ctx, this.draft);
    this.#drawCursor(ctx);
  }

  /**
   * Brings a part of the tint up to date with the mask.
   * @param {Rect} rect
   */
  #stain({ x0, y0, x1, y1 }) {
    const image = new ImageData(x1 - x0, y1 - y0);
    const words = new Uint32Array(image.data.buffer);
    const [red, green, blue] = channels(this.looks().color);
    const ink = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
    for (let y = y0, at = 0; y < y1; y++) {
      for (let i = y * this.mask.width + x0; i < y * this.mask.width + x1; i++, at++) {
        if (this.mask.data[i]) words[at] = ink;
      }
    }
    this.tint.context.putImageData(image, x0, y0);
  }

  /** @param {CanvasRenderingContext2D} ctx */
  #drawPicture(ctx) {
    const { view, mask } = this;
    const { opacity } = this.looks();
    /** @type {[number, number, number, number]} */
    const place = [view.x, view.y, mask.width * view.scale, mask.height * view.scale];
    ctx.imageSmoothingEnabled = view.scale * (window.devicePixelRatio || 1) < 2;
    ctx.imageSmoothingQuality = "medium";
    ctx.drawImage(this.picture, ...place);
    ctx.globalAlpha = this.grid ? opacity * 0.35 : opacity;
    ctx.drawImage(this.tint.canvas, ...place);
    ctx.globalAlpha = 1;
    if (this.grid) this.#drawCells(ctx, this.grid, place);
  }

  /**
   * @param {CanvasRenderingContext2D} ctx
   * @param {Grid} grid
   * @param {[number, number, number, number]} place
   */
  #drawCells(ctx, grid, place) {
    ctx.save();
    ctx.beginPath();
    ctx.rect(...place);
    ctx.clip();
    ctx.fillStyle = this.looks().color;
    const lines = new Path2D();
    for (let row = 0; row < grid.rows; row++) {
      for (let column = 0; column < grid.columns; column++) {
        const box = cellBox(grid, this.crop, this.mask, row, column);
        const { x, y } = this.view.toScreen({ x: box.x0, y: box.y0 });
        const width = (box.x1 - box.x0) * this.view.scale;
        const height = (box.y1 - box.y0) * this.view.scale;
        const value = grid.values[row * grid.columns + column];
        if (value) {
          ctx.globalAlpha = (0.62 * value) / 255;
          ctx.fillRect(x, y, width, height);
        }
        if (width >= 4) lines.rect(Math.round(x) + 0.5, Math.round(y) + 0.5, width, height);
      }
    }
    ctx.globalAlpha = 1;
    ctx.lineWidth = 1;
    ctx.strokeStyle = "rgb(255 255 255 / 0.35)";
    ctx.stroke(lines);
    ctx.restore();
  }

  /**
   * @param {CanvasRenderingContext2D} ctx
   * @param {Draft} draft
   */
  #drawDraft(ctx, draft) {
    const points = draft.points.map((p) => this.view.toScreen(p));
    const [a, b] = points;
    const path = new Path2D();
    if (draft.kind === "rectangle") path.rect(a.x, a.y, b.x - a.x, b.y - a.y);
    else if (draft.kind === "ellipse") {
      const half = { x: Math.abs(b.x - a.x) / 2, y: Math.abs(b.y - a.y) / 2 };
      path.ellipse((a.x + b.x) / 2, (a.y + b.y) / 2, half.x, half.y, 0, 0, 2 * Math.PI);
    } else {
      for (const { x, y } of points) path.lineTo(x, y);
      if (draft.kind === "lasso") path.closePath();
    }
    ctx.globalAlpha = 0.35;
    ctx.fillStyle = draft.away ? "#fff" : this.looks().color;
    ctx.fill(path, "evenodd");
    ctx.globalAlpha = 1;
    twoTone(ctx, path, [5, 4]);
    if (draft.kind !== "polygon") return;
    points.slice(0, -1).forEach(({ x, y }, i) => {
      const dot = new Path2D();
      dot.arc(x, y, i === 0 ? CLOSE / 2 : 3, 0, 2 * Math.PI);
      ctx.fillStyle = "#fff";
      ctx.fill(dot);
      twoTone(ctx, dot);
    });
  }

  /** @param {CanvasRenderingContext2D} ctx */
  #drawCursor(ctx) {
    if (!this.cursor.at) return;
    const { x, y } = this.view.toScreen(this.cursor.at);
    const radius = this.cursor.radius * this.view.scale;
    const path = new Path2D();
    if (radius >= 3) path.arc(x, y, radius, 0, 2 * Math.PI);
    if (radius < 8) {
      // A cross with an open middle, where a ring alone would be lost.
      for (const [dx, dy] of [
        [1, 0],
        [-1, 0],
        [0, 1],
        [0, -1],
      ]) {
        path.moveTo(x + dx * (radius + 3), y + dy * (radius + 3));
        path.lineTo(x + dx * (radius + 8), y + dy * (radius + 8));
      }
    }
    twoTone(ctx, path);
  }

  /**
   * Whether a point on the screen closes the polygon that is being drawn.
   * @param {Point} at
   */
  closes(at) {
    if (this.draft?.kind !== "polygon" || this.draft.points.length < 4) return false;
    const first = this.view.toScreen(this.draft.points[0]);
    return Math.hypot(first.x - at.x, first.y - at.y) <= CLOSE;
  }
}

/**
 * A line that is seen on any ground.
 * @param {CanvasRenderingContext2D} ctx
 * @param {Path2D} path
 * @param {number[]} [dashes]
 */
function twoTone(ctx, path, dashes = []) {
  ctx.setLineDash([]);
  ctx.lineWidth = 3;
  ctx.strokeStyle = "rgb(0 0 0 / 0.55)";
  ctx.stroke(path);
  ctx.setLineDash(dashes);
  ctx.lineWidth = 1.25;
  ctx.strokeStyle = "#fff";
  ctx.stroke(path);
  ctx.setLineDash([]);
}

/**
 * @param {string} color like #ff2d87
 * @returns {[number, number, number]}
 */
function channels(color) {
  const word = Number.parseInt(color.slice(1), 16);
  return [word >> 16, (word >> 8) & 255, word & 255];
}
