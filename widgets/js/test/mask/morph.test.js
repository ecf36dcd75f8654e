import assert from "node:assert/strict";
import { test } from "node:test";
import { createBitmap } from "../../src/mask/bitmap.js";
import { spread } from "../../src/mask/morph.js";
import { drawn, noise } from "../helpers.js";

test("growing takes steps to the four neighbours", () => {
  const mask = createBitmap(7, 5);
  mask.data[2 * 7 + 3] = 1;
  spread(mask, 2, 1);
  assert.equal(drawn(mask), "...#...\n..###..\n.#####.\n..###..\n...#...");
  spread(mask, 1, 0);
  assert.equal(drawn(mask), ".......\n...#...\n..###..\n...#...\n.......");
});

test("agrees with single steps; more than 255 of them too", () => {
  for (const [steps, value] of /** @type {[number, 0 | 1][]} */ ([
    [1, 1],
    [3, 1],
    [2, 0],
    [300, 1],
  ])) {
    const [width, height] = [31, 23];
    const mask = createBitmap(width, height);
    mask.data.set(noise(width * height, steps, value ? 0.01 : 0.97));
    let expected = mask.data.slice();
    for (let n = 0; n < steps; n++) {
      const last = expected.slice();
      expected = expected.map((v, i) => {
        const [x, y] = [i % width, Math.floor(i / width)];
        const near =
          (x > 0 && last[i - 1] === value) ||
          (x < width - 1 && last[i + 1] === value) ||
          (y > 0 && last[i - width] === value) ||
          (y < height - 1 && last[i + width] === value);
        return near ? value : v;
      });
    }
    spread(mask, steps, value);
    assert.deepEqual(mask.data, expected);
  }
});

test("a mask does not shrink away from the border", () => {
  const mask = createBitmap(4, 3);
  mask.data.fill(1);
  spread(mask, 2, 0);
  assert.equal(drawn(mask), "####\n####\n####");
});
