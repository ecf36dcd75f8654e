// Masks from picture files and back.

import { h, sheet } from "./dom.js";
import { maskOfPicture, pictureOfMask } from "./pngmask.js";

/** @typedef {import("./bitmap.js").Bitmap} Bitmap */

/**
 * @param {Blob} file any picture that the browser reads
 * @param {{width: number, height: number}} size of the mask
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
async function readMask(file, { width, height }) {
  const picture = await createImageBitmap(file).catch(() => {
    throw new Error("This file is not a picture that the browser can read.");
  });
  const { width: w, height: t } = picture;
  if (Math.abs(t * width - w * height) > Math.max(t, w, height, width)) {
    throw new Error(
      `That picture has ${w} × ${t} pixels, other proportions than this one's ${width} × ${height}.`,
    );
  }
  const pixels = pixelsOf(picture, w, t);
  picture.close();
  return maskOfPicture(pixels, width, height);
}

/**
 * @param {ImageBitmap} picture
 * @param {number} width
 * @param {number} height
 */
export function pixelsOf(picture, width, height) {
  const { context } = sheet(width, height, { willReadFrequently: true });
  context.drawImage(picture, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/**
 * Hands the mask to the reader as a file: white where masked.
 * @param {Bitmap} mask
 */
export function saveMask({ width, height, data }) {
  const { canvas, context } = sheet(width, height);
  context.putImageData(new ImageData(pictureOfMask(data), width, height), 0, 0);
  canvas.toBlob((blob) => {
    if (!blob) return;
    const address = URL.createObjectURL(blob);
    h("a", { href: address, download: "mask.png" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }, "image/png");
}

/**
 * Takes pictures from a file chooser and pictures dropped on an element.
 * @param {HTMLElement} root
 * @param {HTMLInputElement} chooser
 * @param {{width: number, height: number}} size of the mask
 * @param {(pixels: Uint8Array | null, complaint: string) => void} taken
 */
export function takeFiles(root, chooser, size, taken) {
  /** @param {Blob | undefined} file */
  async function take(file) {
    if (!file) return;
    try {
      taken(await readMask(file, size), "");
    } catch (error) {
      taken(null, error instanceof Error ? error.message : String(error));
    }
  }
  chooser.addEventListener("change", () => {
    take(chooser.files?.[0]);
    chooser.value = "";
  });
  for (const type of ["dragenter", "dragover", "drop"]) {
    root.addEventListener(type, (event) => {
      event.preventDefault();
      event.stopPropagation();
      if (type === "drop") take(/** @type {DragEvent} */ (event).dataTransfer?.files[0]);
    });
  }
}
