// A sheet that lists keys and gestures, over the widget that they belong to.

import { h } from "./dom.js";
import { icon } from "./icons.js";

/**
 * Keys as caps: a plus joins them, a slash or a comma separates them.
 * @param {string} keys "Ctrl + Z"
 * @returns {(Node | string)[]}
 */
export function keycaps(keys) {
  return keys.split(/( [+/] |, )/).map((part, i) => (i % 2 ? part : h("kbd", {}, part)));
}

/**
 * @param {string[][]} list [keys, what they do]
 * @param {() => void} closed is called when the reader closes it
 */
export function createHelp(list, closed) {
  const close = h(
    "button",
    {
      type: "button",
      class: "hdp-button",
      "aria-label": "Close",
      title: "Close (Escape)",
      click: hide,
    },
    icon("close"),
  );
  const rows = h(
    "dl",
    { tabindex: 0, "aria-label": "List of keys and gestures" },
    ...list.map(([keys, text]) => h("div", {}, h("dt", {}, ...keycaps(keys)), h("dd", {}, text))),
  );
  const element = h(
    "div",
    { class: "hdp-help", role: "dialog", "aria-modal": "true", "aria-label": "Keys and gestures" },
    h("header", {}, h("strong", {}, "Keys and gestures"), close),
    rows,
  );
  element.hidden = true;
  element.addEventListener("keydown", (event) => {
    if (event.key === "Escape" || event.key === "?") hide();
    else if (event.key === "Tab") {
      (document.activeElement === close ? rows : close).focus();
      event.preventDefault();
    }
    event.stopPropagation();
  });

  function hide() {
    if (element.hidden) return;
    element.hidden = true;
    closed();
  }
  return {
    element,
    show() {
      element.hidden = false;
      close.focus();
    },
  };
}
