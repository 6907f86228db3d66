// How another implementation signs a manifest: JavaScript's own sorting and Node's own crypto.
import { constants, createHash, createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import { readFileSync } from "node:fs";

const compare = (left, right) => left.localeCompare(right, "en-US");

const sorted = (value) => {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  members.sort(([left], [right]) => compare(left, right));
  return Object.fromEntries(members.map(([key, member]) => [key, sorted(member)]));
};

export const canonical = (manifest) => JSON.stringify(sorted({ ...manifest, signature: undefined }));
export const sha256 = (text) => createHash("sha256").update(text).digest("hex");

/// Keys that are for these tests only. RSA keys cannot be made from a seed, so they are kept.
const kept = JSON.parse(readFileSync(new URL("keys.json", import.meta.url), "utf8"));
const fromSeed = (seed) => {
  const head = Buffer.from("302e020100300506032b657004220420", "hex");
  const der = Buffer.concat([head, Buffer.alloc(32, seed)]);
  return createPrivateKey({ key: der, format: "der", type: "pkcs8" });
};
export const keys = Object.fromEntries([
  ...["ed", "edRetired", "edEarly", "edLenient", "edStranger"].map((name, index) => [name, fromSeed(100 + index)]),
  ...Object.entries(kept).map(([name, pem]) => [name, createPrivateKey(pem)]),
]);

export const publicPem = (name) => createPublicKey(keys[name]).export({ type: "spki", format: "pem" });
export const publicDer = (name) => createPublicKey(keys[name]).export({ type: "spki", format: "der" });

const pss = (saltLength, more) => ({ padding: constants.RSA_PKCS1_PSS_PADDING, saltLength, ...more });

/// Signs bytes; `how` overrides what `crypto.sign` is told.
export const signature = (bytes, name, { hash = "sha256", saltLength = 32, padding } = {}) => {
  const key = keys[name];
  if (key.asymmetricKeyType.startsWith("ed")) return sign(null, Buffer.from(bytes), key);
  if (key.asymmetricKeyType === "ec") return sign(hash, Buffer.from(bytes), key);
  return sign(hash, Buffer.from(bytes), padding ? { key, padding } : { key, ...pss(saltLength) });
};

/// What Node makes of a signature, any length of the salt accepted.
export const holds = (manifest) => {
  const { algorithm, publicKey, signature } = manifest.signature;
  const spki = publicKey.includes("BEGIN") ? publicKey : { key: spkiOf(publicKey), format: "der", type: "spki" };
  const key = createPublicKey(spki);
  const bytes = Buffer.from(canonical(manifest), "utf8");
  const given = Buffer.from(signature, "base64");
  if (algorithm === "ed25519") return verify(null, bytes, key, given);
  return verify("sha256", bytes, { key, ...pss(constants.RSA_PSS_SALTLEN_AUTO) }, given);
};

const spkiOf = (text) => {
  const bytes = Buffer.from(text, "base64");
  return bytes.length === 32 ? Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), bytes]) : bytes;
};

export const salts = { none: 0, digest: constants.RSA_PSS_SALTLEN_DIGEST, longest: constants.RSA_PSS_SALTLEN_MAX_SIGN };
export const pkcs1 = constants.RSA_PKCS1_PADDING;
