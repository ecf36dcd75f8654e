// Lens: what anywidget loads.

import { createLens } from "../lens/lens.js";
import { LensStore } from "../lens/store.js";

/** @typedef {import("../trace/state.js").Model} Model */

const NAMES = ["zoom", "x", "y", "mode", "chosen", "hidden", "outline"];
const PAUSE = 80; // milliseconds: Python hears of a drag a few times a second

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
  const lens = createLens(el, source, lensState(model));
  const changed = () => {
    store.keep(source.titles().length);
    lens.refresh();
  };
  const watched = ["_titles", "_size", "_masked"];
  for (const name of watched) model.on(`change:${name}`, changed);
  return () => {
    for (const name of watched) model.off(`change:${name}`, changed);
    store.close();
    lens.close();
  };
}

/**
 * The lens' names in its model. Linked lenses hear of every change at once, Python a little later.
 * @param {Model} model
 * @returns {import("../trace/state.js").State}
 */
function lensState(model) {
  let waiting = false;
  return {
    get: (name) => model.get(name),
    set(name, value) {
      if (model.get(name) === value) return;
      model.set(name, value);
      if (waiting) return;
      waiting = true;
      setTimeout(() => {
        waiting = false;
        model.save_changes();
      }, PAUSE);
    },
    listen(listener) {
      const handlers = NAMES.map((name) => {
        const handler = () => listener(name);
        model.on(`change:${name}`, handler);
        return () => model.off(`change:${name}`, handler);
      });
      return () => {
        for (const stop of handlers) stop();
      };
    },
  };
}

export default { render };
