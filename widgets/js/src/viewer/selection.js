// The place that the viewer speaks of: a drawn region, or the masked area where none is drawn.

import { headsOf, layersOf, levelsOf, nearestLevel } from "../trace/maps.js";
import { cellsOf, maskedCells, regionKey, wordMeans } from "./region.js";

/** @typedef {import("./view-model.js").Look} Look */
/** @typedef {import("./region.js").Region} Region */
/** @typedef {import("../mask/bitmap.js").Bitmap} Bitmap */

/** @type {WeakMap<object, Map<number, number[]>>} */
const kept = new WeakMap();

/**
 * @param {Look} look
 * @param {Region | null} region
 * @param {Bitmap | null} mask
 * @returns {{key: string, cells: number[], text: string,
 *   words: import("./region-panel.js").Bar[]} | null} null where there is neither
 */
export function placeOf(look, region, mask) {
  const { film, frame, level } = look;
  const from = region ?? mask;
  if (!film || !from) return null;
  const at = (/** @type {number} */ n) => {
    const known = kept.get(from) ?? new Map();
    kept.set(from, known);
    if (!known.has(n)) {
      const { opening } = film;
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
  const layer = layers.includes(look.layer) ? look.layer : "mean";
  const head = look.head < headsOf(frame, "cross", found, layer) ? look.head : -1;
  const combine = look.get("combine") === "sum" ? "sum" : "mean";
  const chosen = look.get("words") ?? [];
  const words = wordMeans(frame, at(found), { level: found, layer, head, combine }).map(
    ({ text: word, value }) => ({ text: word, value, chosen: chosen.includes(word) }),
  );
  return { key, cells, text, words };
}

const NAMES = { point: "Point", box: "Box", polygon: "Polygon" };
