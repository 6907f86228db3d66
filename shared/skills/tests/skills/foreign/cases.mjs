// The table: manifests, how each is signed or spoilt, and the codes that are expected.
import { bad } from "./keys.mjs";
import { canonical, keys, pkcs1, publicDer, publicPem, salts, sha256, signature } from "./signing.mjs";

const NOW = "2031-03-01T12:00:00Z";

const manifest = () => ({
  schemaVersion: "1.0.0",
  skill: { key: "acme.weather", version: "2.1.0", entryPoint: "nats:weather" },
  publisher: { id: "acme", provenance: "ci:acme/weather", repositoryUrl: "https://git.example/acme/weather" },
  artifact: { digest: "sha256:5e", files: [{ path: "worker.mjs", digest: "sha256:5f", size: 4096 }] },
  compatibility: {
    contractsSpec: { minVersion: "1.0.0", maxVersion: "1.9.9" },
    controlPlaneFeature: { minVersion: "1.0.0" },
    requiredCapabilities: [{ key: "control-plane.core" }, { key: "control-plane.audit", version: "1.0.0" }],
  },
  metadata: {
    description: "says how the weather is",
    actions: { read: { input: { type: "object", properties: { Place: {}, place: {}, _: {}, "-": {} } }, output: { type: "object" }, effect: "read", risk: "low" } },
  },
});

const key = (name, more) => ({ publicKey: publicPem(name), ...more });
export const trust = {
  publishers: [
    {
      id: "acme",
      provenances: ["ci:acme/weather"],
      provenancePrefixes: ["release:acme/"],
      keys: [
        // As another document may spell it.
        { publicKey: publicDer("ed").subarray(-32).toString("base64"), keyId: "acme-1" },
        key("rsa2048", { keyId: "acme-rsa" }), key("rsa2049"), key("rsa3072"), key("rsa4096"), key("rsa8192"), key("rsaPss"),
        key("edRetired", { notAfter: "2031-02-28T23:59:59Z" }), key("edEarly", { notBefore: "2031-03-02T00:00:00Z" }),
      ],
    },
    { id: "lenient", provenances: ["ci:acme/weather"], keys: [key("edLenient")], allowExpiredSignatures: true },
    { id: "keyless", provenances: ["ci:acme/weather"], keys: [] },
  ],
};

/// One case. `edit` comes before the signature, `spoil` after it; `sign` says how; `on` says what is
/// asked and by whom. `node` is what Node itself must make of the signature; `salted` ones are of
/// other bytes each time.
const one = (name, { edit, spoil, by = "ed", sign = {}, more, on = {} }, expected) => {
  const made = manifest();
  const unsigned = edit?.(made) ?? made;
  const bytes = canonical(unsigned);
  const algorithm = keys[by].asymmetricKeyType.startsWith("rsa") ? "rsa-pss-sha256" : "ed25519";
  const whole = { ...unsigned, signature: { algorithm, signature: signature(bytes, by, sign).toString("base64"), publicKey: publicPem(by), ...more } };
  const sent = spoil?.(whole) ?? whole;
  const asked = { skillKey: "acme.weather", version: "2.1.0", artifactDigest: "sha256:5e", now: NOW, ...on };
  const invalid = expected.includes("SIGNATURE_INVALID");
  const node = sent.signature && !on.unchecked ? !invalid : undefined;
  delete asked.unchecked;
  return { name, ...asked, manifest: sent, digest: on.unchecked === "digest" ? null : sha256(canonical(sent)), node, salted: !keys[by].asymmetricKeyType.startsWith("ed"), expected: [...expected].sort() };
};

