// The sheet of keys and gestures.

import { h } from "../ui/dom.js";
import { icon } from "../ui/icons.js";
import { HELP } from "./keys.js";

/** @param {() => void} closed is called when the reader closes it */
export function createHelp(closed) {
  const close = h(
    "button",
    { type: "button", "aria-label": "Close", title: "Close (Escape)", click: () => hide() },
    icon("close"),
  );
  const rows = HELP.map(([keys, text]) =>
    h("div", { class: "hdp-help-row" }, h("dt", {}, ...caps(keys)), h("dd", {}, text)),
  );
  const sheet = h(
    "div",
    { class: "hdp-help", role: "dialog", "aria-modal": "true", "aria-label": "Keys and gestures" },
    h("header", {}, h("strong", {}, "Keys and gestures"), close),
    h("dl", { tabindex: 0, "aria-label": "List of keys and gestures" }, ...rows),
  );
  sheet.hidden = true;
  sheet.addEventListener("keydown", (event) => {
    if (event.key === "Escape" || event.key === "?") hide();
    else if (event.key === "Tab") {
      const list = sheet.querySelector("dl");
      (document.activeElement === close ? list : close)?.focus();
      event.preventDefault();
    }
    event.stopPropagation();
  });
  function hide() {
    sheet.hidden = true;
    closed();
  }
  function show() {
    sheet.hidden = false;
    close.focus();
  }
  return { sheet, show };
}

/**
 * "Ctrl + Z" as keycaps.
 * @param {string} keys
 * @returns {(Node | string)[]}
 */
function caps(keys) {
  return keys.split(/( [+/] |, )/).map((part, i) => (i % 2 ? part : h("kbd", {}, part)));
}
