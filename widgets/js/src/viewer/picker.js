// Picking a region with the pointer: a cell, a box or a polygon of the picture.

/** @typedef {import("../mask/raster.js").Point} Point */
/** @typedef {import("./region.js").Region} Region */
/** @typedef {import("./pane.js").Pane} Pane */

export const TOOLS = ["point", "box", "polygon"];
const NEAR = 8; // screen pixels around a polygon's first corner that close it
const STILL = 4; // screen pixels that a click may move

export class Picker {
  /** @param {() => void} changed is called when region, draft or hovered point are other ones */
  constructor(changed) {
    this.changed = changed;
    this.tool = "point";
    /** @type {Region | null} */
    this.region = null;
    /** @type {Point[]} corners of a polygon that is not closed yet */
    this.corners = [];
    /** @type {Point | null} */
    this.hover = null;
    /** @type {Pane | null} the pane that is pointed at */
    this.over = null;
  }

  /** @param {string} tool */
  use(tool) {
    this.tool = tool;
    this.corners = [];
    this.changed();
  }

  /** A started polygon goes first, the region after it. */
  clear() {
    if (this.corners.length) this.corners = [];
    else this.region = null;
    this.changed();
  }

  /** Closes a polygon that has three corners; says whether there was one to close. */
  close() {
    if (!this.corners.length) return false;
    const points = distinct(this.corners);
    this.corners = [];
    if (points.length > 2) this.region = { kind: "polygon", points };
    this.changed();
    return true;
  }

  /**
   * Moves the region, or begins one in the middle.
   * @param {number} x pixels
   * @param {number} y
   * @param {import("./pane.js").Box} view
   */
  move(x, y, view) {
    const inside = (/** @type {Point} */ p) =>
      p.x >= view.left &&
      p.y >= view.top &&
      p.x <= view.left + view.width &&
      p.y <= view.top + view.height;
    if (!this.region) {
      const middle = { x: view.left + view.width / 2, y: view.top + view.height / 2 };
      this.region = { kind: "point", points: [middle] };
    } else {
      const points = this.region.points.map((p) => ({ x: p.x + x, y: p.y + y }));
      if (points.every(inside)) this.region = { ...this.region, points };
    }
    this.changed();
  }

  /**
   * @param {Pane} pane
   * @returns {() => void} stops listening
   */
  listen(pane) {
    const { canvas } = pane;
    /** @type {{id: number, from: Point, x: number, y: number} | null} */
    let drag = null;

    /** @param {PointerEvent} event */
    const within = (event) => {
      const { x, y } = pane.at(event);
      const view = pane.scene?.view ?? { left: 0, top: 0, width: 1, height: 1 };
      return {
        x: Math.min(view.left + view.width - 0.01, Math.max(view.left, x)),
        y: Math.min(view.top + view.height - 0.01, Math.max(view.top, y)),
      };
    };
    /** @param {PointerEvent} event */
    const down = (event) => {
      if (event.button !== 0) return;
      const at = within(event);
      if (this.tool === "polygon") {
        const [first] = this.corners;
        const reach = NEAR * pane.scale;
        if (this.corners.length > 2 && Math.hypot(at.x - first.x, at.y - first.y) < reach) {
          this.close();
          return;
        }
        this.corners = [...this.corners, at];
      } else {
        canvas.setPointerCapture(event.pointerId);
        drag = { id: event.pointerId, from: at, x: event.clientX, y: event.clientY };
        this.region = { kind: "point", points: [at] };
      }
      this.changed();
    };
    /** @param {PointerEvent} event */
    const move = (event) => {
      this.hover = within(event);
      this.over = pane;
      if (drag && event.pointerId === drag.id) {
        const far = Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > STILL;
        if (this.tool === "point") this.region = { kind: "point", points: [this.hover] };
        else if (far) this.region = { kind: "box", points: [drag.from, this.hover] };
      }
      this.changed();
    };
    const up = () => {
      drag = null;
    };
    const leave = () => {
      this.hover = null;
      this.over = null;
      this.changed();
    };
    const twice = () => {
      if (this.tool === "polygon") this.close();
    };
    /** @type {[string, (event: any) => void][]} */
    const handlers = [
      ["pointerdown", down],
      ["pointermove", move],
      ["pointerup", up],
      ["pointercancel", up],
      ["pointerleave", leave],
      ["dblclick", twice],
    ];
    for (const [name, handler] of handlers) canvas.addEventListener(name, handler);
    return () => {
      for (const [name, handler] of handlers) canvas.removeEventListener(name, handler);
    };
  }
}

/**
 * Without corners that stand where the one before them does, as a double click sets them.
 * @param {Point[]} points
 */
function distinct(points) {
  return points.filter(({ x, y }, i) => {
    const before = points[i - 1];
    return !before || Math.hypot(x - before.x, y - before.y) > 0.5;
  });
}
