// A lens: several pictures of one size in panes that show the same part of each.

import { h } from "../ui/dom.js";
import { createHelp } from "../ui/help.js";
import { createRedraw } from "../ui/redraw.js";
import { Viewport, ZOOM } from "../ui/viewport.js";
import { command, HELP } from "./keys.js";
import { colorText, layoutOf, place, positionOf, scaleText, shownOf } from "./layout.js";
import { createEdge, createProbe, LensPane } from "./pane.js";
import { createPointing } from "./pointer.js";
import { createHint, createLensBars } from "./toolbar.js";

/** @typedef {import("../mask/raster.js").Point} Point */
/** @typedef {import("../trace/state.js").State} State */
/**
 * @typedef {object} Source
 * @property {() => string[]} titles
 * @property {() => [number, number]} size height and width of every picture
 * @property {(index: number) => {bitmap: ImageBitmap | null, failed: boolean} | undefined} picture
 * @property {() => ImageBitmap | null} mask white in the hole
 */

const STEP = 0.15; // of the pane, for an arrow key

/**
 * @param {HTMLElement} host
 * @param {Source} source
 * @param {State} state "zoom", "x", "y", "mode", "chosen", "hidden" and "outline"
 * @returns {{refresh: () => void, close: () => void}} refresh: for when the source has changed
 */
