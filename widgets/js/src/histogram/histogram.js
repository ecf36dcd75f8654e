// The gradient of a step before and after standardisation, and what became of it over the steps.

import { createFollower } from "../trace/follow.js";
import { createPosition } from "../trace/position.js";
import { beyond } from "../ui/chart.js";
import { h } from "../ui/dom.js";
import { methodSaid, withPower } from "../ui/format.js";
import { createCurves } from "./curves.js";
import { createPanel } from "./panel.js";

/** @typedef {import("../trace/trace.js").Trace} Trace */
/** @typedef {import("../trace/trace.js").Frame} Frame */
/** @typedef {import("../trace/trace.js").Gradient} Gradient */
/** @typedef {import("./panel.js").Histogram} Histogram */
/** @typedef {import("../trace/state.js").State} State */

const WIDE = 560; // pixels; narrower hosts get one chart per row
const [PAD, GAP] = [10, 18];
/** Shares of a normal distribution that lie further out than 1, 2 and 3 standard deviations. */
const NORMAL = ["31.7\u00a0%", "4.6\u00a0%", "0.27\u00a0%"];

/**
 * @param {HTMLElement} host
 * @param {() => Trace | undefined} current
 * @param {State} state reads and writes "step" and "branch"
 * @returns {{update: () => void, close: () => void}} `update` is for when the trace has grown
 */
export function createHistogram(host, current, state) {
  let log = false;
  let width = 0;

  const title = h("span", { class: "hdp-which hdp-number" });
  const branches = h("select", {
    class: "hdp-select",
    "aria-label": "Branch",
    change: () => state.set("branch", Number(branches.value)),
  });
  const logs = h(
    "button",
    {
      type: "button",
      class: "hdp-toggle",
      "aria-pressed": "false",
      title: "Counts on a logarithmic axis: shows the tails",
      click: () => {
        log = !log;
        logs.setAttribute("aria-pressed", String(log));
        update();
      },
    },
    "Log counts",
  );
  const before = createPanel("Gradient g = ∇S", "g", [
    "mean",
    "std",
    "skewness",
    "excess kurtosis",
  ]);
  const after = createPanel("Standardised", "standard deviations", [
    "beyond ±1σ",
    "beyond ±2σ",
    "beyond ±3σ",
  ]);
  after.element
    .querySelector(".hdp-legend")
    ?.append(h("i", { "aria-hidden": "true" }), "standard normal");
  const curves = createCurves(
    [
      { title: "Score S", name: "score", value: (frame) => frame.score },
      { title: "Std of g", name: "std of g", value: (frame) => frame.grad?.std ?? null },
      { title: "Noise level σ", name: "sigma", value: (frame) => frame.sigma },
    ],
    (step) => state.set("step", step),
  );
  const root = h(
    "div",
    {
      class: "hdp hdp-histogram",
      role: "group",
      "aria-label": "Gradient of the score",
      "data-lm-suppress-shortcuts": "true",
      keydown: (event) => {
        const key = /** @type {KeyboardEvent} */ (event);
        if (!key.ctrlKey && !key.metaKey) key.stopPropagation();
      },
    },
    h("div", { class: "hdp-bar" }, title, h("span", { class: "hdp-space" }), branches, logs),
    h("div", { class: "hdp-panels" }, before.element, after.element),
    curves.element,
  );

  function update() {
    const trace = current();
    const branch = state.get("branch") ?? 0;
    const path = trace?.path(branch) ?? [];
    const step = Math.min(state.get("step") ?? -1, path.length - 1);
    const frame = path[step];
    offer(trace, branch);
    title.textContent = frame
      ? `Step ${step + 1} of ${path.length} · t = ${frame.timestep} · ${methodSaid(frame.method)}`
      : "No step yet";
    const why = frame ? reason(frame) : "Nothing to show before the first step.";
    const many = width >= WIDE;
    const panel = Math.max(120, Math.floor(many ? (width - 2 * PAD - GAP) / 2 : width - 2 * PAD));
    const small = Math.floor(many ? (width - 2 * PAD - 2 * GAP) / 3 : width - 2 * PAD);
    const grad = frame?.grad ?? null;
    before.draw(grad && raw(grad, step), why, panel, log);
    after.draw(grad && standard(grad, step), why, panel, log);
    curves.draw(path, othersOf(trace, branch), step, Math.max(120, small));
  }

  /** @param {Trace | undefined} trace @param {number} branch */
  function offer(trace, branch) {
    const known = [...(trace?.branches.values() ?? [])];
    branches.hidden = known.length < 2;
    const names = known.map(({ id, name }) => `${id}\n${name}`).join("\n\n");
    if (branches.dataset.names !== names) {
      branches.dataset.names = names;
      branches.replaceChildren(...known.map(({ id, name }) => h("option", { value: id }, name)));
    }
    branches.value = String(branch);
  }

  const follower = createFollower(state, createPosition(current, state), update);
  const stop = state.listen((name) => {
    if (name === "step" || name === "branch") update();
  });
  const resized = new ResizeObserver(() => {
    if (root.clientWidth === width) return;
    width = root.clientWidth;
    root.classList.toggle("hdp-narrow", width < WIDE);
    update();
  });
  host.append(root);
  width = root.clientWidth;
  root.classList.toggle("hdp-narrow", width < WIDE);
  resized.observe(root);
  follower.open();
  update();
  return {
    update() {
      follower.grown(current()?.opening.key);
      update();
    },
    close() {
      resized.disconnect();
      follower.close();
      stop();
      root.remove();
    },
  };
}

