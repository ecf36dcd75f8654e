import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync, inflateSync } from "node:zlib";
import { decodeMask, encodeMask, packBits, unpackBits } from "../../src/mask/packing.js";
import { maskOfPicture, pictureOfMask } from "../../src/mask/pngmask.js";
import { noise } from "../helpers.js";

const LENGTHS = [1, 7, 8, 9, 31, 64 * 64, 53 * 41, 127 * 3, 1000];

test("bits lie as NumPy's packbits has them", () => {
  assert.deepEqual([...packBits(Uint8Array.from([1, 0, 0, 0, 0, 0, 1, 1, 1]))], [0b10000011, 128]);
  assert.deepEqual([...packBits(new Uint8Array(0))], []);
});

test("what is packed is unpacked, whatever the length and wherever it lies", () => {
  for (const length of LENGTHS) {
    const pixels = noise(length, length);
    const bits = packBits(pixels);
    assert.equal(bits.length, Math.ceil(length / 8));
    assert.deepEqual(unpackBits(bits, length), pixels);
    const moved = new Uint8Array(length + 1).subarray(1); // no longer a multiple of four
    moved.set(pixels);
    assert.deepEqual(packBits(moved), bits);
  }
});

test("zlib reads what is sent, and its bytes are read", async () => {
  for (const length of LENGTHS) {
    const pixels = noise(length, length, 0.1);
    const sent = await encodeMask(pixels);
    assert.equal(sent.buffer.byteLength, sent.byteLength, "a view of the whole buffer");
    assert.deepEqual(new Uint8Array(inflateSync(sent)), packBits(pixels));
    const received = Uint8Array.from(deflateSync(packBits(pixels)));
    assert.deepEqual(await decodeMask(received, length), pixels);
  }
});

test("bytes of another size are refused", async () => {
  assert.throws(() => unpackBits(new Uint8Array(3), 25), /3 bytes are not the bits of 25 pixels/);
  await assert.rejects(decodeMask(Uint8Array.from([1, 2, 3]), 24));
});

test("white on black is read back as it was written", () => {
  const pixels = noise(35, 5);
  const data = pictureOfMask(pixels);
  assert.deepEqual(maskOfPicture({ width: 7, height: 5, data }, 7, 5), pixels);
});

test("a drawing on a transparent ground is read by its transparency", () => {
  const data = new Uint8ClampedArray(4 * 25); // clear all around
  data.set([0, 0, 0, 255, 9, 9, 9, 0, 0, 0, 0, 200], 4 * 11);
  data.set([0, 0, 0, 20], 4 * 17);
  const pixels = maskOfPicture({ width: 5, height: 5, data }, 5, 5);
  assert.deepEqual(
    [...pixels.keys()].filter((i) => pixels[i]),
    [11, 13],
  );
});

test("colours are read by their luminance, other sizes by the nearest pixel", () => {
  const data = new Uint8ClampedArray([0, 255, 0, 255, 0, 0, 255, 255]);
  assert.deepEqual(
    [...maskOfPicture({ width: 2, height: 1, data }, 4, 2)],
    [1, 1, 0, 0, 1, 1, 0, 0],
  );
});
