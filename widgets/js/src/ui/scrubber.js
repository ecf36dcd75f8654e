// The step slider, with a tick for each step.

import { h } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";

/** @param {(step: number) => void} moved */
export function createScrubber(moved) {
  const slider = h("input", {
    type: "range",
    class: "hdp-slider hdp-wide",
    min: -1,
    max: -1,
    "aria-label": "Step",
    title: "Left and right arrow keys: one step; Home and End: first and last",
    input: () => moved(Number(slider.value)),
  });
  const ticks = document.createElementNS(SVG, "svg");
  ticks.setAttribute("class", "hdp-ticks");
  ticks.setAttribute("aria-hidden", "true");
  const from = h("span");
  const to = h("span");
  const place = h("output", { class: "hdp-step hdp-number" });
  const element = h(
    "div",
    { class: "hdp-scrubber" },
    h(
      "div",
      { class: "hdp-track" },
      slider,
      ticks,
      h("div", { class: "hdp-ends hdp-faint hdp-number", "aria-hidden": "true" }, from, to),
    ),
    place,
  );
  let drawn = "";

  /** @param {number} count @param {number} fork */
  function drawTicks(count, fork) {
    if (drawn === `${count} ${fork}`) return;
    drawn = `${count} ${fork}`;
    ticks.replaceChildren();
    for (let step = -1; step < count; step++) {
      const line = document.createElementNS(SVG, "line");
      const at = count ? `${(100 * (step + 1)) / count}%` : "0%";
      for (const name of ["x1", "x2"]) line.setAttribute(name, at);
      line.setAttribute("y1", "0");
      line.setAttribute("y2", step === fork - 1 ? "8" : (step + 1) % 5 ? "3" : "5");
      if (step === fork - 1) line.setAttribute("class", "hdp-fork");
      ticks.append(line);
    }
  }

  return {
    element,
    slider,
    /**
     * @param {{timestep: number}[]} frames
     * @param {number} step the one shown
     * @param {number} [fork] steps before it left its parent branch; 0 where it has none
     */
    update(frames, step, fork = 0) {
      const last = frames.length - 1;
      slider.max = String(last);
      slider.value = String(step);
      slider.disabled = last < 0;
      const frame = frames[step];
      const text = frame
        ? `step ${step + 1} of ${last + 1}, t = ${frame.timestep}`
        : "before the first step";
      slider.setAttribute("aria-valuetext", text);
      place.replaceChildren(
        ...(frame
          ? [
              "step ",
              h("b", {}, String(step + 1)),
              ` / ${last + 1}`,
              h("i", {}, `t ${frame.timestep}`),
            ]
          : [last < 0 ? "no step yet" : `start / ${last + 1}`]),
      );
      from.textContent = last < 0 ? "" : "start";
      to.textContent = last < 0 ? "" : `t ${frames[last].timestep}`;
      drawTicks(last + 1, fork > 0 && fork <= last + 1 ? fork : -1);
    },
  };
}

/**
 * Where the arrow keys lead; null for other keys.
 * @param {KeyboardEvent} event
 * @param {number} step the one shown
 * @param {number} count
 */
export function stepByKey(event, step, count) {
  const { key, altKey, ctrlKey, metaKey, shiftKey, target } = event;
  if (altKey || ctrlKey || metaKey || shiftKey) return null;
  if (target instanceof Element && target.matches("select, textarea, input, [role=slider]"))
    return null;
  if (key === "ArrowLeft") return Math.max(-1, step - 1);
  if (key === "ArrowRight") return Math.min(count - 1, step + 1);
  if (key === "Home") return Math.min(0, count - 1);
  if (key === "End") return count - 1;
  return null;
}
