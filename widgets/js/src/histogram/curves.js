// Small charts over the steps, side by side, with one step marked in all of them.

import { exponent, extent, labelled, line, linear, ticks } from "../ui/chart.js";
import { h, put, s } from "../ui/dom.js";
import { tenTo, withPower } from "../ui/format.js";

/** @typedef {import("../trace/trace.js").Frame} Frame */
/** @typedef {{title: string, name: string, value: (frame: Frame) => number | null}} Measure */

const HEIGHT = 104;
const [LEFT, RIGHT, TOP, BOTTOM] = [38, 10, 8, 20];
const MANY = 48; // from so many steps on, points are left to the line

/**
 * @param {Measure[]} measures
 * @param {(step: number) => void} pick is told of a step that was clicked
 */
export function createCurves(measures, pick) {
  const charts = measures.map(createChart);
  const element = h(
    "div",
    { class: "hdp-curves", role: "slider", tabindex: 0, "aria-label": "Step" },
    ...charts.map((chart) => chart.element),
  );

  /** @type {Frame[]} */
  let frames = [];
  let current = -1;
  let wide = 0;
  /** @type {number | null} */
  let hovered = null;

  for (const { drawing } of charts) {
    drawing.addEventListener("pointermove", (event) => {
      hovered = stepAt(event.clientX - drawing.getBoundingClientRect().left);
      if (event.buttons & 1 && hovered !== null) pick(hovered);
      point();
    });
    drawing.addEventListener("pointerleave", () => {
      hovered = null;
      point();
    });
    drawing.addEventListener("click", (event) => {
      const step = stepAt(event.clientX - drawing.getBoundingClientRect().left);
      if (step !== null) pick(step);
    });
  }
  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const last = frames.length - 1;
    /** @type {Record<string, number>} */
    const to = {
      ArrowLeft: Math.max(0, current - 1),
      ArrowDown: Math.max(0, current - 1),
      ArrowRight: Math.min(last, current + 1),
      ArrowUp: Math.min(last, current + 1),
      Home: 0,
      End: last,
    };
    if (!Object.hasOwn(to, event.key)) return;
    event.preventDefault();
    if (last >= 0) pick(to[event.key]);
  });

  /** @param {number} x */
  function stepAt(x) {
    if (!frames.length || x < LEFT - 12) return null;
    const share = (x - LEFT) / Math.max(1, wide - LEFT - RIGHT);
    const step = Math.round(share * Math.max(1, charts[0].last() - 1));
    return Math.min(frames.length - 1, Math.max(0, step));
  }

  function point() {
    for (const chart of charts) chart.point(frames, current, hovered);
  }

  return {
    element,
    /**
     * @param {Frame[]} path
     * @param {Frame[][]} others branches that are drawn faintly behind it
     * @param {number} step
     * @param {number} width of one chart in pixels
     */
    draw(path, others, step, width) {
      [frames, current, wide] = [path, step, width];
      if (hovered !== null && hovered >= frames.length) hovered = null;
      const last = Math.max(1, path.length, ...others.map((o) => (o.at(-1)?.index ?? 0) + 1));
      for (const chart of charts) chart.draw(path, others, last, width);
      point();
      const frame = path[step];
      put(element, {
        "aria-valuemin": path.length ? 1 : 0,
        "aria-valuemax": path.length,
        "aria-valuenow": step + 1,
        "aria-valuetext": frame
          ? `step ${step + 1} of ${path.length}: ${measures
              .map(({ name, value }) => `${name} ${withPower(value(frame))}`)
              .join(", ")}`
          : "no step",
      });
    },
  };
}

