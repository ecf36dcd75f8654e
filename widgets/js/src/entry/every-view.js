// What every view has: keys of its own, and a sign where the kernel is gone.

import { shieldKeys } from "../ui/shield.js";
import { watchConnection } from "./connection.js";

/** @typedef {import("../trace/state.js").Model} Model */

/**
 * @param {Model} model
 * @param {HTMLElement} el the view's
 * @returns {() => void} ends it
 */
export function everyView(model, el) {
  const stops = [watchConnection(model, el), shieldKeys(() => (el.isConnected ? el : null))];
  return () => {
    for (const stop of stops) stop();
  };
}
