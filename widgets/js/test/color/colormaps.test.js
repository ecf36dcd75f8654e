import assert from "node:assert/strict";
import { test } from "node:test";
import { COLORMAPS, colored, DIVERGING, tableOf } from "../../src/color/colormaps.js";

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
