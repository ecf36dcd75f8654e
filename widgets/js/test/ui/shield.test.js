import assert from "node:assert/strict";
import { test } from "node:test";
import { harmless } from "../../src/ui/shield.js";

test("of all keys only the application's own pass a shield", () => {
  const none = { ctrlKey: false, metaKey: false, altKey: false, shiftKey: false };
  for (const key of ["m", "x", "b", "d", "Enter", "Escape", "s", "ArrowDown"])
    assert.equal(harmless({ ...none, key }), false, key);
  for (const held of ["ctrlKey", "metaKey"]) {
    assert.equal(harmless({ ...none, key: "s", [held]: true }), true);
    assert.equal(harmless({ ...none, key: "C", shiftKey: true, [held]: true }), true);
    for (const key of ["z", "y", "x", "v", "a", "m", "Enter", "ArrowUp"])
      assert.equal(harmless({ ...none, key, [held]: true }), false, key);
  }
  assert.equal(harmless({ ...none, key: "s", ctrlKey: true, altKey: true }), false);
});
