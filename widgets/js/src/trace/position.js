// Where a run stands, and which of its steps is shown.

import { column } from "./tree.js";

/** @typedef {import("./trace.js").Trace} Trace */
/** @typedef {import("./state.js").State} State */
/**
 * @typedef {object} Run what Python tells of a run, and of where its sampler stands
 * @property {string} key names the run's runner on this page
 * @property {number} serial of this news; what is numbered lower is older
 * @property {string} [trace] key of the trace that node and branch are of
 * @property {"idle" | "running" | "paused" | "error"} status
 * @property {number} index steps made up to where the run stands
 * @property {number} total
 * @property {number | null} seconds_per_step
 * @property {number | null} seconds_left
 * @property {string} failure what happened and what to do, in lines; empty while all is well
 * @property {number} node where the sampler stands
 * @property {number} branch
 */

/** @type {Run} */
const NO_RUN = {
  key: "",
  serial: -1,
  trace: "",
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
 * The newest that any view of this page was told of each runner. Each view is a bundle of its own
 * and hears of a run at a time of its own, so they share it here: none goes back to what another
 * has left behind.
 */
const newest = shared();

/** @returns {Map<string, Run>} */
function shared() {
  const [page, name] = [/** @type {any} */ (globalThis), Symbol.for("hdpainter-nb: runs")];
  page[name] ??= new Map();
  return page[name];
}

/**
 * What is known of a run, given what one view was told; older news are dropped.
 * @param {Partial<Run> | undefined} told
 * @returns {Run}
 */
export function newestOf(told) {
  const run = { ...NO_RUN, ...told };
  if (!run.key) return run;
  const known = newest.get(run.key);
  if (known && known.serial > run.serial) return known;
  newest.set(run.key, run);
  return run;
}

/**
 * Steps are counted as those made up to a point: 0 is before the first one.
 * @param {() => Trace | undefined} current
 * @param {State} state
 */
export function createPosition(current, state) {
  const run = () => newestOf(state.get("_run"));
  const running = () => run().status === "running";

  /**
   * Whether the trace at hand is the run's: that of a new run may still be on its way, and its nodes
   * are numbered as those of the one before.
   */
  function ofRun() {
    const [key, { trace }] = [current()?.opening.key, run()];
    return !key || !trace || key === trace;
  }

  /** Where the run stands: null as long as its step has not arrived. */
  function stood() {
    const [trace, { node, branch }] = [current(), run()];
    if (!ofRun()) return null;
    const known = trace?.branches.has(branch) && (trace.frames.has(node) || isRoot(trace, node));
    return trace && known ? { branch, at: column(node, trace.frames), node } : null;
  }

  /**
   * What is shown; a step that does not exist counts as the newest one. Until the trace of a new run
   * has come, the end of the one before stays on display: a linked view that has it already counts
   * in that one.
   */
  function shown() {
    /** @type {number} */
    const branch = state.get("branch") ?? 0;
    const trace = current();
    const path = trace?.path(branch) ?? [];
    const waits = state.get("_following") !== false && !ofRun();
    const at = waits ? path.length : Math.min((state.get("step") ?? -1) + 1, path.length);
    const first = path[0]?.parent ?? trace?.branches.get(branch)?.start ?? -1;
    return { branch, path, at, first, node: path[at - 1]?.node ?? first };
  }

  /**
   * Whether what is shown is where the run stands, or the newest step that has arrived of a run
   * that is ahead of it. Without a run it is the branch's newest step.
   */
  function atRun() {
    const [{ key, branch, index, node, status }, seen] = [run(), shown()];
    const last = seen.at === seen.path.length;
    if ((!key && node < 0) || !ofRun()) return last;
    if (branch !== seen.branch) return false;
    // Another view may have gone there already, while the step has not arrived at this one.
    if ((state.get("step") ?? -1) + 1 === index || node === seen.node) return true;
    return status === "running" && last && index > seen.at;
  }

  /** Where to go with the run: null as long as its step has not arrived. */
  function target() {
    const { key, node } = run();
    if (key || node >= 0) return stood();
    const { branch, path } = shown();
    return path.length ? { branch, at: path.length } : null;
  }
  return { run, running, stood, shown, atRun, target };
}

/** @param {Trace} trace @param {number} node */
function isRoot(trace, node) {
  const starts = [...trace.branches.values()].some(({ start }) => start === node);
  return starts && !trace.frames.has(node);
}
