// Undo and redo. A step keeps, for each tile that changed, which of its pixels turned over: the
// same bits undo and redo it. A tile that turned over completely keeps nothing but its number.

import { packBits, unpackBits } from "./packing.js";
import { union } from "./rect.js";

/** @typedef {import("./bitmap.js").Bitmap} Bitmap */
/** @typedef {import("./rect.js").Rect} Rect */
/** @typedef {{tiles: number[], flips: (Uint8Array | null)[]}} Step */

export const TILE = 64;

export class History {
  /**
   * @param {Bitmap} mask watched from now on
   * @param {number} [limit] steps kept
   */
  constructor(mask, limit = 60) {
    this.mask = mask;
    this.limit = limit;
    this.base = mask.data.slice(); // the mask as of the last step
    this.columns = Math.ceil(mask.width / TILE);
    /** @type {Step[]} */
    this.past = [];
    /** @type {Step[]} */
    this.future = [];
  }

  /**
   * Makes what changed within `rect` since the last step a step of its own.
   * @param {Rect | null} rect
   * @returns {boolean} whether anything changed
   */
  commit(rect) {
    /** @type {Step} */
    const step = { tiles: [], flips: [] };
    if (rect) {
      for (let row = Math.floor(rect.y0 / TILE); row * TILE < rect.y1; row++) {
        for (let column = Math.floor(rect.x0 / TILE); column * TILE < rect.x1; column++) {
          this.#compare(row * this.columns + column, step);
        }
      }
    }
    if (step.tiles.length === 0) return false;
    this.past.push(step);
    if (this.past.length > this.limit) this.past.shift();
    this.future = [];
    return true;
  }

  /**
   * Takes back what changed within `rect` since the last step.
   * @param {Rect} rect
   */
  revert(rect) {
    const { width, data } = this.mask;
    for (let y = rect.y0; y < rect.y1; y++) {
      const from = y * width + rect.x0;
      data.set(this.base.subarray(from, y * width + rect.x1), from);
    }
  }

  /** @returns {Rect | null} where pixels changed, null if there is nothing to undo */
  undo() {
    const step = this.past.pop();
    if (!step) return null;
    this.future.push(step);
    return this.#turn(step);
  }

  /** @returns {Rect | null} where pixels changed, null if there is nothing to redo */
  redo() {
    const step = this.future.pop();
    if (!step) return null;
    this.past.push(step);
    return this.#turn(step);
  }

  /** Bytes that the steps hold, give or take the arrays' own. */
  get bytes() {
    let sum = 0;
    for (const step of [...this.past, ...this.future]) {
      for (const flip of step.flips) sum += 4 + (flip?.length ?? 0);
    }
    return sum;
  }

  /**
   * @param {number} tile
   * @returns {Rect}
   */
  #place(tile) {
    const x0 = (tile % this.columns) * TILE;
    const y0 = Math.floor(tile / this.columns) * TILE;
    const { width, height } = this.mask;
    return { x0, y0, x1: Math.min(width, x0 + TILE), y1: Math.min(height, y0 + TILE) };
  }

  /**
   * @param {number} tile
   * @param {Step} step is added to
   */
  #compare(tile, step) {
    const { x0, y0, x1, y1 } = this.#place(tile);
    const { width, data } = this.mask;
    const flips = new Uint8Array((x1 - x0) * (y1 - y0));
    let turned = 0;
    for (let y = y0, at = 0; y < y1; y++) {
      for (let i = y * width + x0; i < y * width + x1; i++, at++) {
        flips[at] = data[i] ^ this.base[i];
        turned += flips[at];
        this.base[i] = data[i];
      }
    }
    if (turned === 0) return;
    step.tiles.push(tile);
    step.flips.push(turned === flips.length ? null : packBits(flips));
  }

  /**
   * @param {Step} step
   * @returns {Rect | null}
   */
  #turn(step) {
    /** @type {Rect | null} */
    let changed = null;
    step.tiles.forEach((tile, n) => {
      const place = this.#place(tile);
      const { x0, y0, x1, y1 } = place;
      const { width, data } = this.mask;
      const packed = step.flips[n];
      const flips = packed && unpackBits(packed, (x1 - x0) * (y1 - y0));
      for (let y = y0, at = 0; y < y1; y++) {
        for (let i = y * width + x0; i < y * width + x1; i++, at++) {
          this.base[i] ^= flips ? flips[at] : 1;
          data[i] = this.base[i];
        }
      }
      changed = union(changed, place);
    });
    return changed;
  }
}