/**
 * Why a step has no gradient.
 * @param {Frame} frame
 */
function reason(frame) {
  return frame.method.split("+").includes("rasg")
    ? "No gradient was kept for this step."
    : "No gradient: this step was made with RASG off.";
}

/**
 * The steps that other branches have of their own.
 * @param {Trace | undefined} trace
 * @param {number} branch
 */
function othersOf(trace, branch) {
  if (!trace) return [];
  const others = [...trace.branches.values()].filter(({ id }) => id !== branch);
  return others.map(({ id }) => {
    const path = trace.path(id);
    const own = path.findIndex((frame) => frame.branch === id);
    return own < 0 ? [] : path.slice(Math.max(0, own - 1));
  });
}

/**
 * @param {Gradient} grad
 * @param {number} step
 * @returns {Histogram}
 */
function raw(grad, step) {
  const { mean, std, skewness, kurtosis, hist, edges } = grad;
  /** @type {[string, string][]} */
  const facts = [
    ["mean", withPower(mean)],
    ["standard deviation", withPower(std)],
    ["skewness", withPower(skewness)],
    ["excess kurtosis", withPower(kurtosis)],
  ];
  return { counts: hist, edges, mean, std, curve: false, facts, ...told(facts, step, hist) };
}

/**
 * @param {Gradient} grad
 * @param {number} step
 * @returns {Histogram}
 */
function standard(grad, step) {
  const { standard_hist: counts, standard_edges: edges } = grad;
  /** @type {[string, string][]} */
  const facts = [1, 2, 3].map((bound, i) => [
    `beyond ${bound} standard deviations (normal: ${NORMAL[i]})`,
    `${withPower(100 * beyond(counts, edges, bound), 2)}\u00a0%`,
  ]);
  const shown = { counts, edges, mean: null, std: 1, curve: true, facts, expected: NORMAL };
  return { ...shown, ...told(facts, step, counts) };
}

/**
 * @param {[string, string][]} facts
 * @param {number} step
 * @param {number[]} counts
 */
function told(facts, step, counts) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const text = facts.map(([name, value]) => `${name} ${value}`).join(", ");
  return { description: `Histogram of ${total} values at step ${step + 1}: ${text}.` };
}