const set = (path, value) => (made) => {
  const members = path.split(".");
  const last = members.pop();
  members.reduce((part, member) => part[member], made)[last] = value;
};
const remove = (path) => (made) => {
  const members = path.split(".");
  const last = members.pop();
  delete members.reduce((part, member) => part[member], made)[last];
};
const given = (change) => (made) => void Object.assign(made.signature, typeof change === "function" ? change(made.signature) : change);
const metadata = (members) => (made) => void Object.assign(made.metadata, members);
const needs = (spec, plane) => (made) => void Object.assign(made.compatibility, { contractsSpec: spec, controlPlaneFeature: plane });

const valid = () => [
  one("ed25519", {}, []),
  ...["rsa2048", "rsa2049", "rsa3072", "rsa4096", "rsa8192", "rsaPss"].map((by) => one(`RSA-PSS with ${by}`, { by }, [])),
  ...Object.entries(salts).map(([name, saltLength]) => one(`a salt as long as: ${name}`, { by: "rsa2048", sign: { saltLength } }, [])),
  ...[1, 20, 31, 33, 64, 221, 222].map((saltLength) => one(`a salt of ${saltLength} bytes`, { by: "rsa2048", sign: { saltLength } }, [])),
  one("the longest salt of an odd size of modulus", { by: "rsa2049", sign: { saltLength: salts.longest } }, []),
  one("the longest salt of 8192 bits", { by: "rsa8192", sign: { saltLength: salts.longest } }, []),
  one("the shortest manifest", { edit: (made) => (remove("metadata")(made), remove("publisher.repositoryUrl")(made), remove("artifact.files")(made), set("compatibility", {})(made)) }, []),
  one("the key as SPKI in base64", { spoil: given({ publicKey: publicDer("ed").toString("base64") }) }, []),
  one("the key as raw bytes", { spoil: given({ publicKey: publicDer("ed").subarray(-32).toString("base64") }) }, []),
  one("the key with the ends of lines of another system", { by: "rsa3072", spoil: given({ publicKey: publicPem("rsa3072").replaceAll("\n", "\r\n") }) }, []),
  one("the name that the trust document gives the key", { more: { keyId: "acme-1" } }, []),
  one("a name for a key that the trust document gives none", { by: "rsa3072", more: { keyId: "whatever" } }, []),
  one("more about the signature", { more: { issuedAt: "2031-01-01T00:00:00.000Z", expiresAt: "2032-01-01T00:00:00Z", metadata: { by: "Ünïcode", "0": [] } } }, []),
  one("a provenance that begins as accepted", { edit: set("publisher.provenance", "release:acme/weather@2.1.0") }, []),
  one("expired, from whom that is accepted", { by: "edLenient", edit: set("publisher.id", "lenient"), more: { expiresAt: "2020-01-01T00:00:00Z" } }, []),
  ...[["metadata", null], ["publisher.repositoryUrl", null], ["artifact.files", null], ["compatibility.contractsSpec", null], ["compatibility.requiredCapabilities", null], ["compatibility.controlPlaneFeature.maxVersion", null], ["compatibility.contractsSpec.minVersion", null]].map(([path, value]) => one(`null stays null: ${path}`, { edit: set(path, value) }, [])),
  one("no files are not the same as an empty list", { edit: set("artifact.files", []) }, []),
  one("empty metadata", { edit: set("metadata", {}) }, []),
  one("the build of a version does not count", { edit: needs({ minVersion: "1.0.0+build.7", maxVersion: "1.0.0+build.1" }, {}) }, []),
  one("a range that ends here", { edit: needs({ minVersion: "1.0.0-rc.1", maxVersion: "1.0.0" }, { maxVersion: "1.0.0" }) }, []),
  one("a version with everything", { edit: set("skill.version", "2.1.0-beta.11+exp.sha.5114f85"), on: { version: "2.1.0-beta.11+exp.sha.5114f85" } }, []),
];

