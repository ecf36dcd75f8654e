import assert from "node:assert/strict";
import { test } from "node:test";
import { createBitmap } from "../../src/mask/bitmap.js";
import { floodFill } from "../../src/mask/flood.js";
import { drawn, noise, random } from "../helpers.js";

/**
 * @param {string[]} rows digits are greys in steps of ten
 */
function picture(rows) {
  const [width, height] = [rows[0].length, rows.length];
  const data = new Uint8ClampedArray(4 * width * height);
  [...rows.join("")].forEach((digit, i) => {
    data.set([10 * Number(digit), 10 * Number(digit), 10 * Number(digit), 255], 4 * i);
  });
  return { width, height, data };
}

test("fills what hangs together over sides and is near the first colour", () => {
  const seen = picture(["11119", "19991", "19191", "19991", "11111"]);
  const mask = createBitmap(5, 5);
  floodFill(mask, seen, 0, 0, 5, 1);
  assert.equal(drawn(mask), "####.\n#...#\n#...#\n#...#\n#####");
  floodFill(mask, seen, 2, 2, 5, 1);
  assert.equal(drawn(mask), "####.\n#...#\n#.#.#\n#...#\n#####");
});

test("compares with the first pixel, not with the neighbour", () => {
  const mask = createBitmap(6, 1);
  floodFill(mask, picture(["012345"]), 0, 0, 20, 1);
  assert.equal(drawn(mask), "###...");
});

test("one channel that differs is enough to stop it", () => {
  const seen = picture(["111"]);
  seen.data[4 + 2] = 200;
  const mask = createBitmap(3, 1);
  floodFill(mask, seen, 0, 0, 30, 1);
  assert.equal(drawn(mask), "#..");
});

test("agrees with a fill that goes pixel by pixel", () => {
  const [width, height] = [37, 29];
  for (let seed = 0; seed < 20; seed++) {
    const cells = noise(width * height, seed, 0.4);
    const data = new Uint8ClampedArray(4 * cells.length);
    cells.forEach((v, i) => {
      data.fill(v ? 255 : 0, 4 * i, 4 * i + 4);
    });
    const mask = createBitmap(width, height);
    const next = random(seed);
    const [x, y] = [Math.floor(next() * width), Math.floor(next() * height)];
    const rect = floodFill(mask, { width, height, data }, x, y, 10, 1);
    const expected = createBitmap(width, height);
    const stack = [[x, y]];
    for (let at = stack.pop(); at; at = stack.pop()) {
      const [u, v] = at;
      const i = v * width + u;
      if (u < 0 || v < 0 || u >= width || v >= height || expected.data[i]) continue;
      if (cells[i] !== cells[y * width + x]) continue;
      expected.data[i] = 1;
      stack.push([u + 1, v], [u - 1, v], [u, v + 1], [u, v - 1]);
      assert.ok(rect && u >= rect.x0 && u < rect.x1 && v >= rect.y0 && v < rect.y1);
    }
    assert.equal(drawn(mask), drawn(expected));
  }
});

test("a start outside the picture fills nothing", () => {
  const mask = createBitmap(3, 1);
  assert.equal(floodFill(mask, picture(["111"]), 3, 0, 10, 1), null);
  assert.equal(drawn(mask), "...");
});
