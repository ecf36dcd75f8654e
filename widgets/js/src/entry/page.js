// The saved page: viewer, histogram and comparison without kernel and network.

import { createCompare } from "../compare/compare.js";
import { createHistogram } from "../histogram/histogram.js";
import { tracesOf } from "../trace/saved.js";
import { plainState } from "../trace/state.js";
import { Trace } from "../trace/trace.js";
import { wordsOf } from "../trace/words.js";
import { createChoice } from "../ui/controls.js";
import { h } from "../ui/dom.js";
import { createViewer } from "../viewer/viewer.js";

/** @param {string} id */
function textOf(id) {
  return document.getElementById(id)?.textContent ?? "";
}

/** @param {Trace} trace */
function wordsAtFirst(trace) {
  const [frame] = trace.frames.values();
  const typed = frame ? wordsOf(frame).filter(({ text }) => !/^<.*>$/.test(text)) : [];
  return typed.slice(-1).map(({ text }) => text); // in "a red star" the thing comes last
}

/** @param {Trace} trace */
function headerOf(trace) {
  const { model, size } = trace.opening;
  const steps = trace.frames.size;
  const facts = [model, size[0] ? `${size[1]} × ${size[0]} px` : "", `${steps} steps`];
  const branches = trace.branches.size;
  if (branches > 1) facts.push(`${branches} branches`);
  return facts.filter(Boolean).join(" · ");
}

/**
 * @param {HTMLElement} host
 */
function open(host) {
  const { title, traces } = tracesOf(textOf("film"), (number) => textOf(`buffers-${number}`));
  let shown = 0;
  const current = () => traces[shown];
  const [first] = traces;
  const firstBranch = first.branches.keys().next().value ?? 0;
  const words = wordsAtFirst(first);
  const state = plainState({
    step: first.path(firstBranch).length - 1,
    branch: firstBranch,
    kind: "cross",
    words,
    tokens: [],
    combine: "mean",
    level: 16,
    layer: "mean",
    head: -1,
    colormap: "jet",
    opacity: 0.55,
    shared: false,
    backdrop: "picture",
    follow: false,
  });

  const prompts = [...new Set([...first.branches.values()].map(({ prompt }) => prompt))];
  const facts = h("p", { class: "hdp-facts" }, headerOf(first));
  const head = h("header", {}, h("h1", {}, title), facts);
  if (prompts.length && !(prompts.length === 1 && prompts[0] === title))
    head.append(h("p", { class: "hdp-facts" }, prompts.join(" / ")));
  host.append(head);

  const watched = h("section", { "aria-label": "Steps" });
  host.append(watched);
  const viewer = createViewer(watched, current, state);
  const histogram = createHistogram(watched, current, state);

  if (traces.length > 1) {
    const choice = createChoice("Run", (value) => {
      shown = Number(value);
      facts.textContent = headerOf(current());
      choice.update(runs, value);
      viewer.refresh();
      histogram.update();
    });
    const runs = traces.map((_, i) => ({ value: String(i), label: `run ${i + 1}` }));
    choice.update(runs, "0");
    head.append(h("div", { class: "hdp hdp-runs" }, choice.element));
  }
  if (traces.length > 1 || first.branches.size > 1) {
    const compared = h("section", { "aria-label": "Comparison" }, h("h2", {}, "Comparison"));
    host.append(compared);
    const last = [...traces[traces.length - 1].branches.keys()];
    createCompare(
      compared,
      () => traces,
      plainState({
        step: state.get("step"),
        words,
        combine: "mean",
        level: 16,
        kind: "picture",
        mode: "side",
        swipe: 0.5,
        opacity: 0.55,
        colormap: "jet",
        branches: [firstBranch, traces.length > 1 ? last[0] : last[last.length - 1]],
      }),
    );
  }
}

const host = document.getElementById("page") ?? document.body;
try {
  open(host);
} catch (error) {
  host.append(h("p", { role: "alert" }, `This page cannot be shown: ${error}`));
}
