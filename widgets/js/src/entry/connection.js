// A sign on the page that nothing arrives in Python any more.

import { h } from "../ui/dom.js";

/** @typedef {import("../trace/state.js").Model} Model */

const LOST =
  "Not connected: the kernel behind this was restarted or is gone, so what is done here arrives nowhere. Run the cell again.";

/**
 * Shows the sign while a view's link with the kernel is cut, above what the view shows.
 * @param {Model} model
 * @param {HTMLElement} el the view's
 * @param {() => HTMLElement | null} [find] where the sign is put, above all else
 * @returns {() => void} ends it
 */
export function watchConnection(model, el, find = () => el) {
  const sign = h("p", { class: "hdp-lost", role: "alert" }, LOST);

  function look() {
    // anywidget shows nothing of the link but its change; the layout's model is cut off with it.
    const cut = model.get("layout")?.comm_live === false;
    if (cut || el.closest(".jupyter-widgets-disconnected")) (find() ?? el).prepend(sign);
    else sign.remove();
  }

  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let planned;
  function plan() {
    clearTimeout(planned);
    planned = setTimeout(look); // once all models are told
  }
  model.on("comm_live_update", plan);
  plan(); // a view may be made of a widget that is cut off already
  return () => {
    clearTimeout(planned);
    model.off("comm_live_update", plan);
    sign.remove();
  };
}
