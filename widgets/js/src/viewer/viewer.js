// The viewer: a picture, maps over it, and what a place of it has to do with the words.

import { rangeOf } from "../trace/maps.js";
import { toggledWord } from "../ui/chips.js";
import { h } from "../ui/dom.js";
import { createLegend } from "../ui/legend.js";
import { createScrubber, forkOf, stepByKey } from "../ui/scrubber.js";
import { Scenery } from "./backdrop.js";
import { marksOf, readingAt } from "./overlay.js";
import { Pane } from "./pane.js";
import { Picker } from "./picker.js";
import { createRegionPanel } from "./region-panel.js";
import { Asker } from "./region-queries.js";
import { placeOf } from "./selection.js";
import { hintOf, nameOf } from "./text.js";
import { createBars } from "./toolbar.js";
import { heatOf, readLook, together } from "./view-model.js";

/** @typedef {import("../trace/trace.js").Film} Film */
/** @typedef {import("../trace/state.js").State} State */
/** @typedef {import("./view-model.js").Look} Look */
/** @typedef {import("./region-queries.js").Request} Request */
/** @typedef {import("../trace/maps.js").Grid} Grid */

/**
 * @param {HTMLElement} host
 * @param {() => Film | undefined} films gives the film as it is now
 * @param {State} state names as HeatmapViewer's traits
 * @param {{ask?: (request: Request) => Promise<Grid>}} [given] ask: puts a question to Python
 * @returns {{refresh: () => void, close: () => void}} refresh: to be called when the film grew
 */
