// Masks from and to picture files.

import { LARGEST_FILE, refuseLarge } from "../mask/filesize.js";
import { isMask, maskOfPicture, pictureOfMask } from "../mask/pngmask.js";
import { pixelsOf, sheet } from "../ui/canvas.js";
import { h } from "../ui/dom.js";

/** @typedef {import("../mask/bitmap.js").Bitmap} Bitmap */

/**
 * @param {Blob} file any picture that the browser reads
 * @param {{width: number, height: number}} size of the mask
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
async function readMask(file, { width, height }) {
  const picture = await open(file);
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

/** @param {Blob} file */
async function open(file) {
  if (file.size > LARGEST_FILE) {
    const [size, most] = [file.size, LARGEST_FILE].map((n) => Math.round(n / 1e6));
    throw new Error(`This file has ${size} MB; up to ${most} are opened.`);
  }
  refuseLarge(new Uint8Array(await file.arrayBuffer()));
  return createImageBitmap(file).catch(() => {
    throw new Error("This file is not a picture that the browser can read.");
  });
}

/**
 * Whether a file is a mask: black and white, or a drawing of one colour.
 * @param {Blob} file
 */
async function holdsMask(file) {
  const picture = await open(file);
  const side = Math.min(256, picture.width, picture.height); // enough to tell
  const found = isMask(pixelsOf(picture, side, side).data);
  picture.close();
  return found;
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
 * Takes masks from a file chooser, and masks and pictures dropped on an element.
 * @param {HTMLElement} root
 * @param {HTMLInputElement} chooser
 * @param {{width: number, height: number}} size of the mask
 * @param {(pixels: Uint8Array | null, complaint: string) => void} taken
 * @param {(file: ArrayBuffer) => void} opened is given a picture that was dropped
 */
export function takeFiles(root, chooser, size, taken, opened) {
  /** @param {Blob | undefined} file @param {boolean} [dropped] */
  async function take(file, dropped = false) {
    if (!file) return;
    try {
      if (dropped && !(await holdsMask(file))) opened(await file.arrayBuffer());
      else taken(await readMask(file, size), "");
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
      if (type === "drop") {
        take(/** @type {DragEvent} */ (event).dataTransfer?.files[0], true);
      }
    });
  }
}
