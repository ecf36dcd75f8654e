// Which map a step shows: chosen, put together, and the values that its colours run between.

import { short } from "../ui/format.js";
import { mapsOf } from "./trace.js";

/** @typedef {import("./trace.js").Frame} Frame */
/** @typedef {import("./trace.js").MapData} MapData */
/** @typedef {import("./trace.js").Opening} Opening */
/** @typedef {import("../color/colormaps.js").Range} Range */
/** @typedef {import("../color/resample.js").Grid} Grid */
/**
 * @typedef {object} Want
 * @property {string} kind a map's, or "difference": similarity_painta less similarity
 * @property {number} level
 * @property {string} layer "mean" for the mean over layers
 * @property {number} head -1 for the mean over heads
 * @property {number[]} tokens positions; of no account where maps have no tokens
 * @property {"mean" | "sum"} combine of the tokens
 */

/** Kinds whose maps belong to tokens. */
export const WORDY = new Set(["cross", "scores"]);

/**
 * The resolutions at which a step has a kind, finest first.
 * @param {Frame} frame
 * @param {string} kind
 * @returns {number[]}
 */
export function levelsOf(frame, kind) {
  const base = kind === "difference" || kind === "region" ? "similarity" : kind;
  const other = kind === "difference" ? "similarity_painta" : base;
  const levels = new Set(frame.maps.filter((map) => map.kind === base).map((map) => map.level));
  return [...levels].filter((n) => mapsOf(frame, other, n).length > 0).sort((a, b) => a - b);
}

/**
 * @param {Frame} frame
 * @param {string} kind
 * @param {number} level
 * @returns {string[]} names of the layers kept; none where only their mean was
 */
export function layersOf(frame, kind, level) {
  const base =
    kind === "difference" ? "similarity_painta" : kind === "region" ? "similarity" : kind;
  return mapsOf(frame, base, level)
    .map((map) => map.layer)
    .filter((layer) => layer !== "mean");
}

/**
 * How many heads can be told apart; 0 where only their mean was kept.
 * @param {Frame} frame
 * @param {string} kind
 * @param {number} level
 * @param {string} layer
 */
export function headsOf(frame, kind, level, layer) {
  const counts = chosenLayers(mapsOf(frame, kind, level), layer).map((map) =>
    map.shape.length === 4 ? map.shape[0] : 0,
  );
  return counts.length ? Math.min(...counts) : 0;
}

/**
 * The captured level that is nearest to the wanted one; a finer one before a coarser.
 * @param {number[]} levels finest first
 * @param {number} wanted
 */
export function nearestLevel(levels, wanted) {
  const gap = (/** @type {number} */ n) => Math.abs(Math.log2(n / wanted));
  return levels.reduce((best, n) => (gap(n) < gap(best) ? n : best), levels[0] ?? wanted);
}

/** @type {WeakMap<Frame, Map<string, Grid | null>>} */
const grids = new WeakMap();
const KEPT = 16; // grids of one step

/**
 * The map of a step, kept for the next time. Null where the step has none.
 * @param {Frame} frame
 * @param {Want} want
 * @returns {Grid | null}
 */
export function gridOf(frame, want) {
  const kept = grids.get(frame) ?? new Map();
  grids.set(frame, kept);
  const key = keyOf(want);
  if (!kept.has(key)) {
    if (kept.size >= KEPT) kept.delete(kept.keys().next().value);
    kept.set(key, computed(frame, want));
  }
  return kept.get(key) ?? null;
}

/** @param {Want} want */
export function keyOf({ kind, level, layer, head, tokens, combine }) {
  const words = WORDY.has(kind) ? `${tokens.join(",")} ${combine}` : "";
  return `${kind} ${level} ${layer} ${head} ${words}`;
}

/**
 * @param {Frame} frame
 * @param {Want} want
 * @returns {Grid | null}
 */
function computed(frame, want) {
  if (want.kind !== "difference") {
    const maps = chosenLayers(mapsOf(frame, want.kind, want.level), want.layer);
    return meanOf(maps, want);
  }
  const after = chosenLayers(mapsOf(frame, "similarity_painta", want.level), want.layer);
  // PAIntA need not act in all layers: only those with both are compared.
  const names = new Set(after.map((map) => map.layer));
  const before = mapsOf(frame, "similarity", want.level).filter((map) => names.has(map.layer));
  const [low, high] = [meanOf(before, want), meanOf(after, want)];
  if (!low || !high) return null;
  return { ...high, values: high.values.map((value, i) => value - low.values[i]) };
}

/**
 * @param {MapData[]} maps
 * @param {string} layer a layer that was not kept counts as "mean"
 */
function chosenLayers(maps, layer) {
  const named = maps.filter((map) => map.layer === layer);
  return named.length ? named : maps;
}

/**
 * @param {MapData[]} maps layers of the same size
 * @param {Want} want
 * @returns {Grid | null}
 */
