// Bundles each widget into one script and one style sheet, or checks that the committed ones are
// current: node scripts/build.js [--check]

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const HERE = dirname(dirname(fileURLToPath(import.meta.url)));
const OUT = join(HERE, "..", "hdpainter_widgets", "static");
const WIDGETS = ["painter"];

const { outputFiles } = await build({
  absWorkingDir: HERE,
  entryPoints: WIDGETS.flatMap((name) => [`src/${name}.js`, `src/${name}.css`]),
  outdir: OUT,
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
  await mkdir(OUT, { recursive: true });
  for (const { path, contents } of outputFiles) {
    await writeFile(path, contents);
    console.log(`${relative(HERE, path)}  ${(contents.length / 1024).toFixed(1)} kB`);
  }
}
