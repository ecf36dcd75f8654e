import assert from "node:assert/strict";
import { test } from "node:test";
import { cellBox, describe, readGrids, shareText } from "../../src/painter/grids.js";
import { sizeOfSlider, sliderOfSize } from "../../src/painter/toolbar.js";
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

test("cells lie where they were taken from, scaling and padding undone", () => {
  const picture = { width: 1000, height: 500 };
  // Scaled by half to 500 x 250, padded to 512 x 256 on the right and below.
  const box = cellBox({ level: 16 }, [0, 0, 250, 500], picture, 1, 2);
  assert.deepEqual(box, { x0: 64, y0: 32, x1: 96, y1: 64 });
  const last = cellBox({ level: 16 }, [0, 0, 250, 500], picture, 15, 31);
  assert.ok(last.x0 < 1000 && last.x1 > 1000 && last.y1 > 500);
});

test("grids are read from their buffers", () => {
  const bytes = Uint8Array.from([9, 9, 0, 255, 128, 0, 0, 255]);
  const grids = [{ name: "PAIntA", level: 32, shape: /** @type {[number, number]} */ ([2, 3]) }];
  const [grid] = readGrids({ crop: [0, 0, 64, 96], grids }, [new DataView(bytes.buffer, 2)]);
  assert.deepEqual([...grid.values], [0, 255, 128, 0, 0, 255]);
  assert.equal(describe(grid), "3 × 2 cells, 3 masked, some of them partly");
  assert.match(describe({ ...grid, values: new Uint8Array(6) }), /vanished/);
  assert.throws(() => readGrids({ crop: [0, 0, 64, 96], grids }, [new DataView(bytes.buffer)]));
});

test("the size slider reaches every end and stays near what it is set to", () => {
  assert.equal(sizeOfSlider(0), 1);
  assert.equal(sizeOfSlider(100), 512);
  for (const size of [1, 3, 12, 40, 137, 512]) {
    const again = sizeOfSlider(sliderOfSize(size));
    assert.ok(Math.abs(again - size) <= 1 + size * 0.04, `${size} became ${again}`);
  }
});

test("how much is masked", () => {
  assert.equal(shareText(0), "nothing masked yet");
  assert.equal(shareText(0.0001), "under 0.1 % masked");
  assert.equal(shareText(0.25), "25.0 % masked");
});
