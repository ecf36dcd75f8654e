// The controls of a lens: which pictures, how many at once, and how large.

import { createChoice, createToggle } from "../ui/controls.js";
import { h } from "../ui/dom.js";
import { icon } from "../ui/icons.js";

const HINT = 1600; // milliseconds
const MODES = [
  { value: "side", label: "side by side", title: "Side by side (O)" },
  {
    value: "one",
    label: "one",
    title: "One at a time (O); N and P for the next and the one before",
  },
];

/** @param {{run: (name: string) => void, chip: (index: number) => void}} does */
export function createLensBars({ run, chip }) {
  const chips = h("div", { class: "hdp-chips", role: "group", "aria-label": "Pictures" });
  const mode = createChoice("How many", () => run("mode"));
  const outline = createToggle("mask", "The mask's outline (M)", () => run("outline"));
  const scale = button("whole", "100 % (1)", "100 %");
  scale.classList.add("hdp-number");
  scale.classList.add("hdp-zoom");
  const help = button("help", "Keys and gestures (?)", icon("help"));
  help.setAttribute("aria-haspopup", "dialog");

  /** @param {string} name @param {string} title @param {Node | string} content */
  function button(name, title, content) {
    return h(
      "button",
      {
        type: "button",
        class: "hdp-button",
        title,
        "aria-label": title.replace(/ \(.*\)/, ""),
        click: () => run(name),
      },
      content,
    );
  }

  const element = h(
    "div",
    { class: "hdp-bar" },
    chips,
    h("span", { class: "hdp-space" }),
    mode.element,
    outline.element,
    h(
      "div",
      { class: "hdp-group", role: "group", "aria-label": "Size" },
      button("out", "Smaller (-)", icon("zoom-out")),
      scale,
      button("in", "Larger (+)", icon("zoom-in")),
      button("fit", "The whole picture (0)", icon("fit")),
    ),
    help,
  );

  return {
    element,
    help,
    /**
     * @param {{titles: string[], shown: number[], mode: string, outline: boolean, masked: boolean,
     *   scale: string}} now
     */
    update(now) {
      fill(now.titles);
      [...chips.children].forEach((one, i) => {
        one.setAttribute("aria-pressed", String(now.shown.includes(i)));
      });
      mode.update(MODES, now.mode, now.titles.length < 2);
      outline.update(now.outline);
      outline.element.hidden = !now.masked;
      if (scale.textContent !== now.scale) scale.textContent = now.scale;
    },
  };

  /** @param {string[]} titles */
  function fill(titles) {
    const same = titles.length === chips.children.length;
    if (same && titles.every((title, i) => chips.children[i].textContent === title)) return;
    const focused = [...chips.children].indexOf(/** @type {Element} */ (document.activeElement));
    chips.replaceChildren(
      ...titles.map((title, i) =>
        h("button", { type: "button", class: "hdp-chip", title, click: () => chip(i) }, title),
      ),
    );
    if (focused >= 0) /** @type {HTMLElement} */ (chips.children[focused])?.focus();
  }
}

/**
 * A line over the pictures that goes away by itself.
 * @param {string} text
 */
export function createHint(text) {
  const element = h("p", { class: "hdp-hint", hidden: true }, text);
  let timer = 0;

  function hide() {
    clearTimeout(timer);
    element.hidden = true;
  }
  return {
    element,
    hide,
    show() {
      hide();
      element.hidden = false;
      timer = window.setTimeout(hide, HINT);
    },
  };
}
