// Which key is which command of the timeline.

/** @typedef {{key: string, ctrlKey: boolean, metaKey: boolean, altKey: boolean, shiftKey: boolean}} Key */

/** @type {Record<string, string>} */
const PLAIN = {
  " ": "toggle",
  ArrowRight: "next",
  ArrowLeft: "previous",
  Home: "first",
  End: "last",
  b: "branch",
  Escape: "escape",
  "?": "help",
};

/**
 * @param {Key} event
 * @returns {string | null} null for keys that mean nothing here
 */
export function command({ key, ctrlKey, metaKey, altKey, shiftKey }) {
  if (ctrlKey || metaKey || altKey) return null;
  if (shiftKey && key === "ArrowLeft") return "back";
  const name = key.length === 1 ? key.toLowerCase() : key;
  return Object.hasOwn(PLAIN, name) ? PLAIN[name] : null;
}

/** [key, what it does] */
export const HELP = [
  ["Space", "Play or pause"],
  ["→", "Look at the next step, or make it"],
  ["←", "Look at the step before"],
  ["Shift + ←", "Take the run back one step"],
  ["Home / End", "Look at the beginning or the newest step"],
  ["B", "Branch from the step that is shown"],
  ["Esc", "Stop now, give up the step under way"],
  ["↑ / ↓", "In the tree: the branch above or below"],
  ["Enter", "In the tree: have the run stand there"],
];
