import assert from "node:assert/strict";
import { test } from "node:test";
import { command, HELP } from "../../src/lens/keys.js";

/** @param {string} key @param {object} [held] */
const pressed = (key, held = {}) => ({
  key,
  ctrlKey: false,
  metaKey: false,
  altKey: false,
  shiftKey: false,
  ...held,
});

test("keys of the lens, and whose they are not", () => {
  assert.equal(command(pressed("+")), "in");
  assert.equal(command(pressed("O")), "mode");
  assert.equal(command(pressed("ArrowUp", { shiftKey: true })), "up");
  assert.equal(command(pressed("s", { ctrlKey: true })), null);
  assert.equal(command(pressed("0", { metaKey: true })), null);
  assert.equal(command(pressed("q")), null);
  assert.equal(command(pressed("constructor")), null);
  const listed = HELP.flatMap(([keys]) => keys.split(" / "));
  for (const key of ["+", "-", "0", "1", "O", "N", "P", "M", "?"]) assert.ok(listed.includes(key));
});

test("a lens leaves the studio's keys alone", () => {
  assert.deepEqual([command(pressed("u")), command(pressed("s"))], [null, null]);
});