const keyOrders = [
  ["case and signs", { a: 1, B: 2, A: 3, b: 4, _: 5, "-": 6, "": 7, " ": 8, "a-b": 9, a_b: 10, ab: 11, "a b": 12, aB: 13, Ab: 14, $: 15, "~": 16 }],
  ["array indices", { 10: 1, 9: 2, "01": 3, 0: 4, "-1": 5, 4294967294: 6, 4294967295: 7, "1.5": 8, "1e3": 9, a: 10, "00": 11 }],
  ["accents", { é: 1, e: 2, E: 3, É: 4, f: 5, ê: 6, ef: 7, éa: 8, eb: 9, ß: 10, ss: 11, sz: 12, SS: 13, ẞ: 14, ø: 15, o: 16, ö: 17, oe: 18, œ: 19, æ: 20, ı: 21, i: 22, I: 23, İ: 24 }],
  ["scripts", { α: 1, Ω: 2, я: 3, А: 4, ا: 5, א: 6, अ: 7, ก: 8, เก: 9, ა: 10, あ: 11, ア: 12, ｱ: 13, 가: 14, z: 15, Ａ: 16, "１": 17, "٣": 18, 2: 19 }],
  ["emoji", { "😀": 1, "👩‍👩‍👧": 2, "👩": 3, "👍🏽": 4, "👍": 5, "❤": 6, "☃": 7, "🇩🇪": 8, a: 9, 1: 10 }],
  ["one ideograph among letters", { 名: 1, name: 2, ü: 3, "9": 4, 가: 5 }],
  ["ideographs behind other letters", { "a名": 1, "b中": 2, "1文": 3, "あ字": 4 }],
  ["the same ideographs, then others", { 名前: 1, 名前a: 2, 名前b: 3, 名前é: 4, 名: 5 }],
  ["names of objects in JavaScript", { __proto__x: 1, constructor: 2, toString: 3, hasOwnProperty: 4, valueOf: 5 }],
  ["line ends and tabs", { "a\tb": 1, "a\nb": 2, "a b": 3, ab: 4, "\u2028": 5 }],
  ["deep", { z: [{ b: { d: [], c: {} }, a: [[{ y: 1, x: 2 }]] }, null, "é"], é: { é: { e: {}, É: {} } } }],
  ["numbers", { n: [0, 1, 0.1, 1e21, 1e-7, 123456789012345680000, 5e-324, 1.7976931348623157e308, 9007199254740991, 9007199254740992, 0.1 + 0.2, 1e-6, 100, 1e20, 4.35, 2 ** 53 + 2, -1.5e300, 2 ** 64, -71820985716809824] }],
  ["texts", { t: ["\u0000\u001f\u007f", '"\\/', "\b\f\n\r\t", "\u2028\u2029", "😀", "é", "\ufeff", "</script>"] }],
];
const orders = () => keyOrders.map(([name, own]) => one(`own metadata: ${name}`, { edit: metadata({ own }) }, []));

const unsettled = () => [
  ["two orders of ideographs", { 名前: 1, 住所: 2 }],
  ["ideographs behind one letter", { "x名": 1, "X住": 2 }],
  ["a radical and an ideograph", { "⺀": 1, 中: 2 }],
  ["one letter, two spellings", { é: 1, "e\u0301": 2 }],
  ["a character that is ignored", { a: 1, "a\u0000": 2 }],
].map(([name, own]) => one(`no order: ${name}`, { edit: metadata({ deep: [own] }), on: { unchecked: "digest" } }, ["MANIFEST_INVALID"]));

