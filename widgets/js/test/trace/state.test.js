import assert from "node:assert/strict";
import { test } from "node:test";
import { plainState } from "../../src/trace/state.js";

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
