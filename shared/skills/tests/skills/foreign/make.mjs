// Writes cases.json: manifests as others sign them, and what is expected of each.
//
//   node make.mjs           writes the file; a signature with a random salt is kept while it holds
//   node make.mjs --check   says whether the file is what would be written, and asks Node's crypto
//                           about every signature in it
import { readFileSync, writeFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { cases, malformed, trust } from "./cases.mjs";
import { bad, good } from "./keys.mjs";
import { order } from "./order.mjs";
import { canonical, holds, sha256 } from "./signing.mjs";

const file = new URL("cases.json", import.meta.url);
const read = () => {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return { cases: [] };
  }
};

const masked = ({ manifest, ...rest }) => {
  const { signature, ...unsigned } = manifest;
  const { signature: bytes, ...whose } = signature ?? {};
  return [rest, unsigned, whose, rest.salted || bytes];
};

const written = read();
const before = new Map(written.cases.map((each) => [each.name, each]));
const same = (made) => {
  const old = before.get(made.name);
  return old && isDeepStrictEqual(masked(old), masked(made)) ? old : undefined;
};
const made = JSON.parse(JSON.stringify(cases()));
const now = made.map((each) => same(each) ?? each);

const faults = [];
const names = new Set(made.map((each) => each.name));
if (names.size !== made.length) faults.push("a name stands twice");
for (const each of now) {
  if (each.digest !== null && each.digest !== sha256(canonical(each.manifest))) faults.push(`${each.name}: digest`);
  if (each.node !== undefined && each.node !== holds(each.manifest)) faults.push(`${each.name}: Node says ${!each.node}`);
}

const result = { trust, cases: now, malformed, good, bad, order: order() };
if (process.argv.includes("--check")) {
  const plain = JSON.parse(JSON.stringify(result));
  if (!isDeepStrictEqual(written, plain)) {
    const other = now.filter((each) => !before.has(each.name) || each !== before.get(each.name)).map((each) => each.name);
    faults.push(`cases.json is not what would be written: ${other.join(", ") || "beside the cases"}`);
  }
} else {
  const rows = (list) => `[\n${list.map((each) => JSON.stringify(each)).join(",\n")}\n]`;
  const parts = Object.entries(result).map(([name, value]) => `${JSON.stringify(name)}: ${Array.isArray(value) ? rows(value) : JSON.stringify(value)}`);
  writeFileSync(file, `{\n${parts.join(",\n")}\n}\n`);
}
for (const fault of faults) console.error(fault);
console.log(`${now.length} cases, ${malformed.length} malformed manifests, ${good.length + bad.length} keys`);
process.exitCode = faults.length ? 1 : 0;
