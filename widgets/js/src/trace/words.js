// Words of a prompt: which tokens they take, and which of them are chosen.

/** @typedef {Pick<import("./trace.js").Frame, "words" | "tokens">} Prompt as a step has it */
/** @typedef {{words: string[], tokens: number[]}} Chosen words, and tokens by themselves */

/**
 * Each word of a step once, with all positions that it takes: a word that stands twice counts as
 * one, as it does in `record.cross[word]`.
 * @param {Pick<Prompt, "words">} frame
 * @returns {{text: string, tokens: number[]}[]}
 */
export function wordsOf(frame) {
  /** @type {Map<string, number[]>} */
  const found = new Map();
  for (const [text, tokens] of frame.words)
    found.set(text, [...(found.get(text) ?? []), ...tokens]);
  return [...found].map(([text, tokens]) => ({ text, tokens }));
}

/**
 * Token positions that chosen words and chosen single tokens stand for.
 * @param {Prompt} frame
 * @param {string[]} words those that the prompt does not have are passed over
 * @param {number[]} tokens
 */
export function positionsOf(frame, words, tokens = []) {
  const found = new Set(tokens.filter((token) => token >= 0 && token < frame.tokens.length));
  for (const { text, tokens: own } of wordsOf(frame)) {
    if (words.includes(text)) for (const token of own) found.add(token);
  }
  return [...found].sort((a, b) => a - b);
}

/**
 * What is chosen after a click on a word: of its tokens none stays chosen by itself.
 * @param {Prompt} frame
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
 * @param {Prompt} frame
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
