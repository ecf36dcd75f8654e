import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const SRC = join(dirname(dirname(fileURLToPath(import.meta.url))), "src");
const BASE = ["trace", "mask", "color", "ui"];
/** The other folders that the modules of a folder may import from. @type {Record<string, string[]>} */
const MAY = {
  entry: ["painter", "viewer", "compare", "histogram", "timeline", "lens", ...BASE],
  painter: BASE,
  viewer: BASE,
  compare: ["viewer", ...BASE],
  histogram: BASE,
  timeline: BASE,
  lens: BASE,
  trace: ["mask", "color", "ui"],
  ui: ["color"],
  mask: [],
  color: [],
};

/** @param {string} ending @returns {string[]} paths below src */
function filesOf(ending) {
  const found = readdirSync(SRC, { recursive: true, encoding: "utf8" });
  return found.filter((name) => name.endsWith(ending)).map((name) => name.replaceAll("\\", "/"));
}

/**
 * The files that each file names: in imports of code and of types, and in `@import` of styles.
 * @param {string} ending
 * @param {RegExp} pattern
 * @returns {Map<string, string[]>}
 */
function graph(ending, pattern) {
  return new Map(
    filesOf(ending).map((name) => {
      const text = readFileSync(join(SRC, name), "utf8");
      const named = [...text.matchAll(pattern)].map(([, path]) => path);
      const paths = named.map((path) => relative(SRC, join(SRC, dirname(name), path)));
      return [name, [...new Set(paths.map((path) => path.replaceAll("\\", "/")))]];
    }),
  );
}

const MODULES = graph(".js", /\b(?:from|import)\s*\(?\s*"(\.[^"]+)"/g);
const STYLES = graph(".css", /@import\s+"([^"]+)"/g);

/** @param {string} path */
const folderOf = (path) => path.split("/")[0];

test("modules and styles import only from folders below their own", () => {
  assert.ok(MODULES.size > 80 && STYLES.size > 8);
  const wrong = [];
  for (const [name, paths] of [...MODULES, ...STYLES]) {
    const [folder, allowed] = [folderOf(name), MAY[folderOf(name)] ?? []];
    for (const path of paths) {
      assert.ok(MODULES.has(path) || STYLES.has(path), `${name} names ${path}, which is not there`);
      const target = folderOf(path);
      if (target !== folder && !allowed.includes(target)) wrong.push(`${name} -> ${path}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test("no module imports itself by way of others", () => {
  /** @type {Set<string>} */
  const done = new Set();
  /** @param {string} name @param {string[]} way */
  function visit(name, way) {
    assert.ok(!way.includes(name), `a circle: ${[...way, name].join(" -> ")}`);
    if (done.has(name)) return;
    for (const path of MODULES.get(name) ?? []) visit(path, [...way, name]);
    done.add(name);
  }
  for (const name of MODULES.keys()) visit(name, []);
});

test("every module says in its first line what it holds", () => {
  for (const name of MODULES.keys()) {
    const [first] = readFileSync(join(SRC, name), "utf8").split("\n");
    assert.match(first, /^\/\/ [A-Z].{10,}/, name);
  }
});
