// GradientHistogram: what anywidget loads.

import { createHistogram } from "../histogram/histogram.js";
import { modelState } from "../trace/state.js";
import { storeOf } from "../trace/store.js";
import { everyView } from "./every-view.js";

/**
 * @param {{model: import("../trace/state.js").Model, el: HTMLElement}} given
 * @returns {() => void} is called when the view is removed
 */
function render({ model, el }) {
  const store = storeOf(model);
  const view = createHistogram(el, () => store.traces[0], modelState(model));
  const stop = store.listen(view.update);
  const leave = everyView(model, el);
  return () => {
    leave();
    stop();
    view.close();
  };
}

export default { render };
