// A mask with its history: everything that changes pixels goes through here.

import { createBitmap, invert } from "../mask/bitmap.js";
import { floodFill } from "../mask/flood.js";
import { History } from "../mask/history.js";
import { spread } from "../mask/morph.js";
import { fillPolygon } from "../mask/polygon.js";
import { fillCapsule, fillEllipse, fillRectangle } from "../mask/raster.js";
import { union } from "../mask/rect.js";

/** @typedef {import("../mask/flood.js").Pixels} Pixels */
/** @typedef {import("../mask/raster.js").Point} Point */
/** @typedef {import("../mask/rect.js").Rect} Rect */

export class Editor {
  /**
   * @param {number} width of the picture in pixels
   * @param {number} height
   */
  constructor(width, height) {
    this.mask = createBitmap(width, height);
    this.history = new History(this.mask);
    /** @type {Rect | null} drawn since the last step */
    this.pending = null;
    /** Is told of every change of pixels. @type {(rect: Rect) => void} */
    this.onDraw = () => {};
    /** Is told when a step is complete, made or taken back. */
    this.onStep = () => {};
  }

  get all() {
    return { x0: 0, y0: 0, x1: this.mask.width, y1: this.mask.height };
  }

  /** @param {Rect | null} rect */
  #drawn(rect) {
    if (!rect) return;
    this.pending = union(this.pending, rect);
    this.onDraw(rect);
  }

  /** Ends a step of the history. */
  commit() {
    const changed = this.history.commit(this.pending);
    this.pending = null;
    if (changed) this.onStep();
    return changed;
  }

  /** Takes back what was drawn since the last step. */
  cancel() {
    const rect = this.pending;
    this.pending = null;
    if (!rect) return;
    this.history.revert(rect);
    this.onDraw(rect);
  }

  undo() {
    this.#turned(this.history.undo());
  }

  redo() {
    this.#turned(this.history.redo());
  }

  /** @param {Rect | null} rect */
  #turned(rect) {
    if (!rect) return;
    this.onDraw(rect);
    this.onStep();
  }

  /**
   * One segment of a stroke; brushes thinner than two pixels keep to pixel centres.
   * @param {Point} from
   * @param {Point} to
   * @param {number} size diameter in pixels
   * @param {0 | 1} value
   */
  stroke(from, to, size, value) {
    /** @param {Point} p */
    const snap = (p) =>
      size < 2 ? { x: Math.floor(p.x) + 0.5, y: Math.floor(p.y) + 0.5 } : { x: p.x, y: p.y };
    this.#drawn(fillCapsule(this.mask, snap(from), snap(to), Math.max(1, size) / 2, value));
  }

  /**
   * @param {Point} a
   * @param {Point} b
   * @param {0 | 1} value
   */
  rectangle(a, b, value) {
    this.#drawn(fillRectangle(this.mask, a, b, value));
  }

  /**
   * @param {Point} a
   * @param {Point} b
   * @param {0 | 1} value
   */
  ellipse(a, b, value) {
    this.#drawn(fillEllipse(this.mask, a, b, value));
  }

  /**
   * @param {Point[]} points
   * @param {0 | 1} value
   */
  polygon(points, value) {
    this.#drawn(fillPolygon(this.mask, points, value));
  }

  /**
   * @param {Pixels} picture
   * @param {Point} at
   * @param {number} tolerance
   * @param {0 | 1} value
   */
  flood(picture, at, tolerance, value) {
    const [x, y] = [Math.floor(at.x), Math.floor(at.y)];
    this.#drawn(floodFill(this.mask, picture, x, y, tolerance, value));
  }

  /** @param {number} steps negative shrinks */
  grow(steps) {
    spread(this.mask, Math.abs(steps), steps < 0 ? 0 : 1);
    this.#drawn(this.all);
    this.commit();
  }

  invert() {
    invert(this.mask);
    this.#drawn(this.all);
    this.commit();
  }

  clear() {
    this.mask.data.fill(0);
    this.#drawn(this.all);
    this.commit();
  }

  /**
   * Replaces the whole mask, as one step that can be undone.
   * @param {Uint8Array} pixels 0 or 1
   * @param {boolean} [quiet] true where nobody is to be told that a step was made
   */
  replace(pixels, quiet = false) {
    this.mask.data.set(pixels);
    this.#drawn(this.all);
    if (!quiet) return this.commit();
    const changed = this.history.commit(this.pending);
    this.pending = null;
    return changed;
  }

  /**
   * Begins with this mask and no history.
   * @param {Uint8Array} pixels 0 or 1
   */
  start(pixels) {
    this.mask.data.set(pixels);
    this.history = new History(this.mask, this.history.limit);
    this.pending = null;
    this.onDraw(this.all);
  }
}
