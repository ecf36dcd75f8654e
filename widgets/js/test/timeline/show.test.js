import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { createShow } from "../../src/timeline/show.js";

test("a run is watched again at its speed, to its end or until it is stopped", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  let [at, speed, drawn] = [0, 5, 0];
  const show = createShow(
    () => ++at < 4,
    () => speed,
    () => drawn++,
  );
  assert.equal(show.stop(), false);
  show.start();
  show.start(); // pressed twice
  mock.timers.tick(199);
  assert.deepEqual([at, show.on], [0, true]);
  mock.timers.tick(1);
  assert.equal(at, 1);
  speed = 1; // holds from the next step on
  mock.timers.tick(200);
  assert.equal(at, 2);
  mock.timers.tick(999);
  assert.equal(at, 2);
  assert.equal(show.stop(), true);
  mock.timers.tick(5000);
  assert.deepEqual([at, show.on], [2, false]);
  show.start();
  for (let i = 0; i < 5; i++) mock.timers.tick(1000);
  assert.deepEqual([at, show.on, drawn], [4, false, 4]);
  mock.timers.reset();
});
