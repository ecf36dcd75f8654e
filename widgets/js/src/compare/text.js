// What a comparison says: names, hints, and the values under the pointer.

import { WORDY } from "../trace/maps.js";
import { short } from "../ui/format.js";
import { readingAt } from "../viewer/overlay.js";

/** @typedef {import("./sides.js").Side} Side */
/** @typedef {import("./heats.js").Heat} Heat */

/** @type {Record<string, string>} */
export const NAMES = {
  picture: "pictures",
  cross: "cross-attention",
  scores: "scores",
  c: "c of PAIntA",
};

/** @param {string} kind @param {boolean} single @param {number} level @param {string[]} words */
export function nameOf(kind, single, level, words) {
  if (kind === "picture") return single ? "absolute difference of the pictures" : NAMES[kind];
  const what = `${NAMES[kind]} · H/${level}`;
  const named = WORDY.has(kind) && words.length ? `${words.join(", ")} · ${what}` : what;
  return single ? `second − first · ${named}` : named;
}

/**
 * @param {Side[]} both
 * @param {string} kind
 * @param {boolean} single
 * @param {(Heat | null)[]} heats
 * @param {string[]} words
 */
export function hintOf(both, kind, single, heats, words) {
  if (both.length < 2) return "Waiting for Python …";
  if (both.every(({ path }) => !path.length)) return "No step made yet";
  if (both.every(({ frame }) => !frame)) return "Before the first step";
  if (kind === "picture" || heats.some(Boolean)) return "";
  if (WORDY.has(kind) && !words.length) return "Choose a word above";
  if (kind === "c") return single ? "PAIntA did not act in both here" : "PAIntA did not act here";
  return single ? "Only one of the two has this map, or their sizes differ" : "Not captured here";
}

/**
 * @param {Side[]} both
 * @param {import("../mask/raster.js").Point} at in pixels of the frame
 * @param {number} which the side that is pointed at
 * @param {{heats: (Heat | null)[], kind: string, level: number, single: boolean}} shown
 * @returns {{text: string, value: number | null} | null}
 */
export function readingOf(both, at, which, { heats, kind, level, single }) {
  const side = both[single ? 0 : which];
  if (!side) return null;
  const pixels = kind === "picture";
  const here = readingAt(at, side.trace, level, pixels ? null : (heats[which]?.grid ?? null));
  if (!here) return null;
  if (pixels) {
    const [top, left, height, width] = side.trace.opening.crop;
    const [x, y] = [Math.floor(at.x - left), Math.floor(at.y - top)];
    const inside = x >= 0 && y >= 0 && x < width && y < height;
    const value = inside ? (heats[0]?.grid.values[y * width + x] ?? null) : null;
    return { value, text: value === null ? here.pixel : `${short(value)} of 255 · ${here.pixel}` };
  }
  if (single) return { value: here.value, text: here.text };
  const other = readingAt(at, both[1 - which].trace, level, heats[1 - which]?.grid ?? null);
  const [first, second] = which ? [other?.value, here.value] : [here.value, other?.value];
  const text = `1: ${short(first)} · 2: ${short(second)} · ${here.cell} · ${here.pixel}`;
  return { value: here.value, text };
}
