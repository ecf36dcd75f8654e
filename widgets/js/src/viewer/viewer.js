// The viewer: a picture, maps over it, and how a selected place relates to the words.

import { createFollower } from "../trace/follow.js";
import { colourRange, rangeOf, unitOf } from "../trace/maps.js";
import { createPosition } from "../trace/position.js";
import { toggledWord } from "../trace/words.js";
import { h } from "../ui/dom.js";
import { overlayOf, readingAt } from "./overlay.js";
import { Pane } from "./pane.js";
import { Picker } from "./picker.js";
import { createRegionPanel } from "./region-panel.js";
import { RegionQueries } from "./region-queries.js";
import { createScaffold } from "./scaffold.js";
import { selectionOf } from "./selection.js";
import { hintOf, nameOf } from "./text.js";
import { createBars } from "./toolbar.js";
import { heatOf, leastOf, readViewModel, together } from "./view-model.js";

/** @typedef {import("../trace/trace.js").Trace} Trace */
/** @typedef {import("../trace/state.js").State} State */
/** @typedef {import("./view-model.js").ViewModel} ViewModel */
/** @typedef {import("./region-queries.js").Request} Request */
/** @typedef {import("../trace/maps.js").Grid} Grid */

/**
 * @param {HTMLElement} host
 * @param {() => Trace | undefined} current gives the trace as it is now
 * @param {State} state names as HeatmapViewer's traits
 * @param {{ask?: (request: Request) => Promise<Grid>}} [given] ask: puts a question to Python
 * @returns {{refresh: () => void, close: () => void}} refresh: to be called when the trace grew
 */
