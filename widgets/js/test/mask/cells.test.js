import assert from "node:assert/strict";
import { test } from "node:test";
import { createBitmap } from "../../src/mask/bitmap.js";
import { maskedCells } from "../../src/mask/cells.js";

test("the mask takes the cells that it fills by half, wherever the picture lies", () => {
  const mask = createBitmap(8, 4); // of a picture of 32 x 16, in a frame of 32 x 32
  mask.data.fill(1, 0, 6); // a row of cells' upper quarter
  mask.data.fill(1, 8, 14);
  const where = /** @type {const} */ ({ frame: [32, 32], crop: [16, 0, 16, 32] });
  const opening = { frame: [...where.frame], crop: [...where.crop] };
  assert.deepEqual(maskedCells(mask, 16, /** @type {any} */ (opening)), [2]);
  mask.data.fill(0);
  mask.data[31] = 1;
  assert.deepEqual(maskedCells(mask, 16, /** @type {any} */ (opening)), [3]);
});
