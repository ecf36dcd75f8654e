// Choices, pickers, toggles and sliders.

import { h } from "./dom.js";
import { glyph } from "./glyphs.js";

/** @typedef {{value: string, label: string, disabled?: boolean, title?: string}} Option */

/**
 * Choices of which one holds, side by side.
 * @param {string} label for screen readers
 * @param {(value: string) => void} chosen
 */
export function createChoice(label, chosen) {
  const element = h("div", { class: "hdp-joined", role: "group", "aria-label": label });
  let shown = "";
  return {
    element,
    /** @param {Option[]} options @param {string} value @param {boolean} [off] */
    update(options, value, off = false) {
      const described = JSON.stringify(options);
      if (described !== shown) {
        shown = described;
        const focused = [...element.children].indexOf(
          /** @type {Element} */ (document.activeElement),
        );
        element.replaceChildren(
          ...options.map((option) =>
            h(
              "button",
              {
                type: "button",
                class: "hdp-toggle",
                "data-value": option.value,
                title: option.title ?? false,
                click: () => chosen(option.value),
              },
              option.label,
            ),
          ),
        );
        if (focused >= 0) /** @type {HTMLElement} */ (element.children[focused])?.focus();
      }
      options.forEach((option, i) => {
        const button = /** @type {HTMLButtonElement} */ (element.children[i]);
        button.disabled = off || option.disabled === true;
        button.setAttribute("aria-pressed", String(option.value === value));
      });
    },
  };
}

/**
 * @param {string} label
 * @param {(value: string) => void} chosen
 * @param {boolean} [written] whether the label is seen, too
 */
export function createPicker(label, chosen, written = false) {
  const select = h("select", {
    class: "hdp-select",
    "aria-label": label,
    change: () => chosen(select.value),
  });
  const element = written ? h("label", { class: "hdp-field" }, label, select) : select;
  let shown = "";
  return {
    element,
    select,
    /** @param {Option[]} options @param {string} value @param {string} [title] */
    update(options, value, title = "") {
      const described = JSON.stringify(options);
      if (described !== shown) {
        shown = described;
        select.replaceChildren(
          ...options.map(({ value: own, label: text, disabled = false }) =>
            h("option", { value: own, disabled }, text),
          ),
        );
      }
      select.value = value;
      select.disabled = options.length < 2;
      select.title = title;
    },
  };
}

/**
 * A button that stays down.
 * @param {string} label
 * @param {string} title
 * @param {() => void} pressed
 * @param {string} [picture] name of a glyph shown instead of the label
 */
export function createToggle(label, title, pressed, picture) {
  const element = h(
    "button",
    {
      type: "button",
      class: picture ? "hdp-toggle" : "hdp-toggle hdp-alone",
      title,
      "aria-label": picture ? label : false,
      click: pressed,
    },
    picture ? glyph(picture) : label,
  );
  return {
    element,
    /** @param {boolean} down @param {boolean} [off] */
    update(down, off = false) {
      element.setAttribute("aria-pressed", String(down));
      element.disabled = off;
    },
  };
}

/**
 * A slider from 0 to 1 with its value in per cent.
 * @param {string} label
 * @param {(value: number) => void} moved
 */
export function createShare(label, moved) {
  const slider = h("input", {
    type: "range",
    class: "hdp-slider",
    min: 0,
    max: 100,
    "aria-label": label,
    input: () => moved(Number(slider.value) / 100),
  });
  const shown = h("output");
  return {
    element: h("label", { class: "hdp-field" }, label, slider, shown),
    /** @param {number} value @param {boolean} [off] */
    update(value, off = false) {
      slider.disabled = off;
      const text = String(Math.round(100 * value));
      if (slider.value !== text) slider.value = text;
      shown.textContent = `${text} %`;
    },
  };
}
