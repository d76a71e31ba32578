/** How large the module is when it is minified, which must stay below 8 kB. */

import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const LIMIT = 8000;

const { outputFiles } = await build({
  entryPoints: [fileURLToPath(new URL("../voltlane.js", import.meta.url))],
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  write: false,
});
const [{ contents }] = outputFiles;
console.log(`voltlane.js: ${contents.length} bytes minified, ${gzipSync(contents, { level: 9 }).length} of them with gzip`);
if (contents.length >= LIMIT) {
  console.error(`that is too much: less than ${LIMIT} are allowed`);
  process.exit(1);
}
