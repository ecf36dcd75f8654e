// What is selected in the picture: a drawn region, or the masked area where none is drawn.

import { maskedCells } from "../mask/cells.js";
import { gridOf, headsOf, layersOf, levelsOf, nearestLevel } from "../trace/maps.js";
import { wordsOf } from "../trace/words.js";
import { cellsOf, regionKey } from "./region.js";

/** @typedef {import("../trace/trace.js").Frame} Frame */
/** @typedef {import("./view-model.js").ViewModel} ViewModel */
/** @typedef {import("./region.js").Region} Region */
/** @typedef {import("../mask/bitmap.js").Bitmap} Bitmap */

/**
 * @typedef {object} Selection
 * @property {string} key names it where answers are kept
 * @property {number[]} cells of the grid of the maps on display, row-major
 * @property {string} text what it is, in words
 * @property {import("./region-panel.js").Bar[]} words its mean attention to each word
 */

/** @type {WeakMap<object, Map<number, number[]>>} */
const kept = new WeakMap();

/**
 * @param {ViewModel} viewModel
 * @param {Region | null} region
 * @param {Bitmap | null} mask
 * @returns {Selection | null} null where there is neither
 */
export function selectionOf(viewModel, region, mask) {
  const { trace, frame, level } = viewModel;
  const from = region ?? mask;
  if (!trace || !from) return null;
  const at = (/** @type {number} */ n) => {
    const known = kept.get(from) ?? new Map();
    kept.set(from, known);
    if (!known.has(n)) {
      const { opening } = trace;
      const cells = region
        ? cellsOf(region, n, opening.frame)
        : maskedCells(/** @type {Bitmap} */ (mask), n, opening);
      known.set(n, cells);
    }
    return known.get(n) ?? [];
  };
  const cells = at(level);
  if (!cells.length) return null;
  const key = region ? regionKey(region) : "mask";
  const found = frame ? nearestLevel(levelsOf(frame, "cross"), level) : level;
  const count = at(found).length;
  const name = region ? NAMES[region.kind] : "The masked area";
  const text = `${name}: ${count} ${count === 1 ? "cell" : "cells"} of H/${found}`;
  if (!frame) return { key, cells, text, words: [] };
  const layers = layersOf(frame, "cross", found);
  const layer = layers.includes(viewModel.layer) ? viewModel.layer : "mean";
  const head = viewModel.head < headsOf(frame, "cross", found, layer) ? viewModel.head : -1;
  const combine = viewModel.get("combine") === "sum" ? "sum" : "mean";
  const chosen = viewModel.get("words") ?? [];
  const words = wordMeans(frame, at(found), { level: found, layer, head, combine }).map(
    ({ text: word, value }) => ({ text: word, value, chosen: chosen.includes(word) }),
  );
  return { key, cells, text, words };
}

const NAMES = { point: "Point", box: "Box", polygon: "Polygon" };

/**
 * The mean cross-attention of some cells to each word.
 * @param {Frame} frame
 * @param {number[]} cells of the level's grid
 * @param {Pick<import("../trace/maps.js").Want, "level" | "layer" | "head" | "combine">} how
 * @returns {{text: string, tokens: number[], value: number}[]} in the prompt's order
 */
export function wordMeans(frame, cells, how) {
  const found = [];
  for (const word of wordsOf(frame)) {
    const grid = gridOf(frame, { ...how, kind: "cross", tokens: word.tokens });
    if (!grid) return [];
    const sum = cells.reduce((total, cell) => total + grid.values[cell], 0);
    found.push({ ...word, value: cells.length ? sum / cells.length : 0 });
  }
  return found;
}
