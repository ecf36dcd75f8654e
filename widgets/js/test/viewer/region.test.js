import assert from "node:assert/strict";
import { test } from "node:test";
import { createBitmap } from "../../src/mask/bitmap.js";
import { edgesOf } from "../../src/mask/outline.js";
import { toggledToken, toggledWord } from "../../src/ui/chips.js";
import { cellsOf, maskedCells, regionKey, wordMeans } from "../../src/viewer/region.js";
import { RegionQueries } from "../../src/viewer/region-queries.js";
import { encoded, frame } from "../traces.js";

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

test("words by the mean of their attention over some cells", () => {
  const step = frame({
    words: [
      ["red", [1]],
      ["star", [2, 3]],
    ],
    tokens: ["<sot>", "red", "st", "ar"],
    maps: [encoded("cross", 16, "mean", [4, 1, 2], [1, 1, 0, 4, 2, 2, 6, 0])],
  });
  const how = /** @type {const} */ ({ level: 16, layer: "mean", head: -1, combine: "mean" });
  const values = (/** @type {number[]} */ cells, /** @type {"mean" | "sum"} */ combine) =>
    wordMeans(step, cells, { ...how, combine }).map(({ text, value }) => [text, value]);
  assert.deepEqual(values([0], "mean"), [
    ["red", 0],
    ["star", 4],
  ]);
  assert.deepEqual(values([0, 1], "sum"), [
    ["red", 2],
    ["star", 5],
  ]);
  assert.deepEqual(wordMeans(frame({ words: [["red", [1]]] }), [0], how), []);
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

test("the outline of a mask is made of long straight pieces", () => {
  const mask = createBitmap(4, 3);
  for (const i of [1, 2, 5, 6]) mask.data[i] = 1;
  assert.deepEqual(edgesOf(mask).map(String).sort(), ["1,0,1,2", "1,0,3,0", "1,2,3,2", "3,0,3,2"]);
});

const prompt = {
  words: /** @type {[string, number[]][]} */ ([
    ["red", [1]],
    ["star", [2, 3]],
  ]),
  tokens: ["<sot>", "red", "st", "ar", "<eot>"],
};

test("a click on a word takes in its tokens", () => {
  const one = toggledWord(prompt, { words: [], tokens: [0, 3] }, "star");
  assert.deepEqual(one, { words: ["star"], tokens: [0] });
  assert.deepEqual(toggledWord(prompt, one, "star"), { words: [], tokens: [0] });
});

test("a click on one token of a chosen word leaves the others", () => {
  const chosen = { words: ["red", "star"], tokens: [] };
  assert.deepEqual(toggledToken(prompt, chosen, 2), { words: ["red"], tokens: [3] });
  assert.deepEqual(toggledToken(prompt, chosen, 4), { words: ["red", "star"], tokens: [4] });
  assert.deepEqual(toggledToken(prompt, { words: [], tokens: [3, 4] }, 3).tokens, [4]);
});

/** Queries whose clock is turned by hand. */
function asking() {
  /** @type {(() => void)[]} */
  const waiting = [];
  /** @type {{request: any, resolve: (grid: any) => void, reject: (error: Error) => void}[]} */
  const sent = [];
  let changes = 0;
  const queries = new RegionQueries(
    (request) =>
      new Promise((resolve, reject) => {
        sent.push({ request, resolve, reject });
      }),
    () => changes++,
    (call) => {
      waiting.push(call);
      return () => waiting.splice(waiting.indexOf(call), 1);
    },
  );
  const rest = () => {
    for (const call of waiting.splice(0)) call();
  };
  return { queries, sent, rest, changes: () => changes };
}

const question = (/** @type {number} */ node, key = "a") => ({
  key,
  node,
  level: 16,
  layer: null,
  head: null,
  painta: true,
  cells: [0],
});

test("only the question at rest is put to Python, and once", async () => {
  const { queries, sent, rest, changes } = asking();
  for (const node of [1, 2, 3, 3, 3]) assert.equal(queries.answer(question(node)).status, "asking");
  rest();
  rest();
  assert.equal(queries.answer(question(3)).status, "asking");
  rest();
  assert.deepEqual(
    sent.map(({ request }) => request.node),
    [3],
  );
  const grid = { width: 1, height: 1, values: Float32Array.of(1) };
  sent[0].resolve(grid);
  await Promise.resolve();
  await Promise.resolve();
  assert.equal(changes(), 1);
  assert.equal(queries.answer(question(3)).grid, grid);
  assert.equal(queries.answer(question(4)).status, "asking");
  assert.equal(queries.answer(question(3)).grid, grid); // kept, and nothing more is asked
  rest();
  assert.equal(sent.length, 1);
});

test("a question that Python passed over is asked again", () => {
  const { queries, sent, rest } = asking();
  queries.answer(question(1));
  rest();
  queries.answer(question(2));
  rest();
  queries.answer(question(1));
  rest();
  assert.deepEqual(
    sent.map(({ request }) => request.node),
    [1, 2, 1],
  );
});

test("a failure is told, and asked again on demand", async () => {
  const { queries, sent, rest } = asking();
  queries.answer(question(1));
  rest();
  sent[0].reject(new Error("the layer is unknown"));
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(queries.answer(question(1)), {
    status: "error",
    grid: null,
    error: "the layer is unknown",
  });
  queries.retry();
  assert.equal(queries.answer(question(1)).status, "asking");
});

test("without a model nothing is asked", () => {
  assert.equal(new RegionQueries(undefined, () => {}).answer(question(1)).status, "away");
});
