import assert from "node:assert/strict";
import { test } from "node:test";
import { describe } from "../../src/timeline/describe.js";
import { createPosition } from "../../src/trace/position.js";
import { plainState } from "../../src/trace/state.js";
import { GROWN, traceOf } from "../traces.js";

test("what is shown and where the run stands are two things", () => {
  const trace = traceOf(...GROWN);
  const state = plainState({ step: 1, branch: 0, _run: { node: 6, branch: 1 } });
  const positions = createPosition(() => trace, state);
  assert.deepEqual(positions.stood(), { branch: 1, at: 3, node: 6 });
  assert.equal(positions.shown().node, 2);
  assert.equal(positions.atRun(), false);
  state.set("branch", 1);
  state.set("step", 2);
  assert.equal(positions.atRun(), true);
  state.set("step", 99);
  assert.equal(positions.shown().at, 3, "a step that does not exist is the newest");
  state.set("step", -1);
  assert.equal(positions.shown().node, 0);
  assert.match(describe(trace, 1, 0), /^Before the first step/);
  assert.match(describe(trace, 1, 6), /^Step 3 · line 1 · t = 900 · RASG/);
});

test("the run stands nowhere as long as its step has not arrived", () => {
  const trace = traceOf([0, [1]]);
  const state = plainState({ step: 0, branch: 0, _run: { node: 2, branch: 0 } });
  assert.equal(createPosition(() => trace, state).stood(), null);
  state.set("_run", { node: 0, branch: 0 });
  assert.deepEqual(createPosition(() => trace, state).stood(), { branch: 0, at: 0, node: 0 });
  assert.equal(createPosition(() => undefined, state).stood(), null);
});

test("a new run stands nowhere in the trace of the one before, whose nodes have the same numbers", () => {
  const trace = traceOf(...GROWN);
  trace.opening.key = "one";
  const state = plainState({ step: 2, branch: 1, _run: { node: 2, branch: 0, trace: "two" } });
  const positions = createPosition(() => trace, state);
  assert.equal(positions.stood(), null);
  assert.equal(positions.target(), null);
  assert.equal(positions.atRun(), true, "the newest step that there is");
  state.set("step", 0); // by a linked view, which has the new trace already
  assert.equal(positions.shown().at, 3, "the end of what is there");
  state.set("_following", false); // a person looks there
  assert.equal(positions.shown().at, 1);
  state.set("_following", true);
  state.set("step", 2);
  trace.opening.key = "two";
  assert.deepEqual(positions.stood(), { branch: 0, at: 2, node: 2 });
  assert.equal(positions.atRun(), false);
});
