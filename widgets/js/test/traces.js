// Small traces made by hand.

import { Trace } from "../src/trace/trace.js";

/** @typedef {import("../src/trace/trace.js").MapData} MapData */
/** @typedef {import("../src/trace/trace.js").Frame} Frame */
/** @typedef {import("../src/trace/trace.js").Opening} Opening */
/** @typedef {import("../src/trace/trace.js").Branch} Branch */

/**
 * Maps as Python encodes them: bytes between each one's own lowest and highest value.
 * @param {string} kind
 * @param {number} level
 * @param {string} layer
 * @param {number[]} shape
 * @param {number[]} values
 * @returns {MapData}
 */
export function encoded(kind, level, layer, shape, values) {
  const [height, width] = shape.slice(-2);
  const size = height * width;
  const map = {
    kind,
    level,
    layer,
    shape,
    low: [0],
    high: [0],
    buffer: 0,
    bytes: new Uint8Array(),
  };
  /** @type {number[]} */
  const bytes = [];
  for (let i = 0; i < values.length / size; i++) {
    const part = values.slice(i * size, (i + 1) * size);
    const [low, high] = [Math.min(...part), Math.max(...part)];
    map.low[i] = low;
    map.high[i] = high;
    for (const value of part) bytes.push(Math.round((255 * (value - low)) / (high - low || 1)));
  }
  return { ...map, bytes: Uint8Array.from(bytes) };
}

/**
 * @param {Partial<Frame>} given
 * @returns {Frame}
 */
export function frame(given) {
  return {
    node: 1,
    parent: 0,
    branch: 0,
    index: 0,
    timestep: 999,
    seconds: 1,
    score: null,
    sigma: 0,
    alpha: 0,
    guided_norm: 0,
    method: "none",
    words: [],
    tokens: [],
    even_share: 0,
    grad: null,
    preview: null,
    picture: null,
    maps: [],
    ...given,
  };
}

/**
 * @param {Partial<Opening>} [given]
 * @returns {Opening}
 */
export function opening(given = {}) {
  return {
    version: 1,
    model: "mini",
    size: [64, 64],
    frame: [64, 64],
    crop: [0, 0, 64, 64],
    image: null,
    mask: null,
    branches: [],
    ...given,
  };
}

/**
 * @param {Partial<Branch>} given
 * @returns {Branch}
 */
export function branch(given) {
  return {
    id: 0,
    name: "main",
    title: "main",
    prompt: "",
    method: "none",
    parent: null,
    start: 0,
    tip: 0,
    settings: {},
    said: {},
    ...given,
  };
}

/**
 * A trace of branches [start, nodes]; node 0 is the beginning.
 * @param {...[number, number[]]} lines
 */
export function traceOf(...lines) {
  /** @type {Map<number, number>} */
  const depth = new Map([[0, 0]]);
  /** @type {any[]} */
  const frames = [];
  const branches = lines.map(([start, nodes], id) => {
    let parent = start;
    for (const node of nodes) {
      const index = depth.get(parent) ?? 0;
      depth.set(node, index + 1);
      frames.push({ node, parent, branch: id, index, timestep: 900, seconds: 0.1, maps: [] });
      parent = node;
    }
    return /** @type {Branch} */ ({
      id,
      name: `b${id}`,
      title: `line ${id}`,
      start,
      tip: parent,
      method: "",
    });
  });
  const trace = new Trace(/** @type {any} */ ({ branches, image: null, mask: null }), []);
  trace.add(
    frames.map((frame) => ({ method: "rasg", preview: null, picture: null, ...frame })),
    [],
  );
  return trace;
}

/** Four branches: [start, nodes] of each. */
export const GROWN = /** @type {[number, number[]][]} */ ([
  [0, [1, 2, 3, 4]],
  [1, [5, 6]],
  [3, [7]],
  [5, [8, 9]],
]);

/** Three steps on the first branch; the second has the first of them and one of its own. */
export function forked() {
  const trace = new Trace(
    opening({
      branches: [
        branch({ tip: 3, said: { steps: "steps 20", painta: "with PAIntA" } }),
        branch({
          id: 1,
          parent: 0,
          start: 1,
          tip: 4,
          said: { steps: "steps 20", painta: "without PAIntA" },
        }),
      ],
    }),
    [],
  );
  /** @type {DataView[]} */
  const buffers = [];
  const maps = (/** @type {number} */ value) => {
    const map = encoded("cross", 16, "mean", [2, 1, 2], [0, value, value, value]);
    buffers.push(new DataView(/** @type {ArrayBuffer} */ (map.bytes?.buffer)));
    return [{ ...map, buffer: buffers.length - 1 }];
  };
  const words = /** @type {[string, number[]][]} */ ([["star", [0]]]);
  trace.add(
    [
      frame({ node: 1, parent: 0, words, tokens: ["star", "x"], maps: maps(1) }),
      frame({ node: 2, parent: 1, words, tokens: ["star", "x"], maps: maps(2) }),
      frame({ node: 3, parent: 2, words, tokens: ["star", "x"], maps: maps(3) }),
      frame({ node: 4, parent: 1, words: [["moon", [0]], ...words], tokens: ["m", "s"] }),
    ],
    buffers,
  );
  return trace;
}
