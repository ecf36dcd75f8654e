// The two branches of a comparison, from one run or from two, and how they differ.

import { gridOf, levelsOf, nearestLevel, rangeOf, WORDY } from "../trace/maps.js";
import { positionsOf, wordsOf } from "../trace/words.js";

/** @typedef {import("../trace/trace.js").Trace} Trace */
/** @typedef {import("../trace/trace.js").Frame} Frame */
/** @typedef {import("../trace/trace.js").Branch} Branch */
/** @typedef {import("../trace/maps.js").Grid} Grid */
/**
 * @typedef {object} Side
 * @property {Trace} trace
 * @property {number} number which of the traces
 * @property {Branch | undefined} branch
 * @property {Frame[]} path
 * @property {Frame | null} frame the step shown
 * @property {boolean} over whether its last step stays while the other one goes on
 */

/**
 * @param {(Trace | undefined)[]} traces one, or two
 * @param {number[]} branches of the first side and of the second
 * @param {number} step
 * @returns {Side[]} none before the traces are there
 */
export function sidesOf(traces, branches, step) {
  const found = [];
  for (const which of [0, 1]) {
    const number = which && traces.length > 1 ? 1 : 0;
    const trace = traces[number];
    if (!trace) return [];
    const wanted = branches[which];
    const ids = [...trace.branches.keys()];
    const fallback = which && number === 0 ? ids[ids.length - 1] : ids[0];
    const id = trace.branches.has(wanted) ? wanted : (fallback ?? 0);
    const path = trace.path(id);
    const at = Math.min(step, path.length - 1);
    const frame = at >= 0 ? path[at] : null;
    found.push({ trace, number, branch: trace.branches.get(id), path, frame, over: step > at });
  }
  return found;
}

/**
 * Every word of both sides once.
 * @param {Side[]} sides
 * @returns {Pick<Frame, "words" | "tokens">}
 */
export function wordsOfBoth(sides) {
  /** @type {Map<string, [string, number[]]>} */
  const words = new Map();
  for (const { frame, path } of sides) {
    const from = frame ?? path[0];
    if (from) for (const { text } of wordsOf(from)) words.set(text, [text, []]);
  }
  return { words: [...words.values()], tokens: [] };
}

/**
 * The levels at which any step of either side has a kind.
 * @param {Side[]} sides
 * @param {string} kind
 */
export function levelsOfBoth(sides, kind) {
  const found = new Set(
    sides.flatMap(({ path }) =>
      path
        .slice(0, 1)
        .concat(path.slice(-1))
        .flatMap((f) => levelsOf(f, kind)),
    ),
  );
  return [...found].sort((a, b) => a - b);
}

/**
 * @param {Side} side
 * @param {string} kind
 * @param {number} level
 * @param {string[]} words
 * @param {"mean" | "sum"} combine
 * @returns {Grid | null}
 */
export function gridOfSide({ frame }, kind, level, words, combine) {
  if (!frame) return null;
  const tokens = WORDY.has(kind) ? positionsOf(frame, words) : [];
  if (WORDY.has(kind) && !tokens.length) return null;
  const near = nearestLevel(levelsOf(frame, kind), level);
  return gridOf(frame, { kind, level: near, layer: "mean", head: -1, tokens, combine });
}

/**
 * The second map less the first.
 * @param {Grid | null} first
 * @param {Grid | null} second
 * @returns {Grid | null} null where one is missing or they have other sizes
 */
export function lessOf(first, second) {
  if (!first || !second || first.width !== second.width || first.height !== second.height)
    return null;
  return { ...second, values: second.values.map((value, i) => value - first.values[i]) };
}

/**
 * The settings that differ, as each side has them, in words.
 * @param {Side[]} sides
 * @returns {string[][]} for each side, one text per setting
 */
export function settingsApart(sides) {
  const all = sides.map(({ branch }) => branch?.said ?? {});
  const names = [...new Set(all.flatMap((settings) => Object.keys(settings)))].sort();
  const apart = names.filter((name) => all.some((settings) => settings[name] !== all[0][name]));
  return all.map((settings) => apart.map((name) => settings[name] ?? ""));
}

/**
 * How far two pictures are apart, from 0 to 255: the mean over red, green and blue.
 * @param {Uint8ClampedArray} a red, green, blue and opacity of each pixel
 * @param {Uint8ClampedArray} b
 * @param {number} width
 * @returns {Grid}
 */
export function pictureDifference(a, b, width) {
  const values = new Float32Array(a.length / 4);
  for (let i = 0; i < values.length; i++) {
    const at = 4 * i;
    values[i] =
      (Math.abs(a[at] - b[at]) +
        Math.abs(a[at + 1] - b[at + 1]) +
        Math.abs(a[at + 2] - b[at + 2])) /
      3;
  }
  return { width, height: values.length / width, values };
}

/**
 * The range of a side's map over its picture.
 * @param {Side} side
 * @param {Grid | null} grid
 */
export function rangeOfSide({ trace }, grid) {
  return grid && rangeOf(grid, trace.opening);
}
