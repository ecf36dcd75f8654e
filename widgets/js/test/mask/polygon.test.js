import assert from "node:assert/strict";
import { test } from "node:test";
import { createBitmap } from "../../src/mask/bitmap.js";
import { fillPolygon } from "../../src/mask/polygon.js";
import { brute, drawn, random } from "../helpers.js";

/** @typedef {import("../../src/mask/raster.js").Point} Point */

/**
 * Even-odd, by counting the edges to the left of a point.
 * @param {Point[]} points
 * @returns {(x: number, y: number) => boolean}
 */
function inside(points) {
  return (x, y) => {
    let odd = false;
    points.forEach((a, i) => {
      const b = points[(i + 1) % points.length];
      if (a.y > y === b.y > y) return;
      if (a.x + ((y - a.y) * (b.x - a.x)) / (b.y - a.y) <= x) odd = !odd;
    });
    return odd;
  };
}

test("any outline is filled even-odd, crossings and corners beyond the border included", () => {
  const next = random(4);
  for (let n = 0; n < 100; n++) {
    const corners = 3 + Math.floor(next() * 12);
    const points = Array.from({ length: corners }, () => ({
      x: next() * 80 - 15,
      y: next() * 70 - 15,
    }));
    const mask = createBitmap(47, 39);
    fillPolygon(mask, points, 1);
    assert.equal(drawn(mask), drawn(brute(47, 39, inside(points))), JSON.stringify(points));
  }
});

test("neighbours with a common edge neither overlap nor leave a gap", () => {
  const [left, right] = [createBitmap(20, 20), createBitmap(20, 20)];
  const [a, b] = [
    { x: 3.5, y: 2.5 },
    { x: 15.5, y: 17.5 },
  ];
  fillPolygon(left, [a, b, { x: 0, y: 17.5 }, { x: 0, y: 2.5 }], 1);
  fillPolygon(right, [a, b, { x: 20, y: 17.5 }, { x: 20, y: 2.5 }], 1);
  for (let y = 2; y < 17; y++) {
    for (let x = 0; x < 20; x++) {
      assert.equal(left.data[y * 20 + x] + right.data[y * 20 + x], 1, `${x}, ${y}`);
    }
  }
});

test("a star drawn in one line has a hole in its middle", () => {
  const points = [0, 2, 4, 1, 3].map((k) => ({
    x: 15 + 14 * Math.sin((2 * Math.PI * k) / 5),
    y: 15 - 14 * Math.cos((2 * Math.PI * k) / 5),
  }));
  const mask = createBitmap(30, 30);
  fillPolygon(mask, points, 1);
  assert.equal(mask.data[15 * 30 + 15], 0);
  assert.equal(mask.data[5 * 30 + 15], 1);
});

test("erases, and needs three corners", () => {
  const mask = createBitmap(6, 6);
  mask.data.fill(1);
  const corners = [
    { x: 1, y: 1 },
    { x: 5, y: 1 },
    { x: 5, y: 5 },
    { x: 1, y: 5 },
  ];
  assert.equal(fillPolygon(mask, corners.slice(0, 2), 0), null);
  fillPolygon(mask, corners, 0);
  assert.equal(drawn(mask), "######\n#....#\n#....#\n#....#\n#....#\n######");
});
