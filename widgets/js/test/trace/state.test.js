import assert from "node:assert/strict";
import { test } from "node:test";
import { modelState, plainState } from "../../src/trace/state.js";
import { until } from "../helpers.js";

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

test("a widget's state is saved at once, and what is dragged a little later", async () => {
  /** @type {Map<string, unknown>} */
  const held = new Map(Object.entries({ zoom: 1, hidden: [] }));
  let saves = 0;
  const model = {
    get: (/** @type {string} */ name) => held.get(name),
    set: (/** @type {string} */ name, /** @type {unknown} */ value) => held.set(name, value),
    save_changes: () => saves++,
    on() {},
    off() {},
    send() {},
  };
  const state = modelState(model, ["zoom", "hidden"], ["zoom"]);
  state.set("hidden", []);
  assert.equal(saves, 0, "equal lists are no change");
  state.set("hidden", [1]);
  assert.equal(saves, 1);
  for (const zoom of [2, 3, 4]) state.set("zoom", zoom);
  assert.deepEqual([state.get("zoom"), saves], [4, 1]);
  await until(() => saves === 2);
});

test("a state listens to the names that its model has", () => {
  /** @type {Map<string, () => void>} */
  const handlers = new Map();
  const model = {
    get: (/** @type {string} */ name) => (name === "missing" ? undefined : 0),
    set() {},
    save_changes() {},
    on: (/** @type {string} */ event, /** @type {() => void} */ handler) =>
      handlers.set(event, handler),
    off: (/** @type {string} */ event) => handlers.delete(event),
    send() {},
  };
  /** @type {string[]} */
  const told = [];
  const stop = modelState(model, ["step", "missing"]).listen((name) => told.push(name));
  assert.deepEqual([...handlers.keys()], ["change:step"]);
  handlers.get("change:step")?.();
  assert.deepEqual(told, ["step"]);
  stop();
  assert.equal(handlers.size, 0);
});
