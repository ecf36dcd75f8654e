// A mask on the wire: eight pixels to a byte, the first in the highest bit as NumPy's packbits has
// it, rows without padding between them, then deflate with zlib's header.

// Moves the lowest bits of four bytes side by side, the first byte's on top, into bits 27 to 24.
const GATHER = 0x08040201;

/**
 * @param {Uint8Array} pixels 0 or 1, any number of them
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function packBits(pixels) {
  const bits = new Uint8Array(Math.ceil(pixels.length / 8));
  const whole = pixels.length >> 3;
  if (pixels.byteOffset % 4 === 0) {
    const words = new Uint32Array(pixels.buffer, pixels.byteOffset, whole * 2);
    for (let i = 0; i < whole; i++) {
      const high = Math.imul(words[2 * i], GATHER) >>> 24;
      bits[i] = (high << 4) | (Math.imul(words[2 * i + 1], GATHER) >>> 24);
    }
  } else {
    for (let i = 0; i < whole * 8; i++) bits[i >> 3] |= pixels[i] << (7 - (i & 7));
  }
  for (let i = whole * 8; i < pixels.length; i++) bits[whole] |= pixels[i] << (7 - (i & 7));
  return bits;
}

/**
 * @param {Uint8Array} bits
 * @param {number} length number of pixels
 * @returns {Uint8Array<ArrayBuffer>} 0 or 1
 */
export function unpackBits(bits, length) {
  if (bits.length !== Math.ceil(length / 8)) {
    throw new RangeError(`${bits.length} bytes are not the bits of ${length} pixels`);
  }
  const pixels = new Uint8Array(length);
  for (let i = 0; i < length; i++) pixels[i] = (bits[i >> 3] >> (7 - (i & 7))) & 1;
  return pixels;
}

/**
 * @param {Uint8Array} pixels 0 or 1
 * @returns {Promise<Uint8Array<ArrayBuffer>>} what Python's zlib.decompress reads
 */
export function encodeMask(pixels) {
  return through(packBits(pixels), new CompressionStream("deflate"));
}

/**
 * @param {Uint8Array<ArrayBuffer>} bytes from Python's zlib.compress, or from `encodeMask`
 * @param {number} length number of pixels
 */
export async function decodeMask(bytes, length) {
  return unpackBits(await through(bytes, new DecompressionStream("deflate")), length);
}

/**
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {GenericTransformStream} stream
 */
async function through(bytes, stream) {
  const out = new Blob([bytes]).stream().pipeThrough(stream);
  return new Uint8Array(await new Response(out).arrayBuffer());
}
