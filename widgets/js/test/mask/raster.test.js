import assert from "node:assert/strict";
import { test } from "node:test";
import { count, createBitmap, fillSpan, invert } from "../../src/mask/bitmap.js";
import { fillCapsule, fillEllipse, fillRectangle } from "../../src/mask/raster.js";
import { clip, union } from "../../src/mask/rect.js";
import { brute, drawn, random } from "../helpers.js";

const [WIDTH, HEIGHT] = [53, 41];

test("a segment of a stroke is every pixel within the radius, also beyond the border", () => {
  const next = random(1);
  for (let n = 0; n < 200; n++) {
    const a = { x: next() * 90 - 20, y: next() * 80 - 20 };
    const b = n % 10 ? { x: next() * 90 - 20, y: next() * 80 - 20 } : a;
    const radius = 0.5 + next() * 14;
    const mask = createBitmap(WIDTH, HEIGHT);
    fillCapsule(mask, a, b, radius, 1);
    const [dx, dy] = [b.x - a.x, b.y - a.y];
    const expected = brute(WIDTH, HEIGHT, (x, y) => {
      const along = ((x - a.x) * dx + (y - a.y) * dy) / (dx * dx + dy * dy || 1);
      const t = Math.min(1, Math.max(0, along));
      return Math.hypot(x - a.x - t * dx, y - a.y - t * dy) <= radius;
    });
    assert.equal(drawn(mask), drawn(expected), JSON.stringify({ a, b, radius }));
  }
});

test("horizontal and vertical segments", () => {
  const mask = createBitmap(8, 5);
  fillCapsule(mask, { x: 2.5, y: 2.5 }, { x: 5.5, y: 2.5 }, 1, 1);
  assert.equal(drawn(mask), "........\n..####..\n.######.\n..####..\n........");
  fillCapsule(mask, { x: 4.5, y: -9 }, { x: 4.5, y: 99 }, 0.5, 0);
  assert.equal(drawn(mask), "........\n..##.#..\n.###.##.\n..##.#..\n........");
});

test("what is reported as changed covers every change", () => {
  const next = random(2);
  for (let n = 0; n < 100; n++) {
    const mask = createBitmap(WIDTH, HEIGHT);
    const a = { x: next() * 90 - 20, y: next() * 80 - 20 };
    const b = { x: next() * 90 - 20, y: next() * 80 - 20 };
    const shape = [fillRectangle, fillEllipse][n % 2];
    const rect = n % 3 ? shape(mask, a, b, 1) : fillCapsule(mask, a, b, 5, 1);
    const { x0, y0, x1, y1 } = rect ?? { x0: 0, y0: 0, x1: 0, y1: 0 };
    for (let i = 0; i < mask.data.length; i++) {
      const [x, y] = [i % WIDTH, Math.floor(i / WIDTH)];
      if (mask.data[i]) assert.ok(x >= x0 && x < x1 && y >= y0 && y < y1);
    }
  }
});

test("rectangles and ellipses hold the pixels whose centres they hold", () => {
  const next = random(3);
  for (let n = 0; n < 100; n++) {
    const a = { x: next() * 90 - 20, y: next() * 80 - 20 };
    const b = { x: next() * 90 - 20, y: next() * 80 - 20 };
    const [x0, x1] = [Math.min(a.x, b.x), Math.max(a.x, b.x)];
    const [y0, y1] = [Math.min(a.y, b.y), Math.max(a.y, b.y)];
    const mask = createBitmap(WIDTH, HEIGHT);
    fillRectangle(mask, a, b, 1);
    const inside = brute(WIDTH, HEIGHT, (x, y) => x >= x0 && x <= x1 && y >= y0 && y <= y1);
    assert.equal(drawn(mask), drawn(inside));
    mask.data.fill(0);
    fillEllipse(mask, a, b, 1);
    const round = brute(WIDTH, HEIGHT, (x, y) => {
      const u = (2 * x - x0 - x1) / (x1 - x0);
      const v = (2 * y - y0 - y1) / (y1 - y0);
      return u * u + v * v <= 1;
    });
    assert.equal(drawn(mask), drawn(round));
  }
});

test("shapes outside the picture, and shapes of no size, change nothing", () => {
  const mask = createBitmap(10, 10);
  assert.equal(fillCapsule(mask, { x: -9, y: -9 }, { x: -5, y: 30 }, 3, 1), null);
  assert.equal(fillRectangle(mask, { x: 12, y: 0 }, { x: 20, y: 9 }, 1), null);
  assert.equal(fillEllipse(mask, { x: 3, y: 3 }, { x: 3, y: 8 }, 1), null);
  assert.equal(count(mask), 0);
});

test("spans are cut at the borders; inverting turns every pixel", () => {
  const mask = createBitmap(4, 2);
  fillSpan(mask, 0, -100, 2, 1);
  fillSpan(mask, 5, 0, 4, 1);
  assert.equal(drawn(mask), "##..\n....");
  invert(mask);
  assert.equal(drawn(mask), "..##\n####");
});

test("rectangles of pixels", () => {
  const box = { x0: 1, y0: 2, x1: 3, y1: 4 };
  assert.deepEqual(union(null, box), box);
  assert.deepEqual(union(box, { x0: 0, y0: 3, x1: 2, y1: 9 }), { x0: 0, y0: 2, x1: 3, y1: 9 });
  assert.deepEqual(clip({ x0: -1.5, y0: 0.2, x1: 2.1, y1: 99 }, 10, 5), {
    x0: 0,
    y0: 0,
    x1: 3,
    y1: 5,
  });
  assert.equal(clip({ x0: 10, y0: 0, x1: 12, y1: 5 }, 10, 5), null);
});
