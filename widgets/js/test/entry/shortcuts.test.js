import assert from "node:assert/strict";
import { test } from "node:test";
import { nameOf } from "../../src/entry/shortcuts.js";

/** @param {string} key @param {object} [held] */
const pressed = (key, held = {}) => ({
  key,
  ctrlKey: false,
  metaKey: false,
  altKey: false,
  shiftKey: false,
  ...held,
});

test("an app's keys are left alone where text is typed", () => {
  const keys = [
    ["U", "upscale", "upscale"],
    ["S", "save", "save"],
  ];
  /** @param {string} key @param {object} [more] @returns {any} */
  const event = (key, more = {}) => ({ ...pressed(key), repeat: false, target: null, ...more });
  assert.equal(nameOf(event("u"), keys), "upscale");
  assert.equal(nameOf(event("U"), keys), "upscale");
  assert.equal(nameOf(event("x"), keys), null);
  for (const held of ["ctrlKey", "metaKey", "altKey", "shiftKey", "repeat"])
    assert.equal(nameOf(event("u", { [held]: true }), keys), null, held);
  for (const target of [
    { tagName: "INPUT", type: "text" },
    { tagName: "INPUT", type: "number" },
    { tagName: "TEXTAREA" },
    { tagName: "SELECT" },
    { tagName: "DIV", isContentEditable: true },
  ])
    assert.equal(nameOf(event("u", { target }), keys), null, target.tagName);
  for (const target of [{ tagName: "INPUT", type: "checkbox" }, { tagName: "BUTTON" }])
    assert.equal(nameOf(event("u", { target }), keys), "upscale", target.tagName);
});
