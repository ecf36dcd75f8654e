// The toolbars of a comparison, with captions that say what is compared.

import { createChoice, createPicker, createShare, createToggle } from "../ui/controls.js";
import { h } from "../ui/dom.js";
import { methodSaid } from "../ui/format.js";
import { glyph } from "../ui/glyphs.js";
import { COLORS, COMBINE, LEVELS } from "../viewer/options.js";
import { createPrompt } from "../viewer/prompt.js";
import { settingsApart } from "./sides.js";

/** @typedef {import("./sides.js").Side} Side */
/** @typedef {{playing: boolean, outline: boolean, gain: number}} Local */

const KINDS = [
  { value: "picture", label: "picture", title: "The x0 prediction" },
  { value: "cross", label: "cross-attention", title: "Cross-attention of the chosen words" },
  { value: "scores", label: "scores", title: "The scores before softmax, which RASG reads" },
  { value: "c", label: "c", title: "c of PAIntA" },
];
const MODES = [
  { value: "side", label: "side by side" },
  { value: "swipe", label: "swipe" },
  { value: "difference", label: "difference", title: "Second less first" },
];
export const GAINS = [1, 2, 4, 8, 16];

/**
 * @param {{set: (name: string, value: unknown) => void, side: (which: number, id: number) => void,
 *   swap: () => void, play: () => void, outline: () => void, gain: (gain: number) => void}} done
 */
export function createCompareBars(done) {
  const kind = createChoice("What is compared", (value) => done.set("kind", value));
  const level = createChoice("Resolution", (value) => done.set("level", Number(value)));
  const mode = createChoice("How", (value) => done.set("mode", value));
  const combine = createChoice("Several tokens", (value) => done.set("combine", value));
  const colormap = createChoice("Colours", (value) => done.set("colormap", value));
  const opacity = createShare("map", (value) => done.set("opacity", value));
  const outline = createToggle("mask", "The mask's outline", done.outline);
  const prompt = createPrompt(({ words }) => done.set("words", words));
  const gain = createPicker("times", (value) => done.gain(Number(value)), true);
  const swap = h(
    "button",
    {
      type: "button",
      class: "hdp-button",
      title: "Change sides",
      "aria-label": "Change sides",
      click: done.swap,
    },
    glyph("swap"),
  );
  const play = h("button", {
    type: "button",
    class: "hdp-button hdp-play",
    "aria-label": "Play",
    title: "Show step after step",
    click: done.play,
  });
  const captions = [0, 1].map((which) => {
    const picker = createPicker(which ? "Second branch" : "First branch", (value) =>
      done.side(which, Number(value)),
    );
    const method = h("span", { class: "hdp-faint" });
    const prompt = h("p", { class: "hdp-caption-prompt" });
    const apart = h("p", { class: "hdp-caption-apart hdp-faint" });
    const element = h(
      "div",
      { class: "hdp-caption" },
      h("div", { class: "hdp-group" }, h("b", {}, which ? "2" : "1"), picker.element, method),
      prompt,
      apart,
    );
    return { element, picker, method, prompt, apart };
  });
  let playing = /** @type {boolean | null} */ (null);

  return {
    play,
    top: [
      h(
        "div",
        { class: "hdp-bar" },
        mode.element,
        kind.element,
        level.element,
        h("span", { class: "hdp-space" }),
        gain.element,
      ),
      h(
        "div",
        { class: "hdp-bar hdp-prompt" },
        prompt.element,
        h("div", { class: "hdp-group" }, combine.element),
      ),
      h("div", { class: "hdp-captions" }, captions[0].element, swap, captions[1].element),
    ],
    bottom: h(
      "div",
      { class: "hdp-bar hdp-looks" },
      opacity.element,
      colormap.element,
      outline.element,
    ),
    /**
     * @param {{sides: Side[], get: (name: string) => any, local: Local, kind: string, level: number,
     *   levels: number[], both: Parameters<ReturnType<typeof createPrompt>["update"]>[0],
     *   wordy: boolean, mode: string, branches: number[]}} shown
     */
    update(shown) {
      const { get, local, sides } = shown;
      const picture = shown.kind === "picture";
      const difference = shown.mode === "difference";
      kind.update(KINDS, shown.kind);
      mode.update(MODES, shown.mode);
      level.update(
        LEVELS.map((n) => ({
          value: String(n),
          label: `H/${n}`,
          disabled: picture || !shown.levels.includes(n),
        })),
        picture ? "" : String(shown.level),
      );
      prompt.update(shown.both, { words: get("words") ?? [], tokens: [] }, false, !shown.wordy);
      combine.update(COMBINE, get("combine"), !shown.wordy);
      colormap.update(COLORS, get("colormap"), picture ? !difference : difference);
      opacity.update(get("opacity"), picture);
      outline.update(local.outline);
      gain.update(
        GAINS.map((n) => ({ value: String(n), label: `× ${n}` })),
        String(local.gain),
        "How much small differences are amplified",
      );
      gain.element.style.visibility = picture && difference ? "visible" : "hidden";
      if (playing !== local.playing) {
        playing = local.playing;
        play.replaceChildren(glyph(playing ? "pause" : "play"));
        play.setAttribute("aria-label", playing ? "Pause" : "Play");
      }
      const apart = settingsApart(sides);
      sides.forEach((side, which) => {
        const { trace, branch, path, over } = side;
        const caption = captions[which];
        caption.picker.update(
          [...trace.branches.values()].map(({ id, title }) => ({
            value: String(id),
            label: title,
          })),
          String(branch?.id ?? ""),
          branch?.title,
        );
        caption.method.textContent = branch ? methodSaid(branch.method) : "";
        caption.prompt.textContent = branch?.prompt || "(empty prompt)";
        caption.prompt.title = branch?.prompt ?? "";
        const last = path.length - 1;
        const end = over && last >= 0 ? `stays at its last step, ${last + 1}` : "";
        const text = [end, ...apart[which]].filter(Boolean).join(" · ");
        caption.apart.textContent = text || "\u00a0";
        caption.apart.title = text;
      });
    },
  };
}
