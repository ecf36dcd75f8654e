// Gestures that move a viewport: a pointer that drags, two fingers that pinch, a wheel that zooms.

import { ZOOM } from "./viewport.js";

/** @typedef {import("./viewport.js").Point} Point */

/**
 * Where an event happened, in CSS pixels from an element's corner.
 * @param {Element} element
 * @param {MouseEvent} event
 * @returns {Point}
 */
export function pointIn(element, event) {
  const box = element.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

export class Gestures {
  /** @param {import("./viewport.js").Viewport} view */
  constructor(view) {
    this.view = view;
    /** @type {Map<number, Point>} pointers that are down, and where they are on the screen */
    this.down = new Map();
  }

  /** @param {PointerEvent} event @param {Point} at on the screen, as everywhere here */
  press({ pointerId }, at) {
    this.down.set(pointerId, at);
  }

  /**
   * A pointer that is down went on: alone it drags the picture, with another one it pinches.
   * @param {PointerEvent} event
   * @param {Point} at
   */
  drag({ pointerId }, at) {
    const before = this.down.get(pointerId);
    if (!before) return;
    const other = [...this.down].find(([id]) => id !== pointerId)?.[1];
    if (other) this.#pinch(other, before, at);
    else this.view.pan(at.x - before.x, at.y - before.y);
    this.down.set(pointerId, at);
  }

  /**
   * Two fingers: one rests at `fixed`, the other goes from `before` to `at`.
   * @param {Point} fixed
   * @param {Point} before
   * @param {Point} at
   */
  #pinch(fixed, before, at) {
    this.view.pan((at.x - before.x) / 2, (at.y - before.y) / 2);
    const last = Math.hypot(before.x - fixed.x, before.y - fixed.y);
    const now = Math.hypot(at.x - fixed.x, at.y - fixed.y);
    const middle = { x: (at.x + fixed.x) / 2, y: (at.y + fixed.y) / 2 };
    if (last > 0 && now > 0) this.view.zoom(now / last, middle);
  }

  /** @param {PointerEvent} event @returns {boolean} whether that pointer was down */
  release({ pointerId }) {
    return this.down.delete(pointerId);
  }

  /**
   * A wheel that this view takes for itself.
   * @param {WheelEvent} event
   * @param {Point} at what lies there stays there
   */
  wheel(event, at) {
    event.preventDefault();
    event.stopPropagation();
    const lines = event.deltaMode === 0 ? event.deltaY / 100 : event.deltaY / 3;
    this.view.zoom(ZOOM ** -Math.max(-3, Math.min(3, lines * 2)), at);
  }
}
