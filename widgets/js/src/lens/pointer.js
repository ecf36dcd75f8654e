// What mouse, pen and fingers do on the panes of a lens, which move together.

import { Gestures, pointIn } from "../ui/gestures.js";

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
  const gestures = new Gestures(view);

  /** @param {LensPane} pane @param {PointerEvent} event */
  function press(pane, event) {
    if (event.button > 1) return;
    event.preventDefault();
    surface.focus({ preventScroll: true });
    // A finger on the whole picture scrolls the page; two of them zoom.
    pane.canvas.setPointerCapture(event.pointerId);
    gestures.press(event, pointIn(pane.canvas, event));
    changed(false);
  }

  /** @param {LensPane} pane @param {PointerEvent} event */
  function move(pane, event) {
    const at = pointIn(pane.canvas, event);
    pointed(view.toPicture(at), pane);
    if (!gestures.down.has(event.pointerId)) return;
    gestures.drag(event, at);
    changed(true);
  }

  /** @param {PointerEvent} event */
  function release(event) {
    if (gestures.release(event)) changed(false);
  }

  /** @param {LensPane} pane @param {WheelEvent} event */
  function wheel(pane, event) {
    const wanted = event.ctrlKey || event.metaKey || document.activeElement === surface;
    if (!wanted) return refused();
    const at = pointIn(pane.canvas, event);
    gestures.wheel(event, at);
    pointed(view.toPicture(at), pane);
    changed(true);
  }

  /** @param {LensPane} pane @param {MouseEvent} event */
  function twice(pane, event) {
    if (view.fitted) view.zoom(Math.max(CLOSER, 1 / view.scale), pointIn(pane.canvas, event));
    else view.fit();
    changed(true);
  }

  return {
    /** Whether the view is being dragged. */
    get dragging() {
      return gestures.down.size > 0;
    },
    /** @param {LensPane} pane */
    listen(pane) {
      const { canvas } = pane;
      canvas.addEventListener("pointerdown", (event) => press(pane, event));
      canvas.addEventListener("pointermove", (event) => move(pane, event));
      canvas.addEventListener("pointerup", release);
      canvas.addEventListener("pointercancel", release);
      canvas.addEventListener("pointerleave", () => !gestures.down.size && pointed(null, null));
      canvas.addEventListener("wheel", (event) => wheel(pane, event), { passive: false });
      canvas.addEventListener("dblclick", (event) => twice(pane, event));
    },
  };
}
