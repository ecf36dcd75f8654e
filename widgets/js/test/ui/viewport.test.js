import assert from "node:assert/strict";
import { test } from "node:test";
import { Viewport } from "../../src/ui/viewport.js";
import { random } from "../helpers.js";

function view() {
  const made = new Viewport(400, 200);
  made.resize(800, 600);
  return made;
}

test("the picture fits and lies in the middle", () => {
  const it = view();
  assert.equal(it.scale, 2);
  assert.deepEqual([it.x, it.y], [0, 100]);
  it.resize(200, 600);
  assert.deepEqual([it.scale, it.x, it.y], [0.5, 0, 250]);
});

test("what lies under the pointer stays there when zooming", () => {
  const it = view();
  it.zoom(4, { x: 400, y: 300 });
  const next = random(9);
  for (let n = 0; n < 50; n++) {
    const at = { x: 350 + next() * 100, y: 250 + next() * 100 };
    const before = it.toPicture(at);
    it.zoom(1 + next() * 0.1, at);
    const after = it.toPicture(at);
    assert.ok(Math.hypot(after.x - before.x, after.y - before.y) < 1e-6);
  }
});

test("screen to picture and back", () => {
  const it = view();
  it.zoom(3, { x: 100, y: 200 });
  const p = it.toScreen(it.toPicture({ x: 123, y: 45 }));
  assert.ok(Math.abs(p.x - 123) < 1e-9 && Math.abs(p.y - 45) < 1e-9);
});

test("zooming has ends, and fitting again follows the size of the screen", () => {
  const it = view();
  it.zoom(1e6);
  assert.equal(it.scale, 40);
  it.zoom(1e-6);
  assert.equal(it.scale, 1);
  it.fit();
  it.resize(400, 400);
  assert.equal(it.scale, 1);
  it.zoom(5);
  it.resize(800, 800);
  assert.equal(it.scale, 5, "not fitted: kept");
});

test("the picture cannot be lost", () => {
  const it = view();
  it.zoom(8);
  it.pan(1e5, -1e5);
  assert.ok(it.x <= 400 && it.y >= 300 - 200 * it.scale);
});

test("a point is brought into view", () => {
  const it = view();
  it.zoom(10);
  it.reveal({ x: 10, y: 190 });
  const { x, y } = it.toScreen({ x: 10, y: 190 });
  assert.ok(x >= 0 && x <= 800 && y >= 0 && y <= 600);
});
