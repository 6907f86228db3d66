// Texts of public keys: those that are one key, and those that are none.
import { createPrivateKey, createPublicKey } from "node:crypto";
import { keys, publicDer, publicPem } from "./signing.mjs";

const raw = (name) => publicDer(name).subarray(-32);
const pem = (label, der) => {
  const lines = der.toString("base64").match(/.{1,64}/g).join("\n");
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
};

const tlv = (tag, ...parts) => {
  const value = Buffer.concat(parts);
  const length = value.length < 128 ? [value.length] : value.length < 256 ? [0x81, value.length] : [0x82, value.length >> 8, value.length & 255];
  return Buffer.concat([Buffer.from([tag, ...length]), value]);
};
const integer = (hex) => {
  const bytes = Buffer.from(hex.length % 2 ? `0${hex}` : hex, "hex");
  return tlv(2, bytes[0] & 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes);
};
const rsaOid = Buffer.from("06092a864886f70d010101", "hex");
/// An RSA key of any numbers.
export const rsaSpki = (modulus, exponent, parameters = "0500") => {
  const key = tlv(0x30, integer(modulus), integer(exponent));
  const algorithm = tlv(0x30, rsaOid, Buffer.from(parameters, "hex"));
  return pem("PUBLIC KEY", tlv(0x30, algorithm, tlv(3, Buffer.from([0]), key)));
};
export const modulusOf = (name) => Buffer.from(createPublicKey(keys[name]).export({ format: "jwk" }).n, "base64url").toString("hex");

