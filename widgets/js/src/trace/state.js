// The named values that a component reads and writes, kept in a widget's model or on the page.

/**
 * @typedef {object} Model what anywidget gives
 * @property {(name: string) => any} get
 * @property {(name: string, value: unknown) => void} set
 * @property {() => void} save_changes
 * @property {(event: string, handler: (...args: any[]) => void) => void} on
 * @property {(event: string, handler: (...args: any[]) => void) => void} off
 * @property {(content: unknown, callbacks?: unknown, buffers?: ArrayBuffer[]) => void} send
 */
/**
 * @typedef {object} State
 * @property {(name: string) => any} get
 * @property {(name: string, value: unknown) => void} set listeners hear of it when it is another
 * @property {(listener: (name: string) => void) => () => void} listen returns what stops it
 */

/** The traits of the viewers in Python, of which each has some. */
export const VIEWER_TRAITS = [
  "step",
  "branch",
  "branches",
  "kind",
  "words",
  "tokens",
  "combine",
  "level",
  "layer",
  "head",
  "colormap",
  "opacity",
  "shared",
  "backdrop",
  "follow",
  "mode",
  "swipe",
  "_run",
  "_following",
  "speed",
  "renews",
];

/** What a slider moves: on this page at once, to Python a few times a second. */
const DRAGGED = ["step", "opacity", "swipe"];
const PAUSE = 80; // milliseconds

/**
 * Those of a widget's model: Python and linked widgets see every change.
 * @param {Model} model
 * @param {readonly string[]} [names] listened to, as far as the model has them
 * @param {readonly string[]} [dragged] of which Python hears a few times a second
 * @returns {State}
 */
export function modelState(model, names = VIEWER_TRAITS, dragged = DRAGGED) {
  let waiting = false;

  function save() {
    waiting = false;
    model.save_changes();
  }

  return {
    get: (name) => model.get(name),
    set(name, value) {
      if (same(model.get(name), value)) return;
      model.set(name, value);
      if (!dragged.includes(name)) save();
      else if (!waiting) {
        waiting = true;
        setTimeout(save, PAUSE);
      }
    },
    listen(listener) {
      return heard(model, names, listener);
    },
  };
}

/**
 * Those of a page of its own.
 * @param {Record<string, any>} values at first
 * @returns {State}
 */
export function plainState(values) {
  const held = new Map(Object.entries(values));
  /** @type {Set<(name: string) => void>} */
  const listeners = new Set();
  return {
    get: (name) => held.get(name),
    set(name, value) {
      if (same(held.get(name), value)) return;
      held.set(name, value);
      for (const listener of [...listeners]) listener(name);
    },
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/**
 * Listens to names of a model. A bare "change" event tells no names everywhere, so each name that
 * the model has is listened to.
 * @param {Model} model
 * @param {readonly string[]} all
 * @param {(name: string) => void} listener
 */
function heard(model, all, listener) {
  const names = all.filter((name) => model.get(name) !== undefined);
  const stops = names.map((name) => {
    const handler = () => listener(name);
    model.on(`change:${name}`, handler);
    return () => model.off(`change:${name}`, handler);
  });
  return () => {
    for (const stop of stops) stop();
  };
}

/**
 * @param {unknown} a
 * @param {unknown} b
 */
function same(a, b) {
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((value, i) => value === b[i]);
  return Object.is(a, b);
}
