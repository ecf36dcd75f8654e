import assert from "node:assert/strict";
import { test } from "node:test";
import { wordMeans } from "../../src/viewer/selection.js";
import { encoded, frame } from "../traces.js";

test("words by the mean of their attention over some cells", () => {
  const step = frame({
    words: [
      ["red", [1]],
      ["star", [2, 3]],
    ],
    tokens: ["<sot>", "red", "st", "ar"],
    maps: [encoded("cross", 16, "mean", [4, 1, 2], [1, 1, 0, 4, 2, 2, 6, 0])],
  });
  const how = /** @type {const} */ ({ level: 16, layer: "mean", head: -1, combine: "mean" });
  const values = (/** @type {number[]} */ cells, /** @type {"mean" | "sum"} */ combine) =>
    wordMeans(step, cells, { ...how, combine }).map(({ text, value }) => [text, value]);
  assert.deepEqual(values([0], "mean"), [
    ["red", 0],
    ["star", 4],
  ]);
  assert.deepEqual(values([0, 1], "sum"), [
    ["red", 2],
    ["star", 5],
  ]);
  assert.deepEqual(wordMeans(frame({ words: [["red", [1]]] }), [0], how), []);
});
