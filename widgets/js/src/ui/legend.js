// The scale of the colours, with the value under the pointer marked on it.

import { cssGradient } from "../color/colormaps.js";
import { h } from "./dom.js";
import { short } from "./format.js";

/** @typedef {import("../color/colormaps.js").Range} Range */

export function createLegend() {
  const name = h("span", { class: "hdp-legend-name" });
  const low = h("span", { class: "hdp-number" });
  const high = h("span", { class: "hdp-number" });
  const mark = h("i", { hidden: true });
  const zero = h("em", { hidden: true, title: "0" });
  const bar = h("span", { class: "hdp-gradient", "aria-hidden": "true" }, zero, mark);
  const units = h("span", { class: "hdp-unit" });
  const scale = h("span", { class: "hdp-scale" }, low, bar, high);
  let drawn = "";
  return {
    element: h("div", { class: "hdp-legend" }, name, scale, units),
    /**
     * @param {{name: string, range: Range | null, colormap: string, value?: number | null,
     *   plain?: boolean, unit?: string}} shown plain: without numbers, where several ranges have
     *   one scale
     */
    update({ name: text, range, colormap, value = null, plain = false, unit = "" }) {
      name.textContent = text;
      name.title = text;
      scale.style.visibility = range ? "visible" : "hidden";
      units.textContent = unit;
      if (!range) return;
      if (drawn !== colormap) bar.style.backgroundImage = cssGradient(colormap);
      drawn = colormap;
      low.textContent = plain ? "low" : short(range[0]);
      high.textContent = plain ? "high" : short(range[1]);
      zero.hidden = plain || !(range[0] < 0 && range[1] > 0);
      zero.style.left = `${(-100 * range[0]) / (range[1] - range[0] || 1)}%`;
      mark.hidden = value === null || !(range[1] > range[0]);
      if (value !== null) {
        const share = (value - range[0]) / (range[1] - range[0] || 1);
        mark.style.left = `${100 * Math.min(1, Math.max(0, share))}%`;
      }
    },
  };
}
