// Bundles each widget into one script and one style sheet, or checks that the committed ones are
// current: node scripts/build.js [--check]

import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const HERE = dirname(dirname(fileURLToPath(import.meta.url)));
const ROOT = join(HERE, "..", "..");
const WIDGETS = "widgets/hdpainter_widgets/static";
const LIBRARY = "hdpainter_nb/static";
/** What becomes of each entry, and where: the saved page belongs to the library. */
const ENTRIES = {
  painter: WIDGETS,
  heatmap: WIDGETS,
  histogram: WIDGETS,
  timeline: WIDGETS,
  compare: WIDGETS,
  lens: WIDGETS,
  composite: WIDGETS,
  shortcuts: WIDGETS,
  page: LIBRARY,
};

const { outputFiles } = await build({
  absWorkingDir: HERE,
  entryPoints: Object.entries(ENTRIES).flatMap(([name, folder]) =>
    [".js", ".css"]
      .filter((ending) => existsSync(join(HERE, "src", "entry", name + ending)))
      .map((ending) => ({ in: `src/entry/${name}${ending}`, out: `${folder}/${name}` })),
  ),
  outdir: ROOT,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022", "chrome110", "firefox113", "safari16.4"],
  charset: "utf8",
  legalComments: "none",
  write: false,
});

if (process.argv.includes("--check")) {
  const stale = [];
  for (const { path, text } of outputFiles) {
    const committed = await readFile(path, "utf8").catch(() => null);
    if (committed !== text) stale.push(relative(HERE, path));
  }
  if (stale.length) {
    console.error(`Not current: ${stale.join(", ")}. Run: npm run build`);
    process.exit(1);
  }
} else {
  for (const { path, contents } of outputFiles) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, contents);
    console.log(`${relative(HERE, path)}  ${(contents.length / 1024).toFixed(1)} kB`);
  }
}
