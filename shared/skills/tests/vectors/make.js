// Writes vectors.json: what JavaScript itself makes of keys, documents and signatures.
// Run `node make.js` in this folder; the result is the same every time.
"use strict";
const { createHash, createPrivateKey, createPublicKey, sign } = require("node:crypto");
const { writeFileSync } = require("node:fs");

const compare = (left, right) => left.localeCompare(right, "en-US");

const sorted = (value) => {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  const keys = Object.keys(value).sort(compare);
  return Object.fromEntries(keys.map((key) => [key, sorted(value[key])]));
};
const canonical = (value) => JSON.stringify(sorted(value));
const sha256 = (text) => createHash("sha256").update(text).digest("hex");

// A small generator with a fixed seed, so that the file does not change from run to run.
let state = 20240229;
const random = (below) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};
const printable = Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index));
const word = (alphabet) =>
  Array.from({ length: random(5) }, () => alphabet[random(alphabet.length)]).join("");

const words = new Set(["", ...printable]);
for (let n = 0; n < 250; n += 1) words.add(word(printable));
for (let n = 0; n < 250; n += 1) words.add(word(["a", "A", "b", "B", "-", "_", " ", "1", "$"]));
const order = [...words].sort(compare);

const texts = [
  "{}",
  '{"b":1,"a":2,"B":3,"A":4,"_":5,"$ref":6,"$schema":7,"a-b":8,"ab":9,"a_b":10,"a b":11}',
  '{"10":"ten","9":"nine","01":"zero one","0":"zero","-1":"minus","4294967294":"last index","4294967295":"no index","x":"x"}',
  '{"minVersion":1,"min_version":2,"MinVersion":3,"minversion":4,"MINVERSION":5}',
  '{"nested":{"z":[{"y":1,"x":2},[],{}],"Z":null},"list":[3,2,1]}',
  '{"numbers":[0,-0,1.0,1e2,0.1,1e-7,123456.789,9007199254740992,-9007199254740992,5e-324,0.30000000000000004]}',
  '{"text":"é \\u0000 \\u001f \\u007f \\u2028 \\ud83d\\ude00 \\"quoted\\" back\\\\slash / \\b\\f\\n\\r\\t"}',
  '{"__proto__":{"b":1,"a":2},"constructor":true,"toString":false}',
  '{"properties":{"orderId":{"type":"string"},"OrderId":{"type":"string"},"order-id":{"type":"string"}},"$defs":{},"additionalProperties":false}',
];
const documents = texts.map((text) => {
  const result = canonical(JSON.parse(text));
  return { text, canonical: result, sha256: sha256(result) };
});

const privateKeyOf = (seed) =>
  createPrivateKey({
    key: Buffer.concat([
      Buffer.from("302e020100300506032b657004220420", "hex"),
      Buffer.alloc(32, seed),
    ]),
    format: "der",
    type: "pkcs8",
  });
const manifest = (key) => ({
  schemaVersion: "1.0.0",
  skill: { version: "1.2.3", key, entryPoint: "nats:weather" },
  publisher: { id: "acme", provenance: "ci:acme/weather" },
  artifact: { digest: "sha256:00", files: [{ path: "worker.js", digest: "sha256:00", size: 1 }] },
  compatibility: { contractsSpec: { minVersion: "1.0.0" } },
  metadata: {
    description: "says how the weather is \u2014 nothing more",
    actions: {
      read: {
        input: { type: "object", properties: { Place: { type: "string" }, place: { type: "string" } } },
        output: { type: "object", properties: { celsius: { type: "number", multipleOf: 0.1 } } },
        effect: "read",
        risk: "low",
      },
    },
  },
});
const signatures = [1, 2, 3].map((seed) => {
  const privateKey = privateKeyOf(seed);
  const publicKey = createPublicKey(privateKey);
  const unsigned = manifest(`weather.v${seed}`);
  const bytes = canonical(unsigned);
  return {
    privateKeyPem: privateKey.export({ format: "pem", type: "pkcs8" }),
    publicKeyPem: publicKey.export({ format: "pem", type: "spki" }),
    publicKeySpki: publicKey.export({ format: "der", type: "spki" }).toString("base64"),
    publicKeyRaw: publicKey.export({ format: "der", type: "spki" }).subarray(-32).toString("base64"),
    unsigned,
    sha256: sha256(bytes),
    signature: sign(null, Buffer.from(bytes, "utf8"), privateKey).toString("base64"),
  };
});

writeFileSync("vectors.json", `${JSON.stringify({ order, documents, signatures }, null, 1)}\n`);
