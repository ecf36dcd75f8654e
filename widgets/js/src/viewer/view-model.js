// The view model: what a viewer shows, worked out once from the trace and the state.

import { DIVERGING } from "../color/colormaps.js";
import {
  colourRange,
  gridOf,
  headsOf,
  layersOf,
  leastSpan,
  levelsOf,
  nearestLevel,
  rangeOf,
  sharedRange,
  WORDY,
} from "../trace/maps.js";
import { positionsOf } from "../trace/words.js";
import { layerNames } from "../ui/format.js";

/** @typedef {import("../trace/trace.js").Trace} Trace */
/** @typedef {import("../trace/trace.js").Frame} Frame */
/** @typedef {import("../trace/maps.js").Grid} Grid */
/** @typedef {import("../trace/maps.js").Want} Want */
/** @typedef {import("../color/colormaps.js").Range} Range */
/** @typedef {{single: boolean, each: boolean, crisp: boolean, outline: boolean, painta: boolean}} Local */
/** @typedef {{label: string, positions: number[]}} Part words or tokens that are shown together */

const ALL = [
  "cross",
  "scores",
  "c",
  "similarity",
  "similarity_painta",
  "difference",
  "region",
  "object",
];

const COARSEST = 32; // level; beyond it a map has too few cells to say where

/**
 * @param {Trace | undefined} trace
 * @param {import("../trace/state.js").State} state
 * @param {Local} local
 */
export function readViewModel(trace, state, local) {
  const get = state.get;
  const branch = trace?.branches.has(get("branch"))
    ? get("branch")
    : (trace?.branches.keys().next().value ?? 0);
  const path = trace?.path(branch) ?? [];
  const step = Math.max(-1, Math.min(get("step") ?? -1, path.length - 1));
  const frame = path[step] ?? null;
  const named = frame ?? path[0] ?? null;
  const kind = ALL.includes(get("kind")) ? get("kind") : "cross";
  // PAIntA acts in a part of the steps only: controls stay as they are where it does not.
  const typical = [frame, ...path].find((one) => one && levelsOf(one, kind).length > 0);
  const levels = typical ? levelsOf(typical, kind).filter((n) => n <= COARSEST) : [];
  const level = nearestLevel(levels, get("level"));
  const layers = typical ? layersOf(typical, kind, level) : [];
  const layer = layers.includes(get("layer")) ? get("layer") : "mean";
  const heads = typical ? headsOf(typical, kind === "region" ? "cross" : kind, level, "mean") : 0;
  const head = get("head") < heads ? get("head") : -1;
  const wordy = WORDY.has(kind);
  return {
    get,
    trace,
    local,
    branch,
    path,
    step,
    frame,
    named,
    kind,
    levels,
    level,
    layers,
    layerLabels: layerNames(layers),
    layer,
    heads,
    head,
    wordy,
    offered: named
      ? ALL.filter((other) => path.some((one) => levelsOf(one, other).length > 0))
      : ALL,
    parts: named && wordy ? partsOf(named, get("words") ?? [], get("tokens") ?? []) : [],
    colormap: kind === "difference" ? DIVERGING : get("colormap"),
  };
}

/** @typedef {ReturnType<typeof readViewModel>} ViewModel */

/**
 * The chosen words and loose tokens, one by one.
 * @param {Frame} frame
 * @param {string[]} words
 * @param {number[]} tokens
 * @returns {Part[]}
 */
export function partsOf(frame, words, tokens) {
  const known = words
    .map((word) => ({ label: word, positions: positionsOf(frame, [word]) }))
    .filter(({ positions }) => positions.length > 0);
  const loose = tokens
    .filter((token) => token >= 0 && token < frame.tokens.length)
    .map((token) => ({ label: `${frame.tokens[token]} (${token})`, positions: [token] }));
  return [...known, ...loose];
}

/**
 * @param {Part[]} parts
 * @returns {Part}
 */
export function together(parts) {
  const positions = [...new Set(parts.flatMap((part) => part.positions))].sort((a, b) => a - b);
  return { label: parts.map(({ label }) => label).join(", "), positions };
}

/**
 * @param {ViewModel} viewModel
 * @param {number[]} tokens
 * @returns {Want}
 */
export function wantOf({ kind, level, layer, head, get }, tokens) {
  return { kind, level, layer, head, tokens, combine: get("combine") === "sum" ? "sum" : "mean" };
}

/**
 * The least that the colours of a map span.
 * @param {ViewModel} viewModel
 * @param {Grid} grid
 * @param {Part} [part]
 */
export function leastOf({ frame, kind, get }, grid, part) {
  const tokens = get("combine") === "sum" ? (part?.positions.length ?? 1) : 1;
  const cells = grid.width * grid.height;
  return leastSpan(kind, { even: frame?.even_share ?? 0, tokens, cells });
}

/**
 * A part's map and the values between which it is coloured.
 * @param {ViewModel} viewModel
 * @param {Part} part
 * @returns {{grid: Grid, range: Range} | null}
 */
export function heatOf(viewModel, part) {
  const { trace, frame, kind } = viewModel;
  if (!trace || !frame || (viewModel.wordy && !part.positions.length)) return null;
  const want = wantOf(viewModel, part.positions);
  const grid = gridOf(frame, want);
  if (!grid) return null;
  const own = rangeOf(grid, trace.opening);
  const range =
    (viewModel.get("shared") && sharedRange(viewModel.path, want, trace.opening)) || own;
  return { grid, range: colourRange(kind, range, leastOf(viewModel, grid, part)) };
}
