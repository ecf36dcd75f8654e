import assert from "node:assert/strict";
import { test } from "node:test";
import { createBitmap } from "../../src/mask/bitmap.js";
import { edgesOf } from "../../src/mask/outline.js";

test("the outline of a mask is made of long straight pieces", () => {
  const mask = createBitmap(4, 3);
  for (const i of [1, 2, 5, 6]) mask.data[i] = 1;
  assert.deepEqual(edgesOf(mask).map(String).sort(), ["1,0,1,2", "1,0,3,0", "1,2,3,2", "3,0,3,2"]);
});
