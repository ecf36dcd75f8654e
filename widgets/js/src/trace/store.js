// The traces of one view, filled by messages from Python.

import { Trace } from "./trace.js";

/** @typedef {import("./state.js").Model} Model */
/** @typedef {import("./trace.js").Still} Still */
/** @typedef {(what: {type: string, trace: number}) => void} Listener */

/** @type {WeakMap<Model, Store>} */
const stores = new WeakMap();

/**
 * The store of a model; made, and asked for its traces, by the first view that is drawn. anywidget
 * hands each view of a model an object of its own, so a second view has a store of its own.
 * @param {Model} model
 */
export function storeOf(model) {
  let store = stores.get(model);
  if (!store) {
    store = new Store(model);
    stores.set(model, store);
  }
  return store;
}

export class Store {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    /** @type {(Trace | undefined)[]} one, or two where a widget compares */
    this.traces = [];
    /** @type {Set<Listener>} */
    this.listeners = new Set();
    /** @type {Set<(content: any, buffers: DataView[]) => void>} */
    this.hearers = new Set();
    model.on("msg:custom", this.#heard);
    model.send({ type: "want" });
  }

  /**
   * Is told after traces have changed ("film", "frames" or "pictures").
   * @param {Listener} listener
   * @returns {() => void} stops it
   */
  listen(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /**
   * Is given all other messages, such as answers about a region.
   * @param {(content: any, buffers: DataView[]) => void} hearer
   * @returns {() => void} stops it
   */
  hear(hearer) {
    this.hearers.add(hearer);
    return () => this.hearers.delete(hearer);
  }

  /** @param {any} content @param {DataView[]} buffers */
  #heard = (content, buffers) => {
    const { type, film: number = 0 } = content ?? {};
    const trace = this.traces[number];
    if (type === "film") {
      this.traces[number] = new Trace(content.opening, buffers);
    } else if (type === "frames" && trace) {
      trace.setBranches(content.branches);
      trace.add(content.frames, buffers);
    } else if (type === "pictures" && trace) {
      for (const { node, picture } of content.pictures) trace.addPicture(node, picture, buffers);
    } else if (type !== "frames" && type !== "pictures") {
      for (const hearer of [...this.hearers]) hearer(content, buffers);
      return;
    }
    if (content.serial !== undefined) this.model.send({ type: "got", serial: content.serial });
    for (const listener of [...this.listeners]) listener({ type, trace: number });
  };
}
