// The toolbars of the painter.

import { h } from "../ui/dom.js";
import { icon } from "../ui/icons.js";

/** @typedef {import("./tools.js").Tool} Tool */
/**
 * @typedef {object} Shown what the bars show
 * @property {Tool} tool
 * @property {number} size
 * @property {number} tolerance
 * @property {boolean} away
 * @property {string} color
 * @property {number} opacity
 * @property {boolean} cells
 * @property {string} preset
 * @property {string[]} grids names, empty as long as there are none
 * @property {number} grid index into them
 * @property {boolean} canUndo
 * @property {boolean} canRedo
 * @property {string} zoom
 * @property {string} status
 * @property {string} place
 */
/**
 * @typedef {object} Hooks
 * @property {(command: string) => void} run
 * @property {(name: string, value: any) => void} set
 */

/** @type {[Tool, string][]} */
const TOOL_NAMES = [
  ["brush", "Brush (B)"],
  ["eraser", "Eraser (E)"],
  ["rectangle", "Rectangle (R)"],
  ["ellipse", "Ellipse (O)"],
  ["lasso", "Lasso (L)"],
  ["polygon", "Polygon (P)"],
  ["fill", "Fill by colour (F)"],
];
export const PRESETS = ["official", "paper", "community", "practical"];

/** @param {Hooks} hooks */
export function createBars({ run, set }) {
  /** @type {(name: string, label: string, command: string, more?: Record<string, string>) => HTMLButtonElement} */
  const button = (name, label, command, more = {}) =>
    h(
      "button",
      { type: "button", title: label, "aria-label": label, click: () => run(command), ...more },
      icon(name),
    );
  /** @type {(name: string, label: string, low: number, high: number) => {row: HTMLElement, input: HTMLInputElement, out: HTMLElement}} */
  const slider = (name, label, low, high) => {
    const input = h("input", { type: "range", min: low, max: high, step: 1, "aria-label": label });
    input.addEventListener("input", () => set(name, Number(input.value)));
    const out = h("span", { "aria-hidden": "true" });
    return { row: h("label", { class: "hdp-field" }, label, input, out), input, out };
  };
  /** @param {(HTMLElement | string)[]} children */
  const group = (...children) => h("div", { class: "hdp-group" }, ...children);

  const tools = TOOL_NAMES.map(([tool, label]) => ({
    tool,
    element: button(tool, label, `tool:${tool}`, { "aria-pressed": "false" }),
  }));
  const undo = button("undo", "Undo (Ctrl+Z)", "undo");
  const redo = button("redo", "Redo (Ctrl+Shift+Z)", "redo");
  const steps = h("input", {
    type: "number",
    min: 1,
    max: 256,
    value: 2,
    "aria-label": "Pixels to grow or shrink by",
    title: "Pixels to grow or shrink by",
  });
  steps.addEventListener("change", () => {
    steps.value = String(Math.min(256, Math.max(1, Math.round(Number(steps.value)) || 1)));
    set("steps", Number(steps.value));
  });
  const top = h(
    "div",
    { class: "hdp-bar", role: "toolbar", "aria-label": "Drawing tools" },
    group(...tools.map(({ element }) => element)),
    group(undo, redo),
    group(
      button("invert", "Invert the mask (I)", "invert"),
      button("clear", "Clear the mask (X)", "clear"),
    ),
    group(
      button("shrink", "Shrink the mask (H)", "shrink"),
      steps,
      button("grow", "Grow the mask (G)", "grow"),
    ),
    h("span", { class: "hdp-space" }),
    group(
      button("open", "Load a mask from a picture file", "open"),
      button("save", "Save the mask as PNG", "save"),
      button("help", "Keys and gestures (?)", "help"),
    ),
  );
  travel(top);

  const size = slider("size", "Size", 0, 100);
  const tolerance = slider("tolerance", "Tolerance", 0, 128);
  const add = h(
    "button",
    { type: "button", title: "Shapes add to the mask (M)" },
    icon("add"),
    "Add",
  );
  const away = h(
    "button",
    { type: "button", title: "Shapes take away from the mask (M, or hold Alt)" },
    icon("away"),
    "Take away",
  );
  add.addEventListener("click", () => set("away", false));
  away.addEventListener("click", () => set("away", true));
  const mode = h(
    "div",
    { class: "hdp-group hdp-joined", role: "group", "aria-label": "What shapes do" },
    add,
    away,
  );
  const color = h("input", { type: "color", "aria-label": "Colour of the mask", title: "Colour" });
  color.addEventListener("input", () => set("color", color.value));
  const opacity = slider("opacity", "Opacity", 5, 100);
  const options = h(
    "div",
    { class: "hdp-bar hdp-options", role: "group", "aria-label": "Options" },
    size.row,
    mode,
    tolerance.row,
    h("span", { class: "hdp-space" }),
    color,
    opacity.row,
  );

  const cells = h(
    "button",
    { type: "button", title: "The mask on the model's own grids (V)", click: () => run("cells") },
    icon("cells"),
    "As the model sees it",
  );
  const grid = h("select", { "aria-label": "Which grid", title: "Which grid" });
  grid.addEventListener("change", () => set("grid", grid.selectedIndex));
  const preset = h(
    "select",
    { "aria-label": "Whose way of scaling masks", title: "Whose way of scaling masks" },
    ...PRESETS.map((name) => h("option", { value: name }, name)),
  );
  preset.addEventListener("change", () => set("preset", preset.value));
  const zoom = h("button", {
    type: "button",
    class: "hdp-zoom",
    title: "100 % (1)",
    click: () => run("full-size"),
  });
  const seen = h(
    "div",
    { class: "hdp-bar", role: "group", "aria-label": "View" },
    cells,
    preset,
    grid,
    h("span", { class: "hdp-space" }),
    group(
      button("zoom-out", "Zoom out (-)", "zoom-out"),
      zoom,
      button("zoom-in", "Zoom in (+)", "zoom-in"),
      button("fit", "Fit (0)", "fit"),
    ),
  );
  const status = h("span", { role: "status" });
  const place = h("span", { class: "hdp-place", "aria-hidden": "true" });
  const foot = h("div", { class: "hdp-foot" }, status, place);

  /** @param {Shown} shown */
  function update(shown) {
    for (const { tool, element } of tools) press(element, tool === shown.tool);
    undo.disabled = !shown.canUndo;
    redo.disabled = !shown.canRedo;
    const stroke = shown.tool === "brush" || shown.tool === "eraser";
    size.row.hidden = !stroke;
    mode.hidden = stroke;
    tolerance.row.hidden = shown.tool !== "fill";
    fill(size, sliderOfSize(shown.size), `${shown.size} px`);
    fill(tolerance, shown.tolerance, String(shown.tolerance));
    fill(opacity, Math.round(100 * shown.opacity), `${Math.round(100 * shown.opacity)} %`);
    press(add, !shown.away);
    press(away, shown.away);
    if (color.value !== shown.color) color.value = shown.color;
    press(cells, shown.cells);
    preset.hidden = !shown.cells;
    preset.value = shown.preset;
    grid.hidden = !shown.cells || shown.grids.length === 0;
    if ([...grid.options].map((o) => o.text).join() !== shown.grids.join()) {
      grid.replaceChildren(...shown.grids.map((name) => h("option", {}, name)));
    }
    grid.selectedIndex = shown.grid;
    zoom.textContent = shown.zoom;
    if (status.textContent !== shown.status) status.textContent = shown.status;
    place.textContent = shown.place;
  }
  return { above: [top, options], below: [seen, foot], update };
}

