import assert from "node:assert/strict";
import { test } from "node:test";
import { duration, layerNames, short, withPower } from "../../src/ui/format.js";

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

test("numbers are short", () => {
  const cases = /** @type {[number | null, string][]} */ ([
    [0, "0"],
    [null, "–"],
    [Number.NaN, "–"],
    [0.01234, "0.0123"],
    [-1.5, "−1.50"],
    [15312, "15312"],
    [2.41e-5, "2.41 × 10⁻⁵"],
    [-3.2e12, "−3.20 × 10¹²"],
  ]);
  for (const [value, text] of cases) assert.equal(withPower(value).replaceAll("\u00a0", " "), text);
});

test("durations are told in the unit that fits", () => {
  const cases = /** @type {[number, string][]} */ ([
    [0.134, "134 ms"],
    [0.9999, "1.0 s"],
    [2.04, "2.0 s"],
    [9.97, "10 s"],
    [59.7, "1 min"],
    [125, "2 min 5 s"],
    [7260, "2 h 1 min"],
  ]);
  for (const [value, text] of cases) assert.equal(duration(value).replaceAll("\u00a0", " "), text);
});
