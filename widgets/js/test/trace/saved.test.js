import assert from "node:assert/strict";
import { test } from "node:test";
import { splitBuffers } from "../../src/trace/saved.js";

test("the buffers of a saved page are cut where they were joined", () => {
  const bytes = Uint8Array.of(0, 1, 2, 3, 4, 5).subarray(1);
  const parts = splitBuffers(bytes, [2, 0, 3]);
  assert.deepEqual(
    parts.map((view) => [...new Uint8Array(view.buffer, view.byteOffset, view.byteLength)]),
    [[1, 2], [], [3, 4, 5]],
  );
  assert.throws(() => splitBuffers(bytes, [2, 9]), /cut off/);
});
