import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync, inflateSync } from "node:zlib";
import { packBits, unpackBits } from "../../src/mask/packing.js";
import { Editor } from "../../src/painter/editor.js";
import { Link } from "../../src/painter/link.js";
import { equal, noise, until } from "../helpers.js";

const [WIDTH, HEIGHT] = [21, 13];

/** @param {Uint8Array} pixels */
const wire = (pixels) => new DataView(Uint8Array.from(deflateSync(packBits(pixels))).buffer);

/** A model without a kernel. */
class Model {
  constructor() {
    /** @type {Record<string, any>} */
    this.state = {
      _mask: wire(new Uint8Array(WIDTH * HEIGHT)),
      _revision: 1,
      _size: [HEIGHT, WIDTH],
      preset: "paper",
    };
    /** @type {[string, (...args: any[]) => void][]} */
    this.handlers = [];
    this.saves = 0;
    /** @type {unknown[]} */
    this.sent = [];
  }
  /** @param {string} name */
  get(name) {
    return this.state[name];
  }
  /** @param {string} name @param {unknown} value */
  set(name, value) {
    this.state[name] = value;
    this.tell(`change:${name}`);
  }
  save_changes() {
    this.saves++;
  }
  /** @param {string} event @param {(...args: any[]) => void} handler */
  on(event, handler) {
    this.handlers.push([event, handler]);
  }
  /** @param {string} event @param {(...args: any[]) => void} handler */
  off(event, handler) {
    this.handlers = this.handlers.filter(([e, f]) => e !== event || f !== handler);
  }
  /** @param {unknown} content */
  send(content) {
    this.sent.push(content);
  }
  /** @param {string} event @param {any[]} args */
  tell(event, ...args) {
    for (const [name, handler] of [...this.handlers]) if (name === event) handler(...args);
  }
  /** What Python would decode. */
  mask() {
    return unpackBits(inflateSync(new Uint8Array(this.state._mask.buffer)), WIDTH * HEIGHT);
  }
  /** A mask from Python. @param {Uint8Array} pixels */
  receive(pixels) {
    this.state._mask = wire(pixels);
    this.state._revision++;
    this.tell("change:_mask");
    this.tell("change:_revision");
  }
}

async function pair() {
  const model = new Model();
  const editor = new Editor(WIDTH, HEIGHT);
  const link = new Link(model, editor);
  await link.open();
  editor.onStep = () => {
    link.send();
  };
  return { model, editor, link };
}

test("a step reaches the model, with a new revision", async () => {
  const { model, editor } = await pair();
  editor.invert();
  await until(() => model.state._revision === 2);
  assert.ok(model.mask().every((v) => v === 1));
});

test("of many steps in a row the last arrives, and not each is sent", async () => {
  const { model, editor } = await pair();
  for (let x = 0; x < 20; x++) {
    editor.rectangle({ x, y: 0 }, { x: x + 1, y: 5 }, 1);
    editor.commit();
  }
  await until(() => equal(model.mask(), editor.mask.data));
  assert.ok(model.saves < 4, `${model.saves}`);
});

test("a mask from Python shows, can be undone, and is not sent back", async () => {
  const { model, editor } = await pair();
  const pixels = noise(WIDTH * HEIGHT, 3);
  model.receive(pixels);
  await until(() => equal(editor.mask.data, pixels));
  assert.equal(model.saves, 0);
  editor.undo();
  await until(() => model.saves === 1);
  assert.ok(model.mask().every((v) => v === 0));
});

test("what was drawn while a mask came in is newer", async () => {
  const { model, editor } = await pair();
  model.receive(noise(WIDTH * HEIGHT, 3));
  await Promise.resolve();
  editor.invert();
  await until(() => model.saves === 1);
  assert.ok(editor.mask.data.every((v) => v === 1));
  assert.deepEqual(model.mask(), editor.mask.data);
});

test("a mask that comes with another picture is left to the next view", async () => {
  const { model, editor, link } = await pair();
  editor.invert();
  await until(() => model.saves === 1);
  model.state._size = [HEIGHT, WIDTH + 8];
  let synced = 0;
  link.onSynced = () => {
    synced++;
  };
  model.receive(new Uint8Array(HEIGHT * (WIDTH + 8)));
  await new Promise((go) => setTimeout(go, 20));
  assert.equal(synced, 0);
  assert.ok(editor.mask.data.every((v) => v === 1));
});

test("two views of one model show the same", async () => {
  const { model, editor } = await pair();
  const other = new Editor(WIDTH, HEIGHT);
  await new Link(model, other).open();
  editor.ellipse({ x: 2, y: 2 }, { x: 12, y: 9 }, 1);
  editor.commit();
  await until(() => equal(other.mask.data, editor.mask.data));
  assert.ok(other.mask.data.some(Boolean));
});

test("grids are asked for by revision and preset, and a closed link is silent", async () => {
  const { model, link } = await pair();
  link.askForGrids();
  assert.deepEqual(model.sent, [{ type: "grids", revision: 1, preset: "paper" }]);
  let heard = 0;
  link.onGrids = () => {
    heard++;
  };
  model.tell("msg:custom", { type: "grids" }, []);
  model.tell("msg:custom", { type: "other" }, []);
  link.close();
  model.tell("msg:custom", { type: "grids" }, []);
  assert.equal(heard, 1);
  assert.equal(model.handlers.length, 0);
});
