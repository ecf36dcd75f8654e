// What a press, a move and a release do with each tool, in coordinates of the picture.

/** @typedef {import("./editor.js").Editor} Editor */
/** @typedef {import("../mask/flood.js").Pixels} Pixels */
/** @typedef {import("../mask/raster.js").Point} Point */
/** @typedef {{shift?: boolean, away?: boolean}} Held `away`: take pixels away */
/**
 * @typedef {object} Draft what is being drawn and not yet in the mask
 * @property {"rectangle" | "ellipse" | "lasso" | "polygon"} kind
 * @property {Point[]} points two corners, or an outline
 * @property {boolean} away
 */

export const TOOLS = /** @type {const} */ ([
  "brush",
  "eraser",
  "rectangle",
  "ellipse",
  "lasso",
  "polygon",
  "fill",
]);
/** @typedef {(typeof TOOLS)[number]} Tool */

export class Hand {
  /**
   * @param {Editor} editor
   * @param {() => Pixels | null} picture its colours, for filling
   */
  constructor(editor, picture) {
    this.editor = editor;
    this.picture = picture;
    /** @type {Tool} */
    this.tool = "brush";
    this.size = 40; // diameter of the brush in pixels
    this.tolerance = 24;
    this.away = false; // shapes take away
    this.down = false;
    /** @type {Draft | null} */
    this.draft = null;
    /** @type {Point | null} where the last stroke ended */
    this.last = null;
    /** @type {0 | 1} */
    this.value = 1;
  }

  /** @param {Tool} tool */
  choose(tool) {
    this.cancel();
    this.tool = tool;
    this.last = null;
  }

  /**
   * @param {Point} at
   * @param {Held} [held]
   */
  press(at, held = {}) {
    const erases = this.tool === "eraser";
    const away = erases || (this.away && this.tool !== "brush");
    this.value = away !== Boolean(held.away && !erases) ? 0 : 1;
    this.down = true;
    if (this.tool === "brush" || this.tool === "eraser") {
      const from = held.shift && this.last ? this.last : at;
      this.editor.stroke(from, at, this.size, this.value);
      this.last = at;
    } else if (this.tool === "fill") {
      const picture = this.picture();
      if (picture) this.editor.flood(picture, at, this.tolerance, this.value);
    } else if (this.tool === "polygon") {
      this.#corner(at);
    } else {
      this.draft = { kind: this.tool, points: [at, at], away: this.value === 0 };
    }
  }

  /**
   * @param {Point} at
   * @param {Held} [held]
   */
  move(at, held = {}) {
    if (this.tool === "polygon" && this.draft) {
      this.draft.points[this.draft.points.length - 1] = at; // the corner to be
      return;
    }
    if (!this.down) return;
    if (this.tool === "brush" || this.tool === "eraser") {
      this.editor.stroke(this.last ?? at, at, this.size, this.value);
      this.last = at;
    } else if (this.draft?.kind === "lasso") {
      this.draft.points.push(at);
    } else if (this.draft) {
      const start = this.draft.points[0];
      this.draft.points[1] = held.shift ? squared(start, at) : at;
    }
  }

  /** Ends what a press began; polygons go on until `confirm`. */
  release() {
    if (!this.down) return;
    this.down = false;
    if (this.tool === "polygon") return;
    if (this.draft) {
      const [a, b] = this.draft.points;
      if (this.draft.kind === "rectangle") this.editor.rectangle(round(a), round(b), this.value);
      else if (this.draft.kind === "ellipse") this.editor.ellipse(a, b, this.value);
      else this.editor.polygon(this.draft.points, this.value);
      this.draft = null;
    }
    this.editor.commit();
  }

  /** Closes a polygon. */
  confirm() {
    const draft = this.draft;
    if (draft?.kind !== "polygon") return;
    this.draft = null;
    this.down = false;
    this.editor.polygon(draft.points.slice(0, -1), draft.away ? 0 : 1);
    this.editor.commit();
  }

  /** Forgets what is being drawn. */
  cancel() {
    this.draft = null;
    if (this.down) this.editor.cancel();
    this.down = false;
  }

  /** Removes the polygon's last corner. */
  removePoint() {
    const draft = this.draft;
    if (draft?.kind !== "polygon") return;
    if (draft.points.length <= 2) this.cancel();
    else draft.points.splice(-2, 1);
  }

  /** @param {Point} at */
  #corner(at) {
    if (this.draft) this.draft.points.splice(-1, 1, at, at);
    else this.draft = { kind: "polygon", points: [at, at], away: this.value === 0 };
  }
}

/**
 * The corner nearest to `b` that makes a square with `a`.
 * @param {Point} a
 * @param {Point} b
 * @returns {Point}
 */
function squared(a, b) {
  const side = Math.max(Math.abs(b.x - a.x), Math.abs(b.y - a.y));
  return {
    x: a.x + (b.x < a.x ? -side : side),
    y: a.y + (b.y < a.y ? -side : side),
  };
}

/**
 * @param {Point} p
 * @returns {Point}
 */
function round(p) {
  return { x: Math.round(p.x), y: Math.round(p.y) };
}
