// CompositeRoot: what anywidget loads; gives a whole composite widget what every view has.

import { everyView } from "./every-view.js";

/** @typedef {import("../trace/state.js").Model} Model */

const COMPOSITE = ".hdp-composite";

/**
 * @param {{model: Model, el: HTMLElement}} given
 * @returns {() => void} is called when the view is removed
 */
function render({ model, el }) {
  // The composite stands around this view once that has its place on the page.
  return everyView(model, el, () => /** @type {HTMLElement | null} */ (el.closest(COMPOSITE)));
}

export default { render };
