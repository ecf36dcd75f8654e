// Where the branches of a run go when they are drawn: a row for each, a column for each step.

/** @typedef {import("./trace.js").Branch} Branch */
/** @typedef {import("./trace.js").Frame} Frame */

/**
 * @typedef {object} Dot a point of the run in a branch; the first of a row is where it starts
 * @property {number} node
 * @property {number} column steps made up to here
 * @property {boolean} start whether the node is not the branch's own
 *
 * @typedef {object} Row
 * @property {Branch} branch
 * @property {Dot[]} dots from left to right
 * @property {number | null} from the row in which it starts; null where nothing lies before it
 *
 * @typedef {object} Tree
 * @property {Row[]} rows
 * @property {number} columns the highest column
 */

/**
 * Branches that leave a row late come right below it and those that leave early further down, so
 * that no line to a branch crosses another branch's steps.
 * @param {Iterable<Branch>} branches
 * @param {ReadonlyMap<number, Frame>} frames
 * @returns {Tree}
 */
export function layout(branches, frames) {
  /** @type {Map<number, Branch[]>} */
  const children = new Map();
  /** @type {Branch[]} */
  const first = [];
  /** @type {Map<number, number>} root -> the first branch that starts there */
  const roots = new Map();
  const known = new Map([...branches].map((branch) => [branch.id, branch]));
  /** @type {Map<number, number>} */
  const owners = new Map();
  for (const branch of known.values()) {
    const start = frames.get(branch.start);
    const owner = start ? start.branch : roots.get(branch.start);
    if (!start && owner === undefined) roots.set(branch.start, branch.id);
    if (owner === undefined || owner === branch.id || !known.has(owner)) {
      first.push(branch);
      continue;
    }
    owners.set(branch.id, owner);
    children.set(owner, [...(children.get(owner) ?? []), branch]);
  }

  /** @type {Row[]} */
  const rows = [];
  /** @type {Map<number, number>} */
  const places = new Map();
  /** @param {Branch} branch */
  function place(branch) {
    const owner = owners.get(branch.id);
    places.set(branch.id, rows.length);
    const from = owner === undefined ? null : (places.get(owner) ?? null);
    rows.push({ branch, dots: dotsOf(branch, frames), from });
    const below = [...(children.get(branch.id) ?? [])];
    below.sort((a, b) => column(b.start, frames) - column(a.start, frames) || a.id - b.id);
    for (const child of below) place(child);
  }
  for (const branch of first) place(branch);
  const columns = rows.reduce((most, { dots }) => Math.max(most, dots[dots.length - 1].column), 0);
  return { rows, columns };
}

/**
 * Steps made up to a node; a node without a frame is the beginning.
 * @param {number} node
 * @param {ReadonlyMap<number, Frame>} frames
 */
export function column(node, frames) {
  const frame = frames.get(node);
  return frame ? frame.index + 1 : 0;
}

/**
 * @param {Branch} branch
 * @param {ReadonlyMap<number, Frame>} frames
 * @returns {Dot[]}
 */
function dotsOf(branch, frames) {
  const dots = [];
  let frame = frames.get(branch.tip);
  while (frame && frame.branch === branch.id && frame.node !== branch.start) {
    dots.push({ node: frame.node, column: frame.index + 1, start: false });
    frame = frames.get(frame.parent);
  }
  dots.push({ node: branch.start, column: column(branch.start, frames), start: true });
  return dots.reverse();
}

/**
 * The dot at which a point of a branch is drawn: in its own row from where it starts on, and in
 * the row of the branch that made the step before that.
 * @param {Tree} tree
 * @param {number} branch
 * @param {number} node
 * @returns {{row: number, dot: Dot} | null}
 */
export function find(tree, branch, node) {
  const found = tree.rows.flatMap(({ branch: { id }, dots }, row) =>
    dots
      .filter((dot) => dot.node === node)
      .map((dot) => ({ row, dot, rank: id === branch ? 0 : dot.start ? 2 : 1 })),
  );
  found.sort((a, b) => a.rank - b.rank || a.row - b.row);
  return found.length ? { row: found[0].row, dot: found[0].dot } : null;
}

/**
 * The parts of rows that lead to the tip of a branch.
 * @param {Tree} tree
 * @param {number} branch
 * @returns {Map<number, [number, number]>} row -> first and last column of the part
 */
export function lineage(tree, branch) {
  /** @type {Map<number, [number, number]>} */
  const parts = new Map();
  let row = tree.rows.findIndex((r) => r.branch.id === branch);
  let end = row < 0 ? 0 : tree.rows[row].dots[tree.rows[row].dots.length - 1].column;
  while (row >= 0 && !parts.has(row)) {
    const { dots, from } = tree.rows[row];
    parts.set(row, [dots[0].column, end]);
    end = dots[0].column;
    row = from ?? -1;
  }
  return parts;
}

/**
 * The dot that arrow keys lead to in another row.
 * @param {Tree} tree
 * @param {number} row
 * @param {number} at column
 * @returns {Dot | null} null where there is no such row
 */
export function neighbour(tree, row, at) {
  const dots = tree.rows[row]?.dots;
  if (!dots) return null;
  return dots.reduce((best, dot) =>
    Math.abs(dot.column - at) < Math.abs(best.column - at) ? dot : best,
  );
}
