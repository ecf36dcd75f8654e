// What mouse, fingers and pen do on the painter: which draw, which move the picture.

import { Gestures, pointIn } from "../ui/gestures.js";

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
  const gestures = new Gestures(view);
  const { down } = gestures;
  /** @type {"draw" | "move" | null} */
  let doing = null;
  const state = { space: false, keyed: false }; // space is held; arrow keys moved the pointer

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
    const at = pointIn(surface, event);
    gestures.press(event, at);
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
    const at = pointIn(surface, event);
    const pressed = down.has(event.pointerId);
    if (pressed && doing === "move") {
      gestures.drag(event, at);
      stage.redraw();
    } else if (pressed && doing === "draw" && hand.tool !== "polygon") {
      const merged = event.getCoalescedEvents?.() ?? [];
      for (const one of merged.length ? merged : [event]) {
        hand.move(view.toPicture(pointIn(surface, one)), held(one));
      }
    } else if (!doing) {
      hand.move(view.toPicture(at), held(event));
    }
    if (pressed) gestures.press(event, at);
    show(event);
  }

  /** @param {PointerEvent} event */
  function release(event) {
    if (!gestures.release(event) || down.size) return;
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
      touches || event.type === "pointerleave" ? null : view.toPicture(pointIn(surface, event));
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
    gestures.wheel(event, pointIn(surface, event));
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
