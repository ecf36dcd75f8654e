// The prompt as chips: words, or its single tokens.

import { positionsOf, wordsOf } from "../trace/maps.js";
import { h } from "./dom.js";

/** @typedef {Pick<import("../trace/trace.js").Frame, "words" | "tokens">} Frame a step's words and tokens */
/** @typedef {{words: string[], tokens: number[]}} Chosen */

/**
 * What is chosen after a click on a word: of its tokens none stays chosen by itself.
 * @param {Frame} frame
 * @param {Chosen} chosen
 * @param {string} text
 * @returns {Chosen}
 */
export function toggledWord(frame, { words, tokens }, text) {
  const own = wordsOf(frame).find((word) => word.text === text)?.tokens ?? [];
  const rest = tokens.filter((token) => !own.includes(token));
  const on = words.includes(text);
  return { words: on ? words.filter((word) => word !== text) : [...words, text], tokens: rest };
}

/**
 * What is chosen after a click on a token. One of a chosen word leaves the word's others.
 * @param {Frame} frame
 * @param {Chosen} chosen
 * @param {number} token
 * @returns {Chosen}
 */
export function toggledToken(frame, { words, tokens }, token) {
  if (tokens.includes(token)) return { words, tokens: tokens.filter((other) => other !== token) };
  const word = wordsOf(frame).find((w) => words.includes(w.text) && w.tokens.includes(token));
  if (!word) return { words, tokens: [...tokens, token].sort((a, b) => a - b) };
  const others = word.tokens.filter((other) => other !== token && !tokens.includes(other));
  return {
    words: words.filter((text) => text !== word.text),
    tokens: [...tokens, ...others].sort((a, b) => a - b),
  };
}

/** @param {(chosen: Chosen) => void} changed */
export function createChips(changed) {
  const element = h("div", { class: "hdp-chips", role: "group", "aria-label": "Words" });
  let drawn = "";
  /** @type {Frame | null} */
  let frame = null;
  /** @type {Chosen} */
  let chosen = { words: [], tokens: [] };

  /** @param {string} text @param {string} small @param {string} title @param {() => void} click */
  function chip(text, small, title, click) {
    return h(
      "button",
      { type: "button", class: "hdp-chip", title, click },
      text,
      ...(small ? [h("small", {}, small)] : []),
    );
  }

  /** @param {Frame} shown @param {boolean} single @param {number[]} loose */
  function chipsOf(shown, single, loose) {
    const token = (/** @type {number} */ i) =>
      chip(shown.tokens[i], String(i), `token ${i}`, () => {
        if (frame) changed(toggledToken(frame, chosen, i));
      });
    if (single) return shown.tokens.map((_, i) => token(i));
    const words = wordsOf(shown).map(({ text, tokens }) =>
      chip(
        text,
        "",
        tokens.length ? `${tokens.length > 1 ? "tokens" : "token"} ${tokens.join(", ")}` : text,
        () => {
          if (frame) changed(toggledWord(frame, chosen, text));
        },
      ),
    );
    return [...words, ...loose.map(token)];
  }

  return {
    element,
    /**
     * @param {Frame | null} shown the step whose words these are
     * @param {Chosen} now
     * @param {boolean} single tokens instead of words
     * @param {boolean} off what is shown has no words
     */
    update(shown, now, single, off) {
      frame = shown;
      chosen = now;
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
      const positions = positionsOf(shown, now.words, now.tokens);
      const words = wordsOf(shown);
      [...element.children].forEach((button, i) => {
        const on = single
          ? positions.includes(i)
          : i >= words.length || now.words.includes(words[i].text);
        button.setAttribute("aria-pressed", String(on));
      });
    },
  };
}
