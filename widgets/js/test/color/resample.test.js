import assert from "node:assert/strict";
import { test } from "node:test";
import { enlarged } from "../../src/color/resample.js";

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