export function createViewer(host, films, state, { ask } = {}) {
  const local = { single: false, each: false, crisp: false, outline: true, painta: true };
  const scenery = new Scenery(redraw);
  const asker = new Asker(ask, redraw);
  const picker = new Picker(redraw);
  const legend = createLegend();
  const scrubber = createScrubber((step) => state.set("step", step));
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
      const { named } = readLook(films(), state, local);
      const [words, tokens] = [state.get("words") ?? [], state.get("tokens") ?? []];
      if (named) choose(toggledWord(named, { words, tokens }, text));
    },
    look: () => state.set("kind", state.get("kind") === "region" ? "cross" : "region"),
    painta() {
      local.painta = !local.painta;
      redraw();
    },
    retry: () => asker.retry(),
  });
  const grid = h("div", { class: "hdp-panes" });
  const hint = h("p", { class: "hdp-hint", role: "status" });
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
    hint,
  );
  const reading = h("div", { class: "hdp-reading hdp-number", "aria-live": "off" });
  const root = h(
    "div",
    {
      class: "hdp hdp-viewer",
      role: "region",
      "aria-label": "Attention maps",
      "data-lm-suppress-shortcuts": "true",
      keydown: /** @type {EventListener} */ (keyed),
    },
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
  host.append(root);

  /** @type {{pane: Pane, stop: () => void}[]} */
  const panes = [];
  let asked = 0;
  let film = films();
  let known = film ? readLook(film, state, local).path.length : 0;

  const stops = [state.listen(redraw)];
  redraw();

  /** @param {import("../ui/chips.js").Chosen} chosen */
  function choose({ words, tokens }) {
    state.set("words", words);
    state.set("tokens", tokens);
  }

  /** @param {KeyboardEvent} event */
  function keyed(event) {
    const { step, path, film: now, level } = readLook(films(), state, local);
    const to = stepByKey(event, step, path.length);
    const arrow = ARROWS[event.key];
    if (to !== null) state.set("step", to);
    else if (event.key === "Escape") picker.clear();
    else if (event.key === "Enter" && event.target === stage) picker.close();
    else if (event.shiftKey && arrow && event.target === stage && now)
      picker.move(arrow[0] * level, arrow[1] * level, scenery.places(now).view);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function redraw() {
    asked ||= requestAnimationFrame(() => {
      asked = 0;
      draw();
    });
  }

  function draw() {
    const look = readLook(films(), state, local);
    bars.update(look);
    const fork = look.film ? forkOf(look.film, look.branch, look.path) : 0;
    scrubber.update(look.path, look.step, fork);
    const answer = drawRegion(look);
    drawPanes(look, answer);
  }

  /**
   * The panel; and the map of the region, where that is what is shown.
   * @param {Look} look
   */
  function drawRegion(look) {
    const { frame, kind, level, layer, head } = look;
    const mask = look.film ? (scenery.mask(look.film)?.mask ?? null) : null;
    const place = placeOf(look, picker.region, mask);
    /** @type {import("./region-queries.js").Answer | null} */
    let answer = null;
    if (place && frame && kind === "region" && look.levels.length) {
      answer = asker.answer({
        key: `${place.key} ${level} ${layer} ${head} ${local.painta}`,
        node: frame.node,
        level,
        layer: layer === "mean" ? null : layer,
        head: head < 0 ? null : head,
        painta: local.painta,
        cells: place.cells,
      });
    } else asker.forget();
    panel.update({
      tool: picker.tool,
      drawing: picker.corners.length > 0,
      chosen: picker.region !== null,
      place: place?.text ?? "",
      bars: place?.words ?? [],
      looking: kind === "region",
      painta: local.painta,
      status: answer?.status ?? "",
      error: answer?.error ?? "",
    });
    return answer;
  }

  /** @param {Look} look @param {import("./region-queries.js").Answer | null} answer */
  function drawPanes(look, answer) {
    const { film: now, frame, kind, level } = look;
    const each = local.each && look.parts.length > 1 && frame !== null;
    const parts = each ? look.parts : [together(look.parts)];
    fit(parts.length);
    grid.classList.toggle("hdp-each", each);
    hint.textContent = hintOf(look, answer);
    hint.hidden = !hint.textContent;
    reading.replaceChildren("\u00a0");
    legend.update({ name: "", range: null, colormap: look.colormap });
    if (!now) return;
    const { frame: whole, view } = scenery.places(now);
    const mask = scenery.mask(now);
    const below = scenery.below(now, frame, look.get("backdrop"));
    scenery.prepare(now, look.path.slice(Math.max(0, look.step - 2), look.step + 4));
    const marks = marksOf(picker, now, level);
    let told = false;
    parts.forEach((part, i) => {
      const { pane } = panes[i];
      const heat =
        kind === "region"
          ? answer?.grid && { grid: answer.grid, range: rangeOf(answer.grid, now.opening) }
          : heatOf(look, part);
      const over = picker.over === pane;
      const found = picker.hover && (over || each) ? picker.hover : null;
      const at = readingAt(found, now, level, heat?.grid ?? null);
      const name = nameOf(look, part);
      pane.name(frame ? name : "Original picture with the mask", each ? part.label : "");
      pane.show({
        view,
        frame: whole,
        below,
        heat: heat ? { ...heat, colormap: look.colormap } : null,
        opacity: look.get("opacity"),
        crisp: local.crisp,
        mask: local.outline ? (mask?.path ?? null) : null,
        veil: frame ? null : (mask?.veil ?? null),
        region: marks,
        cell: at?.place ?? null,
      });
      if (each) pane.caption(heat ? heat.range : null, at?.value ?? null);
      if (each ? !over && (picker.over || told) : told) return;
      told = true;
      const one = !each || over;
      legend.update({
        name: one ? name : "each in its own range",
        range: heat?.range ?? null,
        colormap: look.colormap,
        value: at?.value ?? null,
        plain: !one,
      });
      if (at) reading.textContent = at.text;
      else if (below && frame && below.what !== look.get("backdrop"))
        reading.textContent = `this step has no ${look.get("backdrop")}: the ${below.what} is shown`;
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
      const now = films();
      if (now !== film) asker.clear();
      film = now;
      const count = readLook(now, state, local).path.length;
      // Who looks at the last step goes on to the new last one.
      if (state.get("follow") && count !== known && state.get("step") === known - 1)
        state.set("step", count - 1);
      known = count;
      redraw();
    },
    close() {
      cancelAnimationFrame(asked);
      for (const stop of stops) stop();
      fit(0);
      asker.forget();
      scenery.close();
      root.remove();
    },
  };
}

/** @type {Record<string, [number, number]>} */
const ARROWS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};
