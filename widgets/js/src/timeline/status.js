// What the run is doing, which step is shown, and what went wrong.

import { h, put } from "../ui/dom.js";
import { duration } from "../ui/format.js";

/** @typedef {import("../trace/position.js").Run} Run */

/** @param {() => void} show is called to show where the run stands */
export function createStatus(show) {
  const word = h("span", { "aria-live": "polite" });
  const pace = h("span", { class: "hdp-pace hdp-faint hdp-number" });
  const done = h("div");
  const progress = h("div", { class: "hdp-progress", role: "progressbar" }, done);
  put(progress, { "aria-label": "Steps made", "aria-valuemin": 0 });
  const run = h(
    "div",
    { class: "hdp-run" },
    h("div", { class: "hdp-line" }, h("i", { class: "hdp-sign hdp-sign-run" }), word, pace),
    progress,
  );

  const text = h("span", { class: "hdp-text hdp-number" });
  const find = h(
    "button",
    {
      type: "button",
      class: "hdp-button",
      "aria-label": "Show where the run stands",
      title: "Show where the run stands",
      click: show,
    },
    h("i", { class: "hdp-sign hdp-sign-run" }),
    "Show",
  );
  const shown = h(
    "div",
    { class: "hdp-line hdp-which" },
    h("i", { class: "hdp-sign hdp-sign-shown" }),
    text,
    find,
  );

  const event = h("strong");
  const remedy = h("span");
  const message = h("p", {}, event, "\n", remedy);
  const alert = h(
    "div",
    { class: "hdp-alert", role: "alert" },
    message,
    h(
      "button",
      {
        type: "button",
        class: "hdp-button",
        click: () => {
          dismissed = failure;
          alert.hidden = true;
        },
      },
      "Dismiss",
    ),
  );
  alert.hidden = true;
  let failure = "";
  let dismissed = "";
  let resting = "";
  let pointed = "";

  return {
    run,
    shown,
    alert,
    /** What the pointer is over; an empty text for nothing. @param {string} over */
    point(over) {
      pointed = over;
      text.textContent = pointed || resting;
      shown.classList.toggle("hdp-pointing", pointed !== "");
    },
    /**
     * @param {Run} now
     * @param {string} what is shown
     * @param {boolean} elsewhere whether the run stands elsewhere
     */
    update(now, what, elsewhere) {
      const { status, index, total, seconds_per_step: each, seconds_left: left } = now;
      const name = nameOf(now);
      if (word.textContent !== name) word.textContent = name;
      const parts = total ? [`step ${index} of ${total}`] : [];
      if (each !== null) parts.push(`${duration(each)}/step`);
      if (left !== null && index < total) parts.push(`${duration(left)} left`);
      pace.textContent = parts.join(" · ");
      done.style.width = `${total ? (100 * index) / total : 0}%`;
      put(progress, {
        "aria-valuemax": total,
        "aria-valuenow": index,
        "aria-valuetext": pace.textContent,
      });
      put(run, { "data-status": status });
      resting = what;
      text.textContent = pointed || resting;
      find.style.visibility = elsewhere ? "" : "hidden";
      const before = failure;
      failure = status === "error" ? now.failure : "";
      if (!failure) dismissed = "";
      if (failure !== before) {
        const [first, ...others] = failure.split("\n");
        event.textContent = first;
        remedy.textContent = others.join("\n");
      }
      alert.hidden = !failure || failure === dismissed;
    },
  };
}

/** @param {Run} run */
function nameOf({ status, index, total }) {
  if (status === "running") return "Running";
  if (status === "error") return "Stopped";
  if (total && index >= total) return "Done";
  return status === "paused" ? "Paused" : "Not started";
}
