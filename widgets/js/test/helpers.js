// Shared by the tests: reproducible numbers, and masks as text.

/** @typedef {import("../src/mask/bitmap.js").Bitmap} Bitmap */

/**
 * Numbers in 0..1 that are the same in every run (mulberry32).
 * @param {number} seed
 */
export function random(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/**
 * @param {number} length
 * @param {number} seed
 * @param {number} [share] of ones
 */
export function noise(length, seed, share = 0.5) {
  const next = random(seed);
  return Uint8Array.from({ length }, () => (next() < share ? 1 : 0));
}

/**
 * Rows of # and . as a text.
 * @param {Bitmap} mask
 */
export function drawn({ width, height, data }) {
  const rows = [];
  for (let y = 0; y < height; y++) {
    rows.push([...data.subarray(y * width, (y + 1) * width)].map((v) => (v ? "#" : ".")).join(""));
  }
  return rows.join("\n");
}

/**
 * The pixels whose centres a test accepts, one by one.
 * @param {number} width
 * @param {number} height
 * @param {(x: number, y: number) => boolean} test
 */
export function brute(width, height, test) {
  const data = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) data[y * width + x] = test(x + 0.5, y + 0.5) ? 1 : 0;
  }
  return { width, height, data };
}

/**
 * Waits until something holds; a busy machine takes its time.
 * @param {() => boolean} holds
 */
export async function until(holds) {
  for (const end = Date.now() + 10_000; !holds(); ) {
    if (Date.now() > end) throw new Error(`waited in vain until ${holds}`);
    await new Promise((go) => setTimeout(go, 2));
  }
}

/**
 * @param {Uint8Array} a
 * @param {Uint8Array} b
 */
export function equal(a, b) {
  return a.length === b.length && a.every((v, i) => v === b[i]);
}
