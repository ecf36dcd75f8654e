// GradientHistogram: what anywidget loads.

import { createHistogram } from "./histogram-view.js";
import { modelState } from "./state.js";
import { storeOf } from "./store.js";

/**
 * @param {{model: import("./link.js").Model, el: HTMLElement}} given
 * @returns {() => void} is called when the view is removed
 */
function render({ model, el }) {
  const store = storeOf(model);
  const view = createHistogram(el, () => store.films[0], modelState(model));
  const stop = store.listen(view.update);
  return () => {
    stop();
    view.close();
  };
}

export default { render };
