import assert from "node:assert/strict";
import { test } from "node:test";
import { cellBox, describe, readGrids, shareText } from "../../src/painter/grids.js";

test("cells lie where they were taken from, scaling and padding undone", () => {
  const picture = { width: 1000, height: 500 };
  // Scaled by half to 500 x 250, padded to 512 x 256 on the right and below.
  const box = cellBox({ level: 16 }, [0, 0, 250, 500], picture, 1, 2);
  assert.deepEqual(box, { x0: 64, y0: 32, x1: 96, y1: 64 });
  const last = cellBox({ level: 16 }, [0, 0, 250, 500], picture, 15, 31);
  assert.ok(last.x0 < 1000 && last.x1 > 1000 && last.y1 > 500);
});

test("grids are read from their buffers", () => {
  const bytes = Uint8Array.from([9, 9, 0, 255, 128, 0, 0, 255]);
  const grids = [{ name: "PAIntA", level: 32, shape: /** @type {[number, number]} */ ([2, 3]) }];
  const [grid] = readGrids({ crop: [0, 0, 64, 96], grids }, [new DataView(bytes.buffer, 2)]);
  assert.deepEqual([...grid.values], [0, 255, 128, 0, 0, 255]);
  assert.equal(describe(grid), "3 × 2 cells, 3 masked, some of them partly");
  assert.match(describe({ ...grid, values: new Uint8Array(6) }), /vanished/);
  assert.throws(() => readGrids({ crop: [0, 0, 64, 96], grids }, [new DataView(bytes.buffer)]));
});

test("how much is masked", () => {
  assert.equal(shareText(0), "nothing masked yet");
  assert.equal(shareText(0.0001), "under 0.1 % masked");
  assert.equal(shareText(0.25), "25.0 % masked");
});