const alone = () => [
  one("unsigned", { spoil: remove("signature") }, ["SIGNATURE_MISSING"]),
  one("signature null", { spoil: set("signature", null) }, ["SIGNATURE_MISSING"]),
  one("schema version 1.0", { edit: set("schemaVersion", "1.0") }, ["SCHEMA_VERSION_INVALID"]),
  one("schema version 2.0.0", { edit: set("schemaVersion", "2.0.0") }, ["SCHEMA_VERSION_INVALID"]),
  one("schema version empty", { edit: set("schemaVersion", "") }, ["SCHEMA_VERSION_INVALID"]),
  one("another publisher", { edit: set("publisher.id", "acme2") }, ["PUBLISHER_UNTRUSTED"]),
  one("a publisher in another case", { edit: set("publisher.id", "Acme") }, ["PUBLISHER_UNTRUSTED"]),
  one("a publisher without keys", { edit: set("publisher.id", "keyless") }, ["KEY_UNTRUSTED"]),
  one("a stranger's key", { by: "edStranger" }, ["KEY_UNTRUSTED"]),
  one("a stranger's RSA key", { by: "rsaStranger" }, ["KEY_UNTRUSTED"]),
  one("a stranger's key under a trusted name", { by: "edStranger", more: { keyId: "acme-1" } }, ["KEY_UNTRUSTED"]),
  one("a stranger's RSA key under a trusted name", { by: "rsaStranger", more: { keyId: "acme-rsa" } }, ["KEY_UNTRUSTED"]),
  one("another publisher's key", { by: "edLenient" }, ["KEY_UNTRUSTED"]),
  one("a trusted key under another trusted name", { more: { keyId: "acme-rsa" } }, ["KEY_UNTRUSTED"]),
  one("a retired key", { by: "edRetired" }, ["KEY_UNTRUSTED"]),
  one("a retired key, signed before it was", { by: "edRetired", more: { issuedAt: "2030-01-01T00:00:00Z" } }, ["KEY_UNTRUSTED"]),
  one("a retired key on its last day", { by: "edRetired", on: { now: "2031-02-28T23:59:59Z" } }, []),
  one("a key before its time", { by: "edEarly" }, ["KEY_UNTRUSTED"]),
  one("a key at its time", { by: "edEarly", on: { now: "2031-03-02T00:00:00Z" } }, []),
  one("another provenance", { edit: set("publisher.provenance", "ci:acme/weather2") }, ["PROVENANCE_UNTRUSTED"]),
  one("a prefix in the middle", { edit: set("publisher.provenance", "x-release:acme/weather") }, ["PROVENANCE_UNTRUSTED"]),
  one("another artifact", { on: { artifactDigest: "sha256:5f" } }, ["ARTIFACT_DIGEST_MISMATCH"]),
  one("the artifact in another case", { on: { artifactDigest: "SHA256:5E" } }, ["ARTIFACT_DIGEST_MISMATCH"]),
  one("expired", { more: { expiresAt: "2031-03-01T11:59:59Z" } }, ["SIGNATURE_EXPIRED"]),
  one("expired long ago", { by: "rsa2048", more: { expiresAt: "2020-01-01T00:00:00Z" } }, ["SIGNATURE_EXPIRED"]),
  one("expired this moment", { more: { expiresAt: NOW } }, ["SIGNATURE_EXPIRED"]),
  one("expired by another zone's clock", { more: { expiresAt: "2031-03-01T13:59:59+02:00" } }, ["SIGNATURE_EXPIRED"]),
  one("issued within the skew of clocks", { more: { issuedAt: "2031-03-01T12:04:59Z" } }, []),
  one("no version of the contracts", { on: { contractsSpec: null } }, ["CONTRACTS_SPEC_VERSION_MISSING"]),
  one("contracts too old", { edit: needs({ minVersion: "1.0.1" }, {}) }, ["CONTRACTS_SPEC_TOO_OLD"]),
  one("contracts too new", { edit: needs({ maxVersion: "0.9.9" }, {}) }, ["CONTRACTS_SPEC_TOO_NEW"]),
  one("contracts newer than a prerelease", { edit: needs({ maxVersion: "1.0.0-rc.9" }, {}) }, ["CONTRACTS_SPEC_TOO_NEW"]),
  one("a prerelease older than what is needed", { edit: needs({ minVersion: "1.0.0" }, {}), on: { contractsSpec: "1.0.0-rc.1" } }, ["CONTRACTS_SPEC_TOO_OLD"]),
  one("a range from behind to before", { edit: needs({ minVersion: "2.0.0", maxVersion: "0.5.0" }, {}) }, ["CONTRACTS_SPEC_TOO_OLD", "CONTRACTS_SPEC_TOO_NEW"]),
  one("no version of the control plane", { on: { controlPlane: null } }, ["CONTROL_PLANE_VERSION_MISSING"]),
  one("control plane too old", { edit: needs(undefined, { minVersion: "10.0.0" }) }, ["CONTROL_PLANE_TOO_OLD"]),
  one("control plane too new", { edit: needs(undefined, { maxVersion: "0.10.0" }) }, ["CONTROL_PLANE_TOO_NEW"]),
  one("no such capability", { edit: set("compatibility.requiredCapabilities", [{ key: "teleport" }]) }, ["CAPABILITY_MISSING"]),
  one("another version of a capability", { edit: set("compatibility.requiredCapabilities", [{ key: "control-plane.core", version: "1.1.0" }]) }, ["CAPABILITY_MISSING"]),
  one("no capabilities at all", { on: { capabilities: [] } }, ["CAPABILITY_MISSING", "CAPABILITY_MISSING"]),
  one("a range of versions of a capability", { edit: set("compatibility.requiredCapabilities", [{ key: "control-plane.core", version: "^1.0.0" }]) }, ["CAPABILITY_MISSING"]),
  one("a capability whose version is null", { edit: set("compatibility.requiredCapabilities", [{ key: "control-plane.core", version: null }]) }, []),
];

