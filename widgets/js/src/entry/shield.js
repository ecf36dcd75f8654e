// KeyShield: what anywidget loads; keeps a whole composite widget's keys from the notebook.

import { shieldKeys } from "../ui/shield.js";

const COMPOSITE = ".hdp-composite";

/**
 * @param {{el: HTMLElement}} given
 * @returns {() => void} is called when the view is removed
 */
function render({ el }) {
  // The composite stands around this view once that has its place on the page.
  return shieldKeys(() => /** @type {HTMLElement | null} */ (el.closest(COMPOSITE)));
}

export default { render };
