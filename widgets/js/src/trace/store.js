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
    /** @type {number[]} */
    this.opened = [];
    /** @type {[number, any, DataView[]][]} */
    this.early = [];
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

  /**
   * Messages are numbered, and name the trace that they are of. One that came before the opening
   * of its trace waits for it, and one of a trace that was replaced is dropped.
   * @param {any} content @param {DataView[]} buffers
   */
  #heard = (content, buffers) => {
    const { type, film: number = 0, serial } = content ?? {};
    if (!["film", "frames", "pictures"].includes(type)) {
      for (const hearer of [...this.hearers]) hearer(content, buffers);
      return;
    }
    this.#take(number, content, buffers);
    if (serial !== undefined) this.model.send({ type: "got", serial });
    for (const listener of [...this.listeners]) listener({ type, trace: number });
  };

  /** @param {number} number @param {any} content @param {DataView[]} buffers */
  #take(number, content, buffers) {
    const { type, key, serial = Number.POSITIVE_INFINITY } = content;
    const trace = this.traces[number];
    const opened = this.opened[number] ?? -1; // the number of the message that opened the trace
    if (type === "film") {
      if (serial < opened) return;
      this.opened[number] = serial;
      // Another page that asks for everything makes this one hear it again.
      if (!trace || key === undefined || trace.opening.key !== key)
        this.traces[number] = new Trace({ ...content.opening, key }, buffers);
      const waiting = this.early.splice(0);
      for (const [at, early, its] of waiting) this.#take(at, early, its);
    } else if (trace && trace.opening.key === key) {
      if (type === "pictures") {
        for (const { node, picture } of content.pictures) trace.addPicture(node, picture, buffers);
        return;
      }
      trace.add(content.frames, buffers);
      trace.setBranches(content.branches, content.serial);
    } else if (key !== undefined && serial > opened) this.early.push([number, content, buffers]);
  }
}
