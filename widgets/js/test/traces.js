// Small traces made by hand.

/** @typedef {import("../src/trace/trace.js").MapData} MapData */
/** @typedef {import("../src/trace/trace.js").Frame} Frame */
/** @typedef {import("../src/trace/trace.js").Opening} Opening */

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
 * @param {Partial<import("../src/trace/trace.js").Branch>} given
 * @returns {import("../src/trace/trace.js").Branch}
 */
export function branch(given) {
  return {
    id: 0,
    name: "main",
    prompt: "",
    method: "none",
    parent: null,
    start: 0,
    tip: 0,
    settings: {},
    ...given,
  };
}
