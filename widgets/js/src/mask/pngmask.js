// A picture as a mask, by the same rules as `hdpainter_nb.images.read.read_mask`.

import { createBitmap } from "./bitmap.js";

/** @typedef {import("./flood.js").Pixels} Pixels */

/**
 * White masks, black does not; a drawing of one colour on a transparent ground is read by its
 * transparency. Another size than the mask's is scaled by nearest neighbour. Throws where a picture
 * with transparent parts has two readings.
 * @param {Pixels} picture
 * @param {number} width of the mask
 * @param {number} height
 * @returns {Uint8Array<ArrayBuffer>} 0 or 1
 */
export function maskOfPicture(picture, width, height) {
  const byAlpha = isDrawing(picture.data);
  const rgba = picture.data;
  refuseErased(picture, byAlpha);
  const pixels = new Uint8Array(width * height);
  for (let y = 0, at = 0; y < height; y++) {
    const row = Math.floor(((y + 0.5) * picture.height) / height) * picture.width;
    for (let x = 0; x < width; x++, at++) {
      const i = 4 * (row + Math.floor(((x + 0.5) * picture.width) / width));
      pixels[at] = valueAt(rgba, i, byAlpha) >= 128 ? 1 : 0;
    }
  }
  return pixels;
}

/**
 * The luminance of a pixel.
 * @param {Pixels["data"]} rgba
 * @param {number} i where the pixel begins
 */
function greyAt(rgba, i) {
  return Math.floor((299 * rgba[i] + 587 * rgba[i + 1] + 114 * rgba[i + 2] + 500) / 1000);
}

/**
 * What counts of a pixel: its opacity in a drawing, else its luminance over black.
 * @param {Pixels["data"]} rgba
 * @param {number} i where the pixel begins
 * @param {boolean} byAlpha
 */
function valueAt(rgba, i, byAlpha) {
  const alpha = rgba[i + 3];
  return byAlpha ? alpha : Math.floor((greyAt(rgba, i) * alpha + 127) / 255);
}

/**
 * Refuses transparent masks whose hole may be what was erased or what is left: photographs, and
 * pages, where more than a quarter of the border would be filled.
 * @param {Pixels} picture
 * @param {boolean} drawn whether it is a drawing of one colour
 */
function refuseErased({ width, height, data }, drawn) {
  let [opaque, between, bright, edge, filled] = [0, 0, 0, 0, 0];
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i += 4) {
      // Corners count twice, as rows and as columns.
      const edges = +(x === 0) + +(x === width - 1) + +(y === 0) + +(y === height - 1);
      edge += edges;
      if (edges && valueAt(data, i, drawn) >= 128) filled += edges;
      if (data[i + 3] < 128) continue;
      opaque++;
      const grey = greyAt(data, i);
      if (grey > 25) bright++;
      if (grey > 25 && grey < 230) between++;
    }
  }
  if (!opaque || opaque === width * height) return;
  const photograph = !drawn && between > Math.max(16, 0.25 * bright);
  if (photograph || filled > 0.25 * edge) {
    throw new Error(
      `The mask looks like ${photograph ? "a photograph" : "a page"} with transparent parts, which ` +
        "has two readings. With alpha = np.asarray(image.convert('RGBA'))[..., 3], pass alpha < 128 " +
        "to fill what was erased, or alpha >= 128 to fill what is left.",
    );
  }
}

/**
 * Whether a picture is meant as a mask: a drawing of one colour on a transparent ground, or hardly
 * anything but black and white.
 * @param {Pixels["data"]} rgba
 */
export function isMask(rgba) {
  if (isDrawing(rgba)) return true;
  let plain = 0;
  for (let i = 0; i < rgba.length; i += 4) {
    const low = Math.min(rgba[i], rgba[i + 1], rgba[i + 2]);
    const high = Math.max(rgba[i], rgba[i + 1], rgba[i + 2]);
    if (high <= 24 || low >= 231) plain++;
  }
  return plain >= 0.95 * (rgba.length / 4); // edges are soft, JPEG blurs them
}

/**
 * Whether transparency varies and what is opaque has one colour.
 * @param {Pixels["data"]} rgba
 */
function isDrawing(rgba) {
  const low = [255, 255, 255, 255];
  const high = [0, 0, 0, 0];
  for (let i = 0; i < rgba.length; i += 4) {
    low[3] = Math.min(low[3], rgba[i + 3]);
    high[3] = Math.max(high[3], rgba[i + 3]);
    if (rgba[i + 3] < 128) continue;
    for (let c = 0; c < 3; c++) {
      low[c] = Math.min(low[c], rgba[i + c]);
      high[c] = Math.max(high[c], rgba[i + c]);
    }
  }
  const spread = Math.max(high[0] - low[0], high[1] - low[1], high[2] - low[2]);
  return high[3] > low[3] && spread <= 2;
}

/**
 * The reverse: white where masked, for a PNG.
 * @param {Uint8Array} pixels 0 or 1
 * @returns {Uint8ClampedArray<ArrayBuffer>} RGBA
 */
export function pictureOfMask(pixels) {
  const rgba = new Uint8ClampedArray(4 * pixels.length);
  const words = new Uint32Array(rgba.buffer);
  for (let i = 0; i < pixels.length; i++) words[i] = pixels[i] ? 0xffffffff : 0xff000000;
  return rgba;
}

/**
 * The mask that a picture from Python shows in white, at the picture's own size.
 * @param {Pixels} picture
 * @returns {import("./bitmap.js").Bitmap}
 */
export function maskOfWhite({ width, height, data }) {
  const mask = createBitmap(width, height);
  for (let i = 0; i < mask.data.length; i++) mask.data[i] = data[4 * i] > 127 ? 1 : 0;
  return mask;
}
