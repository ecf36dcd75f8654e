// A trace in the browser: steps by node, branches by id, maps as bytes.

/**
 * @typedef {object} Still an encoded picture
 * @property {number} buffer
 * @property {string} mime
 * @property {[number, number]} size height and width in pixels
 *
 * @typedef {object} Branch
 * @property {number} id
 * @property {string} name by which code asks for it
 * @property {string} title in words
 * @property {string} prompt
 * @property {string} method
 * @property {number | null} parent the branch that it left
 * @property {number} start the node that it grows from
 * @property {number} tip its newest node
 * @property {Record<string, string>} settings those that differ from the defaults
 * @property {Record<string, string>} said all settings in words: "without RASG"
 *
 * @typedef {object} Opening what belongs to the whole run; sizes are height and width in pixels
 * @property {number} version
 * @property {string} [key] tells one trace from another that takes its place in a widget
 * @property {string} model
 * @property {[number, number]} size of the given picture
 * @property {[number, number]} frame of the padded picture, which the maps cover
 * @property {[number, number, number, number]} crop top, left, height and width inside the frame
 * @property {Still | null} image
 * @property {Still | null} mask
 * @property {Branch[]} branches
 *
 * @typedef {object} MapData maps `shape` (..., h, w); each has its own lowest and highest value
 * @property {string} kind cross, scores, c, similarity, similarity_painta or object
 * @property {number} level 8, 16 or 32
 * @property {string} layer "mean" where layers were averaged
 * @property {number[]} shape
 * @property {number[]} low
 * @property {number[]} high
 * @property {number} buffer
 * @property {Uint8Array} [bytes]
 *
 * @typedef {object} Gradient
 * @property {number} mean
 * @property {number} std
 * @property {number} skewness
 * @property {number} kurtosis excess: 0 for a normal distribution
 * @property {number[]} hist
 * @property {[number, number]} edges
 * @property {number[]} standard_hist
 * @property {[number, number]} standard_edges
 *
 * @typedef {object} Frame one step
 * @property {number} node
 * @property {number} parent
 * @property {number} branch
 * @property {number} index from 0
 * @property {number} timestep
 * @property {number} seconds
 * @property {number | null} score
 * @property {number} sigma
 * @property {number} alpha
 * @property {number} guided_norm
 * @property {string} method
 * @property {[string, number[]][]} words text and token positions
 * @property {string[]} tokens
 * @property {number} even_share what each token would get of the attention if all got alike
 * @property {Gradient | null} grad
 * @property {Still | null} preview
 * @property {Still | null} picture
 * @property {MapData[]} maps
 */

export class Trace {
  /**
   * @param {Opening} opening
   * @param {DataView[]} buffers those that the opening's stills name
   */
  constructor(opening, buffers) {
    this.opening = opening;
    /** @type {Map<number, Branch>} */
    this.branches = new Map();
    /** @type {Map<number, Frame>} */
    this.frames = new Map();
    /** @type {Map<Still, Blob>} */
    this.blobs = new Map();
    /** Pictures that came before their step. @type {Map<number, [Still, DataView[]]>} */
    this.early = new Map();
    this.serial = -1; // of the news that the branches are from
    this.#keep(opening.image, buffers);
    this.#keep(opening.mask, buffers);
    this.setBranches(opening.branches);
  }

