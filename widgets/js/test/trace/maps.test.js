import assert from "node:assert/strict";
import { test } from "node:test";
import {
  colourRange,
  gridOf,
  headsOf,
  layersOf,
  leastSpan,
  levelsOf,
  nearestLevel,
  rangeOf,
  sharedRange,
  symmetric,
  union,
} from "../../src/trace/maps.js";
import { encoded, frame, opening } from "../traces.js";

/** @param {Partial<import("../../src/trace/maps.js").Want>} given */
function want(given) {
  return /** @type {import("../../src/trace/maps.js").Want} */ ({
    kind: "cross",
    level: 16,
    layer: "mean",
    head: -1,
    tokens: [0],
    combine: "mean",
    ...given,
  });
}

/** @param {ArrayLike<number> | undefined} values @param {number[]} expected */
function near(values, expected, most = 0.02) {
  assert.equal(values?.length, expected.length);
  expected.forEach((value, i) => {
    assert.ok(
      Math.abs(/** @type {any} */ (values)[i] - value) <= most,
      `${values} is not ${expected}`,
    );
  });
}

// Two layers of two heads and three tokens, each 1 x 2.
const heads = frame({
  words: [
    ["red", [0]],
    ["star", [1, 2]],
    ["red", [2]],
  ],
  tokens: ["red", "st", "ar"],
  maps: [
    encoded("cross", 16, "a", [2, 3, 1, 2], [0, 1, 2, 4, 6, 8, 10, 20, 30, 40, 50, 60]),
    encoded("cross", 16, "b", [2, 3, 1, 2], [1, 3, 0, 0, 2, 2, 0, 0, 8, 4, 6, 6]),
  ],
});

const painta = frame({
  maps: [
    encoded("similarity", 16, "a", [1, 2], [1, 3]),
    encoded("similarity", 16, "b", [1, 2], [100, 300]),
    encoded("similarity", 32, "c", [1, 1], [1]),
    encoded("similarity_painta", 16, "a", [1, 2], [2, 1]),
  ],
});

test("the object's mask is a map without words, at the latents' resolution", () => {
  const step = frame({ maps: [encoded("object", 8, "mean", [1, 2], [0, 1])] });
  assert.deepEqual(levelsOf(step, "object"), [8]);
  near(gridOf(step, want({ kind: "object", level: 8 }))?.values, [0, 1]);
});

test("means over layers, heads and tokens; sums over tokens alone", () => {
  near(gridOf(heads, want({ layer: "a", head: 0 }))?.values, [0, 1]);
  near(gridOf(heads, want({ layer: "a", head: 1, tokens: [1] }))?.values, [30, 40], 0.1);
  near(gridOf(heads, want({ layer: "a" }))?.values, [5, 10.5], 0.1);
  near(gridOf(heads, want({}))?.values, [2.75, 6], 0.1);
  const both = { layer: "b", head: 0, tokens: [1, 2] };
  near(gridOf(heads, want(both))?.values, [1, 1]);
  near(gridOf(heads, want({ ...both, combine: "sum" }))?.values, [2, 2]);
});

test("without a chosen token there is no map", () => {
  assert.equal(gridOf(heads, want({ tokens: [] })), null);
  assert.equal(gridOf(heads, want({ tokens: [9] })), null);
  assert.equal(gridOf(heads, want({ level: 8 })), null);
});

test("layers and heads are offered where they were kept", () => {
  assert.deepEqual(layersOf(heads, "cross", 16), ["a", "b"]);
  assert.equal(headsOf(heads, "cross", 16, "mean"), 2);
  const plain = frame({ maps: [encoded("cross", 8, "mean", [1, 1, 1], [1])] });
  assert.deepEqual(layersOf(plain, "cross", 8), []);
  assert.equal(headsOf(plain, "cross", 8, "mean"), 0);
});

test("a difference compares the layers that both have", () => {
  near(gridOf(painta, want({ kind: "difference" }))?.values, [1, -2]);
  near(gridOf(painta, want({ kind: "similarity" }))?.values, [50.5, 151.5], 1);
  assert.deepEqual(levelsOf(painta, "difference"), [16]);
  assert.deepEqual(levelsOf(painta, "region"), [16, 32]);
  assert.deepEqual(layersOf(painta, "difference", 16), ["a"]);
});

test("the nearest level is taken where the wanted one was not kept", () => {
  assert.equal(nearestLevel([16, 32], 8), 16);
  assert.equal(nearestLevel([8, 32], 16), 8);
  assert.equal(nearestLevel([], 16), 16);
});

test("what was padded does not set the range", () => {
  const padded = frame({ maps: [encoded("c", 16, "a", [2, 2], [0.5, 0.6, 9, 0.7])] });
  const grid = gridOf(padded, want({ kind: "c" }));
  assert.ok(grid);
  const whole = opening({ frame: [32, 32], crop: [0, 0, 32, 32] });
  near(rangeOf(grid, whole), [0.5, 9], 0.03);
  near(rangeOf(grid, { ...whole, crop: [0, 0, 16, 32] }), [0.5, 0.6], 0.03);
  near(rangeOf(grid, { ...whole, crop: [0, 0, 17, 16] }), [0.5, 9], 0.03); // a cell seen in part
});

test("one scale for all steps spans those that have the map", () => {
  const steps = [
    [0, 1],
    [-2, 0.5],
  ].map((values) => frame({ maps: [encoded("c", 16, "a", [1, 2], values)] }));
  const where = opening({ frame: [16, 32], crop: [0, 0, 16, 32] });
  assert.deepEqual(sharedRange([frame({}), ...steps], want({ kind: "c" }), where), [-2, 1]);
  assert.equal(sharedRange([frame({})], want({ kind: "c" }), where), null);
});

test("colours span an even share of attention, a logit, or all of c, at the least", () => {
  const span = (/** @type {string} */ kind) => leastSpan(kind, { even: 0.04, cells: 64 });
  const tiny = /** @type {[number, number]} */ ([1e-6, 1e-5]);
  assert.deepEqual(colourRange("cross", tiny, span("cross")), [1e-6, 1e-6 + 0.04]);
  assert.deepEqual(colourRange("cross", [0, 0.3], span("cross")), [0, 0.3]);
  assert.equal(leastSpan("cross", { even: 0.04, tokens: 3 }), 0.12);
  assert.equal(span("region"), 1 / 64);
  assert.deepEqual(colourRange("similarity", [-0.1, 0.1], span("similarity")), [-0.1, 0.9]);
  assert.deepEqual(colourRange("difference", [-0.1, 0.2], span("difference")), [-1, 1]);
  assert.deepEqual(colourRange("c", [0.2, 0.4], span("c")), [0, 1]);
  assert.deepEqual(colourRange("object", [0, 0.1], span("object")), [0, 1]);
});

test("ranges are joined, and made symmetric about 0", () => {
  assert.deepEqual(union([0, 2], [-1, 1]), [-1, 2]);
  assert.deepEqual(union(null, [1, 2]), [1, 2]);
  assert.deepEqual(symmetric([-1, 3]), [-3, 3]);
  assert.deepEqual(symmetric([0, 0]), [-1, 1]);
});
