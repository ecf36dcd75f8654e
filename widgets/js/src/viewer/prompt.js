// The prompt of the maps on display, whose words and tokens are chosen by clicks.

import { positionsOf, toggledToken, toggledWord, wordsOf } from "../trace/words.js";
import { createChips } from "../ui/chips.js";

/** @typedef {import("../trace/words.js").Prompt} Prompt */
/** @typedef {import("../trace/words.js").Chosen} Chosen */

/** @param {(chosen: Chosen) => void} changed */
export function createPrompt(changed) {
  /** @type {Prompt | null} */
  let prompt = null;
  /** @type {Chosen} */
  let chosen = { words: [], tokens: [] };
  const chips = createChips({
    word(text) {
      if (prompt) changed(toggledWord(prompt, chosen, text));
    },
    token(position) {
      if (prompt) changed(toggledToken(prompt, chosen, position));
    },
  });
  return {
    element: chips.element,
    /**
     * @param {Prompt | null} shown the step whose words these are
     * @param {Chosen} now
     * @param {boolean} single tokens instead of words
     * @param {boolean} off what is shown has no words
     */
    update(shown, now, single, off) {
      prompt = shown;
      chosen = now;
      chips.update(
        shown && { words: wordsOf(shown), tokens: shown.tokens },
        { ...now, positions: shown ? positionsOf(shown, now.words, now.tokens) : [] },
        single,
        off,
      );
    },
  };
}
