import assert from "node:assert/strict";
import { test } from "node:test";
import { Gestures } from "../../src/ui/gestures.js";
import { Viewport, ZOOM } from "../../src/ui/viewport.js";

/** Of a picture that is larger than the screen, so that it can be moved. */
function started() {
  const view = new Viewport(100, 100);
  view.resize(200, 200);
  view.zoom(4);
  return { view, gestures: new Gestures(view) };
}

const pointer = (/** @type {number} */ pointerId) => /** @type {PointerEvent} */ ({ pointerId });

test("one pointer drags the picture along", () => {
  const { view, gestures } = started();
  gestures.press(pointer(1), { x: 100, y: 100 });
  const held = view.toPicture({ x: 100, y: 100 });
  gestures.drag(pointer(1), { x: 130, y: 80 });
  const now = view.toPicture({ x: 130, y: 80 });
  assert.ok(Math.hypot(now.x - held.x, now.y - held.y) < 1e-9);
  const { x, y, scale } = view;
  gestures.drag(pointer(2), { x: 0, y: 0 });
  assert.deepEqual([view.x, view.y, view.scale], [x, y, scale], "a pointer that is not down");
  assert.equal(gestures.release(pointer(2)), false);
  assert.equal(gestures.release(pointer(1)), true);
  assert.equal(gestures.down.size, 0);
});

test("two fingers zoom by how far they part, around their middle", () => {
  const { view, gestures } = started();
  gestures.press(pointer(1), { x: 80, y: 100 });
  gestures.press(pointer(2), { x: 120, y: 100 });
  const [scale, middle] = [view.scale, view.toPicture({ x: 100, y: 100 })];
  gestures.drag(pointer(2), { x: 160, y: 100 });
  assert.equal(view.scale, 2 * scale);
  const now = view.toPicture({ x: 120, y: 100 });
  assert.ok(Math.hypot(now.x - middle.x, now.y - middle.y) < 1e-9);
});

test("a wheel zooms by steps of the same size, whether it counts pixels or lines", () => {
  for (const [deltaMode, deltaY] of [
    [0, 50],
    [1, 1.5],
  ]) {
    const { view, gestures } = started();
    const [scale, at] = [view.scale, { x: 70, y: 90 }];
    const under = view.toPicture(at);
    /** @type {string[]} */
    const done = [];
    const event = {
      deltaMode,
      deltaY,
      preventDefault: () => done.push("prevented"),
      stopPropagation: () => done.push("stopped"),
    };
    gestures.wheel(/** @type {any} */ (event), at);
    assert.ok(Math.abs(view.scale - scale / ZOOM) < 1e-9);
    const now = view.toPicture(at);
    assert.ok(Math.hypot(now.x - under.x, now.y - under.y) < 1e-9);
    assert.deepEqual(done, ["prevented", "stopped"]);
  }
});
