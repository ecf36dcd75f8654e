// MaskPainter: what anywidget loads.

import { openPainter } from "../painter/app.js";
import { everyView } from "./every-view.js";

/** @typedef {import("../trace/state.js").Model} Model */

/**
 * @param {{model: Model, el: HTMLElement}} given
 * @returns {() => void} is called when the view is removed
 */
function render({ model, el }) {
  let close = () => {};
  let turn = 0;

  /** A new picture needs everything anew. */
  async function mount() {
    const mine = ++turn;
    await Promise.resolve(); // `_picture` and `_size` change together
    if (mine !== turn) return;
    close();
    close = () => {};
    el.replaceChildren();
    try {
      const opened = await openPainter(model, el);
      if (mine === turn) close = opened;
      else opened();
    } catch (error) {
      const text = document.createElement("p");
      text.setAttribute("role", "alert");
      text.textContent = `The painter cannot be shown: ${error}`;
      el.replaceChildren(text);
    }
  }

  mount();
  const leave = everyView(model, el);
  for (const name of ["_picture", "_size"]) model.on(`change:${name}`, mount);
  return () => {
    turn++;
    leave();
    close();
    for (const name of ["_picture", "_size"]) model.off(`change:${name}`, mount);
  };
}

export default { render };
