// The painter: its parts put together, and what each command does.

import { count } from "../mask/bitmap.js";
import { bytesOf } from "../trace/trace.js";
import { pixelsOf } from "../ui/canvas.js";
import { h } from "../ui/dom.js";
import { createHelp } from "../ui/help.js";
import { Viewport, ZOOM } from "../ui/viewport.js";
import { Editor } from "./editor.js";
import { saveMask, takeFiles } from "./files.js";
import { describe, readGrids, shareText } from "./grids.js";
import { command, HELP } from "./keys.js";
import { Link } from "./link.js";
import { listen } from "./pointer.js";
import { Stage } from "./stage.js";
import { createBars, sizeOfSlider } from "./toolbar.js";
import { Hand, TOOLS } from "./tools.js";

/** @typedef {import("../trace/state.js").Model} Model */
/** @typedef {import("./tools.js").Tool} Tool */

const POLYGON = "Enter, a double click or the first corner closes the polygon, Escape cancels it";

/** Traits that both sides write. */
const SHARED = ["tool", "brush_size", "color", "opacity", "preset"];

/** Keys that mean something else where a button or a slider has the focus. */
const FOR_SURFACE = new Set(["confirm", "remove-point", "left", "right", "up", "down", "pan"]);

/**
 * @param {Model} model
 * @param {HTMLElement} parent
 * @returns {Promise<() => void>} takes it off the page
 */
