// Shortcuts: what anywidget loads; keys for all of an app, and a line that lists them.

import { h } from "../ui/dom.js";

/** @typedef {import("../trace/state.js").Model} Model */

const APP = ".hdp-studio";

/**
 * @param {KeyboardEvent} event
 * @param {string[][]} keys each a key, what it does, and its name
 * @returns {string | null} the name of the key that was pressed
 */
export function nameOf(event, keys) {
  const { key, ctrlKey, metaKey, altKey, shiftKey, repeat, target } = event;
  if (ctrlKey || metaKey || altKey || shiftKey || repeat || typesInto(target)) return null;
  return keys.find(([known]) => known.toLowerCase() === key.toLowerCase())?.[2] ?? null;
}

/** Whether keys are text for an element. @param {EventTarget | null} target */
function typesInto(target) {
  const { tagName = "", type = "", isContentEditable = false } = /** @type {any} */ (target ?? {});
  const pressed = ["button", "checkbox", "color", "radio", "range", "submit"];
  return (
    isContentEditable ||
    tagName === "TEXTAREA" ||
    tagName === "SELECT" ||
    (tagName === "INPUT" && !pressed.includes(type))
  );
}

/**
 * @param {{model: Model, el: HTMLElement}} given
 * @returns {() => void} is called when the view is removed
 */
function render({ model, el }) {
  /** @type {string[][]} */
  const keys = model.get("_keys");
  const line = h(
    "p",
    { class: "hdp-keys" },
    ...keys.flatMap(([key, text]) => [h("kbd", {}, key), h("span", {}, text)]),
    h("kbd", {}, "?"),
    h("span", {}, "the keys of the part that has the focus"),
  );
  el.append(line);
  /** @type {Element} */
  let app = el;

  /** @param {Event} event */
  function pressed(event) {
    const name = nameOf(/** @type {KeyboardEvent} */ (event), keys);
    if (!name) return;
    event.preventDefault();
    event.stopPropagation();
    model.send({ type: "key", name });
  }

  // The app is there once this view has its place in it. Parts of the app keep their keys to
  // themselves, so these are looked at on their way down.
  const placed = requestAnimationFrame(() => {
    app = el.closest(APP) ?? el;
    app.addEventListener("keydown", pressed, true);
  });
  return () => {
    cancelAnimationFrame(placed);
    app.removeEventListener("keydown", pressed, true);
    line.remove();
  };
}

export default { render };
