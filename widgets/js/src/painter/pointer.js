// Mouse, finger and pen: which of them draw, which of them move the picture.

import { ZOOM } from "../ui/viewport.js";

/** @typedef {import("../mask/raster.js").Point} Point */
/**
 * @typedef {object} Parts
 * @property {HTMLElement} surface takes the events
 * @property {import("./stage.js").Stage} stage
 * @property {import("./tools.js").Hand} hand
 * @property {import("../ui/viewport.js").Viewport} view
 * @property {() => void} changed is called after anything on display changed
 */

const ERASER = 5; // the button at the end of a pen

/** @param {Parts} parts */
export function listen({ surface, stage, hand, view, changed }) {
  /** Pointers that are down, where they are on the screen. @type {Map<number, Point>} */
  const down = new Map();
  /** @type {"draw" | "move" | null} */
  let doing = null;
  const state = { space: false, keyed: false }; // space is held; arrow keys moved the pointer

  /**
   * @param {MouseEvent} event
   * @returns {Point}
   */
  const place = (event) => {
    const box = surface.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };

  /** @param {MouseEvent} event */
  const held = (event) => ({
    shift: event.shiftKey,
    away: event.altKey || (event.buttons & 34) > 0,
  });

  /** @param {PointerEvent} event */
  function press(event) {
    if (event.button !== 0 && event.button !== 1 && event.button !== 2 && event.button !== ERASER)
      return;
    event.preventDefault();
    surface.focus({ preventScroll: true });
    surface.setPointerCapture(event.pointerId);
    const at = place(event);
    down.set(event.pointerId, at);
    if (down.size > 1) {
      if (doing === "draw") hand.tool === "polygon" ? hand.removePoint() : hand.cancel();
      doing = "move";
    } else if (event.button === 1 || state.space) {
      doing = "move";
    } else {
      doing = "draw";
      if (stage.closes(at)) hand.confirm();
      else hand.press(view.toPicture(at), held(event));
    }
    show(event);
  }

  /** @param {PointerEvent} event */
  function move(event) {
    state.keyed = false;
    const at = place(event);
    const before = down.get(event.pointerId);
    if (before && doing === "move") {
      const others = [...down].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
      if (others.length) pinch(others[0], before, at);
      else view.pan(at.x - before.x, at.y - before.y);
      stage.redraw();
    } else if (before && doing === "draw" && hand.tool !== "polygon") {
      const merged = event.getCoalescedEvents?.() ?? [];
      for (const one of merged.length ? merged : [event]) {
        hand.move(view.toPicture(place(one)), held(one));
      }
    } else if (!doing) {
      hand.move(view.toPicture(at), held(event));
    }
    if (before) down.set(event.pointerId, at);
    show(event);
  }

  /**
   * Two fingers: one rests at `fixed`, the other goes from `before` to `at`.
   * @param {Point} fixed
   * @param {Point} before
   * @param {Point} at
   */
  function pinch(fixed, before, at) {
    view.pan((at.x - before.x) / 2, (at.y - before.y) / 2);
    const last = Math.hypot(before.x - fixed.x, before.y - fixed.y);
    const now = Math.hypot(at.x - fixed.x, at.y - fixed.y);
    const middle = { x: (at.x + fixed.x) / 2, y: (at.y + fixed.y) / 2 };
    if (last > 0 && now > 0) view.zoom(now / last, middle);
  }

  /** @param {PointerEvent} event */
  function release(event) {
    if (!down.delete(event.pointerId) || down.size) return;
    if (doing === "draw") {
      if (event.type === "pointercancel") hand.cancel();
      else hand.release();
    }
    doing = null;
    show(event);
  }

  /** @param {PointerEvent} event */
  function show(event) {
    const touches = event.pointerType === "touch" && !down.size;
    stage.cursor.at =
      touches || event.type === "pointerleave" ? null : view.toPicture(place(event));
    stage.draft = hand.draft;
    surface.style.cursor = doing === "move" ? "grabbing" : state.space ? "grab" : "none";
    stage.hover();
    changed();
  }

  /** @param {PointerEvent} event */
  function leave(event) {
    if (!doing) show(event);
  }

  /** @param {WheelEvent} event */
  function wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    const lines = event.deltaMode === 0 ? event.deltaY / 100 : event.deltaY / 3;
    view.zoom(ZOOM ** -Math.max(-3, Math.min(3, lines * 2)), place(event));
    stage.redraw();
    changed();
  }

  function close() {
    hand.confirm();
    stage.draft = hand.draft;
    stage.hover();
    changed();
  }

  /** @param {Event} event */
  function menu(event) {
    event.preventDefault();
    event.stopPropagation();
  }

  surface.addEventListener("pointerdown", press);
  surface.addEventListener("pointermove", move);
  surface.addEventListener("pointerup", release);
  surface.addEventListener("pointercancel", release);
  surface.addEventListener("pointerleave", leave);
  surface.addEventListener("wheel", wheel, { passive: false });
  surface.addEventListener("dblclick", close);
  surface.addEventListener("contextmenu", menu);
  return state;
}
