// The size of a picture, read from its file's header before anything is decoded.

/** Pixels of the largest picture that is decoded, the same that Python reads. */
export const LARGEST = 25_000_000;
/** Bytes of the largest file that is opened, the same that Python takes. */
export const LARGEST_FILE = 100_000_000;

/** @typedef {{width: number, height: number}} Size */

/**
 * Refuses a file that is none of the formats that are read, or whose picture is too large: a few
 * kilobytes can decode to gigabytes.
 * @param {Uint8Array} bytes of the file
 */
export function refuseLarge(bytes) {
  const size = sizeOf(bytes);
  if (!size) {
    throw new Error(
      "This file is not a picture that can be read here: it must be PNG, JPEG, WebP, GIF, BMP or AVIF.",
    );
  }
  const pixels = size.width * size.height;
  if (pixels > LARGEST) {
    throw new Error(
      `The picture has ${size.width} × ${size.height} pixels, ${Math.round(pixels / 1e6)} megapixels, ` +
        `and at most ${LARGEST / 1e6} are read. Scale it down first.`,
    );
  }
}

/**
 * @param {Uint8Array} bytes of a file
 * @returns {Size | null} null where it is of no known format, or cut short
 */
export function sizeOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    for (const read of [png, jpeg, webp, gif, bmp, avif]) {
      const size = read(view);
      if (size) return size.width > 0 && size.height > 0 ? size : null;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // beyond the end
  }
  return null;
}

/** @param {DataView} view @param {number} at @param {number} [length] */
function text(view, at, length = 4) {
  let letters = "";
  for (let i = 0; i < length; i++) letters += String.fromCharCode(view.getUint8(at + i));
  return letters;
}

/** @param {DataView} view @param {number} at */
const uint24 = (view, at) => view.getUint16(at, true) + (view.getUint8(at + 2) << 16);

/** @param {DataView} view @returns {Size | null} */
function png(view) {
  if (view.getUint32(0) !== 0x89504e47 || text(view, 12) !== "IHDR") return null;
  return { width: view.getUint32(16), height: view.getUint32(20) };
}

/** @param {DataView} view @returns {Size | null} */
function jpeg(view) {
  if (view.getUint16(0) !== 0xffd8) return null;
  for (let at = 2; ; ) {
    if (view.getUint8(at) !== 0xff) {
      at++; // what no decoder minds between two segments
      continue;
    }
    const marker = view.getUint8(at + 1);
    // The frame's header, and neither tables (C4, CC) nor the reserved C8.
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      return { width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
    }
    const alone = marker === 0xff || marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd8);
    at += marker === 0xff ? 1 : alone ? 2 : 2 + view.getUint16(at + 2);
  }
}

/** @param {DataView} view @returns {Size | null} */
function webp(view) {
  if (text(view, 0) !== "RIFF" || text(view, 8) !== "WEBP") return null;
  switch (text(view, 12)) {
    case "VP8 ":
      return {
        width: view.getUint16(26, true) & 0x3fff,
        height: view.getUint16(28, true) & 0x3fff,
      };
    case "VP8L": {
      const bits = view.getUint32(21, true);
      return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
    }
    case "VP8X":
      return { width: uint24(view, 24) + 1, height: uint24(view, 27) + 1 };
  }
  return null;
}

/** @param {DataView} view @returns {Size | null} */
function gif(view) {
  if (text(view, 0) !== "GIF8") return null;
  return { width: view.getUint16(6, true), height: view.getUint16(8, true) };
}

/** @param {DataView} view @returns {Size | null} */
function bmp(view) {
  if (text(view, 0, 2) !== "BM") return null;
  if (view.getUint32(14, true) === 12) {
    return { width: view.getUint16(18, true), height: view.getUint16(20, true) };
  }
  // A negative height is that of rows from top to bottom.
  return {
    width: Math.abs(view.getInt32(18, true)),
    height: Math.abs(view.getInt32(22, true)),
  };
}

/** @param {DataView} view @returns {Size | null} */
function avif(view) {
  if (text(view, 4) !== "ftyp" || !/avi[fs]/.test(text(view, 8, view.getUint32(0) - 8)))
    return null;
  const size = { width: 0, height: 0 };
  // Parts have sizes of their own: the largest is that of the whole.
  for (const at of boxes(view, ["meta", "iprp", "ipco", "ispe"], 0, view.byteLength)) {
    size.width = Math.max(size.width, view.getUint32(at + 4));
    size.height = Math.max(size.height, view.getUint32(at + 8));
  }
  return size;
}

/**
 * Where the contents of all boxes at the end of a path begin.
 * @param {DataView} view
 * @param {string[]} path
 * @param {number} from
 * @param {number} to
 * @returns {Generator<number>}
 */
function* boxes(view, [name, ...further], from, to) {
  for (let at = from; at + 8 <= to; ) {
    let [head, length] = [8, view.getUint32(at)];
    if (length === 1) [head, length] = [16, Number(view.getBigUint64(at + 8))];
    if (length === 0) length = to - at; // up to the end
    if (length < head) return;
    const end = Math.min(at + length, to);
    if (text(view, at + 4) === name) {
      const inside = at + head + (name === "meta" ? 4 : 0);
      if (further.length) yield* boxes(view, further, inside, end);
      else yield inside;
    }
    at = end;
  }
}
