import assert from "node:assert/strict";
import { test } from "node:test";
import {
  gridOfSide,
  lessOf,
  pictureDifference,
  settingsApart,
  sidesOf,
  wordsOfBoth,
} from "../../src/compare/sides.js";
import { forked } from "../traces.js";

test("the shorter side stays at its last step", () => {
  const trace = forked();
  const [first, second] = sidesOf([trace], [0, 1], 2);
  assert.deepEqual([first.frame?.node, first.over], [3, false]);
  assert.deepEqual([second.frame?.node, second.over], [4, true]);
  assert.equal(sidesOf([trace], [0, 1], -1)[0].frame, null);
});

test("unknown branches give the first and the last; two runs give the first of each", () => {
  const trace = forked();
  const ids = (/** @type {import("../../src/compare/sides.js").Side[]} */ sides) =>
    sides.map(({ branch: own, number }) => `${number}:${own?.id}`);
  assert.deepEqual(ids(sidesOf([trace], [], 0)), ["0:0", "0:1"]);
  assert.deepEqual(ids(sidesOf([trace, forked()], [1, 9], 0)), ["0:1", "1:0"]);
  assert.deepEqual(sidesOf([trace, undefined], [0, 0], 0), []);
  assert.deepEqual(sidesOf([], [0, 1], 0), []);
});

test("words of both, and settings that set them apart", () => {
  const sides = sidesOf([forked()], [0, 1], 2);
  assert.deepEqual(
    wordsOfBoth(sides).words.map(([text]) => text),
    ["star", "moon"],
  );
  assert.deepEqual(settingsApart(sides), [["with PAIntA"], ["without PAIntA"]]);
});

test("maps of both, and one less the other", () => {
  const sides = sidesOf([forked()], [0, 1], 2);
  const grids = sides.map((side) => gridOfSide(side, "cross", 32, ["star"], "mean"));
  assert.deepEqual([...(grids[0]?.values ?? [])], [0, 3]);
  assert.equal(grids[1], null); // that step has no maps
  assert.equal(lessOf(grids[0], grids[1]), null);
  const one = { width: 2, height: 1, values: Float32Array.of(1, 5) };
  assert.deepEqual([...(lessOf(grids[0], one)?.values ?? [])], [1, 2]);
  assert.equal(lessOf(grids[0], { width: 1, height: 1, values: Float32Array.of(1) }), null);
});

test("pictures differ by the mean over their channels", () => {
  const a = Uint8ClampedArray.of(0, 0, 0, 255, 10, 10, 10, 255);
  const b = Uint8ClampedArray.of(255, 255, 255, 255, 10, 4, 10, 255);
  assert.deepEqual(pictureDifference(a, b, 2), {
    width: 2,
    height: 1,
    values: Float32Array.of(255, 2),
  });
});
