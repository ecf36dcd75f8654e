import assert from "node:assert/strict";
import { test } from "node:test";
import { sizeOfSlider, sliderOfSize } from "../../src/painter/toolbar.js";

test("the size slider reaches every end and stays near what it is set to", () => {
  assert.equal(sizeOfSlider(0), 1);
  assert.equal(sizeOfSlider(100), 512);
  for (const size of [1, 3, 12, 40, 137, 512]) {
    const again = sizeOfSlider(sliderOfSize(size));
    assert.ok(Math.abs(again - size) <= 1 + size * 0.04, `${size} became ${again}`);
  }
});
