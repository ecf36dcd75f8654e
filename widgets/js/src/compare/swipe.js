// The line between two pictures laid over each other.

import { h } from "../ui/dom.js";

/**
 * @param {HTMLElement} stage within which it is dragged
 * @param {(share: number) => void} moved from 0, all of the second, to 1, all of the first
 */
export function createDivider(stage, moved) {
  const element = h(
    "div",
    {
      class: "hdp-divider",
      role: "slider",
      tabindex: 0,
      "aria-label": "Where the first picture ends",
      "aria-orientation": "horizontal",
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      keydown: /** @type {EventListener} */ (keyed),
    },
    h("i", {}, "⇔"),
  );
  let share = 0.5;
  let dragging = -1;

  /** @param {PointerEvent} event */
  function follow({ clientX }) {
    const box = /** @type {HTMLElement} */ (element.parentElement).getBoundingClientRect();
    moved(Math.min(1, Math.max(0, (clientX - box.left) / (box.width || 1))));
  }
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !element.isConnected) return;
    dragging = event.pointerId;
    stage.setPointerCapture(dragging);
    element.focus({ preventScroll: true });
    event.preventDefault();
    follow(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (event.pointerId === dragging) follow(event);
  });
  for (const name of ["pointerup", "pointercancel"])
    stage.addEventListener(name, () => {
      dragging = -1;
    });

  /** @param {KeyboardEvent} event */
  function keyed(event) {
    const by = event.shiftKey ? 0.1 : 0.01;
    /** @type {Record<string, number>} */
    const places = {
      ArrowLeft: share - by,
      ArrowDown: share - by,
      ArrowRight: share + by,
      ArrowUp: share + by,
      PageDown: share - 0.1,
      PageUp: share + 0.1,
      Home: 0,
      End: 1,
    };
    const to = places[event.key];
    if (to === undefined) return;
    moved(Math.min(1, Math.max(0, to)));
    event.preventDefault();
    event.stopPropagation();
  }

  return {
    element,
    /** @param {number} now */
    update(now) {
      share = now;
      element.style.left = `${100 * now}%`;
      element.setAttribute("aria-valuenow", String(Math.round(100 * now)));
    },
  };
}
