// The branches as a small tree: a row for each, a dot for each step.

import { find, lineage, neighbour } from "../trace/tree.js";
import { h, put, s } from "../ui/dom.js";
import { methodSaid } from "../ui/format.js";

/** @typedef {import("../trace/tree.js").Tree} Tree */
/** @typedef {import("../trace/tree.js").Dot} Dot */
/** @typedef {{branch: number, node: number}} Position */
/** @typedef {{option: SVGGElement, at: Position & {column: number}}} Known */

const ROW = 22;
const PAD = 14;
const [NARROW, WIDE] = [15, 52]; // between steps

/**
 * @param {object} does
 * @param {(at: {branch: number, column: number}, stand: boolean) => void} does.choose
 * @param {(at: (Position & {column: number}) | null) => void} does.hover
 * @param {(at: Position & {column: number}) => string} does.label
 */
export function createTree({ choose, hover, label }) {
  const lines = s("path", { class: "hdp-lines" });
  const chosen = s("path", { class: "hdp-lineage" });
  const stand = s("path", { class: "hdp-stands", d: "M-4,-11H4L0,-5Z" });
  const rows = s("g");
  const drawing = s("svg", {}, lines, chosen, rows, stand);
  const names = h("div", { class: "hdp-names", "aria-hidden": "true" });
  const element = h(
    "div",
    { class: "hdp-tree", role: "listbox", "aria-label": "Steps by branch" },
    h("div", { class: "hdp-forest", role: "presentation" }, names, drawing),
  );
  /** @type {Map<string, Known>} */
  const options = new Map();
  /** @type {Map<number, SVGGElement>} */
  const groups = new Map();
  /** @type {Tree} */
  let tree = { rows: [], columns: 0 };
  /** @type {{row: number, dot: Dot} | null} */
  let here = null;
  let last = "";

  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !here) return;
    if (event.key === "Enter") choose(positionOf(here.row, here.dot), true);
    else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      const row = here.row + (event.key === "ArrowUp" ? -1 : 1);
      const dot = neighbour(tree, row, here.dot.column);
      if (dot) choose(positionOf(row, dot), false);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  /** @param {number} row @param {Dot} dot */
  function positionOf(row, { node, column }) {
    return { branch: tree.rows[row].branch.id, node, column };
  }

  /** @param {Position & {column: number}} at */
  function option(at) {
    const circle = s("circle", { class: "hdp-dot", r: 3.6 });
    const made = s(
      "g",
      { role: "option", tabindex: -1 },
      s("circle", { class: "hdp-under", r: 3.6 }),
      s("circle", { class: "hdp-hit", r: ROW / 2 }),
      circle,
    );
    /** @type {Known} */
    const known = { option: made, at };
    made.addEventListener("click", () => choose(known.at, true));
    made.addEventListener("pointerenter", () => hover(known.at));
    made.addEventListener("pointerleave", () => hover(null));
    return known;
  }

  /**
   * @param {(column: number) => number} x
   * @param {ReturnType<typeof find>} stood
   * @param {Map<number, [number, number]>} way rows and columns that lead to the branch's tip
   */
  function fill(x, stood, way) {
    const seen = new Set();
    tree.rows.forEach(({ branch, dots }, row) => {
      let group = groups.get(branch.id);
      if (!group) {
        group = s("g", { role: "group" });
        groups.set(branch.id, group);
      }
      put(group, { "aria-label": branch.title });
      if (rows.children[row] !== group) rows.insertBefore(group, rows.children[row] ?? null);
      for (const dot of dots) {
        const key = `${branch.id}:${dot.node}`;
        seen.add(key);
        const at = positionOf(row, dot);
        let known = options.get(key);
        if (!known) {
          known = option(at);
          options.set(key, known);
          group.append(known.option);
        }
        known.at = at;
        const selected = here?.row === row && here.dot.node === dot.node;
        const stands = stood?.row === row && stood.dot.node === dot.node;
        put(known.option, {
          transform: `translate(${x(dot.column)},${row * ROW + ROW / 2 + 3})`,
          "aria-selected": String(selected),
          "aria-label": label(at) + (stands ? ", the run stands here" : ""),
          tabindex: selected ? 0 : -1,
          class: [dot.start && "hdp-start", on(dot.column, way.get(row)) && "hdp-way"]
            .filter(Boolean)
            .join(" "),
        });
      }
    });
    for (const [key, { option: old }] of options) {
      if (seen.has(key)) continue;
      old.remove();
      options.delete(key);
    }
    for (const [id, group] of groups) {
      if (tree.rows.some(({ branch }) => branch.id === id)) continue;
      group.remove();
      groups.delete(id);
    }
  }

  /** @param {number} branch */
  function nameRows(branch) {
    while (names.children.length > tree.rows.length) names.lastElementChild?.remove();
    tree.rows.forEach((row, i) => {
      let name = /** @type {HTMLElement | undefined} */ (names.children[i]);
      if (!name) {
        name = h("div", {
          click: () => {
            const { dots } = tree.rows[i];
            choose(positionOf(i, dots[dots.length - 1]), true);
          },
        });
        names.append(name);
      }
      if (name.textContent !== row.branch.title) name.textContent = row.branch.title;
      const { title, prompt, method } = row.branch;
      put(name, { title: `${title}\n${prompt}\n${methodSaid(method)}` });
      name.classList.toggle("hdp-current", row.branch.id === branch);
    });
  }

  return {
    element,
    /**
     * @param {Tree} next
     * @param {Position} shown
     * @param {Position & {running: boolean}} run
     * @param {number} total steps of the whole run
     * @param {number} width in pixels
     */
    draw(next, shown, run, total, width) {
      tree = next;
      here = find(tree, shown.branch, shown.node);
      const focused = element.contains(document.activeElement);
      const beside = Math.round(Math.min(150, Math.max(84, width * 0.26)));
      names.style.width = `${beside}px`;
      const columns = Math.max(total, tree.columns, 1);
      const room = (width - beside - 2 * PAD - 2) / columns;
      const gap = Math.min(WIDE, Math.max(NARROW, room));
      const x = (/** @type {number} */ column) => PAD + column * gap;
      const y = (/** @type {number} */ row) => row * ROW + ROW / 2 + 3;
      const height = tree.rows.length * ROW + 6;
      const across = Math.round(2 * PAD + columns * gap);
      put(drawing, { width: across, height, viewBox: `0 0 ${across} ${height}` });
      nameRows(shown.branch);

      const parts = tree.rows.map(({ dots, from }, row) => {
        const [start, end] = [x(dots[0].column), x(dots[dots.length - 1].column)];
        const drop = from === null ? "" : `M${start},${y(from)}V${y(row)}`;
        return `${drop}M${start},${y(row)}H${end}`;
      });
      put(lines, { d: parts.join("") });
      const way = lineage(tree, shown.branch);
      const path = [...way].map(([row, [from, to]]) => {
        const above = tree.rows[row].from;
        const drop = above === null ? "" : `M${x(from)},${y(above)}V${y(row)}`;
        return `${drop}M${x(from)},${y(row)}H${x(to)}`;
      });
      put(chosen, { d: path.join("") });
      const stands = find(tree, run.branch, run.node);
      fill(x, stands, way);
      stand.style.display = stands ? "" : "none";
      stand.classList.toggle("hdp-running", run.running);
      if (stands) put(stand, { transform: `translate(${x(stands.dot.column)},${y(stands.row)})` });

      const now = `${shown.branch}:${shown.node}:${gap}:${here?.row}`;
      if (now !== last && here) {
        last = now;
        reveal(x(here.dot.column), y(here.row), beside);
        const current = options.get(`${tree.rows[here.row].branch.id}:${here.dot.node}`);
        if (focused) current?.option.focus({ preventScroll: true });
      }
    },
  };

  /**
   * Scrolls the tree's own box, and nothing around it.
   * @param {number} x
   * @param {number} y
   * @param {number} beside
   */
  function reveal(x, y, beside) {
    const [wide, tall] = [element.clientWidth - beside, element.clientHeight];
    const margin = Math.min(40, wide / 4);
    if (x - margin < element.scrollLeft) element.scrollLeft = x - margin;
    else if (x + margin > element.scrollLeft + wide) element.scrollLeft = x + margin - wide;
    if (y - ROW < element.scrollTop) element.scrollTop = y - ROW;
    else if (y + ROW > element.scrollTop + tall) element.scrollTop = y + ROW - tall;
  }
}

/** @param {number} column @param {[number, number] | undefined} part */
function on(column, part) {
  return part !== undefined && column >= part[0] && column <= part[1];
}
