// What the viewer says about the map that it shows.

import { levelsOf } from "../trace/maps.js";
import { KINDS } from "./toolbar.js";

/** @typedef {import("./view-model.js").Look} Look */

const PAINTA = new Set(["c", "similarity_painta", "difference"]);

/** @param {Look} look @param {import("./view-model.js").Part} part */
export function nameOf(look, part) {
  const pieces = [KINDS[look.kind]];
  if (look.wordy && part.label) pieces.push(part.label);
  if (look.levels.length) pieces.push(`H/${look.level}`);
  if (look.layer !== "mean") pieces.push(look.layerLabels[look.layers.indexOf(look.layer)]);
  if (look.head >= 0) pieces.push(`head ${look.head}`);
  return pieces.join(" · ");
}

/**
 * What to say over the picture; empty where the map speaks for itself.
 * @param {Look} look
 * @param {import("./region-queries.js").Answer | null} answer
 */
export function hintOf(look, answer) {
  if (!look.film) return "Waiting for Python …";
  if (!look.path.length) return "No step made yet";
  if (!look.frame) return "Before the first step";
  if (look.kind === "region") {
    if (!look.levels.length) return "Not known: self-similarity was not captured in this run";
    if (!answer) return "Click the picture, or drag a box";
    if (answer.status === "asking") return "asking Python …";
    if (answer.status === "away") return "Self-attention needs a running model";
    return answer.error ? "Python could not answer" : "";
  }
  if (!levelsOf(look.frame, look.kind).length)
    return PAINTA.has(look.kind) ? "PAIntA did not act in this step" : "Not captured in this run";
  return look.wordy && !look.parts.length ? "Choose a word above" : "";
}