export function createViewer(host, current, state, { ask } = {}) {
  const local = { single: false, each: false, crisp: false, outline: true, painta: true };
  const scaffold = createScaffold(host, state, {
    name: "hdp-viewer",
    label: "Attention maps",
    steps() {
      const { step, path } = readViewModel(current(), state, local);
      return { step, count: path.length };
    },
    keyed,
    draw,
  });
  const { redraw, backdrop, legend, scrubber, reading } = scaffold;
  const queries = new RegionQueries(ask, redraw);
  const picker = new Picker(redraw);
  const bars = createBars({
    set: (name, value) => state.set(name, value),
    flip(name) {
      const key = /** @type {keyof typeof local} */ (name);
      local[key] = !local[key];
      redraw();
    },
    words: choose,
  });
  const panel = createRegionPanel({
    tool: (name) => picker.use(name),
    clear: () => picker.clear(),
    word(text) {
      const { named } = readViewModel(current(), state, local);
      const [words, tokens] = [state.get("words") ?? [], state.get("tokens") ?? []];
      if (named) choose(toggledWord(named, { words, tokens }, text));
    },
    look: () => state.set("kind", state.get("kind") === "region" ? "cross" : "region"),
    painta() {
      local.painta = !local.painta;
      redraw();
    },
    retry: () => queries.retry(),
  });
  const grid = h("div", { class: "hdp-panes" });
  const stage = h(
    "div",
    {
      class: "hdp-stage",
      tabindex: 0,
      role: "group",
      "aria-label":
        "Picture with its map. Left and right: steps. Shift with an arrow key: move the region. Escape: clear it.",
    },
    grid,
    scaffold.hint,
  );
  /** @type {{pane: Pane, stop: () => void}[]} */
  const panes = [];
  let trace = current();
  const follower = createFollower(state, createPosition(current, state), redraw);
  scaffold.open(
    ...bars.top,
    h(
      "div",
      { class: "hdp-body" },
      h("div", { class: "hdp-main" }, stage, legend.element, reading),
      panel.element,
    ),
    h("div", { class: "hdp-bar" }, scrubber.element),
    bars.bottom,
  );
  follower.open();

  /** @param {import("../trace/words.js").Chosen} chosen */
  function choose({ words, tokens }) {
    state.set("words", words);
    state.set("tokens", tokens);
  }

  /** @param {KeyboardEvent} event */
  function keyed(event) {
    const { trace: now, level } = readViewModel(current(), state, local);
    const arrow = ARROWS[event.key];
    if (event.key === "Escape") picker.clear();
    else if (event.key === "Enter" && event.target === stage) picker.close();
    else if (event.shiftKey && arrow && event.target === stage && now)
      picker.move(arrow[0] * level, arrow[1] * level, backdrop.boxes(now).view);
    else return false;
    return true;
  }

  function draw() {
    const viewModel = readViewModel(current(), state, local);
    bars.update(viewModel);
    const fork = viewModel.trace?.fork(viewModel.branch, viewModel.path) ?? 0;
    scrubber.update(viewModel.path, viewModel.step, fork);
    const answer = drawRegion(viewModel);
    drawPanes(viewModel, answer);
  }

  /**
   * The panel; and the map of the region, where that is what is shown.
   * @param {ViewModel} viewModel
   */
  function drawRegion(viewModel) {
    const { frame, kind, level, layer, head } = viewModel;
    const mask = viewModel.trace ? (backdrop.mask(viewModel.trace)?.mask ?? null) : null;
    const selection = selectionOf(viewModel, picker.region, mask);
    /** @type {import("./region-queries.js").Answer | null} */
    let answer = null;
    if (selection && frame && kind === "region" && viewModel.levels.length) {
      answer = queries.answer({
        key: `${selection.key} ${level} ${layer} ${head} ${local.painta}`,
        node: frame.node,
        level,
        layer: layer === "mean" ? null : layer,
        head: head < 0 ? null : head,
        painta: local.painta,
        cells: selection.cells,
      });
    } else queries.forget();
    panel.update({
      tool: picker.tool,
      drawing: picker.corners.length > 0,
      chosen: picker.region !== null,
      place: selection?.text ?? "",
      bars: selection?.words ?? [],
      looking: kind === "region",
      painta: local.painta,
      status: answer?.status ?? "",
      error: answer?.error ?? "",
    });
    return answer;
  }

  /** @param {ViewModel} viewModel @param {import("./region-queries.js").Answer | null} answer */
  function drawPanes(viewModel, answer) {
    const { trace: now, frame, kind, level } = viewModel;
    const each = local.each && viewModel.parts.length > 1 && frame !== null;
    const parts = each ? viewModel.parts : [together(viewModel.parts)];
    fit(parts.length);
    const wanted = viewModel.get("backdrop");
    // What is shown stays while the step's picture is on its way: it comes in a moment.
    const drawn = panes.every(({ pane }) => pane.scene);
    if (drawn && now && wanted === "picture" && backdrop.waits(now, frame)) return;
    grid.classList.toggle("hdp-each", each);
    scaffold.begin(hintOf(viewModel, answer), viewModel.colormap);
    if (!now) return;
    const scene = backdrop.scene(now, frame, wanted, local.outline);
    backdrop.prepare(
      now,
      viewModel.path.slice(Math.max(0, viewModel.step - 2), viewModel.step + 4),
    );
    const overlay = overlayOf(picker, now, level);
    let told = false;
    parts.forEach((part, i) => {
      const { pane } = panes[i];
      const heat =
        kind === "region"
          ? answer?.grid && regionHeat(viewModel, now, answer.grid)
          : heatOf(viewModel, part);
      const over = picker.over === pane;
      const found = picker.hover && (over || each) ? picker.hover : null;
      const at = readingAt(found, now, level, heat?.grid ?? null);
      const name = nameOf(viewModel, part);
      pane.name(frame ? name : "Original picture with the mask", each ? part.label : "");
      pane.show({
        ...scene,
        heat: heat ? { ...heat, colormap: viewModel.colormap } : null,
        opacity: viewModel.get("opacity"),
        crisp: local.crisp,
        region: overlay,
        cell: at?.box ?? null,
      });
      if (each) pane.caption(heat ? heat.range : null, at?.value ?? null);
      if (each ? !over && (picker.over || told) : told) return;
      told = true;
      const one = !each || over;
      legend.update({
        name: one ? name : "each in its own range",
        range: heat?.range ?? null,
        colormap: viewModel.colormap,
        value: at?.value ?? null,
        plain: !one,
        unit: unitOf(kind, frame?.even_share ?? 0),
      });
      if (at) reading.textContent = at.text;
      else if (scene.below && frame && scene.below.what !== wanted)
        reading.textContent = `this step has no ${wanted}: the ${scene.below.what} is shown`;
    });
  }

  /** @param {number} count */
  function fit(count) {
    for (const { pane, stop } of panes.splice(count)) {
      stop();
      pane.close();
    }
    while (panes.length < count) {
      const pane = new Pane();
      panes.push({ pane, stop: picker.listen(pane) });
      grid.append(pane.element);
    }
  }

  return {
    refresh() {
      const now = current();
      if (now !== trace) queries.clear();
      trace = now;
      follower.grown(now?.opening.key);
      redraw();
    },
    close() {
      fit(0);
      follower.close();
      queries.forget();
      scaffold.close();
    },
  };
}

/**
 * A region's map, as `heatOf` gives those of the trace.
 * @param {ViewModel} viewModel
 * @param {Trace} trace
 * @param {Grid} grid
 */
function regionHeat(viewModel, trace, grid) {
  const range = rangeOf(grid, trace.opening);
  return { grid, range: colourRange("region", range, leastOf(viewModel, grid)) };
}

/** @type {Record<string, [number, number]>} */
const ARROWS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};