const invalid = () => [
  ...["", "1", "1.0", "v1.0.0", "01.0.0", "1.00.0", "1.0.0.0", "1.0.0-", "1.0.0-01", "1.0.0+", "=1.0.0", "^1.0.0", ">=1.0.0", "1.x", "*", "latest", " 1.0.0", "1.0.0 ", "1.0.0-é", "99999999999999999999.0.0", "-1.0.0"].map((version) =>
    one(`no version: ${JSON.stringify(version)}`, { edit: needs({ minVersion: version }, {}) }, ["MANIFEST_INVALID"])),
  one("no version anywhere", { edit: needs({ minVersion: "one", maxVersion: "two" }, { minVersion: "three", maxVersion: "four" }) }, Array(4).fill("MANIFEST_INVALID")),
  one("another skill than was asked for", { on: { skillKey: "acme.other" } }, ["MANIFEST_INVALID"]),
  one("another version than was asked for", { on: { version: "2.1.1" } }, ["MANIFEST_INVALID"]),
  one("the same version with a build", { on: { version: "2.1.0+1" } }, ["MANIFEST_INVALID"]),
  one("a skill of the control plane", { edit: set("skill.key", "core.echo"), on: { skillKey: "core.echo" } }, ["MANIFEST_INVALID"]),
  ...["", "weather", "nats:", "nats:a.b", "nats:*", "nats:Weather", "builtin:echo", "https://acme.example", "wasm:x", "NATS:weather", "nats:weather\n"].map((entryPoint) =>
    one(`entry point ${JSON.stringify(entryPoint)}`, { edit: set("skill.entryPoint", entryPoint) }, ["MANIFEST_INVALID"])),
  one("a file outside the artifact", { edit: set("artifact.files", [{ path: "../../etc/passwd", digest: "x", size: 1 }]) }, ["MANIFEST_INVALID"]),
  one("a file of negative size, and one twice", { edit: set("artifact.files", [{ path: "a", digest: "x", size: -1 }, { path: "b", digest: "x", size: 1 }, { path: "b", digest: "x", size: 1 }]) }, Array(2).fill("MANIFEST_INVALID")),
  one("actions that are not understood", { edit: set("metadata.actions", { read: { effect: "none" } }) }, ["MANIFEST_INVALID"]),
  one("actions that are a list", { edit: set("metadata.actions", ["read"]) }, ["MANIFEST_INVALID"]),
  one("a schema that does not compile", { edit: set("metadata.actions.read.input", { type: "objekt" }) }, ["MANIFEST_INVALID"]),
  one("no provenance", { edit: set("publisher.provenance", "") }, ["MANIFEST_INVALID", "PROVENANCE_UNTRUSTED"]),
  one("no publisher", { edit: set("publisher.id", "") }, ["MANIFEST_INVALID", "PUBLISHER_UNTRUSTED"]),
];

