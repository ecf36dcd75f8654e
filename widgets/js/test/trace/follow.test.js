import assert from "node:assert/strict";
import { test } from "node:test";
import { createFollower } from "../../src/trace/follow.js";
import { createPosition } from "../../src/trace/position.js";
import { plainState } from "../../src/trace/state.js";
import { Trace } from "../../src/trace/trace.js";
import { random, until } from "../helpers.js";
import { branch, frame, opening } from "../traces.js";

const STEPS = 20;
let keys = 0;

/** What Python tells of a run that has made so many steps. @param {string} key @param {number} at */
const told = (key, at) => ({
  key,
  serial: at,
  status: at < STEPS ? "running" : "idle",
  index: at,
  total: STEPS,
  node: at,
  branch: 0,
});

/**
 * A view as a page has it: its own copy of the trace, its own news, and what it has shown.
 * @param {string} [key]
 */
function view(key = `run ${keys++}`) {
  const trace = new Trace(opening({ branches: [branch({ tip: 0 })] }), []);
  const state = plainState({ step: -1, branch: 0, _run: told(key, 0), _following: true });
  const follower = createFollower(
    state,
    createPosition(() => trace, state),
    () => {},
  );
  follower.open();
  /** @type {number[]} */
  const shown = [];
  state.listen((name) => name === "step" && shown.push(state.get("step") + 1));
  return {
    state,
    shown,
    follower,
    /** @param {number} at */
    frames(at) {
      trace.add([frame({ node: at, parent: at - 1, index: at - 1 })], []);
      trace.setBranches([branch({ tip: at })], at);
      follower.grown("one");
    },
    close: () => follower.close(),
  };
}

/** As jslink does: at once, and not back again. @param {ReturnType<typeof view>[]} views */
function link(...views) {
  let busy = false;
  for (const { state } of views)
    state.listen((name) => {
      if (busy || !["step", "branch"].includes(name)) return;
      busy = true;
      for (const other of views) other.state.set(name, state.get(name));
      busy = false;
    });
}

/**
 * A run whose every message comes late, by other delays for each view, and sometimes after the next.
 * @param {number} seed
 * @param {(at: number, views: ReturnType<typeof view>[]) => void} [gesture] at a time of the run
 */
function play(seed, gesture = () => {}) {
  const key = `run ${keys++}`;
  const next = random(seed);
  const views = [view(key), view(key), view(key)];
  link(...views);
  /** @type {[number, () => void][]} */
  const messages = [];
  for (const one of views) {
    const lag = 4 * next();
    for (let at = 1; at <= STEPS; at++) {
      messages.push([at + lag + 3 * next(), () => one.frames(at)]);
      messages.push([at + lag + 3 * next(), () => one.state.set("_run", told(key, at))]);
    }
  }
  for (let at = 1; at <= STEPS; at++) messages.push([at, () => gesture(at, views)]);
  messages.sort(([a], [b]) => a - b);
  for (const [, deliver] of messages) deliver();
  for (const one of views) one.close();
  return views;
}

test("however late its messages come, a run is followed to its end and never backwards", () => {
  for (let seed = 0; seed < 100; seed++) {
    for (const { state, shown } of play(seed)) {
      assert.equal(state.get("step"), STEPS - 1, `seed ${seed} ended behind`);
      assert.ok(
        shown.every((at, i) => !i || at >= shown[i - 1]),
        `seed ${seed} went back: ${shown}`,
      );
    }
  }
});

test("a person who looks elsewhere is left there, in all views that are linked", () => {
  for (let seed = 0; seed < 30; seed++) {
    const views = play(seed, (at, [one]) => at === 12 && one.state.set("step", 2));
    for (const { state } of views) assert.equal(state.get("step"), 2, `seed ${seed}`);
  }
});

test("who looks where the run stands goes on with it, and so does who gives it an order", async () => {
  const back = (/** @type {number} */ at, /** @type {ReturnType<typeof view>[]} */ views) => {
    const [one, other] = views;
    if (at === 8) one.state.set("step", 1);
    if (at === 12) other.follower.begin();
  };
  for (let seed = 0; seed < 30; seed++) {
    const views = play(seed, back);
    for (const { state } of views) assert.equal(state.get("step"), STEPS - 1, `seed ${seed}`);
    await until(() => views.every(({ state }) => state.get("_following")));
  }
});

test("Python hears when a person looks elsewhere", async () => {
  const one = view();
  one.state.set("_run", told(`run ${keys++}`, 2));
  for (const at of [1, 2]) one.frames(at);
  assert.equal(one.state.get("step"), 1);
  one.state.set("step", 0);
  await until(() => one.state.get("_following") === false);
  one.state.set("step", 1);
  await until(() => one.state.get("_following") === true);
});

test("another run takes over from what was looked at in the one before", () => {
  const one = view();
  one.state.set("_run", told(`run ${keys++}`, 2));
  for (const at of [1, 2]) one.frames(at);
  one.state.set("step", 0);
  one.frames(2);
  assert.equal(one.state.get("step"), 0);
  one.follower.grown("another");
  assert.equal(one.state.get("step"), 1);
});
