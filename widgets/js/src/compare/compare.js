// Two branches step by step: side by side, one over the other, or their difference.

import { nearestLevel, unitOf, WORDY } from "../trace/maps.js";
import { h } from "../ui/dom.js";
import { Pane } from "../viewer/pane.js";
import { createScaffold } from "../viewer/scaffold.js";
import { Heats } from "./heats.js";
import { gridOfSide, levelsOfBoth, sidesOf, wordsOfBoth } from "./sides.js";
import { createDivider } from "./swipe.js";
import { hintOf, NAMES, nameOf, readingOf } from "./text.js";
import { createCompareBars } from "./toolbar.js";

/** @typedef {import("../trace/trace.js").Trace} Trace */
/** @typedef {import("../trace/state.js").State} State */
/** @typedef {import("./sides.js").Side} Side */
/** @typedef {import("./heats.js").Heat} Heat */

const PACE = 450; // milliseconds for a step while it plays

/**
 * @param {HTMLElement} host
 * @param {() => (Trace | undefined)[]} traces one, whose branches are compared, or two
 * @param {State} state names as Compare's traits
 * @returns {{refresh: () => void, close: () => void}} refresh: to be called when a trace grew
 */
export function createCompare(host, traces, state) {
  const local = { playing: false, outline: true, gain: 4 };
  const scaffold = createScaffold(host, state, {
    name: "hdp-compare",
    label: "Comparison",
    steps() {
      const length = count(sides());
      return { step: Math.min(state.get("step"), length - 1), count: length };
    },
    draw,
  });
  const { redraw, backdrop, legend, scrubber, reading } = scaffold;
  const heating = new Heats(backdrop);
  const bars = createCompareBars({
    set: (name, value) => state.set(name, value),
    side(which, id) {
      const ids = sides().map(({ branch }) => branch?.id ?? 0);
      ids[which] = id;
      state.set("branches", turned ? ids.reverse() : ids);
    },
    swap() {
      const ids = sides().map(({ branch }) => branch?.id ?? 0);
      if (traces().length < 2) state.set("branches", ids.reverse());
      else turned = !turned; // each branch belongs to its own run
      redraw();
    },
    play() {
      local.playing ? pause() : play();
    },
    outline() {
      local.outline = !local.outline;
      redraw();
    },
    gain(value) {
      local.gain = value;
      redraw();
    },
  });
  const panes = [new Pane(), new Pane()];
  const pair = h("div", { class: "hdp-panes hdp-pair" }, ...panes.map(({ element }) => element));
  const divider = createDivider(pair, (share) => state.set("swipe", share));
  /** @type {{pane: Pane, at: import("../mask/raster.js").Point} | null} */
  let pointed = null;
  for (const pane of panes) {
    pane.frame.append(h("span", { class: "hdp-badge" }, String(panes.indexOf(pane) + 1)));
    pane.canvas.addEventListener("pointermove", (event) => {
      pointed = { pane, at: pane.at(event) };
      redraw();
    });
    pane.canvas.addEventListener("pointerleave", () => {
      pointed = null;
      redraw();
    });
  }
  let turned = false; // two runs: which of them is the first
  let timer = 0;
  scaffold.open(
    ...bars.top,
    h("div", { class: "hdp-stage" }, pair, scaffold.hint),
    legend.element,
    reading,
    h("div", { class: "hdp-bar" }, bars.play, scrubber.element),
    bars.bottom,
  );

  function sides() {
    const found = sidesOf(traces(), state.get("branches") ?? [], state.get("step") ?? -1);
    return turned ? found.reverse() : found;
  }

  /** @param {Side[]} both */
  function count(both) {
    return Math.max(0, ...both.map(({ path }) => path.length));
  }

  function play() {
    const both = sides();
    if (!count(both)) return;
    if (state.get("step") >= count(both) - 1) state.set("step", 0);
    local.playing = true;
    timer = window.setInterval(() => {
      const next = state.get("step") + 1;
      if (next >= count(sides())) pause();
      else state.set("step", next);
    }, PACE);
    redraw();
  }

  function pause() {
    clearInterval(timer);
    local.playing = false;
    redraw();
  }

  function draw() {
    const both = sides();
    const kind = state.get("kind") in NAMES ? state.get("kind") : "picture";
    const mode = state.get("mode") ?? "side";
    const levels = levelsOfBoth(both, kind);
    const level = nearestLevel(levels, state.get("level"));
    const wordy = WORDY.has(kind);
    const words = /** @type {string[]} */ (state.get("words") ?? []);
    bars.update({
      sides: both,
      get: state.get,
      local,
      kind,
      level,
      levels,
      both: both.length ? wordsOfBoth(both) : null,
      wordy,
      mode,
      branches: both.map(({ branch }) => branch?.id ?? 0),
    });
    const longest = both[1] && both[1].path.length > both[0].path.length ? both[1] : both[0];
    const step = Math.min(state.get("step") ?? -1, count(both) - 1);
    scrubber.update(longest?.path ?? [], step);
    pair.dataset.mode = mode;
    const grids = both.map((side) => gridOfSide(side, kind, level, words, state.get("combine")));
    const shared = sharedBackdrop(both);
    const heats = heating.of(both, grids, {
      below: shared ?? "picture",
      kind,
      mode,
      colormap: state.get("colormap"),
      gain: local.gain,
      tokens: state.get("combine") === "sum" ? Math.max(1, words.length) : 1,
    });
    const single = mode === "difference";
    panes[1].element.hidden = single;
    if (mode === "swipe") panes[0].frame.append(divider.element);
    else divider.element.remove();
    const swipe = state.get("swipe") ?? 0.5;
    divider.update(swipe);
    pair.style.setProperty("--hdp-swipe", `${100 * swipe}%`);
    scaffold.begin(hintOf(both, kind, single, heats, words), "jet");
    both.slice(0, single ? 1 : 2).forEach((side, which) => {
      if (shared) drawSide(side, which, heats[which], kind, single, shared);
    });
    const shown = heats.find(Boolean);
    const name = nameOf(kind, single, level, words);
    const told =
      pointed &&
      readingOf(both, pointed.at, panes.indexOf(pointed.pane), { heats, kind, level, single });
    if (told) reading.textContent = told.text;
    legend.update({
      name,
      range: shown?.range ?? null,
      colormap: shown?.colormap ?? "jet",
      value: told?.value ?? null,
      unit: unitOf(kind, both[0]?.frame?.even_share ?? 0),
    });
  }

  /**
   * What lies below on both sides: a sharp picture beside a blurred one compares nothing.
   * @param {Side[]} both
   * @returns {"picture" | "preview" | null} null while one is about to come: what is shown stays
   */
  function sharedBackdrop(both) {
    const made = both.filter(({ frame }) => frame);
    if (!made.every(({ frame }) => frame?.picture)) return "preview";
    const waits = made.some(({ trace, frame }) => backdrop.waits(trace, frame));
    if (!waits) return "picture";
    return panes[0].scene ? null : "preview";
  }

  /**
   * @param {Side} side
   * @param {number} which
   * @param {Heat | null} heat
   * @param {string} kind
   * @param {boolean} single
   * @param {"picture" | "preview"} below
   */
  function drawSide(side, which, heat, kind, single, below) {
    const { trace, frame, path } = side;
    const scene = backdrop.scene(trace, frame, below, local.outline);
    const at = frame ? path.indexOf(frame) : -1;
    backdrop.prepare(trace, path.slice(Math.max(0, at - 1), at + 3));
    const pixels = single && kind === "picture";
    panes[which].name(
      `${single ? "Difference" : (side.branch?.title ?? "")}, ${NAMES[kind]}, step ${at + 1}`,
      "",
    );
    panes[which].show({
      ...scene,
      frame: pixels ? scene.view : scene.frame,
      heat,
      opacity: pixels ? 1 : state.get("opacity"),
      crisp: pixels,
      region: { cells: null, outline: null, corners: [] },
      cell: null,
    });
  }

  return {
    refresh: redraw,
    close() {
      pause();
      for (const pane of panes) pane.close();
      scaffold.close();
    },
  };
}
