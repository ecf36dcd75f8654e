// How icons are drawn: in the colour of the text around them.

/**
 * @param {string} shapes what is inside the drawing
 * @param {{field: number, size: number, stroke: number}} how field: the drawing's own units across;
 *   size: CSS pixels across; stroke: width of its lines, in its own units
 * @returns {Node}
 */
export function drawing(shapes, { field, size, stroke }) {
  const holder = document.createElement("template");
  holder.innerHTML =
    `<svg viewBox="0 0 ${field} ${field}" width="${size}" height="${size}" fill="none" ` +
    `stroke="currentColor" stroke-width="${stroke}" stroke-linecap="round" ` +
    `stroke-linejoin="round" aria-hidden="true" focusable="false">${shapes}</svg>`;
  return holder.content;
}
