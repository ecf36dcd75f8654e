import assert from "node:assert/strict";
import { test } from "node:test";
import { RegionQueries } from "../../src/viewer/region-queries.js";

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
