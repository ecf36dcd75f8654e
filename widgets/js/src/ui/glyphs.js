// Icons on a field of 16 by 16, for small buttons.

import { drawing } from "./svg.js";

/** @type {Record<string, string>} */
const PATHS = {
  point:
    '<circle cx="8" cy="8" r="3.6"/><path d="M8 1.8v3M8 11.2v3M1.8 8h3M11.2 8h3"/><circle cx="8" cy="8" r=".6" fill="currentColor"/>',
  box: '<rect x="2.5" y="3.5" width="11" height="9" rx=".6" stroke-dasharray="2.4 1.6"/>',
  polygon:
    '<path d="M3.2 5.6 9.6 3l3.4 5.2-3 4.8-5.6-1.4z"/><g fill="currentColor" stroke="none"><circle cx="3.2" cy="5.6" r="1.3"/><circle cx="9.6" cy="3" r="1.3"/><circle cx="13" cy="8.2" r="1.3"/><circle cx="10" cy="13" r="1.3"/><circle cx="4.4" cy="11.6" r="1.3"/></g>',
  clear: '<path d="m4.2 4.2 7.6 7.6M11.8 4.2l-7.6 7.6"/>',
  swap: '<path d="M3 5.5h9.5M10 3l2.6 2.5L10 8M13 10.5H3.5M6 8l-2.6 2.5L6 13"/>',
  play: '<path d="M5 3.2v9.6L12.6 8z" fill="currentColor"/>',
  pause: '<path d="M5.2 3.4v9.2M10.8 3.4v9.2" stroke-width="2.4"/>',
};

/**
 * @param {string} name
 * @returns {Node}
 */
export function glyph(name) {
  return drawing(PATHS[name], { field: 16, size: 16, stroke: 1.3 });
}
