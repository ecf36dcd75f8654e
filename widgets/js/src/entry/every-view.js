// What every view has: keys of its own, and a sign where the kernel is gone.

import { shieldKeys } from "../ui/shield.js";
import { watchConnection } from "./connection.js";

/** @typedef {import("../trace/state.js").Model} Model */

/**
 * @param {Model} model
 * @param {HTMLElement} el the view's
 * @param {() => HTMLElement | null} [find] what it is for, where that is more than the view
 * @returns {() => void} ends it
 */
export function everyView(model, el, find = () => (el.isConnected ? el : null)) {
  const stops = [watchConnection(model, el, find), shieldKeys(find)];
  return () => {
    for (const stop of stops) stop();
  };
}