  /**
   * @param {Branch[]} branches all of them, as they are now
   * @param {number} [serial] of the message that tells it; older ones change nothing
   */
  setBranches(branches, serial = this.serial) {
    if (serial < this.serial) return;
    this.serial = serial;
    const before = this.branches;
    this.branches = new Map(branches.map((branch) => [branch.id, branch]));
    for (const branch of branches) {
      // A page that was loaded just now is told everything from the start, and so are the others.
      const [old, now] = [before.get(branch.id)?.tip, branch.tip].map((n) => this.#at(n));
      if (old && now && old.index > now.index) branch.tip = old.node;
    }
  }

  /**
   * @param {Frame[]} frames
   * @param {DataView[]} buffers those that these frames name
   */
  add(frames, buffers) {
    for (const frame of frames) {
      for (const map of frame.maps) map.bytes = bytesOf(buffers[map.buffer]);
      this.#keep(frame.preview, buffers);
      this.#keep(frame.picture, buffers);
      this.frames.set(frame.node, frame);
      const early = this.early.get(frame.node);
      if (early) this.addPicture(frame.node, ...early);
    }
  }

  /**
   * A picture that was decoded after its step had been sent.
   * @param {number} node
   * @param {Still} picture
   * @param {DataView[]} buffers
   */
  addPicture(node, picture, buffers) {
    const frame = this.frames.get(node);
    if (!frame) {
      this.early.set(node, [picture, buffers]);
      return;
    }
    this.early.delete(node);
    if (frame.picture) this.blobs.delete(frame.picture);
    frame.picture = picture;
    this.#keep(picture, buffers);
  }

  /**
   * The steps of a branch from the first one on, those shared with its parents included: up to its
   * newest, or to the newest before which none is missing.
   * @param {number} id
   * @returns {Frame[]}
   */
  path(id) {
    const branch = this.branches.get(id);
    if (!branch) return [];
    const whole = this.#upTo(this.#at(branch.tip));
    if (whole) return whole;
    const own = [...this.frames.values()].filter((frame) => frame.branch === id);
    own.sort((a, b) => b.index - a.index);
    for (const frame of [...own, this.#at(branch.start)]) {
      const path = this.#upTo(frame);
      if (path) return path;
    }
    return [];
  }

  /** @param {number | undefined} node */
  #at(node) {
    return node === undefined ? undefined : this.frames.get(node);
  }

  /**
   * The steps from the first one to this one.
   * @param {Frame | undefined} frame
   * @returns {Frame[] | null} null where one of them has not come yet
   */
  #upTo(frame) {
    const found = [];
    for (let at = frame; at; at = this.frames.get(at.parent)) found.push(at);
    return found.length && found[found.length - 1].index === 0 ? found.reverse() : null;
  }

  /**
   * How many of its steps a branch took over from the one that it left.
   * @param {number} id
   * @param {Frame[]} [path] of the branch
   */
  fork(id, path = this.path(id)) {
    const branch = this.branches.get(id);
    if (!branch || branch.parent === null) return 0;
    return path.findIndex((frame) => frame.node === branch.start) + 1;
  }

  /**
   * The encoded file of a still, for an <img> or `createImageBitmap`.
   * @param {Still | null} still
   */
  blob(still) {
    return still ? (this.blobs.get(still) ?? null) : null;
  }

  /**
   * @param {Still | null} still
   * @param {DataView[]} buffers
   */
  #keep(still, buffers) {
    if (still)
      this.blobs.set(still, new Blob([bytesOf(buffers[still.buffer])], { type: still.mime }));
  }
}

/**
 * The maps of one kind in one step.
 * @param {Frame} frame
 * @param {string} kind
 * @param {number} level
 * @returns {MapData[]} one for each layer that was kept
 */
export function mapsOf(frame, kind, level) {
  return frame.maps.filter((map) => map.kind === kind && map.level === level);
}

/**
 * One map as numbers.
 * @param {MapData} map
 * @param {number} [index] which of the maps in it: `head * tokens + token`, say
 * @returns {Float32Array} h * w values
 */
export function valuesOf(map, index = 0) {
  const [height, width] = map.shape.slice(-2);
  const [low, high] = [map.low[index], map.high[index]];
  const scale = (high - low) / 255;
  const bytes = /** @type {Uint8Array} */ (map.bytes).subarray(
    index * height * width,
    (index + 1) * height * width,
  );
  return Float32Array.from(bytes, (byte) => low + byte * scale);
}

/**
 * @param {DataView | ArrayBuffer} value
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function bytesOf(value) {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  const { buffer, byteOffset, byteLength } = value;
  return new Uint8Array(/** @type {ArrayBuffer} */ (buffer), byteOffset, byteLength);
}
