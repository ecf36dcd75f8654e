// HeatmapViewer: what anywidget loads.

import { modelState } from "../trace/state.js";
import { storeOf } from "../trace/store.js";
import { bytesOf, valuesOf } from "../trace/trace.js";
import { createViewer } from "../viewer/viewer.js";
import { everyView } from "./every-view.js";

/** @typedef {import("../trace/state.js").Model} Model */
/** @typedef {import("../viewer/region-queries.js").Request} Request */
/** @typedef {import("../trace/maps.js").Grid} Grid */

/**
 * @param {{model: Model, el: HTMLElement}} given
 * @returns {() => void} is called when the view is removed
 */
function render({ model, el }) {
  const store = storeOf(model);
  /** @type {Map<string, {resolve: (grid: Grid) => void, reject: (error: Error) => void}>} */
  const open = new Map();
  const nameOf = (/** @type {{key: string, node: number}} */ asked) => `${asked.node} ${asked.key}`;

  /** @param {Request} request */
  function ask(request) {
    return /** @type {Promise<Grid>} */ (
      new Promise((resolve, reject) => {
        open.set(nameOf(request), { resolve, reject });
        model.send({ type: "region", film: 0, ...request });
      })
    );
  }

  const viewer = createViewer(el, () => store.traces[0], modelState(model), { ask });
  const stops = [
    store.listen(({ trace }) => trace === 0 && viewer.refresh()),
    store.hear((content, buffers) => {
      if (content?.type !== "region") return;
      const waiting = open.get(nameOf(content));
      open.delete(nameOf(content));
      const { map, error } = content;
      if (!map) return waiting?.reject(new Error(error ?? "there is no answer"));
      const [height, width] = map.shape.slice(-2);
      const values = valuesOf({ ...map, bytes: bytesOf(buffers[map.buffer]) });
      waiting?.resolve({ width, height, values });
    }),
  ];
  const leave = everyView(model, el);
  return () => {
    leave();
    for (const stop of stops) stop();
    viewer.close();
  };
}

export default { render };