/// The order of the group of Ed25519.
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
const malleated = ({ signature }) => {
  const bytes = Buffer.from(signature, "base64");
  let scalar = BigInt(`0x${Buffer.from(bytes.subarray(32)).reverse().toString("hex")}`) + L;
  for (let at = 32; at < 64; at += 1, scalar >>= 8n) bytes[at] = Number(scalar & 255n);
  return { signature: bytes.toString("base64") };
};
const bytes = (change) => ({ signature }) => ({ signature: Buffer.from(change(Buffer.from(signature, "base64"))).toString("base64") });
const text = (change) => ({ signature }) => ({ signature: change(signature) });
const flipped = (at) => bytes((given) => ((given[at] ^= 1), given));

const signatures = () => {
  const wrong = (name, by, change, more = {}) => one(`signature: ${name} (${by})`, { by, spoil: given(change), ...more }, ["SIGNATURE_INVALID"]);
  const unchecked = { on: { unchecked: true } };
  return [
    ...["ed", "rsa2048"].flatMap((by) => [
      wrong("empty", by, { signature: "" }, unchecked),
      wrong("not base64", by, { signature: "not base64!" }, unchecked),
      wrong("cut", by, bytes((given) => given.subarray(0, -1)), unchecked),
      wrong("one byte more", by, bytes((given) => Buffer.concat([given, Buffer.alloc(1)])), unchecked),
      wrong("a zero before it", by, bytes((given) => Buffer.concat([Buffer.alloc(1), given])), unchecked),
      wrong("zeros", by, bytes((given) => Buffer.alloc(given.length))),
      wrong("ones", by, bytes((given) => Buffer.alloc(given.length, 0xff))),
      wrong("first bit", by, flipped(0)),
      wrong("last bit", by, flipped(63)),
      wrong("in base64url", by, text((given) => Buffer.from(given, "base64").fill(0xfb).toString("base64url")), unchecked),
      wrong("with a space", by, text((given) => ` ${given}`), unchecked),
      wrong("with a line end", by, text((given) => `${given}\n`), unchecked),
      wrong("in hex", by, text((given) => Buffer.from(given, "base64").toString("hex")), unchecked),
      wrong("twice", by, text((given) => given + given), unchecked),
      wrong("of another manifest", by, () => ({ signature: signature(canonical({ ...manifest(), schemaVersion: "1.0.1" }), by).toString("base64") })),
      wrong("of the digest", by, () => ({ signature: signature(sha256(canonical(manifest())), by).toString("base64") })),
      wrong("of JSON as it stood", by, () => ({ signature: signature(JSON.stringify(manifest()), by).toString("base64") })),
      wrong("of the signature too", by, ({ signature: own }) => ({ signature: signature(JSON.stringify({ ...manifest(), signature: own }), by).toString("base64") })),
    ]),
    one("signature: by another key than the named one (ed)", { by: "edStranger", spoil: given({ publicKey: publicPem("ed") }) }, ["SIGNATURE_INVALID"]),
    one("signature: by another key than the named one (rsa2048)", { by: "rsaStranger", spoil: given({ publicKey: publicPem("rsa2048") }) }, ["SIGNATURE_INVALID"]),
    wrong("its scalar and the order", "ed", malleated),
    wrong("PKCS #1 v1.5", "rsa2048", {}, { sign: { padding: pkcs1 } }),
    wrong("PSS with SHA-512", "rsa2048", {}, { sign: { hash: "sha512" } }),
    wrong("PSS with SHA-1", "rsa2048", {}, { sign: { hash: "sha1" } }),
    wrong("by P-256", "p256", { algorithm: "ecdsa-p256-sha256" }, unchecked),
    ...["", "Ed25519", "ED25519", "eddsa", "rsa-sha256", "rsa-pss-sha512", "none", "hmac-sha256"].map((algorithm) => wrong(`algorithm ${JSON.stringify(algorithm)}`, "ed", { algorithm }, unchecked)),
    wrong("said to be by RSA", "ed", { algorithm: "rsa-pss-sha256" }, unchecked),
    wrong("said to be by Ed25519", "rsa2048", { algorithm: "ed25519" }, unchecked),
    wrong("issued later", "ed", { issuedAt: "2031-03-01T12:05:01Z" }, unchecked),
    ...bad.filter(({ text }) => text.length < 5000).map(({ name, text: publicKey }) => wrong(`key: ${name}`, name.startsWith("RSA") ? "rsa2048" : "ed", { publicKey }, unchecked)),
    // The identity as key and as point, zero as scalar: the plain equation holds for all messages.
    wrong("of nobody", "ed", { publicKey: Buffer.from(`01${"00".repeat(31)}`, "hex").toString("base64"), signature: Buffer.from(`01${"00".repeat(63)}`, "hex").toString("base64") }, unchecked),
  ];
};

