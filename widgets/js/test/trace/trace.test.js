import assert from "node:assert/strict";
import { test } from "node:test";
import { storeOf } from "../../src/trace/store.js";
import { bytesOf, mapsOf, Trace, valuesOf } from "../../src/trace/trace.js";
import { branch, encoded, frame, opening, traceOf } from "../traces.js";

const still = (/** @type {number} */ buffer) => ({
  buffer,
  mime: "image/png",
  size: /** @type {[number, number]} */ ([1, 1]),
});
const views = (/** @type {number[][]} */ ...parts) =>
  parts.map((part) => new DataView(Uint8Array.from(part).buffer));

/** Root 0, steps 1 2 3 on the first branch; the second leaves after step 1 with steps 4 and 5. */
function forked() {
  const trace = new Trace(
    opening({ branches: [branch({ tip: 3 }), branch({ id: 7, parent: 0, start: 1, tip: 5 })] }),
    [],
  );
  const step = (/** @type {number} */ node, /** @type {number} */ parent) =>
    frame({ node, parent });
  trace.add([step(1, 0), step(2, 1), step(3, 2), step(4, 1), step(5, 4)], []);
  return trace;
}

test("a branch's path begins with the steps that it shares", () => {
  const trace = forked();
  const nodes = (/** @type {number} */ id) => trace.path(id).map(({ node }) => node);
  assert.deepEqual(nodes(0), [1, 2, 3]);
  assert.deepEqual(nodes(7), [1, 4, 5]);
  assert.deepEqual(nodes(99), []);
});

test("a branch whose newest step has not come yet shows those before it", () => {
  const trace = traceOf([0, [1, 2, 3]]);
  trace.setBranches([branch({ tip: 12 })]);
  assert.equal(trace.branches.size, 1);
  const nodes = () => trace.path(0).map(({ node }) => node);
  assert.deepEqual(nodes(), [1, 2, 3]);
  trace.add([frame({ node: 12, parent: 11, index: 4 })], []); // the one between is missing
  assert.deepEqual(nodes(), [1, 2, 3]);
  trace.add([frame({ node: 11, parent: 3, index: 3 })], []);
  assert.deepEqual(nodes(), [1, 2, 3, 11, 12]);
});

test("a branch never gets shorter, and older news of branches change nothing", () => {
  const trace = traceOf([0, [1, 2, 3]]);
  trace.setBranches([branch({ tip: 1, name: "renamed" })], 5);
  assert.equal(trace.path(0).length, 3);
  trace.setBranches([branch({ tip: 3, name: "older" })], 4);
  assert.equal(trace.branches.get(0)?.name, "renamed");
});

test("stills become files, and a picture that comes later replaces the first", async () => {
  const trace = new Trace(opening({ image: still(1) }), views([9], [1, 2, 3]));
  const bytes = async (/** @type {Blob | null} */ blob) =>
    blob && [...new Uint8Array(await blob.arrayBuffer())];
  assert.deepEqual(await bytes(trace.blob(trace.opening.image)), [1, 2, 3]);
  assert.equal(trace.blob(null), null);
  const old = still(0);
  trace.add([frame({ node: 4, picture: old })], views([5]));
  trace.addPicture(4, still(1), views([0], [6, 7]));
  const early = still(0);
  trace.addPicture(99, early, views([8])); // its step is yet to come
  trace.add([frame({ node: 99, parent: 4 })], []);
  assert.deepEqual(await bytes(trace.blob(trace.frames.get(99)?.picture ?? null)), [8]);
  assert.deepEqual(await bytes(trace.blob(trace.frames.get(4)?.picture ?? null)), [6, 7]);
  assert.equal(trace.blob(old), null);
});

test("bytes stay within the part of the buffer that a view names", () => {
  const all = Uint8Array.from([1, 2, 3, 4]);
  assert.deepEqual([...bytesOf(new DataView(all.buffer, 1, 2))], [2, 3]);
  assert.deepEqual([...bytesOf(all.buffer)], [1, 2, 3, 4]);
});

