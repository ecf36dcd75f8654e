// The panel beside the picture: tools for a region, and its attention to each word.

import { createToggle } from "../ui/controls.js";
import { h } from "../ui/dom.js";
import { short } from "../ui/format.js";
import { glyph } from "../ui/glyphs.js";
import { TOOLS } from "./picker.js";

/** @typedef {{text: string, value: number, chosen: boolean}} Bar */
/**
 * @typedef {object} Shown
 * @property {string} tool
 * @property {boolean} drawing whether a polygon waits for more corners
 * @property {boolean} chosen whether a region was drawn; the mask counts as one otherwise
 * @property {string} place which cells it takes; empty where there is none
 * @property {Bar[]} bars
 * @property {boolean} looking whether its self-attention is on display
 * @property {boolean} painta
 * @property {import("./region-queries.js").Answer["status"] | ""} status of the question to Python
 * @property {string} error
 */

/** @type {Record<string, string>} */
const TITLES = {
  point: "Point: click or drag over the picture",
  box: "Box: drag over the picture",
  polygon: "Polygon: click its corners; Enter, a double click or the first corner closes it",
};

/** @type {Record<string, string>} */
const HINTS = {
  point: "Click the picture for the words of another place.",
  box: "Drag a box over the picture for its words.",
  polygon: "Click the corners. Enter, a double click or the first corner closes the polygon.",
};

/** @type {Record<string, string>} */
const STATUS = {
  asking: "asking Python …",
  away: "needs a running model: open the viewer in a notebook with its sampler",
};

/**
 * @param {{tool: (name: string) => void, clear: () => void, word: (text: string) => void,
 *   look: () => void, painta: () => void, retry: () => void}} done
 */
export function createRegionPanel(done) {
  const tools = TOOLS.map((name) => createToggle(name, TITLES[name], () => done.tool(name), name));
  const clear = h(
    "button",
    {
      type: "button",
      class: "hdp-button",
      title: "Clear the region (Escape)",
      "aria-label": "Clear the region",
      click: done.clear,
    },
    glyph("clear"),
  );
  const place = h("p", { class: "hdp-place" });
  const hint = h("p", { class: "hdp-advice hdp-faint" });
  const list = h("ol", { class: "hdp-words", "aria-label": "Mean cross-attention of the region" });
  const look = createToggle("Show where it looks", "Self-attention of the region", done.look);
  const painta = createToggle("PAIntA", "With PAIntA's rescaling, where it acted", done.painta);
  const status = h("p", { class: "hdp-status hdp-faint", role: "status" });
  const again = h(
    "button",
    { type: "button", class: "hdp-button", hidden: true, click: done.retry },
    "Try again",
  );
  const element = h(
    "section",
    { class: "hdp-side", "aria-label": "Region" },
    h(
      "header",
      {},
      h("b", {}, "Region"),
      h("span", { class: "hdp-space" }),
      h(
        "span",
        { class: "hdp-group", role: "group", "aria-label": "Region tool" },
        ...tools.map((tool) => tool.element),
      ),
      clear,
    ),
    place,
    list,
    hint,
    h("footer", {}, h("div", { class: "hdp-group" }, look.element, painta.element), status, again),
  );
  let drawn = "";

  return {
    element,
    /** @param {Shown} shown */
    update(shown) {
      TOOLS.forEach((name, i) => {
        tools[i].update(name === shown.tool);
      });
      clear.disabled = !shown.chosen && !shown.drawing;
      place.textContent = shown.place;
      hint.textContent = !shown.chosen || shown.drawing ? HINTS[shown.tool] : "";
      const words = JSON.stringify(shown.bars.map(({ text }) => text));
      if (words !== drawn) {
        drawn = words;
        list.replaceChildren(
          ...shown.bars.map(({ text }) =>
            h(
              "li",
              {},
              h(
                "button",
                { type: "button", title: `Show ${text}`, click: () => done.word(text) },
                h("span", { class: "hdp-word" }, text),
                h("span", { class: "hdp-track" }, h("i")),
                h("span", { class: "hdp-number" }),
              ),
            ),
          ),
        );
      }
      const highest = Math.max(0, ...shown.bars.map(({ value }) => value)) || 1;
      shown.bars.forEach(({ value, chosen }, i) => {
        const button = /** @type {HTMLElement} */ (list.children[i].firstElementChild);
        const [, track, number] = /** @type {HTMLElement[]} */ ([...button.children]);
        /** @type {HTMLElement} */ (track.firstElementChild).style.width =
          `${(100 * Math.max(0, value)) / highest}%`;
        number.textContent = short(value);
        button.setAttribute("aria-pressed", String(chosen));
      });
      look.update(shown.looking, !shown.place && !shown.looking);
      painta.update(shown.painta, !shown.looking);
      status.textContent = shown.status === "error" ? shown.error : (STATUS[shown.status] ?? "");
      status.classList.toggle("hdp-alarm", shown.status === "error");
      again.hidden = shown.status !== "error";
    },
  };
}
