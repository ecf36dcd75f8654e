// Compare: what anywidget loads.

import { createCompare } from "../compare/compare.js";
import { modelState } from "../trace/state.js";
import { storeOf } from "../trace/store.js";
import { everyView } from "./every-view.js";

/**
 * @param {{model: import("../trace/state.js").Model, el: HTMLElement}} given
 * @returns {() => void} is called when the view is removed
 */
function render({ model, el }) {
  const store = storeOf(model);
  const compare = createCompare(el, () => store.traces, modelState(model));
  const stop = store.listen(() => compare.refresh());
  const leave = everyView(model, el);
  return () => {
    leave();
    stop();
    compare.close();
  };
}

export default { render };