test("each map runs between its own lowest and highest value", () => {
  const map = encoded("cross", 16, "mean", [2, 1, 3], [0, 0.5, 1, -4, -3, 6]);
  assert.deepEqual(
    [...valuesOf(map, 0)].map((v) => v.toFixed(2)),
    ["0.00", "0.50", "1.00"],
  );
  const second = valuesOf(map, 1);
  assert.ok(Math.abs(second[1] + 3) < 10 / 255 / 2 + 1e-6);
  assert.equal(second[2], 6);
});

test("maps are found by kind and level", () => {
  const maps = [
    encoded("c", 16, "a", [1, 1], [0]),
    encoded("c", 16, "b", [1, 1], [0]),
    encoded("c", 32, "a", [1, 1], [0]),
    encoded("cross", 16, "a", [1, 1, 1], [0]),
  ];
  assert.deepEqual(mapsOf(frame({ maps }), "c", 16), maps.slice(0, 2));
});

class Model {
  /** @type {any[]} */
  sent = [];
  /** @type {((content: any, buffers: DataView[]) => void)[]} */
  handlers = [];
  get() {}
  set() {}
  save_changes() {}
  off() {}
  /** @param {string} _event @param {(...args: any[]) => void} handler */
  on(_event, handler) {
    this.handlers.push(handler);
  }
  /** @param {any} content */
  send(content) {
    this.sent.push(content);
  }
  /** @param {any} content @param {DataView[]} buffers */
  hear(content, buffers = []) {
    for (const handler of this.handlers) handler(content, buffers);
  }
}

test("a page asks for its traces once, and acknowledges what it took in", () => {
  const model = new Model();
  const { sent } = model;
  const store = storeOf(model);
  assert.equal(storeOf(model), store);
  assert.deepEqual([...sent], [{ type: "want" }]);
  /** @type {string[]} */
  const told = [];
  store.listen(({ type, trace }) =>
    told.push(`${type} ${trace} ${store.traces[trace]?.frames.size}`),
  );
  model.hear({ type: "film", film: 1, opening: opening(), serial: 1 });
  model.hear({
    type: "frames",
    film: 1,
    branches: [branch({ tip: 1 })],
    frames: [frame({})],
    serial: 2,
  });
  model.hear({ type: "frames", film: 0, key: "a", branches: [], frames: [], serial: 3 }); // its trace is not here
  assert.deepEqual(told, ["film 1 0", "frames 1 1", "frames 0 undefined"]);
  assert.deepEqual(
    sent.slice(1).map(({ type, serial }) => `${type} ${serial}`),
    ["got 1", "got 2", "got 3"],
  );
  assert.equal(store.traces[1]?.path(0).length, 1);
});

test("messages that arrive in another order make the same trace", () => {
  /** @type {any[]} */
  const steps = [1, 2, 3, 4].map((node) => ({
    type: "frames",
    film: 0,
    key: "new",
    branches: [branch({ tip: node })],
    frames: [frame({ node, parent: node - 1, index: node - 1 })],
    serial: 10 + node,
  }));
  const film = { type: "film", film: 0, key: "new", opening: opening(), serial: 10 };
  const old = { ...steps[0], key: "old", frames: [frame({ node: 9 })], serial: 3 };
  const late = { type: "film", film: 0, key: "old", opening: opening(), serial: 1 };
  for (const order of /** @type {any[][]} */ ([
    [film, ...steps],
    [...steps].reverse().concat([film]),
    [steps[2], film, old, steps[0], steps[3], late, steps[1]],
    [film, ...steps, { ...film, serial: 20 }], // another page has asked for everything
  ])) {
    const model = new Model();
    const store = storeOf(model);
    for (const message of /** @type {any[]} */ (order)) model.hear(structuredClone(message));
    const nodes = store.traces[0]?.path(0).map(({ node }) => node);
    assert.deepEqual(nodes, [1, 2, 3, 4]);
  }
});

test("other messages go to those who hear them, without an acknowledgement", () => {
  const model = new Model();
  const store = storeOf(model);
  /** @type {any[]} */
  const heard = [];
  const stop = store.hear((content) => heard.push(content.key));
  model.hear({ type: "region", key: "a" });
  stop();
  model.hear({ type: "region", key: "b" });
  assert.deepEqual(heard, ["a"]);
  assert.equal(model.sent.length, 1);
});
