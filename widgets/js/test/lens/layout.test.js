import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CAPTION,
  colorText,
  GAP,
  layoutOf,
  place,
  positionOf,
  scaleText,
  shownOf,
} from "../../src/lens/layout.js";
import { Viewport } from "../../src/ui/viewport.js";
import { random } from "../helpers.js";

function view(width = 1024, height = 768) {
  const made = new Viewport(width, height);
  made.resize(400, 300);
  return made;
}

test("a view that was moved to a position says so", () => {
  const it = view();
  const next = random(4);
  for (let n = 0; n < 60; n++) {
    const zoom = Math.round(1e4 * (0.5 + 12 * next())) / 1e4;
    // Far enough from the edges that none of them comes into view.
    const half = { x: 200 / zoom, y: 150 / zoom };
    const x = Math.round(half.x + next() * (1024 - 2 * half.x));
    const y = Math.round(half.y + next() * (768 - 2 * half.y));
    place(it, { zoom, x, y });
    const found = positionOf(it);
    assert.ok(Math.abs(found.zoom - zoom) < 1e-4, `${found.zoom} for ${zoom}`);
    assert.ok(Math.hypot(found.x - x, found.y - y) < 0.02, `${found.x}, ${found.y} for ${x}, ${y}`);
  }
});

test("zero is all of it, whatever the place", () => {
  const it = view();
  place(it, { zoom: 3, x: 10, y: 10 });
  place(it, { zoom: 0, x: 10, y: 10 });
  assert.ok(it.fitted);
  assert.deepEqual(positionOf(it), { zoom: 0, x: 512, y: 384 });
});

test("a zoom beyond the ends is taken to them", () => {
  const it = view();
  place(it, { zoom: 1000, x: 512, y: 384 });
  assert.equal(it.scale, 40);
  place(it, { zoom: 1e-6, x: 0, y: 0 });
  assert.equal(it.scale, it.fitScale);
});

test("panes take the room, and never more of it than there is", () => {
  for (const room of [320, 360, 500, 880, 1400]) {
    for (const count of [1, 2, 3, 4, 5, 6, 12]) {
      for (const ratio of [0.5, 1, 1.5, 3]) {
        const { columns, width, height } = layoutOf(count, room, ratio, 640);
        assert.ok(columns >= 1 && columns <= count);
        assert.ok(columns * width + (columns - 1) * GAP <= room, `${count} in ${room}`);
        assert.ok(height <= Math.max(96, (width + 1) / ratio + 1), "no room left above and below");
        const rows = Math.ceil(count / columns);
        const all = rows * (height + CAPTION) + (rows - 1) * GAP;
        assert.ok(all <= 642 || height === 96, `${count} in ${room}: ${all} high`);
      }
    }
  }
});

test("three squares stand in a row where it is wide, in two where it is narrow", () => {
  assert.equal(layoutOf(3, 880, 1, 640).columns, 3, "hardly smaller than in two rows");
  assert.equal(layoutOf(3, 360, 1, 640).columns, 2);
  assert.equal(layoutOf(3, 360, 3, 640).columns, 1, "wide ones stand below each other");
  assert.equal(layoutOf(2, 360, 0.5, 640).columns, 2, "tall ones stand beside each other");
});

test("scales and colours as texts", () => {
  assert.deepEqual([0.296, 1, 4.5, 12.5, 40].map(scaleText), [
    "30 %",
    "100 %",
    "450 %",
    "12.5 ×",
    "40 ×",
  ]);
  assert.equal(colorText([1, 20, 255, 255]), "1 20 255");
});

test("which pictures are shown", () => {
  assert.deepEqual(shownOf(4, "side", 0, []), [0, 1, 2, 3]);
  assert.deepEqual(shownOf(4, "side", 0, [1, 2, 9]), [0, 3]);
  assert.deepEqual(shownOf(2, "side", 0, [0, 1]), [0], "something is always shown");
  assert.deepEqual(shownOf(4, "one", 2, [2]), [2]);
  assert.deepEqual(shownOf(2, "one", 7, []), [1]);
  assert.deepEqual(shownOf(0, "one", 0, []), []);
});
