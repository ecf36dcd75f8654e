import assert from "node:assert/strict";
import { test } from "node:test";
import { command } from "../../src/timeline/keys.js";

test("keys of the notebook are left alone", () => {
  const key = (/** @type {string} */ name, more = {}) =>
    command({
      key: name,
      ctrlKey: false,
      metaKey: false,
      altKey: false,
      shiftKey: false,
      ...more,
    });
  assert.equal(key(" "), "toggle");
  assert.equal(key("ArrowLeft"), "previous");
  assert.equal(key("ArrowLeft", { shiftKey: true }), "back");
  assert.equal(key("B", { shiftKey: true }), "branch");
  assert.equal(key("b", { ctrlKey: true }), null);
  assert.equal(key("toString"), null);
});