function meanOf(maps, want) {
  if (!maps.length) return null;
  const [height, width] = maps[0].shape.slice(-2);
  const values = new Float32Array(height * width);
  for (const map of maps) {
    const [heads, tokens] = axes(map);
    const chosenHeads = want.head >= 0 && want.head < heads ? [want.head] : range(heads);
    const positions = WORDY.has(map.kind) ? want.tokens.filter((token) => token < tokens) : [0];
    if (!positions.length) return null;
    const parts = want.combine === "sum" ? 1 : positions.length;
    const weight = 1 / (maps.length * chosenHeads.length * parts);
    for (const head of chosenHeads)
      for (const token of positions) addTo(values, map, head * tokens + token, weight);
  }
  return { width, height, values };
}

/**
 * @param {MapData} map
 * @returns {[heads: number, tokens: number]}
 */
function axes({ shape }) {
  return [shape.length > 3 ? shape[0] : 1, shape.length > 2 ? shape[shape.length - 3] : 1];
}

/**
 * @param {Float32Array} sum
 * @param {MapData} map
 * @param {number} index
 * @param {number} weight
 */
function addTo(sum, map, index, weight) {
  const [low, high] = [map.low[index], map.high[index]];
  const scale = (weight * (high - low)) / 255;
  const bytes = /** @type {Uint8Array} */ (map.bytes);
  const start = index * sum.length;
  for (let i = 0; i < sum.length; i++) sum[i] += weight * low + scale * bytes[start + i];
}

/** @param {number} count */
function range(count) {
  return Array.from({ length: count }, (_, i) => i);
}

/**
 * The cells that the picture takes: left, top, right, bottom, the last ones not included. What was
 * padded around it must not set the colours.
 * @param {Grid} grid
 * @param {Pick<Opening, "frame" | "crop">} opening
 */
export function visibleCells({ width, height }, { frame, crop }) {
  const [top, left, tall, wide] = crop;
  return {
    x0: Math.floor((left * width) / frame[1]),
    y0: Math.floor((top * height) / frame[0]),
    x1: Math.min(width, Math.ceil(((left + wide) * width) / frame[1])),
    y1: Math.min(height, Math.ceil(((top + tall) * height) / frame[0])),
  };
}

/**
 * The lowest and the highest value over the picture.
 * @param {Grid} grid
 * @param {Pick<Opening, "frame" | "crop">} opening
 * @returns {Range}
 */
export function rangeOf(grid, opening) {
  const { x0, y0, x1, y1 } = visibleCells(grid, opening);
  let [low, high] = [Infinity, -Infinity];
  for (let y = y0; y < y1; y++) {
    for (let x = x0; x < x1; x++) {
      const value = grid.values[y * grid.width + x];
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return low <= high ? [low, high] : [0, 0];
}

/** @type {WeakMap<Frame, Map<string, Range | null>>} */
const ranges = new WeakMap();

/**
 * The range of all these steps together.
 * @param {Frame[]} frames
 * @param {Want} want
 * @param {Pick<Opening, "frame" | "crop">} opening
 * @returns {Range | null} null where no step has the map
 */
export function sharedRange(frames, want, opening) {
  const key = keyOf(want);
  /** @type {Range | null} */
  let all = null;
  for (const frame of frames) {
    const kept = ranges.get(frame) ?? new Map();
    ranges.set(frame, kept);
    if (!kept.has(key)) {
      const grid = computed(frame, want);
      kept.set(key, grid && rangeOf(grid, opening));
    }
    all = union(all, kept.get(key) ?? null);
  }
  return all;
}

/**
 * @param {Range | null} a
 * @param {Range | null} b
 * @returns {Range | null}
 */
export function union(a, b) {
  if (!a || !b) return a ?? b;
  return [Math.min(a[0], b[0]), Math.max(a[1], b[1])];
}

/**
 * A range about 0 for what is drawn in the diverging colours.
 * @param {Range} range
 * @param {number} [least] how far it reaches at least
 * @returns {Range}
 */
export function symmetric([low, high], least = 0) {
  const reach = Math.max(Math.abs(low), Math.abs(high), least) || 1;
  return [-reach, reach];
}

/**
 * The least that a kind's colours span, so that what is next to nothing is not painted red: an even
 * share of the attention, over the tokens or over the places; one logit, a factor e before the
 * softmax; all of c and of an object's mask.
 * @param {string} kind
 * @param {{even: number, tokens?: number, cells?: number}} of even: a token's even share; tokens:
 *   how many are added up; cells: of the map
 */
export function leastSpan(kind, { even, tokens = 1, cells = 1 }) {
  if (kind === "cross") return even * tokens;
  if (kind === "region") return 1 / cells;
  return 1;
}

/**
 * The values that a kind's colours run between, of at least that span.
 * @param {string} kind
 * @param {Range} range of its values
 * @param {number} least
 * @returns {Range}
 */
export function colourRange(kind, [low, high], least) {
  if (kind === "c" || kind === "object") return [0, 1];
  if (kind === "difference") return symmetric([low, high], least);
  return [low, Math.max(high, low + least)];
}

/**
 * What the values of a kind are, to stand beside its colours.
 * @param {string} kind
 * @param {number} even a token's even share
 */
export function unitOf(kind, even) {
  if (kind === "cross")
    return even ? `share of attention (even: ${short(even)})` : "share of attention";
  if (kind === "region") return "share of attention";
  if (kind === "c") return "0 foreign to the prompt, 1 its own";
  if (kind === "object") return "0 elsewhere, 1 the object";
  return kind === "picture" ? "levels of 255" : "logits";
}
