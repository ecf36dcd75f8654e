// What opens above the timeline: the choices for a new branch, and the list of keys.

import { h } from "../ui/dom.js";
import { keycaps } from "../ui/help.js";
import { HELP } from "./keys.js";

/** @typedef {import("../trace/trace.js").Branch} Branch */

/**
 * A small dialog that Escape closes and in which Tab goes round.
 * @param {string} label
 * @param {HTMLElement} opener gets the focus back
 * @param {...(Node | string)} content
 */
function createSheet(label, opener, ...content) {
  const element = h(
    "div",
    { class: "hdp-sheet", role: "dialog", "aria-label": label, tabindex: -1 },
    ...content,
  );
  element.hidden = true;
  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey) return;
    event.stopPropagation(); // the timeline's keys mean nothing in here
    if (event.key === "Escape") hide();
    else if (event.key === "Tab") {
      const stops = /** @type {HTMLElement[]} */ ([...element.querySelectorAll("input, button")]);
      const edge = event.shiftKey ? stops[0] : stops[stops.length - 1];
      if (document.activeElement !== edge && document.activeElement !== element) return;
      (event.shiftKey ? stops[stops.length - 1] : stops[0])?.focus();
      event.preventDefault();
    }
  });

  function show() {
    element.hidden = false;
    opener.setAttribute("aria-expanded", "true");
    /** @type {HTMLElement} */ (element.querySelector("input, button") ?? element).focus({
      preventScroll: true,
    });
  }
  function hide(focus = true) {
    if (element.hidden) return;
    element.hidden = true;
    opener.setAttribute("aria-expanded", "false");
    if (focus) opener.focus();
  }
  return { element, show, hide };
}

/** @param {HTMLElement} opener */
export function createHelp(opener) {
  const close = h("button", { type: "button", class: "hdp-button", click: () => sheet.hide() });
  close.textContent = "Close";
  const sheet = createSheet(
    "Keys",
    opener,
    h(
      "dl",
      {},
      ...HELP.map(([keys, text]) =>
        h("div", { class: "hdp-key" }, h("dt", {}, ...keycaps(keys)), h("dd", {}, text)),
      ),
    ),
    h("div", { class: "hdp-actions" }, close),
  );
  return sheet;
}

/** What can be switched on and off: of a run that fills a hole, and of one that makes it larger. */
const FILLING = { painta: "PAIntA", rasg: "RASG" };
const ENLARGING = { blend: "latent blend", soft: "soft mask", poisson: "Poisson" };
const NAMES = /** @type {Record<string, string>} */ ({ ...FILLING, ...ENLARGING });

/**
 * @param {HTMLElement} opener
 * @param {(branch: Branch, node: number, changes: Record<string, boolean | number>) => void} confirm
 */
export function createBranching(opener, confirm) {
  const title = h("strong");
  const note = h("p", { class: "hdp-note" });
  /** @type {Map<string, HTMLInputElement>} */
  const switches = new Map();
  const choices = h("div", { class: "hdp-choices" });
  const scale = h("input", {
    type: "number",
    class: "hdp-entry hdp-number",
    min: 0,
    max: 100,
    step: "any",
    placeholder: "same",
  });
  /** @type {{branch: Branch, node: number} | null} */
  let from = null;

  /** @returns {Record<string, boolean | number>} what differs from the branch it leaves */
  function changes() {
    if (!from) return {};
    const on = from.branch.method.split("+");
    /** @type {Record<string, boolean | number>} */
    const found = {};
    for (const [name, { checked }] of switches)
      if (checked !== on.includes(name)) found[name] = checked;
    const number = scale.valueAsNumber;
    if (!Number.isNaN(number) && String(number) !== scale.dataset.before)
      found.guidance_scale = number;
    return found;
  }
  function describe() {
    const all = Object.entries(changes()).map(([name, value]) =>
      name === "guidance_scale"
        ? `guidance scale ${value}`
        : `${value ? "with" : "without"} ${NAMES[name]}`,
    );
    note.textContent = all.length
      ? `New: ${all.join(", ")}`
      : "Nothing changed: the same steps again.";
  }
  const form = h(
    "form",
    {
      input: describe,
      submit: (event) => {
        event.preventDefault();
        if (!from) return;
        const { branch, node } = from;
        confirm(branch, node, changes());
        sheet.hide();
      },
    },
    title,
    choices,
    note,
    h(
      "div",
      { class: "hdp-actions" },
      h("button", { type: "button", class: "hdp-button", click: () => sheet.hide() }, "Cancel"),
      h("button", { type: "submit", class: "hdp-button hdp-main" }, "Branch"),
    ),
  );
  const sheet = createSheet("Branch here", opener, form);

  return {
    ...sheet,
    /** @param {Branch} branch @param {number} node @param {number} at steps made up to there */
    open(branch, node, at) {
      from = { branch, node };
      const on = branch.method.split("+");
      switches.clear();
      for (const name of Object.keys(on[0] === "x4" ? ENLARGING : FILLING)) {
        switches.set(name, h("input", { type: "checkbox" }));
        /** @type {HTMLInputElement} */ (switches.get(name)).checked = on.includes(name);
      }
      choices.replaceChildren(
        ...[...switches].map(([name, box]) => h("label", {}, box, NAMES[name])),
        h("label", {}, "Guidance scale", scale),
      );
      const before = branch.settings.guidance_scale ?? "";
      scale.value = before;
      scale.dataset.before = scale.value && String(scale.valueAsNumber);
      title.textContent = at
        ? `Branch after step ${at} of ${branch.title}`
        : `Branch before the first step of ${branch.title}`;
      describe();
      sheet.show();
    },
  };
}
