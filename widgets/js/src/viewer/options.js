// Choices that are offered wherever maps are shown.

import { COLORMAPS } from "../color/colormaps.js";

/** @typedef {import("../ui/controls.js").Option} Option */

/** Resolutions of maps, finest first. */
export const LEVELS = [8, 16, 32];

/** How several chosen tokens become one map. @type {Option[]} */
export const COMBINE = [
  { value: "mean", label: "mean", title: "Mean over the chosen tokens" },
  { value: "sum", label: "sum", title: "Sum over the chosen tokens" },
];

/** @type {Option[]} */
export const COLORS = COLORMAPS.map((value) => ({
  value,
  label: value === "jet" ? "JET" : value,
}));
