import assert from "node:assert/strict";
import { test } from "node:test";
import { maskOfPicture } from "../../src/mask/pngmask.js";
import { random } from "../helpers.js";

const [WIDTH, HEIGHT] = [40, 30];

/** @param {number} x @param {number} y */
const inHole = (x, y) => x >= 10 && x < 25 && y >= 8 && y < 22;

/** @param {(x: number, y: number) => number[]} colour red, green, blue and opacity */
function picture(colour) {
  const data = new Uint8ClampedArray(4 * WIDTH * HEIGHT);
  for (let y = 0, i = 0; y < HEIGHT; y++) {
    for (let x = 0; x < WIDTH; x++, i += 4) data.set(colour(x, y), i);
  }
  return { width: WIDTH, height: HEIGHT, data };
}

/** @param {(x: number, y: number) => number[]} colour */
const read = (colour) => maskOfPicture(picture(colour), WIDTH, HEIGHT);
const HOLE = Uint8Array.from({ length: WIDTH * HEIGHT }, (_, i) =>
  inHole(i % WIDTH, Math.floor(i / WIDTH)) ? 1 : 0,
);
const next = random(3);
const photo = () => [0, 1, 2].map(() => 40 + Math.floor(180 * next()));
const readings = (/** @type {string} */ what) =>
  new RegExp(`^Error: The mask looks like ${what} with transparent parts, which has two readings`);

test("a photograph with transparent parts has two readings", () => {
  assert.throws(
    () => read((x, y) => [...photo(), inHole(x, y) ? 0 : 255]),
    readings("a photograph"),
  );
  assert.throws(
    () => read((x, y) => [...photo(), inHole(x, y) ? 255 : 0]),
    readings("a photograph"),
  );
});

test("so has a page with a hole erased out of it", () => {
  assert.throws(() => read((x, y) => [255, 255, 255, inHole(x, y) ? 0 : 255]), readings("a page"));
  assert.throws(() => read((x, y) => [0, 0, 0, inHole(x, y) ? 0 : 255]), readings("a page"));
});

test("a drawing on a transparent ground has one", () => {
  assert.deepEqual(
    read((x, y) => [0, 0, 0, inHole(x, y) ? 255 : 0]),
    HOLE,
  );
  assert.deepEqual(
    read((x, y) => [255, 255, 255, inHole(x, y) ? 255 : 0]),
    HOLE,
  );
});

test("so have black and white, opaque or with a few clear pixels", () => {
  /** @param {number} x @param {number} y */
  const grey = (x, y) => Array(3).fill(inHole(x, y) ? 255 : 0);
  for (const clear of [255, 254, 0]) {
    assert.deepEqual(
      read((x, y) => [...grey(x, y), y ? 255 : clear]),
      HOLE,
    );
  }
});