const tampered = () =>
  [
    ["schemaVersion", "1.0.1", ["SCHEMA_VERSION_INVALID"]],
    ["skill.key", "acme.other", ["MANIFEST_INVALID"]],
    ["skill.version", "2.1.1", ["MANIFEST_INVALID"]],
    ["skill.entryPoint", "nats:other", []],
    ["publisher.id", "lenient", ["KEY_UNTRUSTED"]],
    ["publisher.provenance", "release:acme/other", []],
    ["publisher.repositoryUrl", "https://git.example/mallory/weather", []],
    ["artifact.digest", "sha256:66", ["ARTIFACT_DIGEST_MISMATCH"]],
    ["artifact.files.0.digest", "sha256:66", []],
    ["artifact.files.0.size", 4097, []],
    ["artifact.files.0.path", "other.mjs", []],
    ["compatibility.contractsSpec.minVersion", "0.1.0", []],
    ["compatibility.controlPlaneFeature", {}, []],
    ["compatibility.requiredCapabilities", [], []],
    ["compatibility.requiredCapabilities.1.version", null, []],
    ["metadata.description", "", []],
    ["metadata.actions.read.effect", "write", []],
    ["metadata.actions.read.input.properties", { place: {}, _: {}, "-": {} }, []],
    ["metadata", null, []],
  ].flatMap(([path, value, also]) => [
    ["ed", "ed25519"], ["rsa3072", "RSA"],
  ].map(([by, name]) => one(`tampered, ${name}: ${path}`, { by, spoil: set(path, value) }, ["SIGNATURE_INVALID", ...also])));

const taken = () => [
  ["metadata", []],
  ["publisher.repositoryUrl", []],
  ["compatibility.contractsSpec", []],
].map(([path, also]) => one(`taken out: ${path}`, { spoil: remove(path) }, ["SIGNATURE_INVALID", ...also]));