export async function openPainter(model, parent) {
  const [height, width] = model.get("_size");
  const picture = await createImageBitmap(new Blob([bytesOf(model.get("_picture"))]));
  const editor = new Editor(width, height);
  const link = new Link(model, editor);
  const view = new Viewport(width, height);
  /** @type {import("../mask/flood.js").Pixels | null} */
  let colors = null;
  const hand = new Hand(editor, () => {
    colors ??= pixelsOf(picture, width, height);
    return colors;
  });
  const stage = new Stage(picture, editor.mask, view, () => ({
    color: model.get("color"),
    opacity: model.get("opacity"),
  }));

  const ui = { steps: 2, cells: false, grid: 0, share: 0, note: "", far: false };
  /** @type {import("./grids.js").Grid[]} */
  let grids = [];

  const bars = createBars({ run, set });
  const surface = h(
    "div",
    {
      class: "hdp-stage",
      tabindex: 0,
      role: "application",
      "aria-roledescription": "painting area",
      "aria-label": `Picture of ${width} by ${height} pixels. Question mark lists the keys.`,
      style: `aspect-ratio: ${width} / ${height}`,
    },
    stage.below,
    stage.above,
  );
  const help = createHelp(HELP, () => surface.focus());
  const chooser = h("input", { type: "file", accept: "image/*", hidden: true });
  const root = h(
    "div",
    { class: "hdp-painter", "data-lm-suppress-shortcuts": "true" },
    ...bars.above,
    surface,
    ...bars.below,
    chooser,
    help.element,
  );
  const pointing = listen({ surface, stage, hand, view, changed: show });

  // --- showing ---

  function show() {
    hand.tool = TOOLS.includes(model.get("tool")) ? model.get("tool") : "brush";
    hand.size = model.get("brush_size");
    const at = stage.cursor.at;
    const inside = at && at.x >= 0 && at.y >= 0 && at.x < width && at.y < height;
    const cells = ui.cells && (grids[ui.grid] ? describe(grids[ui.grid]) : "asking Python …");
    bars.update({
      tool: hand.tool,
      size: hand.size,
      tolerance: hand.tolerance,
      away: hand.away,
      color: model.get("color"),
      opacity: model.get("opacity"),
      cells: ui.cells,
      preset: model.get("preset"),
      grids: grids.map(({ name }) => name),
      grid: ui.grid,
      canUndo: editor.history.past.length > 0,
      canRedo: editor.history.future.length > 0,
      zoom: `${Math.round(100 * view.scale)} %`,
      status:
        ui.note ||
        (hand.draft?.kind === "polygon" && POLYGON) ||
        cells ||
        `${width} × ${height} pixels, ${shareText(ui.share / (width * height))}`,
      place: at && inside ? `${Math.floor(at.x)}, ${Math.floor(at.y)}` : "",
    });
    const stroke = hand.tool === "brush" || hand.tool === "eraser";
    stage.cursor.radius = stroke ? hand.size / 2 : 0;
    stage.draft = hand.draft;
    stage.grid = ui.cells ? (grids[ui.grid] ?? null) : null;
  }

  function redraw() {
    show();
    stage.redraw();
  }

  // --- commands ---

  /** @type {Record<string, () => void>} */
  const commands = {
    undo: () => editor.undo(),
    redo: () => editor.redo(),
    invert: () => editor.invert(),
    clear: () => editor.clear(),
    grow: () => editor.grow(ui.steps),
    shrink: () => editor.grow(-ui.steps),
    mode: () => set("away", !hand.away),
    smaller: () => share("brush_size", Math.max(1, Math.floor(hand.size / 1.15))),
    larger: () => share("brush_size", Math.min(512, Math.ceil(hand.size * 1.15))),
    "zoom-in": () => view.zoom(ZOOM),
    "zoom-out": () => view.zoom(1 / ZOOM),
    fit: () => view.fit(),
    "full-size": () => view.zoom(1 / view.scale),
    help: () => help.show(),
    cancel: () => hand.cancel(),
    confirm: () => confirm(),
    "remove-point": () => hand.removePoint(),
    left: () => step(-1, 0),
    right: () => step(1, 0),
    up: () => step(0, -1),
    down: () => step(0, 1),
    open: () => chooser.click(),
    save: () => saveMask(editor.mask),
    cells: () => {
      ui.cells = !ui.cells;
      grids = [];
      if (ui.cells) link.askForGrids();
    },
  };

  /** @param {string} name */
  function run(name) {
    ui.note = "";
    if (name.startsWith("tool:")) {
      hand.choose(/** @type {Tool} */ (name.slice(5)));
      share("tool", hand.tool);
    } else commands[name]?.();
    redraw();
  }

  /** @param {string} name @param {any} value */
  function set(name, value) {
    if (name === "size") share("brush_size", sizeOfSlider(value));
    else if (name === "opacity") share("opacity", value / 100);
    else if (name === "color" || name === "preset") share(name, value);
    else if (name === "tolerance" || name === "away") Object.assign(hand, { [name]: value });
    else Object.assign(ui, { [name]: value });
    redraw();
  }

  /** @param {string} name @param {unknown} value */
  function share(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  /** The pointer moved by arrow keys. @param {number} dx @param {number} dy */
  function step(dx, dy) {
    const far = Math.max(1, Math.round(6 / view.scale)) * (ui.far ? 10 : 1);
    const from = stage.cursor.at ?? { x: width / 2, y: height / 2 };
    const at = {
      x: Math.min(width, Math.max(0, from.x + dx * far)),
      y: Math.min(height, Math.max(0, from.y + dy * far)),
    };
    stage.cursor.at = at;
    pointing.keyed = true;
    view.reveal(at);
    hand.move(at);
  }

  /** Enter: closes a polygon; where arrow keys move the pointer, presses and releases it. */
  function confirm() {
    const at = stage.cursor.at;
    if (!at || !pointing.keyed) return hand.confirm();
    const corner = hand.draft?.kind === "polygon" && hand.draft.points.at(-2);
    const repeated = corner && corner.x === at.x && corner.y === at.y;
    if (repeated || stage.closes(view.toScreen(at))) return hand.confirm();
    if (hand.down) return hand.release();
    hand.press(at);
    if (hand.tool === "polygon" || hand.tool === "fill") hand.release();
  }

  // --- events ---

  /** @param {KeyboardEvent} event */
  function keydown(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const typed = target instanceof HTMLInputElement && target.type !== "range";
    const name = typed || target instanceof HTMLSelectElement ? null : command(event);
    if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
    if (!name || (target !== surface && FOR_SURFACE.has(name))) return;
    event.preventDefault();
    event.stopPropagation();
    ui.far = event.shiftKey;
    if (name === "pan") pointing.space = true;
    run(name);
  }

  /** @param {KeyboardEvent} event */
  function keyup(event) {
    if (event.key === " ") pointing.space = false;
    event.stopPropagation();
  }

  root.addEventListener("keydown", keydown);
  root.addEventListener("keyup", keyup);
  surface.addEventListener("blur", () => {
    pointing.space = false;
  });
  takeFiles(
    root,
    chooser,
    editor.mask,
    (pixels, complaint) => {
      ui.note = complaint;
      if (pixels) editor.replace(pixels);
      redraw();
    },
    (file) => {
      ui.note = "Opening the picture …"; // until it is here, or Python says why not
      redraw();
      model.send({ type: "picture" }, undefined, [file]);
    },
  );
  link.onNote = (text) => {
    ui.note = text;
    redraw();
  };

  editor.onDraw = (rect) => stage.refresh(rect);
  editor.onStep = () => {
    ui.share = count(editor.mask);
    ui.note = "";
    link.send();
    show();
  };
  link.onSynced = () => {
    ui.share = count(editor.mask);
    if (ui.cells) link.askForGrids();
    redraw();
  };
  link.onGrids = (message, buffers) => {
    grids = readGrids(message, buffers);
    ui.grid = Math.min(ui.grid, grids.length - 1);
    stage.crop = message.crop;
    redraw();
  };
  /** @type {[string, () => void][]} */
  const watched = SHARED.map((name) => [
    `change:${name}`,
    () => {
      if (name === "color") stage.refresh();
      if (name === "preset" && ui.cells) link.askForGrids();
      if (name === "tool" && model.get("tool") !== hand.tool) hand.choose(model.get("tool"));
      redraw();
    },
  ]);
  for (const [event, handler] of watched) model.on(event, handler);
  const resized = new ResizeObserver(() => {
    view.resize(surface.clientWidth, surface.clientHeight);
    redraw();
  });

  await link.open();
  ui.share = count(editor.mask);
  parent.append(root);
  resized.observe(surface);
  show();
  return () => {
    resized.disconnect();
    for (const [event, handler] of watched) model.off(event, handler);
    link.close();
    stage.close();
    root.remove();
  };
}
