import assert from "node:assert/strict";
import { test } from "node:test";
import { count } from "../../src/mask/bitmap.js";
import { Editor } from "../../src/painter/editor.js";
import { command, HELP } from "../../src/painter/keys.js";
import { Hand } from "../../src/painter/tools.js";

/** @param {import("../../src/painter/tools.js").Tool} tool */
function hand(tool) {
  const editor = new Editor(64, 48);
  const grey = { width: 64, height: 48, data: new Uint8ClampedArray(4 * 64 * 48) };
  grey.data.fill(255, 0, 4 * 64 * 10); // white above row 10
  const made = new Hand(editor, () => grey);
  made.choose(tool);
  made.size = 6;
  return { hand: made, editor };
}

/** @param {number} x @param {number} y */
const at = (x, y) => ({ x, y });

test("a stroke is one step; shift joins it to the last one", () => {
  const { hand: it, editor } = hand("brush");
  it.press(at(5, 20));
  it.move(at(15, 20));
  it.move(at(15, 30));
  it.release();
  assert.equal(editor.history.past.length, 1);
  assert.equal(editor.mask.data[20 * 64 + 10], 1);
  it.press(at(45, 30), { shift: true });
  it.release();
  assert.equal(editor.mask.data[30 * 64 + 30], 1, "the line between");
  assert.equal(editor.history.past.length, 2);
});

test("moving without pressing draws nothing", () => {
  const { hand: it, editor } = hand("brush");
  it.move(at(5, 5));
  it.release();
  assert.equal(count(editor.mask), 0);
});

test("the eraser, and the brush that takes away, erase", () => {
  for (const [tool, held] of /** @type {const} */ ([
    ["eraser", {}],
    ["brush", { away: true }],
  ])) {
    const { hand: it, editor } = hand(tool);
    editor.invert();
    it.press(at(30, 30), held);
    it.release();
    assert.equal(editor.mask.data[30 * 64 + 30], 0);
  }
});

test("rectangles keep to whole pixels, with shift they are squares", () => {
  const { hand: it, editor } = hand("rectangle");
  it.press(at(10.4, 10.4));
  it.move(at(20.4, 12.4));
  assert.equal(count(editor.mask), 0, "a draft as long as the button is down");
  it.release();
  assert.equal(count(editor.mask), 20);
  it.press(at(30, 10));
  it.move(at(22, 11), { shift: true });
  it.release();
  assert.equal(count(editor.mask), 20 + 64);
});

test("shapes take away when told to, and alt turns that round", () => {
  const { hand: it, editor } = hand("rectangle");
  editor.invert();
  it.away = true;
  it.press(at(0, 0));
  assert.equal(it.draft?.away, true);
  it.move(at(10, 10));
  it.release();
  assert.equal(count(editor.mask), 64 * 48 - 100);
  it.press(at(0, 0), { away: true });
  it.move(at(10, 10));
  it.release();
  assert.equal(count(editor.mask), 64 * 48);
});

test("the lasso follows the pointer", () => {
  const { hand: it, editor } = hand("lasso");
  it.press(at(10, 10));
  for (const [x, y] of [
    [30, 10],
    [30, 30],
    [10, 30],
  ])
    it.move(at(x, y));
  it.release();
  assert.equal(count(editor.mask), 400);
  assert.equal(it.draft, null);
});

test("a polygon grows corner by corner and is closed by confirming", () => {
  const { hand: it, editor } = hand("polygon");
  for (const [x, y] of [
    [10, 10],
    [30, 10],
    [60, 47],
    [30, 30],
    [10, 30],
  ]) {
    it.move(at(x, y));
    it.press(at(x, y));
    it.release();
    if (x === 60) it.removePoint();
  }
  it.move(at(55, 5)); // the corner to be does not count
  it.confirm();
  assert.equal(count(editor.mask), 400);
  assert.equal(editor.history.past.length, 1);
});

test("cancelling forgets drafts and takes strokes back", () => {
  const { hand: it, editor } = hand("polygon");
  it.press(at(10, 10));
  it.release();
  it.cancel();
  assert.equal(it.draft, null);
  it.press(at(10, 10));
  it.release();
  it.removePoint();
  assert.equal(it.draft, null, "without its only corner");
  it.choose("brush");
  it.press(at(10, 10));
  it.move(at(40, 40));
  it.cancel();
  assert.equal(count(editor.mask), 0);
  it.release();
  assert.equal(editor.history.past.length, 0);
});

test("filling takes what is alike in the picture", () => {
  const { hand: it, editor } = hand("fill");
  it.press(at(3.7, 3.2));
  it.release();
  assert.equal(count(editor.mask), 640);
  assert.equal(editor.history.past.length, 1);
});

test("keys", () => {
  const none = { ctrlKey: false, metaKey: false, altKey: false, shiftKey: false };
  /** @param {string} key @param {Partial<typeof none>} [more] */
  const meaning = (key, more) => command({ key, ...none, ...more });
  assert.equal(meaning("b"), "tool:brush");
  assert.equal(meaning("B", { shiftKey: true }), "tool:brush");
  assert.equal(meaning("z", { ctrlKey: true }), "undo");
  assert.equal(meaning("Z", { metaKey: true, shiftKey: true }), "redo");
  assert.equal(meaning("y", { ctrlKey: true }), "redo");
  assert.equal(meaning("s", { ctrlKey: true }), null, "saving is the notebook's");
  assert.equal(meaning("b", { altKey: true }), null);
  assert.equal(meaning("constructor"), null);
  assert.equal(meaning("Tab"), null, "or nobody gets out");
  for (const key of ["[", "]", "+", "-", "0", "1", "?", "Escape"]) assert.ok(meaning(key), key);
  assert.ok(HELP.every(([keys, text]) => keys && text));
});
