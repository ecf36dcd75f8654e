import assert from "node:assert/strict";
import { test } from "node:test";
import { plainState } from "../../src/trace/state.js";
import { readViewModel } from "../../src/viewer/view-model.js";
import { forked } from "../traces.js";

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