/** @param {Measure} measure */
function createChart({ title, value }) {
  const readout = h("span", { class: "hdp-readout" });
  const times = h("span", { class: "hdp-faint" });
  const grid = s("g", { class: "hdp-grid" });
  const scale = s("g", { class: "hdp-ticks" });
  const behind = s("g", { class: "hdp-behind" });
  const rule = s("line", { class: "hdp-rule" });
  const hover = s("line", { class: "hdp-rule hdp-hovered" });
  const curve = s("path", { class: "hdp-curve" });
  const points = s("path", { class: "hdp-points" });
  const here = s("circle", { class: "hdp-here", r: 4 });
  const base = s("line", { class: "hdp-base" });
  const drawing = s(
    "svg",
    { height: HEIGHT, "aria-hidden": "true" },
    grid,
    rule,
    hover,
    behind,
    base,
    curve,
    points,
    here,
    scale,
  );
  const nothing = h("p", { class: "hdp-nothing" });
  const element = h(
    "figure",
    { class: "hdp-plot hdp-small" },
    h("figcaption", {}, h("strong", {}, title), times, readout),
    h("div", { class: "hdp-canvas" }, drawing, nothing),
  );
  let last = 1;
  let across = linear([1, 2], [LEFT, LEFT]);
  /** @type {import("../ui/chart.js").Scale} */
  let up = () => 0;

  /**
   * @param {Frame[]} frames
   * @returns {[number, number | null][]}
   */
  const pointsOf = (frames) => frames.map((frame) => [frame.index + 1, value(frame)]);

  return {
    element,
    drawing,
    last: () => last,
    /**
     * @param {Frame[]} path
     * @param {Frame[][]} others
     * @param {number} steps on the axis
     * @param {number} width
     */
    draw(path, others, steps, width) {
      last = steps;
      const bottom = HEIGHT - BOTTOM;
      put(drawing, { width, viewBox: `0 0 ${width} ${HEIGHT}` });
      put(base, { x1: LEFT, x2: width - RIGHT, y1: bottom + 0.5, y2: bottom + 0.5 });
      across = linear([1, Math.max(2, steps)], [LEFT, width - RIGHT]);
      const own = pointsOf(path);
      const found = extent([...own, ...others.flatMap(pointsOf)].map(([, number]) => number));
      const [low, high] = found ?? [0, 1];
      up = linear([low, high], [bottom - 2, TOP]);
      put(curve, { d: line(own, across, up) });
      put(points, {
        // Where there are many, only those whose neighbours are missing would be unseen.
        d: own
          .filter(([, y], i) => y !== null && (steps < MANY || alone(own, i)))
          .map(([x, y]) => `M${across(x).toFixed(2)},${up(Number(y)).toFixed(2)}h0`)
          .join(""),
      });
      behind.replaceChildren(
        ...others.map((other) => s("path", { d: line(pointsOf(other), across, up) })),
      );
      const power = exponent(Math.max(Math.abs(low), Math.abs(high)));
      const levels = found ? ticks(low, high, 3) : [];
      grid.replaceChildren(
        ...levels.map((level) =>
          s("line", { x1: LEFT, x2: width - RIGHT, y1: up(level), y2: up(level) }),
        ),
      );
      scale.replaceChildren(
        ...ticks(1, Math.max(2, steps), Math.max(2, Math.floor(width / 44)), true).map((step) =>
          s("text", { x: across(step), y: bottom + 14, "text-anchor": "middle" }, String(step)),
        ),
        ...labelled(levels, power).map(({ value: level, text }) =>
          s("text", { x: LEFT - 5, y: up(level) + 3.5, "text-anchor": "end" }, text),
        ),
      );
      times.textContent = power ? `× ${tenTo(power)}` : "";
      const missing = path.length ? "No guidance in these steps" : "";
      nothing.textContent = own.some(([, y]) => y !== null) ? "" : missing;
    },
    /**
     * @param {Frame[]} frames
     * @param {number} current
     * @param {number | null} hovered
     */
    point(frames, current, hovered) {
      const bottom = HEIGHT - BOTTOM;
      for (const [mark, step] of /** @type {const} */ ([
        [rule, current],
        [hover, hovered],
      ])) {
        const frame = step === null ? undefined : frames[step];
        mark.style.display = frame ? "" : "none";
        if (frame)
          put(mark, {
            x1: across(frame.index + 1),
            x2: across(frame.index + 1),
            y1: TOP - 4,
            y2: bottom,
          });
      }
      const marked = frames[current];
      const y = marked ? value(marked) : null;
      here.style.display = y === null ? "none" : "";
      if (marked && y !== null) put(here, { cx: across(marked.index + 1), cy: up(y) });
      const read = frames[hovered ?? current];
      const step = hovered === null ? "" : `step ${hovered + 1}: `;
      readout.textContent = read ? `${step}${withPower(value(read))}` : "";
    },
  };
}

/** @param {[number, number | null][]} points @param {number} i */
function alone(points, i) {
  return (points[i - 1]?.[1] ?? null) === null && (points[i + 1]?.[1] ?? null) === null;
}
