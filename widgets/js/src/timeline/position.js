// Where a run stands, and which of its steps is shown.

import { column } from "../trace/tree.js";
import { duration } from "../ui/chart.js";

/** @typedef {import("../trace/trace.js").Film} Film */
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
 * @param {() => Film | undefined} films
 * @param {State} state
 */
export function placesOf(films, state) {
  /** @returns {Run} */
  const run = () => ({ ...NO_RUN, ...state.get("_run") });
  const running = () => run().status === "running";

  /** Where the run stands: null as long as its step has not arrived. */
  function stood() {
    const [film, { node, branch }] = [films(), run()];
    const known = film?.branches.has(branch) && (film.frames.has(node) || isRoot(film, node));
    return film && known ? { branch, at: column(node, film.frames), node } : null;
  }

  /** What is shown; a step that does not exist counts as the newest one. */
  function shown() {
    /** @type {number} */
    const branch = state.get("branch") ?? 0;
    const film = films();
    const path = film?.path(branch) ?? [];
    const at = Math.min((state.get("step") ?? -1) + 1, path.length);
    const first = path[0]?.parent ?? film?.branches.get(branch)?.start ?? -1;
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
 * @param {Film | undefined} film
 * @param {number} branch
 * @param {number} node
 */
export function describe(film, branch, node) {
  const name = film?.branches.get(branch)?.name;
  const frame = film?.frames.get(node);
  if (!frame) return ["Before the first step", name].filter(Boolean).join(" · ");
  const { index, timestep, method, seconds } = frame;
  return `Step ${index + 1} · ${name} · t = ${timestep} · ${method} · ${duration(seconds)}`;
}

/** @param {Film} film @param {number} node */
function isRoot(film, node) {
  const starts = [...film.branches.values()].some(({ start }) => start === node);
  return starts && !film.frames.has(node);
}