const together = () => [
  one("unsigned by a stranger", { edit: set("publisher.id", "mallory"), spoil: remove("signature") }, ["PUBLISHER_UNTRUSTED", "SIGNATURE_MISSING"]),
  one("expired, and another provenance", { edit: set("publisher.provenance", "elsewhere"), more: { expiresAt: "2030-01-01T00:00:00Z" } }, ["PROVENANCE_UNTRUSTED", "SIGNATURE_EXPIRED"]),
  one("expired from a stranger", { edit: set("publisher.id", "mallory"), more: { expiresAt: "2030-01-01T00:00:00Z" } }, ["PUBLISHER_UNTRUSTED", "SIGNATURE_EXPIRED"]),
  one("expired before it was issued", { more: { issuedAt: "2032-01-01T00:00:00Z", expiresAt: "2030-01-01T00:00:00Z" }, on: { unchecked: true } }, ["SIGNATURE_EXPIRED", "SIGNATURE_INVALID"]),
  one("a retired key under another name", { by: "edRetired", more: { keyId: "acme-1" } }, ["KEY_UNTRUSTED"]),
  one("everything about versions", { edit: needs({ minVersion: "2.0.0" }, { maxVersion: "0.1.0" }), on: { capabilities: [] } }, ["CAPABILITY_MISSING", "CAPABILITY_MISSING", "CONTRACTS_SPEC_TOO_OLD", "CONTROL_PLANE_TOO_NEW"]),
  one("no versions of anything", { on: { contractsSpec: null, controlPlane: null } }, ["CONTRACTS_SPEC_VERSION_MISSING", "CONTROL_PLANE_VERSION_MISSING"]),
  one("tampered by a stranger, for another artifact", { by: "rsaStranger", spoil: set("metadata.description", "x"), on: { artifactDigest: "sha256:00" } }, ["ARTIFACT_DIGEST_MISMATCH", "KEY_UNTRUSTED", "SIGNATURE_INVALID"]),
  one("nothing is right", {
    by: "edStranger",
    edit: (made) => (set("schemaVersion", "0")(made), set("skill.entryPoint", "ftp:x")(made), set("publisher.provenance", "elsewhere")(made), needs({ minVersion: "2.0.0" }, { minVersion: "2.0.0" })(made), set("compatibility.requiredCapabilities", [{ key: "teleport" }])(made)),
    spoil: (made) => (set("metadata.description", "x")(made), given({ expiresAt: "2030-01-01T00:00:00Z" })(made)),
    on: { artifactDigest: "" },
  }, ["ARTIFACT_DIGEST_MISMATCH", "CAPABILITY_MISSING", "CONTRACTS_SPEC_TOO_OLD", "CONTROL_PLANE_TOO_OLD", "KEY_UNTRUSTED", "MANIFEST_INVALID", "PROVENANCE_UNTRUSTED", "SCHEMA_VERSION_INVALID", "SIGNATURE_EXPIRED", "SIGNATURE_INVALID"]),
];

export const cases = () => [valid, orders, unsettled, alone, invalid, signatures, tampered, taken, together].flatMap((part) => part());

/// What is no manifest: each is refused before anything is checked, and none is read as another.
const shape = (name, change) => {
  const made = manifest();
  change(made);
  return { name, manifest: made };
};
export const malformed = [
  ...["schemaVersion", "skill", "publisher", "artifact", "compatibility", "skill.key", "skill.version", "skill.entryPoint", "publisher.id", "publisher.provenance", "artifact.digest", "artifact.files.0.path", "artifact.files.0.size"].map((path) => shape(`without ${path}`, remove(path))),
  ...["revoked", "skill.name", "publisher.keyId", "artifact.url", "artifact.files.0.mode", "compatibility.node", "compatibility.contractsSpec.exact"].map((path) => shape(`with ${path}`, set(path, true))),
  ...[["schemaVersion", 1], ["skill", []], ["skill.key", null], ["publisher", "acme"], ["artifact.files", {}], ["artifact.files.0.size", "1"], ["artifact.files.0.size", 1.5], ["compatibility", null], ["compatibility.contractsSpec", "1.0.0"], ["metadata", []], ["metadata", "x"], ["signature", "x"], ["signature", {}], ["signature", { algorithm: "ed25519", signature: "", publicKey: "", expiresAt: "soon" }]].map(([path, value]) => shape(`${path} as ${JSON.stringify(value)}`, set(path, value))),
];
