// A point of a run in words.

import { duration, methodSaid } from "../ui/format.js";

/** @typedef {import("../trace/trace.js").Trace} Trace */

/**
 * A point of a branch in words.
 * @param {Trace | undefined} trace
 * @param {number} branch
 * @param {number} node
 */
export function describe(trace, branch, node) {
  const name = trace?.branches.get(branch)?.title;
  const frame = trace?.frames.get(node);
  if (!frame) return ["Before the first step", name].filter(Boolean).join(" · ");
  const { index, timestep, method, seconds } = frame;
  return `Step ${index + 1} · ${name} · t = ${timestep} · ${methodSaid(method)} · ${duration(seconds)}`;
}
