// Compare: what anywidget loads.

import { createCompare } from "./compare-view.js";
import { modelState } from "./state.js";
import { storeOf } from "./store.js";

/**
 * @param {{model: import("./link.js").Model, el: HTMLElement}} given
 * @returns {() => void} is called when the view is removed
 */
function render({ model, el }) {
  const store = storeOf(model);
  const compare = createCompare(el, () => store.films, modelState(model));
  const stop = store.listen(() => compare.refresh());
  return () => {
    stop();
    compare.close();
  };
}

export default { render };
