import assert from "node:assert/strict";
import { test } from "node:test";
import {
  beyond,
  counting,
  decades,
  exponent,
  extent,
  labelled,
  line,
  linear,
  normal,
  stairs,
  ticks,
} from "../../src/ui/chart.js";

test("a scale maps the ends of its domain to the ends of its range", () => {
  const scale = linear([-5, 5], [40, 240]);
  assert.equal(scale(-5), 40);
  assert.equal(scale(5), 240);
  assert.equal(scale(0), 140);
  assert.equal(linear([2, 2], [0, 10])(2), 5);
});

test("on a logarithmic axis no count lies below the base and one value is seen", () => {
  const scale = counting(1000, [100, 0], true);
  assert.equal(scale(0), 100);
  assert.ok(scale(1) < 100 && scale(1) > scale(10));
  assert.ok(Math.abs(scale(10) - scale(100) - (scale(100) - scale(1000))) < 1e-9);
  assert.equal(scale(1000), 0);
  assert.equal(counting(0, [100, 0], false)(0), 100);
});

test("ticks are round, ascending, inside and few", () => {
  for (const [low, high] of [
    [-5, 5],
    [0, 1],
    [1e-6, 3.7e-5],
    [-0.0371, 0.0371],
    [12, 98765],
  ]) {
    const found = ticks(low, high, 5);
    assert.ok(found.length >= 2 && found.length <= 7, `${found}`);
    assert.ok(found.every((v) => v >= low - 1e-12 && v <= high * (1 + 1e-9)));
    assert.deepEqual(
      [...found].sort((a, b) => a - b),
      found,
    );
  }
  assert.deepEqual(ticks(-5, 5, 5), [-4, -2, 0, 2, 4]);
  assert.deepEqual(ticks(1, 3, 8, true), [1, 2, 3]);
  assert.deepEqual(decades(2500), [1, 10, 100, 1000]);
});

test("labels of one axis have the same decimals, in the axis' power of ten", () => {
  assert.equal(exponent(3.7e-5), -5);
  assert.equal(exponent(12), 0);
  assert.equal(exponent(0), 0);
  assert.deepEqual(
    labelled([-2e-5, 0, 2.5e-5], -5).map(({ text }) => text),
    ["−2.0", "0.0", "2.5"],
  );
});

test("stairs enclose the counts and close at the base", () => {
  const path = stairs([1, 3], [0, 2], linear([0, 2], [0, 20]), linear([0, 3], [30, 0]));
  assert.equal(path, "M0,30V20H10V0H20V30Z");
});

test("a line breaks where a value is missing", () => {
  const same = linear([0, 9], [0, 9]);
  const path = line(
    [
      [0, 1],
      [1, null],
      [2, 3],
      [3, 4],
    ],
    same,
    same,
  );
  assert.equal(path, "M0,1M2,3L3,4");
});

test("the normal curve has the histogram's area", () => {
  const points = normal(0, 1, 1000 * 0.1, [-5, 5], 1000);
  const sum = points.reduce((all, [, count]) => all + count * 0.01, 0);
  assert.ok(Math.abs(sum - 100) < 0.01);
  assert.deepEqual(normal(0, 0, 1, [0, 1]), []);
});

test("what lies beyond a bound counts divided bins in part", () => {
  assert.equal(beyond([1, 0, 0, 1], [-2, 2], 1), 1);
  assert.equal(beyond([0, 4, 4, 0], [-2, 2], 1), 0);
  assert.equal(beyond([2, 2], [-2, 2], 1), 0.5);
  assert.equal(beyond([0, 0], [-2, 2], 1), 0);
});

test("an extent leaves out what is missing and is never empty", () => {
  assert.deepEqual(extent([null, 1, 3], 0.5), [0, 4]);
  assert.equal(extent([null, null]), null);
  const [low, high] = /** @type {[number, number]} */ (extent([7, 7]));
  assert.ok(low < 7 && high > 7);
});