/**
 * The size slider is logarithmic: small brushes need fine steps.
 * @param {number} at 0 to 100
 */
export function sizeOfSlider(at) {
  return Math.max(1, Math.round(512 ** (at / 100)));
}

/** @param {number} size in pixels */
export function sliderOfSize(size) {
  return Math.round((100 * Math.log(Math.max(1, size))) / Math.log(512));
}

/**
 * @param {{input: HTMLInputElement, out: HTMLElement}} slider
 * @param {number} value
 * @param {string} text
 */
function fill({ input, out }, value, text) {
  if (input !== document.activeElement || input.getAttribute("aria-valuetext") !== text) {
    input.value = String(value);
  }
  input.setAttribute("aria-valuetext", text);
  out.textContent = text;
}

/**
 * @param {HTMLElement} element
 * @param {boolean} on
 */
function press(element, on) {
  element.setAttribute("aria-pressed", String(on));
}

/**
 * Arrow keys go from button to button; Tab enters and leaves the bar as a whole.
 * @param {HTMLElement} bar
 */
function travel(bar) {
  const items = [...bar.querySelectorAll("button")];
  items.forEach((item, i) => {
    item.tabIndex = i === 0 ? 0 : -1;
    item.addEventListener("focus", () => {
      for (const other of items) other.tabIndex = other === item ? 0 : -1;
    });
  });
  bar.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const at = items.indexOf(/** @type {HTMLButtonElement} */ (event.target));
    if (!step || at < 0) return;
    let next = at;
    do next = (next + step + items.length) % items.length;
    while (items[next].disabled && next !== at);
    items[next].focus();
    event.preventDefault();
    event.stopPropagation();
  });
}
