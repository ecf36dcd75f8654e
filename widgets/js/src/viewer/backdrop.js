// What lies below a map in one step of a trace, and the mask over it.

import { outlinePath } from "../mask/outline.js";
import { maskOfWhite } from "../mask/pngmask.js";
import { Pictures } from "../trace/pictures.js";
import { pixelsOf, sheet } from "../ui/canvas.js";

/** @typedef {import("../trace/trace.js").Trace} Trace */
/** @typedef {import("../trace/trace.js").Frame} Frame */
/** @typedef {import("./pane.js").Box} Box */
/** @typedef {import("../mask/bitmap.js").Bitmap} Bitmap */

const VEIL = [255, 45, 135]; // MaskPainter's colour at first

export class Backdrop {
  /** @param {() => void} ready is called when more can be drawn than before */
  constructor(ready) {
    this.pictures = new Pictures(ready);
    /** @type {WeakMap<ImageBitmap, {path: Path2D, veil: HTMLCanvasElement, mask: Bitmap}>} */
    this.masks = new WeakMap();
  }

  close() {
    this.pictures.close();
  }

  /**
   * The places of the frame and of the picture in it.
   * @param {Trace} trace
   */
  boxes({ opening }) {
    const [top, left, height, width] = opening.crop;
    return {
      frame: { left: 0, top: 0, width: opening.frame[1] || 1, height: opening.frame[0] || 1 },
      view: { left, top, width: width || 1, height: height || 1 },
    };
  }

  /**
   * The picture of a step, or the best that there is for now.
   * @param {Trace} trace
   * @param {Frame | null} frame
   * @param {string} backdrop picture, preview or original
   * @returns {{image: ImageBitmap, box: Box, what: string} | null}
   */
  below(trace, frame, backdrop) {
    const { frame: whole, view } = this.boxes(trace);
    const original = { what: "original", still: trace.opening.image, box: view };
    const preview = { what: "preview", still: frame?.preview ?? null, box: whole };
    const picture = { what: "picture", still: frame?.picture ?? null, box: view };
    const order =
      !frame || backdrop === "original"
        ? [original, preview]
        : backdrop === "preview"
          ? [preview, picture, original]
          : [picture, preview, original];
    for (const { what, still, box } of order) {
      const image = this.pictures.get(trace.blob(still));
      if (image) return { image, box, what };
    }
    return null;
  }

  /**
   * Whether a step's picture will be there in a moment: what is shown before it had better stay
   * than give way to a blurred preview for that time.
   * @param {Trace} trace
   * @param {Frame | null} frame
   */
  waits(trace, frame) {
    return this.pictures.waits(trace.blob(frame?.picture ?? null));
  }

  /**
   * What a pane shows of a step without its map.
   * @param {Trace} trace
   * @param {Frame | null} frame
   * @param {string} backdrop picture, preview or original
   * @param {boolean} outlined whether the mask's outline is drawn
   */
  scene(trace, frame, backdrop, outlined) {
    const { frame: whole, view } = this.boxes(trace);
    const mask = this.mask(trace);
    return {
      view,
      frame: whole,
      step: frame,
      below: this.below(trace, frame, backdrop),
      mask: outlined ? (mask?.path ?? null) : null,
      veil: frame ? null : (mask?.veil ?? null),
    };
  }

  /**
   * Has the pictures of neighbouring steps decoded before they are asked for.
   * @param {Trace} trace
   * @param {Frame[]} frames
   */
  prepare(trace, frames) {
    for (const frame of frames) {
      this.pictures.get(trace.blob(frame.preview));
      this.pictures.get(trace.blob(frame.picture));
    }
  }

  /**
   * The mask's outline in the frame, and a veil to lay over what is filled.
   * @param {Trace} trace
   */
  mask(trace) {
    const bitmap = this.pictures.get(trace.blob(trace.opening.mask));
    if (!bitmap) return null;
    let found = this.masks.get(bitmap);
    if (!found) {
      const mask = maskOfWhite(pixelsOf(bitmap, bitmap.width, bitmap.height));
      const { left, top, width, height } = this.boxes(trace).view;
      const { canvas, context } = sheet(mask.width, mask.height);
      const pixels = context.createImageData(mask.width, mask.height);
      mask.data.forEach((value, i) => {
        if (value) pixels.data.set([...VEIL, 128], 4 * i);
      });
      context.putImageData(pixels, 0, 0);
      found = { path: outlinePath(mask, left, top, width, height), veil: canvas, mask };
      this.masks.set(bitmap, found);
    }
    return found;
  }
}
