import assert from "node:assert/strict";
import { test } from "node:test";
import { find, layout, lineage, neighbour } from "../../src/trace/tree.js";
import { GROWN, traceOf } from "../traces.js";

/** @param {import("../../src/trace/trace.js").Trace} trace */
const treeOf = (trace) => layout(trace.branches.values(), trace.frames);

test("a row for each branch, and its dots from where it starts", () => {
  const { rows, columns } = treeOf(traceOf(...GROWN));
  assert.equal(columns, 4);
  const main = rows[0];
  assert.equal(main.from, null);
  assert.deepEqual(
    main.dots.map(({ node, column, start }) => [node, column, start]),
    [
      [0, 0, true],
      [1, 1, false],
      [2, 2, false],
      [3, 3, false],
      [4, 4, false],
    ],
  );
  const late = rows.find(({ branch }) => branch.id === 2);
  assert.deepEqual(late?.dots, [
    { node: 3, column: 3, start: true },
    { node: 7, column: 4, start: false },
  ]);
});

test("no line to a branch passes through another branch's steps", () => {
  const trace = traceOf(...GROWN, [0, [10]], [3, [11, 12]], [8, [13]]);
  const { rows } = treeOf(trace);
  rows.forEach(({ from, dots }, row) => {
    if (from === null) return;
    assert.ok(from < row);
    const at = dots[0].column;
    for (let between = from + 1; between < row; between++) {
      // A branch that starts at the same node shares the line.
      const crossed = rows[between].dots.filter((d) => d.column === at && d.node !== dots[0].node);
      const [left, right] = [rows[between].dots[0].column, rows[between].dots.at(-1)?.column ?? 0];
      assert.deepEqual(crossed, []);
      assert.ok(at <= left || at > right, `row ${between} crosses the line to row ${row}`);
    }
  });
});

test("branches from the beginning hang on the first, other beginnings stand alone", () => {
  const { rows } = treeOf(traceOf([0, [1]], [0, [2]], [50, [51]]));
  assert.deepEqual(
    rows.map(({ branch, from }) => [branch.id, from]),
    [
      [0, null],
      [1, 0],
      [2, null],
    ],
  );
});

test("a branch without steps has the dot that it starts from", () => {
  const { rows } = treeOf(traceOf([0, [1, 2]], [2, []]));
  assert.deepEqual(rows[1].dots, [{ node: 2, column: 2, start: true }]);
  assert.equal(rows[1].from, 0);
});

test("a start whose frame has not arrived takes nothing down", () => {
  const trace = traceOf([0, [1]]);
  trace.setBranches([
    ...trace.branches.values(),
    /** @type {import("../../src/trace/trace.js").Branch} */ ({
      id: 1,
      name: "b1",
      start: 9,
      tip: 9,
      method: "",
    }),
  ]);
  assert.deepEqual(treeOf(trace).rows[1].dots, [{ node: 9, column: 0, start: true }]);
});

test("a node is found in its branch's row, and before its start in the row that made it", () => {
  const tree = treeOf(traceOf(...GROWN));
  const row = (/** @type {number} */ id) => tree.rows.findIndex(({ branch }) => branch.id === id);
  assert.equal(find(tree, 1, 6)?.row, row(1));
  assert.equal(find(tree, 1, 1)?.row, row(1), "its own start");
  assert.equal(find(tree, 3, 1)?.row, row(0));
  assert.equal(find(tree, 3, 0)?.row, row(0), "the beginning");
  assert.equal(find(tree, 0, 99), null);
});

test("the way to a branch's tip runs through its ancestors", () => {
  const tree = treeOf(traceOf(...GROWN));
  const row = (/** @type {number} */ id) => tree.rows.findIndex(({ branch }) => branch.id === id);
  assert.deepEqual(
    new Map([...lineage(tree, 3)]),
    new Map([
      [row(3), [2, 4]],
      [row(1), [1, 2]],
      [row(0), [0, 1]],
    ]),
  );
  assert.equal(lineage(tree, 77).size, 0);
});

test("the dot above or below is the nearest one", () => {
  const tree = treeOf(traceOf([0, [1, 2, 3]], [1, [4]]));
  assert.equal(neighbour(tree, 1, 3)?.node, 4);
  assert.equal(neighbour(tree, 1, 0)?.node, 1);
  assert.equal(neighbour(tree, 2, 0), null);
  assert.equal(neighbour(tree, -1, 0), null);
});
