// A sign on the page that nothing arrives in Python any more.

import { h } from "../ui/dom.js";

/** @typedef {import("../trace/state.js").Model} Model */

const LOST =
  "Not connected: the kernel behind this was restarted or has ended, and what is done here no longer arrives there. Run the cell again.";

/**
 * Shows the sign while a view's link with the kernel is cut, above what the view shows.
 * @param {Model} model
 * @param {HTMLElement} el the view's
 * @returns {() => void} ends it
 */
export function watchConnection(model, el) {
  const sign = h("p", { class: "hdp-lost", role: "alert" }, LOST);

  function look() {
    // The page marks the view, by this name in every version, and then tells of it.
    if (el.closest(".jupyter-widgets-disconnected")) el.prepend(sign);
    else sign.remove();
  }

  const told = () => queueMicrotask(look);
  model.on("comm_live_update", told);
  const placed = requestAnimationFrame(look); // a view may be made of a widget that is lost already
  return () => {
    cancelAnimationFrame(placed);
    model.off("comm_live_update", told);
    sign.remove();
  };
}
