import assert from "node:assert/strict";
import { test } from "node:test";
import { positionsOf, toggledToken, toggledWord, wordsOf } from "../../src/trace/words.js";
import { encoded, frame } from "../traces.js";

const prompt = {
  words: /** @type {[string, number[]][]} */ ([
    ["red", [1]],
    ["star", [2, 3]],
  ]),
  tokens: ["<sot>", "red", "st", "ar", "<eot>"],
};

// Two layers of two heads and three tokens, each 1 x 2.
const heads = frame({
  words: [
    ["red", [0]],
    ["star", [1, 2]],
    ["red", [2]],
  ],
  tokens: ["red", "st", "ar"],
  maps: [
    encoded("cross", 16, "a", [2, 3, 1, 2], [0, 1, 2, 4, 6, 8, 10, 20, 30, 40, 50, 60]),
    encoded("cross", 16, "b", [2, 3, 1, 2], [1, 3, 0, 0, 2, 2, 0, 0, 8, 4, 6, 6]),
  ],
});

test("a click on a word takes in its tokens", () => {
  const one = toggledWord(prompt, { words: [], tokens: [0, 3] }, "star");
  assert.deepEqual(one, { words: ["star"], tokens: [0] });
  assert.deepEqual(toggledWord(prompt, one, "star"), { words: [], tokens: [0] });
});

test("a click on one token of a chosen word leaves the others", () => {
  const chosen = { words: ["red", "star"], tokens: [] };
  assert.deepEqual(toggledToken(prompt, chosen, 2), { words: ["red"], tokens: [3] });
  assert.deepEqual(toggledToken(prompt, chosen, 4), { words: ["red", "star"], tokens: [4] });
  assert.deepEqual(toggledToken(prompt, { words: [], tokens: [3, 4] }, 3).tokens, [4]);
});

test("a word that stands twice is one word with all its positions", () => {
  assert.deepEqual(wordsOf(heads), [
    { text: "red", tokens: [0, 2] },
    { text: "star", tokens: [1, 2] },
  ]);
  assert.deepEqual(positionsOf(heads, ["star", "moon"], [0, 17, -1]), [0, 1, 2]);
});
