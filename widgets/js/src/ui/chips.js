// A prompt as a row of chips: its words, or its single tokens.

import { h } from "./dom.js";

/**
 * @typedef {object} Shown
 * @property {{text: string, tokens: number[]}[]} words with the positions of their tokens
 * @property {string[]} tokens
 */
/**
 * @typedef {object} Chosen
 * @property {string[]} words
 * @property {number[]} tokens those chosen by themselves
 * @property {number[]} positions of all tokens that are chosen
 */

/** @param {{word: (text: string) => void, token: (position: number) => void}} clicked */
export function createChips({ word, token }) {
  const element = h("div", { class: "hdp-chips", role: "group", "aria-label": "Words" });
  let drawn = "";

  /** @param {string} text @param {string} small @param {string} title @param {() => void} click */
  function chip(text, small, title, click) {
    return h(
      "button",
      { type: "button", class: "hdp-chip", title, click },
      text,
      ...(small ? [h("small", {}, small)] : []),
    );
  }

  /** @param {Shown} shown @param {boolean} single @param {number[]} loose */
  function chipsOf(shown, single, loose) {
    const tokenChip = (/** @type {number} */ i) =>
      chip(shown.tokens[i], String(i), `token ${i}`, () => token(i));
    if (single) return shown.tokens.map((_, i) => tokenChip(i));
    const words = shown.words.map(({ text, tokens }) =>
      chip(
        text,
        "",
        tokens.length ? `${tokens.length > 1 ? "tokens" : "token"} ${tokens.join(", ")}` : text,
        () => word(text),
      ),
    );
    return [...words, ...loose.map(tokenChip)];
  }

  return {
    element,
    /**
     * @param {Shown | null} shown null where there is no prompt yet
     * @param {Chosen} now
     * @param {boolean} single tokens instead of words
     * @param {boolean} off what is shown has no words
     */
    update(shown, now, single, off) {
      const loose = single || !shown ? [] : now.tokens.filter((i) => i < shown.tokens.length);
      const key = JSON.stringify([shown?.words, single && shown?.tokens, single, loose]);
      if (key !== drawn) {
        drawn = key;
        const at = [...element.children].indexOf(/** @type {Element} */ (document.activeElement));
        element.replaceChildren(...(shown ? chipsOf(shown, single, loose) : []));
        if (at >= 0) /** @type {HTMLElement} */ (element.children[at])?.focus();
      }
      element.classList.toggle("hdp-off", off);
      if (!shown) return;
      const { words } = shown;
      [...element.children].forEach((button, i) => {
        const on = single
          ? now.positions.includes(i)
          : i >= words.length || now.words.includes(words[i].text);
        button.setAttribute("aria-pressed", String(on));
      });
    },
  };
}
