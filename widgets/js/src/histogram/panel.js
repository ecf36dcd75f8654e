// One histogram with its facts: counts as stairs, perhaps a normal curve, values under the pointer.

import {
  counting,
  decades,
  exponent,
  labelled,
  line,
  linear,
  normal,
  stairs,
  ticks,
} from "../ui/chart.js";
import { h, put, s } from "../ui/dom.js";
import { tenTo, withPower } from "../ui/format.js";

/**
 * @typedef {object} Histogram
 * @property {number[]} counts
 * @property {[number, number]} edges of the whole
 * @property {number | null} mean is marked where there is one, and so is one std to both sides
 * @property {number} std of the normal curve, or of what is marked
 * @property {boolean} curve whether the normal curve of mean 0 is drawn
 * @property {[string, string][]} facts names and values
 * @property {string[]} [expected] what a normal distribution has in place of the facts
 * @property {string} description for those who do not see it
 */

const HEIGHT = 176;
const [LEFT, RIGHT, TOP, BOTTOM] = [38, 8, 8, 34];
let made = 0;

/**
 * @param {string} title
 * @param {string} unit what the horizontal axis counts
 * @param {string[]} names of the facts, so that their places are there before their values
 */
export function createPanel(title, unit, names) {
  const clip = `hdp-clip-${made++}`;
  const readout = h("span", { class: "hdp-readout" });
  const legend = h("span", { class: "hdp-legend" });
  const facts = names.map((name) => ({ name: h("dt", {}, name), value: h("dd") }));
  const grid = s("g", { class: "hdp-grid" });
  const scale = s("g", { class: "hdp-ticks" });
  const band = s("rect", { class: "hdp-band" });
  const area = s("path", { class: "hdp-area" });
  const over = s("path", { class: "hdp-normal" });
  const mean = s("line", { class: "hdp-mean" });
  const mark = s("rect", { class: "hdp-mark" });
  const base = s("line", { class: "hdp-base" });
  const below = s("text", { class: "hdp-axis", "text-anchor": "middle" });
  const window_ = s("rect");
  const drawing = s(
    "svg",
    { role: "img", height: HEIGHT },
    s("defs", {}, s("clipPath", { id: clip }, window_)),
    grid,
    s("g", { "clip-path": `url(#${clip})` }, band, mark, area, mean, over),
    base,
    scale,
    below,
  );
  const nothing = h("p", { class: "hdp-nothing" });
  const element = h(
    "figure",
    { class: "hdp-plot" },
    h("figcaption", {}, h("strong", {}, title), legend, readout),
    h("dl", {}, ...facts.map(({ name, value }) => h("div", {}, name, value))),
    h("div", { class: "hdp-canvas" }, drawing, nothing),
  );

  /** @type {Histogram | null} */
  let shown = null;
  let width = 0;
  /** @type {number | null} where the pointer is, in pixels from the left */
  let pointer = null;

  drawing.addEventListener("pointermove", (event) => {
    pointer = event.clientX - drawing.getBoundingClientRect().left;
    point();
  });
  drawing.addEventListener("pointerleave", () => {
    pointer = null;
    point();
  });

  /** Shows the bin under the pointer. */
  function point() {
    const inside = width - LEFT - RIGHT;
    const bins = shown?.counts.length ?? 0;
    const place = pointer === null ? -1 : Math.floor(((pointer - LEFT) / inside) * bins);
    const found = place >= 0 && place < bins ? shown : null;
    mark.style.display = found ? "" : "none";
    readout.textContent = "";
    if (!found) return;
    const { counts, edges, curve } = found;
    const bin = (edges[1] - edges[0]) / bins;
    const from = edges[0] + place * bin;
    const total = counts.reduce((sum, count) => sum + count, 0);
    const size = inside / bins;
    put(mark, { x: LEFT + place * size, width: size, y: TOP, height: HEIGHT - TOP - BOTTOM });
    // Values further out than the axis are counted in its first and last bin.
    const open = curve ? (place === 0 && "below ") || (place === bins - 1 && "above ") : "";
    const ends = open
      ? `${open}${withPower(place ? from : from + bin, 2)}`
      : `${withPower(from, 2)} … ${withPower(from + bin, 2)}`;
    readout.textContent = `${ends}: ${counts[place]} of ${total}`;
  }

  return {
    element,
    /**
     * @param {Histogram | null} histogram
     * @param {string} why there is none
     * @param {number} wide in pixels
     * @param {boolean} log
     */
    draw(histogram, why, wide, log) {
      shown = histogram;
      width = wide;
      put(drawing, { width: wide, viewBox: `0 0 ${wide} ${HEIGHT}` });
      const bottom = HEIGHT - BOTTOM;
      put(window_, { x: LEFT, y: 0, width: Math.max(0, wide - LEFT - RIGHT), height: bottom });
      put(base, { x1: LEFT, x2: wide - RIGHT, y1: bottom + 0.5, y2: bottom + 0.5 });
      put(below, { x: (LEFT + wide - RIGHT) / 2, y: HEIGHT - 4 });
      put(drawing, { "aria-label": `${title}. ${histogram ? histogram.description : why}` });
      nothing.textContent = histogram ? "" : why;
      facts.forEach(({ value }, i) => {
        const normals = histogram?.expected?.[i];
        const beside = normals ? [" ", h("span", { class: "hdp-expected" }, normals)] : [];
        value.replaceChildren(histogram?.facts[i][1] ?? "–", ...beside);
      });
      const parts = [band, area, over, mean, mark];
      for (const part of parts) part.style.display = histogram ? "" : "none";
      legend.style.display = histogram?.curve ? "" : "none";
      if (!histogram) {
        grid.replaceChildren();
        scale.replaceChildren();
        below.textContent = unit;
        readout.textContent = "";
        return;
      }
      const { counts, edges, curve, std } = histogram;
      const across = linear(edges, [LEFT, wide - RIGHT]);
      const total = counts.reduce((sum, count) => sum + count, 0);
      const points = curve
        ? normal(0, std, (total * (edges[1] - edges[0])) / counts.length, edges)
        : [];
      const most = Math.max(...counts, ...points.map(([, count]) => count));
      const up = counting(log ? most * 1.6 : most * 1.05, [bottom, TOP], log);
      put(area, { d: stairs(counts, edges, across, up) });
      put(over, { d: line(points, across, up) });
      const middle = histogram.mean ?? 0;
      const marked = histogram.mean !== null && std > 0;
      for (const part of [band, mean]) part.style.display = marked ? "" : "none";
      const [start, end] = [across(middle - std), across(middle + std)];
      put(band, { x: start, width: Math.max(1, end - start), y: TOP, height: bottom - TOP });
      put(mean, { x1: across(middle), x2: across(middle), y1: TOP, y2: bottom });

      const power = exponent(edges[1]);
      const places = ticks(edges[0], edges[1], wide < 300 ? 5 : 10);
      /** The standardised axis counts what lies beyond it in its ends. */
      const ends = (/** @type {string} */ text, /** @type {number} */ i) =>
        (curve && ((i === 0 && `≤ ${text}`) || (i === places.length - 1 && `≥ ${text}`))) || text;
      const levels = log ? decades(most) : ticks(0, most, 4, true);
      grid.replaceChildren(
        ...levels.map((value) =>
          s("line", { x1: LEFT, x2: wide - RIGHT, y1: up(value), y2: up(value) }),
        ),
      );
      scale.replaceChildren(
        ...labelled(places, power).flatMap(({ value, text }, i) => {
          const at = Math.round(across(value)) + 0.5;
          return [
            s("line", { x1: at, x2: at, y1: bottom, y2: bottom + 4 }),
            s("text", { x: at, y: bottom + 15, "text-anchor": "middle" }, ends(text, i)),
          ];
        }),
        ...levels.map((value) =>
          s("text", { x: LEFT - 5, y: up(value) + 3.5, "text-anchor": "end" }, String(value)),
        ),
      );
      below.textContent = power ? `${unit}  (× ${tenTo(power)})` : unit;
      point();
    },
  };
}
