import assert from "node:assert/strict";
import { test } from "node:test";
import { cellsOf, regionKey } from "../../src/viewer/region.js";

const at = (/** @type {number} */ x, /** @type {number} */ y) => ({ x, y });

test("a region takes the cells whose centres it holds", () => {
  const ends = [at(40, 4), at(7, 25)]; // drawn from right to left
  assert.deepEqual(cellsOf({ kind: "box", points: ends }, 16, [32, 64]), [0, 1, 4, 5]);
  const corner = [at(0, 0), at(64, 0), at(0, 32)];
  const cells = cellsOf({ kind: "polygon", points: corner }, 16, [32, 64]);
  assert.deepEqual(cells, [0, 1, 2, 4]);
});

test("what holds no centre takes the cell at its middle", () => {
  assert.deepEqual(cellsOf({ kind: "point", points: [at(17, 31)] }, 16, [32, 64]), [5]);
  assert.deepEqual(cellsOf({ kind: "box", points: [at(1, 1), at(3, 3)] }, 16, [32, 64]), [0]);
  assert.deepEqual(cellsOf({ kind: "point", points: [at(64, 32)] }, 16, [32, 64]), [7]);
});

test("equal regions have equal names", () => {
  assert.equal(
    regionKey({ kind: "point", points: [at(1.04, 2)] }),
    regionKey({ kind: "point", points: [at(1.01, 2)] }),
  );
  assert.notEqual(
    regionKey({ kind: "box", points: [at(1, 2), at(3, 4)] }),
    regionKey({ kind: "polygon", points: [at(1, 2), at(3, 4)] }),
  );
});
