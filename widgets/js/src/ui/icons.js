// Icons on a field of 20 by 20.

import { drawing } from "./svg.js";

/** @type {Record<string, string>} */
const PATHS = {
  brush:
    '<path d="M16.8 3.2c-3.6 1-7 3.9-9.2 7.3l1.9 1.9c3.4-2.2 6.3-5.6 7.3-9.2z"/><path d="M7.3 11.3c-2.6.2-2.2 3.5-4.8 4.3 2.3 1.6 6.4 1 6.4-2.6"/>',
  eraser:
    '<path d="M8.3 16.5 3.6 11.8a1.2 1.2 0 0 1 0-1.7l6.6-6.6a1.2 1.2 0 0 1 1.7 0l4.6 4.6a1.2 1.2 0 0 1 0 1.7l-6.7 6.7z"/><path d="m6.9 6.8 6.3 6.3M8 16.5h8.5"/>',
  rectangle: '<rect x="3" y="4.5" width="14" height="11" rx=".6"/>',
  ellipse: '<ellipse cx="10" cy="10" rx="7.3" ry="5.7"/>',
  lasso:
    '<path d="M7.2 13.4C4.6 12.7 3 11 3 8.9 3 5.9 6.1 3.5 10 3.5s7 2.4 7 5.4-3.1 5.4-7 5.4"/><circle cx="8.4" cy="14" r="1.7"/><path d="M8.3 15.7c.3 1-.1 1.8-1.3 2"/>',
  polygon:
    '<path d="M4 7.2 11.5 4l4.8 6.3-4.6 5.9-7-2.2z"/><g fill="currentColor" stroke="none"><circle cx="4" cy="7.2" r="1.7"/><circle cx="11.5" cy="4" r="1.7"/><circle cx="16.3" cy="10.3" r="1.7"/><circle cx="11.7" cy="16.2" r="1.7"/><circle cx="4.7" cy="14" r="1.7"/></g>',
  fill: '<path d="m8.5 3 7.1 7.1-5.5 5.5a1.3 1.3 0 0 1-1.9 0l-4-4a1.3 1.3 0 0 1 0-1.9L9.3 4.6M3.9 10.3h11.5"/><path d="M17 13.2s-1.3 1.7-1.3 2.6a1.3 1.3 0 0 0 2.6 0c0-.9-1.3-2.6-1.3-2.6z" fill="currentColor"/>',
  undo: '<path d="M7 4 3.5 7.5 7 11"/><path d="M3.7 7.5h8a4.3 4.3 0 0 1 0 8.6H8"/>',
  redo: '<path d="m13 4 3.5 3.5L13 11"/><path d="M16.3 7.5h-8a4.3 4.3 0 0 0 0 8.6H12"/>',
  invert:
    '<circle cx="10" cy="10" r="6.7"/><path d="M10 3.3a6.7 6.7 0 0 1 0 13.4z" fill="currentColor"/>',
  clear:
    '<path d="M4 5.8h12M8 5.6V3.8h4v1.8M5.5 6l.7 10.2h7.6L14.5 6M8.4 8.6l.2 5M11.6 8.6l-.2 5"/>',
  grow: '<circle cx="10" cy="10" r="2.6"/><path d="M10 5.4V2.6M10 17.4v-2.8M5.4 10H2.6M17.4 10h-2.8M8.7 3.7 10 2.4l1.3 1.3M8.7 16.3l1.3 1.3 1.3-1.3M3.7 8.7 2.4 10l1.3 1.3M16.3 8.7l1.3 1.3-1.3 1.3"/>',
  shrink:
    '<circle cx="10" cy="10" r="2.6"/><path d="M10 5.8V2.4M10 17.6v-3.4M5.8 10H2.4M17.6 10h-3.4M8.7 4.6 10 5.9l1.3-1.3M8.7 15.4l1.3-1.3 1.3 1.3M4.6 8.7 5.9 10l-1.3 1.3M15.4 8.7 14.1 10l1.3 1.3"/>',
  cells:
    '<path d="M3.5 3.5h13v13h-13zM3.5 7.8h13M3.5 12.2h13M7.8 3.5v13M12.2 3.5v13"/><path d="M7.8 7.8h4.4v4.4H7.8zM12.2 7.8h4.3v4.4h-4.3z" fill="currentColor"/>',
  open: '<path d="M10 13V3.6M6.6 6.8 10 3.5l3.4 3.3M3.6 12.5v3.9h12.8v-3.9"/>',
  save: '<path d="M10 3.5v9.4M6.6 9.7l3.4 3.3 3.4-3.3M3.6 12.5v3.9h12.8v-3.9"/>',
  "zoom-in":
    '<circle cx="8.8" cy="8.8" r="5.3"/><path d="m12.7 12.7 4.1 4.1M6.3 8.8h5M8.8 6.3v5"/>',
  "zoom-out": '<circle cx="8.8" cy="8.8" r="5.3"/><path d="m12.7 12.7 4.1 4.1M6.3 8.8h5"/>',
  fit: '<path d="M3.5 7V3.5H7M13 3.5h3.5V7M16.5 13v3.5H13M7 16.5H3.5V13"/><rect x="6.7" y="6.7" width="6.6" height="6.6" rx=".5"/>',
  help: '<circle cx="10" cy="10" r="7"/><path d="M7.9 8a2.1 2.1 0 1 1 3.3 1.8c-.8.5-1.2.9-1.2 1.9"/><circle cx="10" cy="14" r=".5" fill="currentColor"/>',
  close: '<path d="m5 5 10 10M15 5 5 15"/>',
  add: '<path d="M10 4.5v11M4.5 10h11"/>',
  away: '<path d="M4.5 10h11"/>',
};

/**
 * @param {string} name
 * @returns {Node}
 */
export function icon(name) {
  return drawing(PATHS[name], { field: 20, size: 18, stroke: 1.4 });
}
