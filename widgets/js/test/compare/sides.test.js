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
import { splitBuffers } from "../../src/trace/saved.js";
import { plainState } from "../../src/trace/state.js";
import { Trace } from "../../src/trace/trace.js";
import { readViewModel } from "../../src/viewer/view-model.js";
import { branch, encoded, frame, opening } from "../traces.js";

/** Three steps on the first branch; the second has the first of them and one of its own. */
function forked() {
  const trace = new Trace(
    opening({
      branches: [
        branch({ tip: 3, settings: { steps: "20" } }),
        branch({ id: 1, parent: 0, start: 1, tip: 4, settings: { steps: "20", painta: "False" } }),
      ],
    }),
    [],
  );
  /** @type {DataView[]} */
  const buffers = [];
  const maps = (/** @type {number} */ value) => {
    const map = encoded("cross", 16, "mean", [2, 1, 2], [0, value, value, value]);
    buffers.push(new DataView(/** @type {ArrayBuffer} */ (map.bytes?.buffer)));
    return [{ ...map, buffer: buffers.length - 1 }];
  };
  const words = /** @type {[string, number[]][]} */ ([["star", [0]]]);
  trace.add(
    [
      frame({ node: 1, parent: 0, words, tokens: ["star", "x"], maps: maps(1) }),
      frame({ node: 2, parent: 1, words, tokens: ["star", "x"], maps: maps(2) }),
      frame({ node: 3, parent: 2, words, tokens: ["star", "x"], maps: maps(3) }),
      frame({ node: 4, parent: 1, words: [["moon", [0]], ...words], tokens: ["m", "s"] }),
    ],
    buffers,
  );
  return trace;
}

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
  assert.deepEqual(settingsApart(sides), [["painta = default"], ["painta = False"]]);
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

test("a viewer shows the last step where the chosen one is gone, and the level that there is", () => {
  const trace = forked();
  const local = { single: false, each: false, crisp: false, outline: true, painta: true };
  const state = plainState({ step: 9, branch: 0, kind: "cross", words: ["star"], level: 8 });
  const viewModel = readViewModel(trace, state, local);
  assert.deepEqual(
    [viewModel.step, viewModel.frame?.node, viewModel.level, viewModel.head],
    [2, 3, 16, -1],
  );
  assert.deepEqual(viewModel.parts, [{ label: "star", positions: [0] }]);
  assert.deepEqual(viewModel.offered, ["cross"]);
  state.set("branch", 99);
  assert.equal(readViewModel(trace, state, local).branch, 0);
  assert.equal(readViewModel(undefined, state, local).frame, null);
});

test("a state tells of changes alone", () => {
  const state = plainState({ words: ["a"], step: 0 });
  /** @type {string[]} */
  const told = [];
  const stop = state.listen((name) => told.push(name));
  state.set("words", ["a"]);
  state.set("step", 0);
  state.set("words", ["a", "b"]);
  state.set("step", 1);
  stop();
  state.set("step", 2);
  assert.deepEqual(told, ["words", "step"]);
});

test("the buffers of a saved page are cut where they were joined", () => {
  const bytes = Uint8Array.of(0, 1, 2, 3, 4, 5).subarray(1);
  const parts = splitBuffers(bytes, [2, 0, 3]);
  assert.deepEqual(
    parts.map((view) => [...new Uint8Array(view.buffer, view.byteOffset, view.byteLength)]),
    [[1, 2], [], [3, 4, 5]],
  );
  assert.throws(() => splitBuffers(bytes, [2, 9]), /cut off/);
});