export function createLens(host, source, state) {
  const redraw = createRedraw(draw);
  const view = new Viewport(1, 1);
  const probe = createProbe();
  /** @type {LensPane[]} */
  const panes = [];
  /** @type {{at: Point, pane: LensPane} | null} */
  let pointed = null;
  let held = false; // the first picture is shown everywhere
  let width = 0;
  let own = false; // the state is being written by this side
  const edge = createEdge();
  const bars = createLensBars({ run, chip });
  const grid = h("div", { class: "hdp-panes" });
  const hint = createHint("Click, or hold Ctrl, and the wheel zooms");
  const surface = h(
    "div",
    {
      class: "hdp-stage",
      tabindex: 0,
      role: "group",
      "aria-label":
        "The same part of each picture. Arrow keys move it, plus and minus change its size; " +
        "question mark lists the keys.",
    },
    grid,
    hint.element,
  );
  const foot = h("div", { class: "hdp-foot hdp-number" });
  const told = h("span", { role: "status" });
  const where = h("span");
  foot.append(told, where);
  const help = createHelp(HELP, () => surface.focus());
  const root = h(
    "div",
    {
      class: "hdp hdp-lens",
      role: "region",
      "aria-label": "Zoom lens",
      "data-lm-suppress-shortcuts": "true",
    },
    bars.element,
    surface,
    foot,
    help.element,
  );
  host.append(root);

  const pointing = createPointing({
    surface,
    view,
    changed(moved) {
      if (moved) tell();
      redraw();
    },
    pointed(at, pane) {
      pointed = at && pane ? { at, pane } : null;
      redraw();
    },
    refused: hint.show,
  });

  // --- commands ---

  function shown() {
    return shownOf(source.titles().length, state.get("mode"), state.get("chosen"), hidden());
  }

  /** @returns {number[]} */
  function hidden() {
    return state.get("hidden") ?? [];
  }

  /** @param {number} by */
  function turn(by) {
    const count = source.titles().length;
    if (count) state.set("chosen", (shown()[0] + by + count) % count);
    if (state.get("mode") !== "one") state.set("mode", "one");
  }

  /** @type {Record<string, (far: boolean) => void>} */
  const commands = {
    in: () => view.zoom(ZOOM),
    out: () => view.zoom(1 / ZOOM),
    fit: () => view.fit(),
    whole: () => view.zoom(1 / view.scale),
    left: (far) => shift(1, 0, far),
    right: (far) => shift(-1, 0, far),
    up: (far) => shift(0, 1, far),
    down: (far) => shift(0, -1, far),
    mode: () => state.set("mode", state.get("mode") === "one" ? "side" : "one"),
    outline: () => state.set("outline", !state.get("outline")),
    next: () => turn(1),
    previous: () => turn(-1),
    help: () => help.show(),
    hold() {
      held = true;
    },
  };

  /** @param {string} name @param {boolean} [far] */
  function run(name, far = false) {
    commands[name]?.(far);
    tell();
    redraw();
  }

  /** @param {number} dx @param {number} dy @param {boolean} far */
  function shift(dx, dy, far) {
    const step = STEP * (far ? 4 : 1) * Math.min(view.screen.width, view.screen.height);
    view.pan(dx * step, dy * step);
  }

  /** @param {number} index */
  function chip(index) {
    if (state.get("mode") === "one") return state.set("chosen", index);
    const count = source.titles().length;
    const off = hidden().includes(index)
      ? hidden().filter((i) => i !== index)
      : [...hidden().filter((i) => i < count), index];
    if (off.length < count) state.set("hidden", off);
  }

  /** Has the state say where the view is. */
  function tell() {
    const { zoom, x, y } = positionOf(view);
    own = true;
    state.set("zoom", zoom);
    state.set("x", x);
    state.set("y", y);
    own = false;
  }

  // --- events ---

  root.addEventListener("keydown", (event) => {
    const name = command(event);
    if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
    if (!name) return;
    const button = event.target instanceof HTMLButtonElement;
    if (name === "hold" && button) return; // presses that button
    event.preventDefault();
    if (name !== "hold" || !held) run(name, event.shiftKey);
  });
  root.addEventListener("keyup", (event) => {
    event.stopPropagation();
    if (event.key === " ") release();
  });
  surface.addEventListener("blur", release);
  surface.addEventListener("focus", hint.hide);

  function release() {
    if (!held) return;
    held = false;
    redraw();
  }

  // --- showing ---

  /** Panes for what is shown, and their size. @param {number[]} indices */
  function arrange(indices) {
    for (const pane of panes.splice(indices.length)) {
      if (pointed?.pane === pane) pointed = null;
      pane.element.remove();
    }
    while (panes.length < indices.length) {
      const pane = new LensPane();
      pointing.listen(pane);
      panes.push(pane);
      grid.append(pane.element);
    }
    const { picture } = view;
    const tallest = Math.min(760, Math.max(320, 0.82 * window.innerHeight));
    const layout = layoutOf(indices.length, width, picture.width / picture.height, tallest);
    grid.style.gridTemplateColumns = `repeat(${layout.columns}, minmax(0, 1fr))`;
    grid.style.setProperty("--hdp-height", `${layout.height}px`);
    if (view.screen.width !== layout.width || view.screen.height !== layout.height)
      view.resize(layout.width, layout.height);
  }

  function draw() {
    const [rows, columns] = source.size();
    const titles = source.titles();
    if (!width || !rows || !columns) return;
    if (view.picture.width !== columns || view.picture.height !== rows)
      view.picture = { width: columns, height: rows };
    const indices = shown();
    const moving = pointing.dragging;
    arrange(indices);
    if (!moving) place(view, { zoom: state.get("zoom"), x: state.get("x"), y: state.get("y") });
    const at = pointed && inside(pointed.at, columns, rows) ? pointed.at : null;
    bars.update({
      titles,
      shown: indices,
      mode: state.get("mode"),
      outline: state.get("outline"),
      masked: source.mask() !== null,
      scale: scaleText(view.scale),
    });
    const outline = state.get("outline") ? edge(source.mask(), columns, rows) : null;
    indices.forEach((index, i) => {
      const pane = panes[i];
      const known = source.picture(held ? 0 : index);
      const bitmap = known?.bitmap ?? null;
      const title = held && index ? `${titles[index]} → ${titles[0]}` : (titles[index] ?? "");
      pane.name(title, `${title}, at ${scaleText(view.scale)}`);
      if (known?.failed) pane.read("cannot be shown", "");
      else if (!bitmap) pane.read("loading …", "");
      else if (at) {
        const rgb = probe(bitmap, at);
        pane.read(colorText(rgb), `rgb(${rgb[0]} ${rgb[1]} ${rgb[2]})`);
      } else pane.read("", "");
      pane.draw({
        picture: bitmap,
        view,
        outline,
        mark: at && pointed?.pane !== pane ? at : null,
        overview: i === 0,
      });
    });
    surface.classList.toggle("hdp-fitted", view.fitted);
    surface.classList.toggle("hdp-dragging", moving);
    const size = `${columns} × ${rows} pixels`;
    const { x, y } = positionOf(view);
    const part = view.fitted ? "all of it" : `around ${Math.round(x)}, ${Math.round(y)}`;
    told.textContent = `${size}, ${part}`;
    where.textContent = at ? `${Math.floor(at.x)}, ${Math.floor(at.y)}` : "";
  }

  const stop = state.listen(() => {
    if (!own) redraw();
  });
  const resized = new ResizeObserver(() => {
    if (grid.clientWidth === width) return;
    width = grid.clientWidth;
    redraw();
  });
  resized.observe(grid);
  redraw();
  return {
    refresh: redraw,
    close() {
      hint.hide();
      redraw.close();
      resized.disconnect();
      stop();
      root.remove();
    },
  };
}

/** @param {Point} at @param {number} width @param {number} height */
function inside({ x, y }, width, height) {
  return x >= 0 && y >= 0 && x < width && y < height;
}
