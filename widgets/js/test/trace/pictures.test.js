import assert from "node:assert/strict";
import { test } from "node:test";
import { Pictures } from "../../src/trace/pictures.js";
import { until } from "../helpers.js";

test("a picture waits while it is decoded, and no longer when that was in vain", async () => {
  const [page, before] = [/** @type {any} */ (globalThis), globalThis.createImageBitmap];
  const [good, bad] = [new Blob(["good"]), new Blob(["bad"])];
  page.createImageBitmap = async (/** @type {Blob} */ blob) => {
    if (blob === bad) throw new Error("no picture");
    return { close() {} };
  };
  let told = 0;
  const pictures = new Pictures(() => told++);
  assert.equal(pictures.waits(null), false);
  assert.deepEqual([pictures.waits(good), pictures.waits(bad)], [true, true]);
  assert.equal(pictures.get(good), null);
  await until(() => told === 2);
  assert.deepEqual([pictures.waits(good), pictures.waits(bad)], [false, false]);
  assert.ok(pictures.get(good));
  assert.equal(pictures.get(bad), null);
  pictures.close();
  page.createImageBitmap = before;
});
