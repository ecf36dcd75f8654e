// What stands around pictures with maps: the root, the step slider with its keys, legend and hint.

import { h } from "../ui/dom.js";
import { createLegend } from "../ui/legend.js";
import { createRedraw } from "../ui/redraw.js";
import { createScrubber, stepByKey } from "../ui/scrubber.js";
import { Backdrop } from "./backdrop.js";

/** @typedef {import("../trace/state.js").State} State */

/**
 * @param {HTMLElement} host
 * @param {State} state has "step"; whenever it changes, all is drawn again
 * @param {object} given
 * @param {string} given.name class of the root
 * @param {string} given.label for screen readers
 * @param {() => {step: number, count: number}} given.steps the step shown, and how many there are
 * @param {(event: KeyboardEvent) => boolean} [given.keyed] other keys; says whether it took one
 * @param {() => void} given.draw is called before the next picture of the screen
 */
export function createScaffold(host, state, { name, label, steps, keyed = () => false, draw }) {
  const redraw = createRedraw(draw);
  const backdrop = new Backdrop(redraw);
  const legend = createLegend();
  const scrubber = createScrubber((step) => state.set("step", step));
  const hint = h("p", { class: "hdp-hint", role: "status" });
  const reading = h("div", { class: "hdp-reading hdp-number", "aria-live": "off" });
  const root = h("div", {
    class: `hdp ${name}`,
    role: "region",
    "aria-label": label,
    "data-lm-suppress-shortcuts": "true",
    keydown: /** @type {EventListener} */ (pressed),
  });
  let stop = () => {};

  /** @param {KeyboardEvent} event */
  function pressed(event) {
    const { step, count } = steps();
    const to = stepByKey(event, step, count);
    if (to !== null) state.set("step", to);
    else if (!keyed(event)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  return {
    redraw,
    backdrop,
    legend,
    scrubber,
    hint,
    reading,

    /** Puts the parts on the page, and draws from now on. @param {...Node} parts */
    open(...parts) {
      root.append(...parts);
      host.append(root);
      stop = state.listen(redraw);
      redraw();
    },

    /**
     * Begins a drawing: a text over the pictures, and no values yet.
     * @param {string} text empty where the pictures speak for themselves
     * @param {string} colormap
     */
    begin(text, colormap) {
      hint.textContent = text;
      hint.hidden = !text;
      reading.textContent = "\u00a0";
      legend.update({ name: "", range: null, colormap });
    },

    close() {
      redraw.close();
      stop();
      backdrop.close();
      root.remove();
    },
  };
}
