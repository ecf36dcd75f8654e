// Lens: what anywidget loads.

import { createLens } from "../lens/lens.js";
import { LensStore } from "../lens/store.js";
import { modelState } from "../trace/state.js";
import { everyView } from "./every-view.js";

/** @typedef {import("../trace/state.js").Model} Model */

/** The traits of a lens in Python; a drag changes some of them with each move. */
const LENS_TRAITS = ["zoom", "x", "y", "mode", "chosen", "hidden", "outline"];

/**
 * @param {{model: Model, el: HTMLElement}} given
 * @returns {() => void} is called when the view is removed
 */
function render({ model, el }) {
  const store = new LensStore(model, () => lens.refresh());
  const source = {
    titles: () => /** @type {string[]} */ (model.get("_titles")),
    size: () => /** @type {[number, number]} */ (model.get("_size")),
    picture: (/** @type {number} */ index) => store.pictures[index],
    mask: () => (model.get("_masked") ? store.mask : null),
  };
  const lens = createLens(el, source, modelState(model, LENS_TRAITS, LENS_TRAITS));
  const changed = () => {
    store.keep(source.titles().length);
    lens.refresh();
  };
  const watched = ["_titles", "_size", "_masked"];
  for (const name of watched) model.on(`change:${name}`, changed);
  const leave = everyView(model, el);
  return () => {
    leave();
    for (const name of watched) model.off(`change:${name}`, changed);
    store.close();
    lens.close();
  };
}

export default { render };
