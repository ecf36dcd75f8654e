// Timeline: what anywidget loads.

import { modelState } from "./state.js";
import { storeOf } from "./store.js";
import { createTimeline } from "./timeline-view.js";

/**
 * @param {{model: import("./link.js").Model, el: HTMLElement}} given
 * @returns {() => void} is called when the view is removed
 */
function render({ model, el }) {
  const store = storeOf(model);
  const view = createTimeline(
    el,
    () => store.films[0],
    modelState(model),
    (command) => model.send(command),
  );
  const stop = store.listen(view.update);
  return () => {
    stop();
    view.close();
  };
}

export default { render };
