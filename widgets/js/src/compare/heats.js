// What is drawn over two compared pictures: their maps in the same colours, or a difference.

import { DIVERGING } from "../color/colormaps.js";
import { colourRange, leastSpan, symmetric, union } from "../trace/maps.js";
import { sheet } from "../ui/canvas.js";
import { lessOf, pictureDifference, rangeOfSide } from "./sides.js";

/** @typedef {import("./sides.js").Side} Side */
/** @typedef {import("../trace/maps.js").Grid} Grid */
/** @typedef {import("../color/colormaps.js").Range} Range */
/** @typedef {NonNullable<import("../viewer/pane.js").Scene["heat"]>} Heat */

export class Heats {
  /** @param {import("../viewer/backdrop.js").Backdrop} backdrop */
  constructor(backdrop) {
    this.backdrop = backdrop;
    /** @type {{images: unknown[], grid: Grid | null}} */
    this.apart = { images: [], grid: null };
  }

  /**
   * @param {Side[]} both
   * @param {(Grid | null)[]} grids their maps
   * @param {{below: string, kind: string, mode: string, colormap: string, gain: number,
   *   tokens?: number}} how below: which pictures are compared, of both sides; tokens: how many are
   *   added up
   * @returns {(Heat | null)[]} of each side; of the first alone where it is a difference
   */
  of(both, grids, { below, kind, mode, colormap, gain, tokens = 1 }) {
    if (both.length < 2) return [null, null];
    if (mode === "difference" && kind === "picture") {
      const grid = this.#pixelsApart(both, below);
      return [grid && { grid, range: [0, 255 / gain], colormap }, null];
    }
    if (kind === "picture") return [null, null];
    const least = leastSpan(kind, { even: both[0].frame?.even_share ?? 0, tokens });
    if (mode === "difference") {
      const grid = lessOf(grids[0], grids[1]);
      const own = rangeOfSide(both[0], grid);
      return [grid && own && { grid, range: symmetric(own, least), colormap: DIVERGING }, null];
    }
    const range = both.reduce(
      (all, side, i) => union(all, rangeOfSide(side, grids[i])),
      /** @type {Range | null} */ (null),
    );
    const colours = range && colourRange(kind, range, least);
    return grids.map((grid) => (grid && colours ? { grid, range: colours, colormap } : null));
  }

  /**
   * The two pictures' difference, kept while they are the same ones.
   * @param {Side[]} both
   * @param {string} what
   */
  #pixelsApart(both, what) {
    const below = both.map(({ trace, frame }) => this.backdrop.below(trace, frame, what));
    const images = below.map((one) => one?.image);
    if (images.every((image, i) => image && image === this.apart.images[i])) return this.apart.grid;
    const [, , height, width] = both[0].trace.opening.crop;
    const [a, b] = below.map((one, which) => {
      if (!one || !width || !height) return null;
      const { view } = this.backdrop.boxes(both[which].trace);
      const { context } = sheet(width, height, { willReadFrequently: true });
      const [sx, sy] = [width / view.width, height / view.height];
      const { left, top, width: wide, height: tall } = one.box;
      context.imageSmoothingQuality = "high";
      context.drawImage(
        one.image,
        (left - view.left) * sx,
        (top - view.top) * sy,
        wide * sx,
        tall * sy,
      );
      return context.getImageData(0, 0, width, height).data;
    });
    this.apart = { images, grid: a && b ? pictureDifference(a, b, width) : null };
    return this.apart.grid;
  }
}
