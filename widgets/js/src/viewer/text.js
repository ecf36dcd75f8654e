// The texts about the map that the viewer shows.

import { levelsOf } from "../trace/maps.js";
import { KINDS } from "./toolbar.js";

/** @typedef {import("./view-model.js").ViewModel} ViewModel */

const PAINTA = new Set(["c", "similarity_painta", "difference"]);

/** @param {ViewModel} viewModel @param {import("./view-model.js").Part} part */
export function nameOf(viewModel, part) {
  const pieces = [KINDS[viewModel.kind]];
  if (viewModel.wordy && part.label) pieces.push(part.label);
  if (viewModel.levels.length) pieces.push(`H/${viewModel.level}`);
  if (viewModel.layer !== "mean")
    pieces.push(viewModel.layerLabels[viewModel.layers.indexOf(viewModel.layer)]);
  if (viewModel.head >= 0) pieces.push(`head ${viewModel.head}`);
  return pieces.join(" · ");
}

/**
 * What to say over the picture; empty where the map speaks for itself.
 * @param {ViewModel} viewModel
 * @param {import("./region-queries.js").Answer | null} answer
 */
export function hintOf(viewModel, answer) {
  if (!viewModel.trace) return "Waiting for Python …";
  if (!viewModel.path.length) return "No step made yet";
  if (!viewModel.frame) return "Before the first step";
  if (viewModel.kind === "region") {
    if (!viewModel.levels.length) return "Not known: self-similarity was not captured in this run";
    if (!answer) return "Click the picture, or drag a box";
    if (answer.status === "asking") return "asking Python …";
    if (answer.status === "away") return "Self-attention needs a running model";
    return answer.error ? "Python could not answer" : "";
  }
  if (!levelsOf(viewModel.frame, viewModel.kind).length)
    return PAINTA.has(viewModel.kind)
      ? "PAIntA did not act in this step"
      : "Not captured in this run";
  return viewModel.wordy && !viewModel.parts.length ? "Choose a word above" : "";
}
