// The buttons of the timeline.

import { h, put } from "../ui/dom.js";

/** @typedef {{[name: string]: boolean}} Can which commands make sense now */

/** On a field of 16 by 16. */
/** @type {Record<string, string>} */
const SHAPES = {
  restart: "M3 3h2v10H3zM13 3v10L6 8z",
  back: "M8 3v10L2 8zM14 3v10L8 8z",
  play: "M4 2.5v11L13.5 8z",
  pause: "M3.5 3h3v10h-3zM9.5 3h3v10h-3z",
  step: "M3 3v10l7-5zM11 3h2v10h-2z",
  cancel: "M3.5 3.5h9v9h-9z",
  branch:
    "M5 2a1.7 1.7 0 0 0-.7 3.2v5.6a1.7 1.7 0 1 0 1.4 0V9.4h3.6A2.4 2.4 0 0 0 11.7 7V5.2a1.7 1.7 0 1 0-1.4 0V7c0 .6-.4 1-1 1H5.7V5.2A1.7 1.7 0 0 0 5 2z",
};

/** @param {string} name */
function shape(name) {
  const holder = document.createElement("template");
  holder.innerHTML =
    '<svg viewBox="0 0 16 16" width="16" height="16" fill="currentColor" aria-hidden="true" ' +
    `focusable="false"><path d="${SHAPES[name]}"/></svg>`;
  return /** @type {SVGSVGElement} */ (holder.content.firstElementChild);
}

/** Steps a second at which a run may be watched again. */
export const SPEEDS = [1, 2, 5, 10, 20];

/**
 * @typedef {"run" | "renew" | "again" | "pause"} Play what the play button does: goes on with the run,
 *   begins a new one, shows the finished one again, or pauses
 */

/** @type {Record<Play, [string, string]>} */
const PLAYS = {
  run: ["Play", "Play"],
  renew: ["Play", "Play: begins a new run, as something has changed"],
  again: ["Watch again", "Watch the run again: shows its steps, and changes nothing"],
  pause: ["Pause after this step", "Pause after this step"],
};

/**
 * @param {{run: (name: string) => void, runTo: (steps: number) => void,
 *   pace: (speed: number) => void}} does
 */
export function createBar({ run, runTo, pace }) {
  /** @type {Record<string, HTMLButtonElement>} */
  const buttons = {};
  /**
   * A button that stays focusable where it makes no sense: the focus is not lost when a run begins.
   * @param {string} name
   * @param {string} label
   * @param {string} keys
   * @param {...(Node | string)} content
   */
  function button(name, label, keys, ...content) {
    const title = keys ? `${label} (${keys})` : label;
    const element = h(
      "button",
      {
        type: "button",
        class: "hdp-button",
        "aria-label": label,
        title,
        click: () => element.getAttribute("aria-disabled") !== "true" && run(name),
      },
      ...content,
    );
    buttons[name] = element;
    return element;
  }

  const field = h("input", {
    type: "number",
    class: "hdp-entry hdp-number",
    min: 1,
    step: 1,
    "aria-label": "Number of the step to run to",
  });
  const go = h("button", { type: "submit", class: "hdp-button" }, "Run to");
  const form = h(
    "form",
    {
      class: "hdp-field",
      title: "Run to this step, then pause. On the track: click or drag beyond the newest step.",
      submit: (event) => {
        event.preventDefault();
        const steps = field.valueAsNumber || Number(field.placeholder);
        if (go.getAttribute("aria-disabled") !== "true" && steps) runTo(steps);
        field.value = "";
      },
    },
    go,
    field,
  );
  const speed = h(
    "select",
    {
      class: "hdp-select hdp-number",
      "aria-label": "Speed of watching again",
      title: "Steps a second when steps that are made already are watched again",
      change: () => pace(Number(speed.value)),
    },
    ...SPEEDS.map((n) => h("option", { value: n }, `${n}/s`)),
  );
  const toggle = button("toggle", "Play", "Space", shape("play"));
  const wording = h("span", { class: "hdp-wording" }, "Branch");
  const branch = button("branch", "Branch here …", "B", shape("branch"), wording);
  put(branch, { "aria-haspopup": "dialog", "aria-expanded": "false" });
  const help = button("help", "Keys", "?", "?");
  put(help, { "aria-haspopup": "dialog", "aria-expanded": "false" });
  const moving = h(
    "div",
    { class: "hdp-group", role: "group", "aria-label": "Run" },
    button("restart", "Restart: back before the first step", "", shape("restart")),
    button("back", "Back one step", "Shift + ←", shape("back")),
    toggle,
    button("step", "One step", "→", shape("step")),
    button("cancel", "Cancel: stop now", "Esc", shape("cancel")),
  );
  const element = h(
    "div",
    { class: "hdp-bar" },
    moving,
    speed,
    form,
    branch,
    h("span", { class: "hdp-space" }),
    help,
  );
  let shown = "";

  return {
    element,
    branch,
    help,
    /**
     * @param {Can} can
     * @param {Play} play
     * @param {number} pace steps a second
     * @param {number} index steps made
     * @param {number} total
     */
    update(can, play, pace, index, total) {
      for (const [name, known] of Object.entries(buttons)) {
        if (name in can) put(known, { "aria-disabled": String(!can[name]) });
      }
      put(go, { "aria-disabled": String(!can.runTo) });
      put(field, { min: Math.min(index + 1, total), max: total, placeholder: total || "" });
      field.disabled = !can.runTo;
      const nearest = SPEEDS.reduce((a, b) => (Math.abs(b - pace) < Math.abs(a - pace) ? b : a));
      if (document.activeElement !== speed) speed.value = String(nearest);
      if (shown === play) return;
      shown = play;
      const [label, title] = PLAYS[play];
      toggle.replaceChildren(shape(play === "pause" ? "pause" : "play"));
      put(toggle, { "aria-label": label, title: `${title} (Space)` });
    },
  };
}
