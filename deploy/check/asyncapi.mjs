// Holds an AsyncAPI document against the parser of AsyncAPI itself: what it finds is printed, and
// what is wrong by the specification ends with 1.
//
//   npm install --prefix <folder> @asyncapi/parser@3
//   node deploy/check/asyncapi.mjs schemas/nats/asyncapi.json <folder>

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [document, folder] = process.argv.slice(2);
if (!folder) {
  console.error("usage: asyncapi.mjs <document> <folder with @asyncapi/parser>");
  process.exit(2);
}
const { Parser } = createRequire(resolve(folder, "package.json"))("@asyncapi/parser");
const severities = ["error", "warning", "information", "hint"];
const parsed = await new Parser().parse(await readFile(document, "utf8"));
for (const { severity, code, path, message } of parsed.diagnostics) {
  console.log(`${severities[severity]}: ${code} at /${path.join("/")}: ${message}`);
}
if (!parsed.document) process.exit(1);
const { document: read } = parsed;
console.log(
  `AsyncAPI ${read.version()}: ${read.channels().length} channels, ` +
    `${read.operations().length} operations, ${read.messages().length} messages`,
);
