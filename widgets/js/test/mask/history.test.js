import assert from "node:assert/strict";
import { test } from "node:test";
import { createBitmap } from "../../src/mask/bitmap.js";
import { History } from "../../src/mask/history.js";
import { Editor } from "../../src/painter/editor.js";
import { noise, random } from "../helpers.js";

/**
 * One of everything that an editor does.
 * @param {Editor} editor
 * @param {() => number} next
 */
function something(editor, next) {
  const { width, height } = editor.mask;
  const point = () => ({ x: next() * width * 1.4 - 20, y: next() * height * 1.4 - 20 });
  const value = next() < 0.7 ? 1 : 0;
  const kind = Math.floor(next() * 8);
  if (kind === 0) editor.invert();
  else if (kind === 1) editor.grow(next() < 0.5 ? 3 : -2);
  else if (kind === 2) editor.rectangle(point(), point(), value);
  else if (kind === 3) editor.ellipse(point(), point(), value);
  else if (kind === 4) editor.polygon([point(), point(), point(), point()], value);
  else if (kind === 5) editor.replace(noise(width * height, Math.floor(next() * 1e6)));
  else for (let n = 0; n < 5; n++) editor.stroke(point(), point(), 1 + next() * 40, value);
  return editor.commit();
}

test("undo and redo give back exactly what was there", () => {
  const editor = new Editor(203, 131); // no multiples of a tile
  const next = random(7);
  const states = [editor.mask.data.slice()];
  let told = 0;
  editor.onStep = () => {
    told++;
    if (editor.history.future.length === 0) states.push(editor.mask.data.slice());
  };
  while (editor.history.past.length < 40) something(editor, next);
  assert.equal(states.length, 41);
  editor.onStep = () => {
    told++;
  };
  for (let n = 39; n >= 0; n--) {
    editor.undo();
    assert.deepEqual(editor.mask.data, states[n]);
  }
  editor.undo(); // nothing left
  assert.deepEqual(editor.mask.data, states[0]);
  for (let n = 1; n <= 40; n++) {
    editor.redo();
    assert.deepEqual(editor.mask.data, states[n]);
  }
  assert.equal(told, 120);
});

test("a new step after undo forgets what was undone", () => {
  const editor = new Editor(100, 100);
  for (const x of [20, 50, 80]) {
    editor.stroke({ x, y: 50 }, { x, y: 50 }, 10, 1);
    editor.commit();
  }
  editor.undo();
  editor.undo();
  editor.invert();
  const after = editor.mask.data.slice();
  editor.redo();
  assert.deepEqual(editor.mask.data, after);
  assert.equal(editor.history.past.length, 2);
});

test("what changes nothing is no step", () => {
  const editor = new Editor(64, 64);
  editor.onStep = () => assert.fail("nobody is to be told");
  editor.stroke({ x: 9, y: 9 }, { x: 20, y: 9 }, 8, 0);
  assert.equal(editor.commit(), false);
  editor.clear();
  assert.equal(editor.history.past.length, 0);
});

test("what is under way can be taken back, and what was undone stays", () => {
  const editor = new Editor(90, 90);
  editor.invert();
  editor.undo();
  editor.stroke({ x: 5, y: 5 }, { x: 95, y: 80 }, 12, 1);
  editor.cancel();
  assert.ok(editor.mask.data.every((v) => v === 0));
  editor.redo();
  assert.ok(editor.mask.data.every((v) => v === 1));
});

test("no more than sixty steps, the oldest go first", () => {
  const editor = new Editor(80, 8);
  for (let x = 0; x < 70; x++) {
    editor.rectangle({ x, y: 0 }, { x: x + 1, y: 8 }, 1);
    editor.commit();
  }
  for (let n = 0; n < 100; n++) editor.undo();
  assert.equal(editor.history.future.length, 60);
  assert.equal(
    editor.mask.data.reduce((a, b) => a + b, 0),
    10 * 8,
  );
});

test("steps are small at 2048 pixels", () => {
  const mask = createBitmap(2048, 2048);
  const all = { x0: 0, y0: 0, x1: 2048, y1: 2048 };
  const history = new History(mask);
  mask.data.fill(1);
  history.commit(all);
  assert.ok(history.bytes < 5000, "all turned over");
  mask.data.fill(0, 2048 * 1000, 2048 * 1040);
  history.commit({ x0: 0, y0: 1000, x1: 2048, y1: 1040 });
  assert.ok(history.bytes < 45_000, "a broad stroke from side to side");
  const worst = new History(mask);
  for (let i = 0; i < mask.data.length; i += 3) mask.data[i] ^= 1;
  worst.commit(all);
  assert.ok(worst.bytes < 540_000, "one bit a pixel at worst");
});

test("a thin brush leaves one pixel, and an unbroken line", () => {
  const editor = new Editor(40, 40);
  editor.stroke({ x: 3.99, y: 7.01 }, { x: 3.99, y: 7.01 }, 1, 1);
  assert.equal(editor.mask.data[7 * 40 + 3], 1);
  assert.equal(
    editor.mask.data.reduce((a, b) => a + b, 0),
    1,
  );
  editor.stroke({ x: 3.5, y: 7.5 }, { x: 36.2, y: 20.9 }, 1, 1);
  for (let x = 3; x <= 36; x++) {
    assert.ok(
      Array.from({ length: 40 }, (_, y) => editor.mask.data[y * 40 + x]).some(Boolean),
      `column ${x}`,
    );
  }
});
