// Mouse, wheel, pen and fingers on panes that move together.

import { ZOOM } from "../ui/viewport.js";

/** @typedef {import("../mask/raster.js").Point} Point */
/** @typedef {import("../ui/viewport.js").Viewport} Viewport */
/** @typedef {import("./pane.js").LensPane} LensPane */

const CLOSER = 4; // times, on a double click

/**
 * @param {object} parts
 * @param {HTMLElement} parts.surface has the keyboard's focus; its panes lie in it
 * @param {Viewport} parts.view
 * @param {(moved: boolean) => void} parts.changed is called after the view has moved, or not yet
 * @param {(at: Point | null, pane: LensPane | null) => void} parts.pointed in the picture's pixels
 * @param {() => void} parts.refused is called when the wheel turns and the lens is not to take it
 */
export function createPointing({ surface, view, changed, pointed, refused }) {
  /** Pointers that are down, where they are in their pane. @type {Map<number, Point>} */
  const down = new Map();

  /** @param {LensPane} pane @param {MouseEvent} event */
  function at(pane, event) {
    const box = pane.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  /** @param {LensPane} pane @param {PointerEvent} event */
  function press(pane, event) {
    if (event.button > 1) return;
    event.preventDefault();
    surface.focus({ preventScroll: true });
    // A finger on the whole picture scrolls the page; two of them zoom.
    pane.canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, at(pane, event));
    changed(false);
  }

  /** @param {LensPane} pane @param {PointerEvent} event */
  function move(pane, event) {
    const now = at(pane, event);
    const before = down.get(event.pointerId);
    pointed(view.toPicture(now), pane);
    if (!before) return;
    const other = [...down].find(([id]) => id !== event.pointerId)?.[1];
    if (other) pinch(other, before, now);
    else view.pan(now.x - before.x, now.y - before.y);
    down.set(event.pointerId, now);
    changed(true);
  }

  /**
   * Two fingers: one rests at `fixed`, the other goes from `before` to `now`.
   * @param {Point} fixed
   * @param {Point} before
   * @param {Point} now
   */
  function pinch(fixed, before, now) {
    view.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
    const last = Math.hypot(before.x - fixed.x, before.y - fixed.y);
    const next = Math.hypot(now.x - fixed.x, now.y - fixed.y);
    const middle = { x: (now.x + fixed.x) / 2, y: (now.y + fixed.y) / 2 };
    if (last > 0 && next > 0) view.zoom(next / last, middle);
  }

  /** @param {PointerEvent} event */
  function release(event) {
    if (down.delete(event.pointerId)) changed(false);
  }

  /** @param {LensPane} pane @param {WheelEvent} event */
  function wheel(pane, event) {
    const wanted = event.ctrlKey || event.metaKey || document.activeElement === surface;
    if (!wanted) return refused();
    event.preventDefault();
    event.stopPropagation();
    const lines = event.deltaMode === 0 ? event.deltaY / 100 : event.deltaY / 3;
    view.zoom(ZOOM ** -Math.max(-3, Math.min(3, lines * 2)), at(pane, event));
    pointed(view.toPicture(at(pane, event)), pane);
    changed(true);
  }

  /** @param {LensPane} pane @param {MouseEvent} event */
  function twice(pane, event) {
    if (view.fitted) view.zoom(Math.max(CLOSER, 1 / view.scale), at(pane, event));
    else view.fit();
    changed(true);
  }

  return {
    /** Whether the view is being dragged. */
    get dragging() {
      return down.size > 0;
    },
    /** @param {LensPane} pane */
    listen(pane) {
      const { canvas } = pane;
      canvas.addEventListener("pointerdown", (event) => press(pane, event));
      canvas.addEventListener("pointermove", (event) => move(pane, event));
      canvas.addEventListener("pointerup", release);
      canvas.addEventListener("pointercancel", release);
      canvas.addEventListener("pointerleave", () => !down.size && pointed(null, null));
      canvas.addEventListener("wheel", (event) => wheel(pane, event), { passive: false });
      canvas.addEventListener("dblclick", (event) => twice(pane, event));
    },
  };
}
