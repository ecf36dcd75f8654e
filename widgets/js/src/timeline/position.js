// Where a run stands, and which of its steps is shown.

import { column } from "../trace/tree.js";
import { duration } from "../ui/format.js";

/** @typedef {import("../trace/trace.js").Trace} Trace */
/** @typedef {import("../trace/state.js").State} State */
/** @typedef {import("./status.js").Run} Run */

/** @type {Run} */
const NO_RUN = {
  status: "idle",
  index: 0,
  total: 0,
  seconds_per_step: null,
  seconds_left: null,
  failure: "",
  node: -1,
  branch: -1,
};

/**
 * Steps are counted as those made up to a point: 0 is before the first one.
 * @param {() => Trace | undefined} current
 * @param {State} state
 */
export function createPosition(current, state) {
  /** @returns {Run} */
  const run = () => ({ ...NO_RUN, ...state.get("_run") });
  const running = () => run().status === "running";

  /** Where the run stands: null as long as its step has not arrived. */
  function stood() {
    const [trace, { node, branch }] = [current(), run()];
    const known = trace?.branches.has(branch) && (trace.frames.has(node) || isRoot(trace, node));
    return trace && known ? { branch, at: column(node, trace.frames), node } : null;
  }

  /** What is shown; a step that does not exist counts as the newest one. */
  function shown() {
    /** @type {number} */
    const branch = state.get("branch") ?? 0;
    const trace = current();
    const path = trace?.path(branch) ?? [];
    const at = Math.min((state.get("step") ?? -1) + 1, path.length);
    const first = path[0]?.parent ?? trace?.branches.get(branch)?.start ?? -1;
    return { branch, path, at, first, node: path[at - 1]?.node ?? first };
  }

  /** Whether what is shown is where the run stands. */
  function atRun() {
    const [place, seen] = [stood(), shown()];
    return !!place && place.node === seen.node && place.branch === seen.branch;
  }
  return { run, running, stood, shown, atRun };
}

/**
 * A point of a branch in words.
 * @param {Trace | undefined} trace
 * @param {number} branch
 * @param {number} node
 */
export function describe(trace, branch, node) {
  const name = trace?.branches.get(branch)?.name;
  const frame = trace?.frames.get(node);
  if (!frame) return ["Before the first step", name].filter(Boolean).join(" · ");
  const { index, timestep, method, seconds } = frame;
  return `Step ${index + 1} · ${name} · t = ${timestep} · ${method} · ${duration(seconds)}`;
}

/** @param {Trace} trace @param {number} node */
function isRoot(trace, node) {
  const starts = [...trace.branches.values()].some(({ start }) => start === node);
  return starts && !trace.frames.has(node);
}