/// Points whose order divides eight, in all spellings of 32 bytes.
const small = [
  "0100000000000000000000000000000000000000000000000000000000000000",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0000000000000000000000000000000000000000000000000000000000000080",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
  "0100000000000000000000000000000000000000000000000000000000000080",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

const exported = (name, type) => createPublicKey(keys[name]).export({ type, format: "pem" });
const secret = (name, type) => createPrivateKey(keys[name].export({ type: "pkcs8", format: "pem" })).export({ type, format: "pem" });
const oneLine = (text) => text.replace(/-----\n([^-]+)\n-----/, (_, body) => `-----\n${body.replaceAll("\n", "")}\n-----`);

/// Each list is one key in several spellings.
export const good = [
  { algorithm: "ed25519", texts: [publicPem("ed"), publicDer("ed").toString("base64"), raw("ed").toString("base64"), `\n ${raw("ed").toString("base64")}\n`, publicPem("ed").replaceAll("\n", "\r\n"), publicPem("ed").trim()] },
  ...["rsa2048", "rsa2049", "rsa3072", "rsa4096", "rsa8192"].map((name) => ({
    algorithm: "rsa-pss-sha256",
    texts: [publicPem(name), publicDer(name).toString("base64"), publicPem(name).replaceAll("\n", "\r\n"), oneLine(publicPem(name))],
  })),
  { algorithm: "rsa-pss-sha256", texts: [publicPem("rsaPss")] },
  { algorithm: "rsa-pss-sha256", texts: [rsaSpki(modulusOf("rsa2048"), "ffffffff")] },
];

const text = publicPem("ed");
const der = publicDer("ed");
export const bad = [
  ["empty", ""],
  ["a name", "acme-2024"],
  ["four bytes", "AAAA"],
  ["31 bytes", raw("ed").subarray(1).toString("base64")],
  ["33 bytes", Buffer.concat([raw("ed"), Buffer.alloc(1)]).toString("base64")],
  ["in hex", raw("ed").toString("hex")],
  ["in base64url", Buffer.alloc(32, 0xfb).toString("base64url")],
  ["without padding", raw("ed").toString("base64").replaceAll("=", "")],
  ["not a point", Buffer.from(`02${"00".repeat(31)}`, "hex").toString("base64")],
  ["without its begin", text.slice(text.indexOf("\n") + 1)],
  ["without its end", text.slice(0, text.indexOf("-----END"))],
  ["cut in the middle", text.slice(0, 60)],
  ["another end", text.replace("END PUBLIC", "END PRIVATE")],
  ["twice", text + text],
  ["something after it", `${text}and more`],
  ["something before it", `key: ${text}`],
  ["headers in it", text.replace("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\n\n")],
  ["trailing byte", Buffer.concat([der, Buffer.alloc(1)]).toString("base64")],
  ["trailing byte in PEM", pem("PUBLIC KEY", Buffer.concat([der, Buffer.alloc(1)]))],
  ["truncated DER", pem("PUBLIC KEY", der.subarray(0, -1))],
  ["truncated RSA", pem("PUBLIC KEY", publicDer("rsa2048").subarray(0, 200))],
  ["very long", "A".repeat(4100)],
  ["emoji", "🔑".repeat(8)],
  ["a private key", secret("ed", "pkcs8")],
  ["a private RSA key", secret("rsa2048", "pkcs8")],
  ["a private RSA key of PKCS #1", secret("rsa2048", "pkcs1")],
  ["a private EC key", keys.p256.export({ type: "sec1", format: "pem" })],
  ["PKCS #1", exported("rsa2048", "pkcs1")],
  ["PKCS #1 under the label of SPKI", exported("rsa2048", "pkcs1").replaceAll("RSA PUBLIC", "PUBLIC")],
  ["a certificate", pem("CERTIFICATE", der)],
  ["a request for a certificate", pem("CERTIFICATE REQUEST", der)],
  ["a key of SSH", `ssh-ed25519 ${raw("ed").toString("base64")} acme`],
  ["P-256", publicPem("p256")],
  ["Ed448", publicPem("ed448")],
  ["X25519", publicPem("x25519")],
  ["RSA of 1024 bits", publicPem("rsa1024")],
  ["RSA of 2040 bits", publicPem("rsa2040")],
  ["RSA of 8193 bits", rsaSpki(`01${"5b".repeat(1024)}`, "10001")],
  ["RSA of 16384 bits", rsaSpki("c5".repeat(2048), "10001").slice(0)],
  ["RSA with exponent 3", publicPem("rsaExponent3")],
  ["RSA with exponent 17", publicPem("rsaExponent17")],
  ["RSA with exponent 0", rsaSpki(modulusOf("rsa2048"), "00")],
  ["RSA with exponent 1", rsaSpki(modulusOf("rsa2048"), "01")],
  ["RSA with an even exponent", rsaSpki(modulusOf("rsa2048"), "10002")],
  ["RSA with an exponent beyond 32 bits", rsaSpki(modulusOf("rsa2048"), "100000001")],
  ["RSA with its modulus as exponent", rsaSpki(modulusOf("rsa2048"), modulusOf("rsa2048"))],
  ["RSA with an even modulus", rsaSpki(modulusOf("rsa2048").slice(0, -1) + "0", "10001")],
  ["RSA with no parameters", rsaSpki(modulusOf("rsa2048"), "10001", "")],
  ["RSA with other parameters", rsaSpki(modulusOf("rsa2048"), "10001", "020100")],
  ["RSA-PSS with parameters", publicPem("rsaPssRestricted")],
  ["Ed25519 with parameters", pem("PUBLIC KEY", tlv(0x30, tlv(0x30, Buffer.from("06032b6570", "hex"), Buffer.from("0500", "hex")), tlv(3, Buffer.from([0]), raw("ed"))))],
  ["Ed25519 with unused bits", pem("PUBLIC KEY", tlv(0x30, tlv(0x30, Buffer.from("06032b6570", "hex")), tlv(3, Buffer.from([1]), raw("ed"))))],
  ["Ed25519 of 31 bytes in SPKI", pem("PUBLIC KEY", tlv(0x30, tlv(0x30, Buffer.from("06032b6570", "hex")), tlv(3, Buffer.from([0]), raw("ed").subarray(1))))],
  ...small.map((hex, index) => [`a point of small order, spelling ${index + 1}`, Buffer.from(hex, "hex").toString("base64")]),
].map(([name, text]) => ({ name, text }));
