import assert from "node:assert/strict";
import { test } from "node:test";
import { COLORMAPS, colored, DIVERGING, tableOf } from "../../src/color/colormaps.js";
import { enlarged } from "../../src/color/resample.js";
import { layerNames, short } from "../../src/ui/format.js";

test("JET is OpenCV's", () => {
  // Recorded from cv2.applyColorMap(values, cv2.COLORMAP_JET), turned to red, green, blue.
  /** @type {[number, number[]][]} */
  const recorded = [
    [0, [0, 0, 128]],
    [1, [0, 0, 132]],
    [31, [0, 0, 252]],
    [32, [0, 0, 255]],
    [33, [0, 4, 255]],
    [64, [0, 128, 255]],
    [96, [2, 255, 254]],
    [128, [130, 255, 126]],
    [160, [255, 252, 0]],
    [192, [255, 124, 0]],
    [223, [255, 0, 0]],
    [224, [252, 0, 0]],
    [255, [128, 0, 0]],
  ];
  for (const [at, color] of recorded)
    assert.deepEqual([...tableOf("jet").slice(3 * at, 3 * at + 3)], color);
});

test("every table has 256 colours", () => {
  for (const name of [...COLORMAPS, DIVERGING]) assert.equal(tableOf(name).length, 768);
  assert.deepEqual([...tableOf("viridis").slice(0, 3)], [68, 1, 84]);
});

test("values outside the range, and none at all, take the ends", () => {
  /** @param {number[]} values @param {[number, number]} range */
  const places = (values, range) => {
    const table = tableOf("viridis");
    const pixels = colored(values, range, "viridis");
    return values.map((_, i) => {
      for (let at = 0; at < 256; at++)
        if ([0, 1, 2].every((n) => pixels[4 * i + n] === table[3 * at + n])) return at;
      return -1;
    });
  };
  assert.deepEqual(places([-1, 2, 0.5, Number.NaN, 0], [0, 1]), [0, 255, 128, 0, 0]);
  assert.deepEqual(places([5, 6], [5, 5]), [0, 0]);
  assert.deepEqual([...colored([0, 1], [0, 1], "jet")], [0, 0, 128, 255, 128, 0, 0, 255]);
});

test("an enlarged map keeps its range and its symmetry", () => {
  const grid = { width: 3, height: 2, values: Float32Array.from([0, 1, 0, 0, 1, 0]) };
  const { width, height, values } = enlarged(grid, 30, 20);
  assert.deepEqual([width, height, values.length], [30, 20, 600]);
  assert.ok(values.every((value) => value >= 0 && value <= 1));
  for (let x = 0; x < 15; x++) assert.ok(Math.abs(values[x] - values[29 - x]) < 1e-5);
  assert.ok(values[15] > 0.9 && values[0] < 0.1);
});

test("an enlarged map of one value stays flat", () => {
  const grid = { width: 2, height: 2, values: new Float32Array(4).fill(0.3) };
  for (const value of enlarged(grid, 9, 7).values) assert.ok(Math.abs(value - 0.3) < 1e-6);
});

test("numbers are short", () => {
  assert.deepEqual([0, 0.24189, 12.345, -3, 0.00012, 123456, null, Number.NaN].map(short), [
    "0",
    "0.242",
    "12.3",
    "−3",
    "1.2e−4",
    "1.2e5",
    "–",
    "–",
  ]);
});

test("layers are named in a few words, and their blocks where there are several", () => {
  assert.deepEqual(
    layerNames([
      "down_blocks.1.attentions.0.transformer_blocks.0",
      "up_blocks.2.attentions.1.transformer_blocks.0",
      "up_blocks.2.attentions.1.transformer_blocks.1",
      "mid_block.attentions.0.transformer_blocks.0",
      "odd",
    ]),
    [
      "down 1 · attention 0",
      "up 2 · attention 1 · block 0",
      "up 2 · attention 1 · block 1",
      "mid · attention 0",
      "odd",
    ],
  );
});
