// The toolbars of the viewer.

import { createChoice, createPicker, createShare, createToggle } from "../ui/controls.js";
import { h } from "../ui/dom.js";
import { COLORS, COMBINE, LEVELS } from "./options.js";
import { createPrompt } from "./prompt.js";

/** @typedef {import("../ui/controls.js").Option} Option */
/** @typedef {import("./view-model.js").ViewModel} ViewModel */

/** @type {Record<string, string>} */
export const KINDS = {
  cross: "cross-attention",
  scores: "scores before softmax",
  c: "c of PAIntA",
  similarity: "self-similarity before PAIntA",
  similarity_painta: "self-similarity after PAIntA",
  difference: "difference, after − before",
  region: "self-attention of a region",
  object: "the object's mask, predicted",
};

/** @type {Record<string, string>} */
const ABOUT = {
  cross: "Where each word is looked at: cross-attention probabilities",
  scores: "Cross-attention before softmax at H/32: what RASG reads (eq. 9)",
  c: "How much of each known position the hole may see, 0 to 1 (eq. 5)",
  similarity: "Self-attention similarity to the masked area, before softmax",
  similarity_painta: "The same with PAIntA's rescaling",
  difference: "What PAIntA's rescaling changes: blue is less, red is more",
  region: "Where the chosen region looks: its rows of the self-attention",
  object: "Where the network takes the new object to be, 0 to 1 (SmartBrush)",
};

const WHY_JET =
  "JET is chosen at first because the figures of this field use it, so maps can be compared with " +
  "theirs. Its lightness goes up and down: the bright yellow band shows edges where the values " +
  "have none. Viridis and inferno rise evenly and show no false edges.";

/**
 * @param {{set: (name: string, value: unknown) => void, flip: (name: string) => void,
 *   words: (chosen: import("../trace/words.js").Chosen) => void}} done
 */
export function createBars(done) {
  const kind = createPicker("What is shown", (value) => done.set("kind", value));
  const level = createChoice("Resolution", (value) => done.set("level", Number(value)));
  const layer = createPicker("Layer", (value) => done.set("layer", value));
  const head = createPicker("Head", (value) => done.set("head", Number(value)));
  const branch = createPicker("Branch", (value) => done.set("branch", Number(value)), true);
  const prompt = createPrompt(done.words);
  const single = createToggle("tokens", "Choose single tokens", () => done.flip("single"));
  const combine = createChoice("Several tokens", (value) => done.set("combine", value));
  const each = createToggle("each", "One picture for each word", () => done.flip("each"));
  const backdrop = createChoice("Below the map", (value) => done.set("backdrop", value));
  const opacity = createShare("map", (value) => done.set("opacity", value));
  const colormap = createChoice("Colours", (value) => done.set("colormap", value));
  const shared = createToggle("one scale", "One colour scale for all steps", () =>
    done.set("shared", !shared.element.matches("[aria-pressed=true]")),
  );
  const crisp = createToggle("cells", "Cells as they are, not smoothed", () => done.flip("crisp"));
  const outline = createToggle("mask", "The mask's outline", () => done.flip("outline"));
  const note = h("p", { class: "hdp-note", role: "note", hidden: true }, WHY_JET);
  const why = h(
    "button",
    {
      type: "button",
      class: "hdp-button",
      title: "Why JET?",
      "aria-label": "Why JET?",
      "aria-expanded": "false",
      click() {
        note.hidden = !note.hidden;
        why.setAttribute("aria-expanded", String(!note.hidden));
      },
      blur() {
        note.hidden = true;
        why.setAttribute("aria-expanded", "false");
      },
    },
    "?",
  );

  return {
    top: [
      h(
        "div",
        { class: "hdp-bar" },
        kind.element,
        level.element,
        layer.element,
        head.element,
        h("span", { class: "hdp-space" }),
        branch.element,
      ),
      h(
        "div",
        { class: "hdp-bar hdp-prompt" },
        prompt.element,
        h("div", { class: "hdp-group" }, single.element, combine.element, each.element),
      ),
    ],
    bottom: h(
      "div",
      { class: "hdp-bar hdp-looks" },
      backdrop.element,
      opacity.element,
      h("div", { class: "hdp-group" }, colormap.element, why),
      h("div", { class: "hdp-group" }, shared.element, crisp.element, outline.element),
      note,
    ),
    /** @param {ViewModel} viewModel */
    update(viewModel) {
      const { get, trace, frame, local, wordy } = viewModel;
      kind.update(
        Object.entries(KINDS).map(([value, label]) => ({
          value,
          label,
          disabled: frame !== null && !viewModel.offered.includes(value),
        })),
        viewModel.kind,
        ABOUT[viewModel.kind],
      );
      level.update(
        LEVELS.map((n) => ({
          value: String(n),
          label: `H/${n}`,
          disabled: !viewModel.levels.includes(n),
          title: trace ? `${trace.opening.frame[1] / n} × ${trace.opening.frame[0] / n} cells` : "",
        })),
        viewModel.levels.length ? String(viewModel.level) : "",
      );
      layer.update(
        [
          { value: "mean", label: viewModel.layers.length ? "mean of layers" : "all layers" },
          ...viewModel.layers.map((value, i) => ({ value, label: viewModel.layerLabels[i] })),
        ],
        viewModel.layer,
        viewModel.layers.length ? viewModel.layer : "Single layers were not captured",
      );
      head.update(
        [
          { value: "-1", label: viewModel.heads ? "mean of heads" : "all heads" },
          ...Array.from({ length: viewModel.heads }, (_, i) => ({
            value: String(i),
            label: `head ${i}`,
          })),
        ],
        String(viewModel.head),
        viewModel.heads ? "" : "Single heads were not captured",
      );
      const branches = [...(trace?.branches.values() ?? [])];
      branch.update(
        branches.map(({ id, name }) => ({ value: String(id), label: name })),
        String(viewModel.branch),
      );
      branch.element.hidden = branches.length < 2;
      const chosen = { words: get("words") ?? [], tokens: get("tokens") ?? [] };
      prompt.update(viewModel.named, chosen, local.single, !wordy);
      single.update(local.single, !viewModel.named);
      combine.update(COMBINE, get("combine"), !wordy);
      each.update(local.each, !wordy || viewModel.parts.length < 2);
      backdrop.update(BACKDROPS, get("backdrop"));
      opacity.update(get("opacity"));
      colormap.update(COLORS, get("colormap"), viewModel.colormap === "coolwarm");
      shared.update(get("shared"), viewModel.kind === "region");
      crisp.update(local.crisp);
      outline.update(local.outline, !trace?.opening.mask);
    },
  };
}

const BACKDROPS = [
  { value: "picture", label: "picture", title: "The decoded x0 prediction, or its preview" },
  { value: "preview", label: "preview", title: "A linear reading of the x0 prediction" },
  { value: "original", label: "original", title: "The given picture" },
];
