#!/usr/bin/env python3
"""Writes the inputs in `corpus` that are made, and leaves those that were found alone.

Needs Python 3 and `openssl`, which signs one token with a key that guards nothing. Valid samples
come from the samples of events, the vectors of skills and the demo, so that they are said once.
"""

import base64
import json
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CORPUS = HERE / "corpus"
ID = "0197c7a8-31d5-7d20-8f5e-9a1b2c3d4e5f"
DIGEST = "5e" * 32
LOOKS_ALIKE = "\u0430\u0441m\u0435"  # Cyrillic letters of `acme`
BOM, NUL, RTL, ZERO_WIDTH = "\ufeff", "\0", "\u202e", "\u200b"
NUMBER = "9" * 10_000


def put(target, name, content):
    if not isinstance(content, bytes):
        content = (content if isinstance(content, str) else json.dumps(content)).encode()
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def every(target, inputs):
    for name, content in inputs.items():
        put(target, name, content)


def nested(depth, opening="[", closing="]", inner=""):
    return opening * depth + inner + closing * depth


# Bodies that are hostile to whatever reads JSON.
BODIES = {
    "empty": "",
    "not-an-object": "[]",
    "bom": BOM + "{}",
    "nul": '{"a":"\0"}',
    "nul-escaped": '{"a":"\\u0000"}',
    "lone-surrogate": '{"a":"\\ud800"}',
    "surrogates-reversed": '{"a":"\\udc00\\ud800"}',
    "surrogate-pair": '{"a":"\\ud83d\\ude00","\\ud83d\\ude00":1}',
    "not-utf-8": b'{"a":"\xff\xfe"}',
    "overlong-utf-8": b'{"a":"\xc0\xaf"}',
    "surrogate-in-utf-8": b'{"a":"\xed\xa0\x80"}',
    "twice": '{"a":1,"a":2}',
    "twice-escaped": '{"a":1,"\\u0061":2}',
    "twice-inside": '{"a":{"b":[{"c":1,"c":1}]}}',
    "proto": '{"__proto__":{"a":1},"constructor":1}',
    "trailing": "{} {}",
    "trailing-comma": '{"a":1,}',
    "truncated": '{"a":[1,2,{"b":"c',
    "comment": '{"a":1 /* b */}',
    "many-digits": '{"a":%s}' % NUMBER,
    "many-digits-negative": '{"a":-%s.%s}' % (NUMBER, NUMBER),
    "huge-exponent": '{"a":1e%s}' % NUMBER,
    "tiny-exponent": '{"a":1e-%s}' % NUMBER,
    "numbers": '{"a":[0,-0,-0.0,1.0,1e2,9007199254740992,9007199254740993,18446744073709551615,18446744073709551616,5e-324,1.7976931348623157e308]}',
    "not-numbers": '{"a":[NaN,Infinity,-Infinity,01,+1,.5]}',
    "as-deep-as-may-be": '{"a":%s}' % nested(63),
    "too-deep": '{"a":%s}' % nested(64),
    "much-too-deep": '{"a":%s' % ("[" * 4_000),
    "objects-too-deep": nested(70, '{"a":', "}", "1"),
    "many-values": '{"a":[%s]}' % ",".join(["1"] * 20_001),
    "order": '{"b":1,"a":2,"\\u00e9":3,"e\\u0301":4,"B":5,"10":6,"9":7,"\\ud83d\\ude00":8,"\\uffff":9}',
    "subjects": {"a": ["$JS.API.>", "controlPlane.*.>", "../../etc/passwd", "a b", RTL, ZERO_WIDTH, LOOKS_ALIKE]},
}


def json_inputs():
    every("json", BODIES)
    for path in sorted((ROOT / "deploy/demo/intents").glob("*.json")):
        put("json", f"intent-{path.stem}", path.read_bytes())


def name_inputs():
    every("name", {
        "uuid": ID, "uuid-upper": ID.upper(), "uuid-braces": "{%s}" % ID, "uuid-simple": ID.replace("-", ""), "uuid-urn": f"urn:uuid:{ID}",
        "workspace": "acme-eu-1", "workspace-look-alike": LOOKS_ALIKE, "workspace-wildcard": "*", "workspace-rest": ">", "workspace-long": "a" * 64,
        "step": "refund_1", "step-dots": "a.b", "step-space": "a b",
        "principal": "okta:jane.doe+7E@acme", "principal-long": "p" * 129,
        "skill": "support.refunds", "skill-look-alike": "supp\u043ert.refunds", "skill-bom": f"support{BOM}refunds", "skill-zero-width": f"support{ZERO_WIDTH}",
        "skill-parent": "..", "skill-broker": "$JS.API", "skill-space": "a\u00a0b", "skill-long": "\u20ac" * 67, "skill-vertical-tab": "a\u000bb", "skill-nel": "a\u0085b",
        "skill-line-separator": "a\u2028b", "skill-ogham-space": "a\u1680b", "skill-mongolian": "a\u180eb", "skill-rtl": f"a{RTL}b",
        "version": "1.4.0", "version-parts": "1.0.0-rc.1+build.5", "version-zero": "01.0.0", "version-large": "18446744073709551615.0.0", "version-too-large": "18446744073709551616.0.0",
        "version-digits": f"{NUMBER}.0.0", "version-short": "1.2", "version-v": "v1.2.3", "version-star": "1.2.*", "version-line": "1.2.3\n",
        "run": f"{ID}:1", "run-zero": f"{ID}:0", "run-plus": f"{ID}:+1", "run-padded": f"{ID}:01", "run-large": f"{ID}:4294967296",
        "pin": f"support.refunds@1.4.0#{DIGEST}", "pin-at": f"a@b@1.0.0#{DIGEST}", "pin-no-digest": "support.refunds@1.4.0", "pin-build": f"k@1.0.0-a+b#{DIGEST}", "pin-upper": f"k@1.0.0#{DIGEST.upper()}",
        "digest": DIGEST, "digest-odd": DIGEST[1:], "digest-look-alike": "\u0435" + DIGEST[1:],
        "position": "v1.00-1f4.c-9", "position-order": "v1.c-9.00-1", "position-twice": "v1.00-1.00-2", "position-zero": "v1.00-0", "position-upper": "v1.00-A", "position-large": "v1.00-10000000000000000", "position-plus": "v1.+0-+1", "position-start": "v1",
        "instant": "2026-01-02T03:04:05.678Z", "instant-offset": "2026-01-02T03:04:05+23:59", "instant-leap": "2016-12-31T23:59:60Z", "instant-before-0": "0000-01-01T00:00:00+00:01", "instant-last": "9999-12-31T23:59:59.9999999999Z", "instant-after": "9999-12-31T23:59:59-01:00", "instant-lower": "2026-01-02t03:04:05z", "instant-no-day": "2026-02-30T00:00:00Z", "instant-digits": f"2026-01-02T03:04:05.{NUMBER}Z",
        "grant": "execution.approve", "role": "admin", "entry-point": "nats:refunds", "entry-point-builtin": "builtin:wait", "entry-point-wildcard": "nats:>", "entry-point-empty": "nats:",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "traceparent-zero": "00-" + "0" * 32 + "-b7ad6b7169203331-01", "traceparent-ff": "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "empty": "", "nul": NUL, "not-utf-8": b"\xff",
    })  # fmt: skip


def subject_inputs():
    events = ROOT / "shared/contracts/tests/contracts/samples"
    for path in sorted(events.glob("*.json"))[::4]:
        put("subject", f"sample-{path.stem}", json.loads(path.read_text())["subject"])
    sample = json.loads((events / "intent.received.json").read_text())["subject"]
    tokens = sample.split(".")
    every("subject", {
        "version-zero": ".".join([*tokens[:5], "0", *tokens[6:]]), "version-plus": ".".join([*tokens[:5], "+7", *tokens[6:]]),
        "version-digits": ".".join([*tokens[:5], NUMBER, *tokens[6:]]), "other-shard": ".".join([*tokens[:3], "zz", *tokens[4:]]),
        "wildcard": "controlPlane.*.execution.>", "rest": "controlPlane.>", "broker": "$JS.API.STREAM.DELETE.log", "empty-token": sample.replace(".execution.", ".."),
        "more": sample + ".more", "prefix": ".".join(tokens[:5]), "other-event": sample.rsplit(".", 2)[0] + ".skill.installed", "unknown-event": sample.rsplit(".", 2)[0] + ".intent.lost",
        "needless-escape": sample.replace(tokens[4], "=" + format(ord(tokens[4][0]), "02X") + tokens[4][1:]),
        "token": "support=2Erefunds", "token-lower": "support=2erefunds", "token-broken": "a=2", "token-not-utf-8": "=FF", "token-nul": "=00", "token-space": "a b", "token-any": f"../ * > $JS {RTL}{NUL}\r\n",
        "token-look-alike": LOOKS_ALIKE, "token-split": "=C3\u00e9", "token-long": "x" * 5000, "empty": "", "not-utf-8": b"\xff",
    })  # fmt: skip


def record_inputs():
    def stored(sample, payload=None, **changed):
        headers = sample["headers"] | changed
        lines = [sample["subject"], *(f"{name}: {value}" for name, value in headers.items() if value is not None)]
        return "\n".join(lines).encode() + b"\n\n" + (base64.b64decode(sample["payload"]) if payload is None else payload)

    samples = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "shared/contracts/tests/contracts/samples").glob("*.json"))}
    for name, sample in samples.items():
        put("record", f"sample-{name}", stored(sample))
    sample = samples["intent.received"]
    payload = base64.b64decode(sample["payload"])
    every("record", {
        "newer-rules": stored(sample, b"\x81\xa5rules\xce\xff\xff\xff\xff"), "empty-payload": stored(sample, b""), "truncated": stored(sample, payload[:-7]), "trailing": stored(sample, payload + b"\xc0"),
        "deep": stored(sample, b"\x81\xa8metadata" + b"\x91" * 9_000), "long-array": stored(sample, b"\xdd\xff\xff\xff\xff"), "long-text": stored(sample, b"\xdb\xff\xff\xff\xff"), "long-map": stored(sample, b"\xdf\xff\xff\xff\xff"),
        "extension": stored(sample, b"\xc7\x01\x05x"), "not-a-number": stored(sample, b"\x81\xa5rules\xcb\x7f\xf8\0\0\0\0\0\0"), "twice": stored(sample, b"\x82\xa5rules\x01\xa5rules\x02"),
        "other-type": stored(sample, **{"ce-type": "controlPlane.skill.installed"}), "unknown-type": stored(sample, **{"ce-type": "controlPlane.lost"}), "no-id": stored(sample, **{"ce-id": None}), "extensions": stored(sample, **{"ce-later": "%F0%9F%98%80", "nats-msg-id": "x"}),
        "percent-broken": stored(sample, **{"ce-source": "%F0%9"}), "percent-sign": stored(sample, **{"ce-source": "%+1%-2"}), "not-utf-8": stored(sample, **{"ce-source": "%FF"}), "upper": stored(sample, **{"CE-ID": "x"}), "long-header": stored(sample, **{"ce-later": "x" * 9000}),
        "many-headers": stored(sample, **{f"ce-a{n}": "x" for n in range(200)}), "dataref": stored(sample, **{"ce-dataref": f"sha256:{DIGEST}"}), "traceparent": stored(sample, traceparent="00-%22"), "instant": stored(sample, **{"ce-time": "0000-01-01T00:00:00.0Z"}),
    })  # fmt: skip


def timer_inputs():
    aggregate = json.loads((ROOT / "shared/contracts/tests/contracts/samples/intent.received.json").read_text())["subject"].rsplit(".", 3)[0]
    timer = {"service": "executor", "aggregate": aggregate, "key": "retry:charge", "version": 7, "due": "2026-01-02T03:04:05.678Z", "after_ms": 2000, "wake": None, "stays": False}
    every("timer", {
        "retry": timer, "wake": timer | {"wake": ID, "stays": True}, "key": timer | {"key": f"../ * > $JS {RTL}"}, "service": timer | {"service": "nobody"}, "aggregate": timer | {"aggregate": "controlPlane.>"},
        "version": timer | {"version": 2**64 - 1, "after_ms": 2**64 - 1}, "version-negative": timer | {"version": -1}, "due": timer | {"due": "9999-12-31T23:59:59.9999Z"}, "short": {name: value for name, value in timer.items() if name not in ("wake", "stays")}, "array": list(timer.values()), **{f"json-{name}": BODIES[name] for name in ("empty", "bom", "twice", "much-too-deep")},
    })  # fmt: skip


def reply_inputs():
    error = {"code": "CARD_DECLINED", "message": "no", "retryable": False}
    every("reply", {
        "output": {"output": {"id": "r-1", "amount": 12.5}}, "error": {"error": error}, "in-progress": {"inProgress": True}, "not-in-progress": {"inProgress": False}, "accepted": {"accepted": {"expiresAfterMs": 1000}}, "both": {"output": 1, "error": error}, "neither": {}, "unknown": {"done": True}, "text": '"output"',
        "nulls": {"output": None}, "error-long": {"error": error | {"message": "x" * 9000}}, "error-more": {"error": error | {"stack": []}}, "large-number": '{"output":%s}' % NUMBER, **{f"json-{name}": content for name, content in BODIES.items() if name in ("empty", "bom", "twice", "lone-surrogate", "much-too-deep", "numbers")},
    })  # fmt: skip


def base64url(content):
    if not isinstance(content, bytes):
        content = (content if isinstance(content, str) else json.dumps(content, separators=(",", ":"))).encode()
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def signature(signed):
    """By Ed25519 with the secret of 32 sevens, to which `token` has the other half."""
    with tempfile.TemporaryDirectory() as folder:
        key, message = Path(folder, "key"), Path(folder, "message")
        key.write_bytes(bytes.fromhex("302e020100300506032b657004220420") + bytes([7]) * 32)
        message.write_bytes(signed)
        command = ["openssl", "pkeyutl", "-sign", "-rawin", "-keyform", "DER", "-inkey", key, "-in", message]
        return subprocess.run(command, capture_output=True, check=True).stdout


def token_inputs():
    claims = {"iss": "https://id.example", "sub": "jane", "aud": "control-plane", "exp": 1_900_000_000, "iat": 1_899_999_000}

    def token(header, said=claims, signed=None):
        text = f"{base64url(header)}.{base64url(said)}"
        return f"Bearer {text}.{base64url(signature(text.encode()) if signed is None else signed)}"

    good = {"alg": "EdDSA", "kid": "one", "typ": "JWT"}
    whole = token(good)
    every("token", {
        "good": whole, "no-kid": token({"alg": "EdDSA"}), "none": token({"alg": "none"}, signed=b""), "none-upper": token({"alg": "NONE"}, signed=b"x"), "none-signed": token({"alg": "none"}), "hmac": token({"alg": "HS256", "kid": "one"}), "other-algorithm": token({"alg": "RS256", "kid": "one"}), "algorithm-number": token({"alg": 1}), "algorithm-twice": token('{"alg":"EdDSA","alg":"none"}'),
        "other-kid": token({"alg": "EdDSA", "kid": "../../one"}), "kid-nul": token({"alg": "EdDSA", "kid": "one\0"}), "kid-long": token({"alg": "EdDSA", "kid": "k" * 300}), "crit": token({"alg": "EdDSA", "crit": ["exp"]}), "jwk": token({"alg": "EdDSA", "jwk": {"kty": "OKP"}}), "jku": token({"alg": "EdDSA", "jku": "http://169.254.169.254/"}), "claims-array": token(good, []), "claims-empty": token(good, {}), "claims-twice": token(good, '{"sub":"a","sub":"b"}'), "claims-deep": token(good, '{"a":%s}' % nested(100)), "claims-times": token(good, claims | {"exp": "soon", "iat": -1, "nbf": 1e300}), "claims-digits": token(good, '{"exp":%s}' % ("9" * 5000)),
        "padded": whole + "=", "bits": whole[:-1] + "B", "two-parts": whole.rsplit(".", 1)[0], "four-parts": whole + ".x" * 32, "dots": "Bearer " + "." * 40, "long": "Bearer " + "a." * 5000, "plain": "Bearer " + DIGEST, "short": "Bearer abc", "two-spaces": "Bearer   " + DIGEST, "two-tokens": f"Bearer {DIGEST} {DIGEST}", "tab": f"Bearer\t{DIGEST}", "lower": f"bearer {DIGEST}", "basic": "Basic " + base64.b64encode(b"admin:admin" * 4).decode(), "comma": f"Bearer {DIGEST},Bearer {DIGEST}", "empty": "", "not-ascii": f"Bearer {LOOKS_ALIKE * 20}", "plus": whole.replace("-", "+").replace("_", "/"),
    })  # fmt: skip


def key_set_inputs():
    okp = {"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": base64url(bytes([3]) * 32)}
    rsa = {"kty": "RSA", "kid": "rsa", "n": base64url(bytes([0x81]) * 256), "e": "AQAB", "alg": "RS256", "use": "sig"}
    ec = {"kty": "EC", "crv": "P-256", "kid": "ec", "x": base64url(bytes([1]) * 32), "y": base64url(bytes([2]) * 32)}
    keys = lambda *keys: {"keys": list(keys)}  # noqa: E731
    every("key_set", {
        "all": keys(okp, rsa, ec), "none": keys(), "no-keys": {}, "keys-object": {"keys": {}}, "not-objects": {"keys": [1, None, "x", []]}, "no-kid": keys({name: value for name, value in okp.items() if name != "kid"}), "twice": keys(okp, okp), "kid-number": keys(okp | {"kid": 1}), "secret": keys(okp | {"d": okp["x"]}), "symmetric": keys({"kty": "oct", "k": "AAAA"}), "none-algorithm": keys(okp | {"alg": "none"}), "other-algorithm": keys(okp | {"alg": "RS256"}),
        "rsa-small": keys(rsa | {"n": base64url(bytes([0x81]) * 64)}), "rsa-zeros": keys(rsa | {"n": base64url(bytes(300))}), "rsa-exponent-0": keys(rsa | {"e": "AA"}), "rsa-exponent-1": keys(rsa | {"e": "AQ"}), "rsa-exponent-long": keys(rsa | {"e": base64url(b"\x01" * 300)}), "rsa-large": keys(rsa | {"n": base64url(b"\x81" * 5000)}), "ec-off-curve": keys(ec | {"y": ec["x"]}), "ec-short": keys(ec | {"x": "AAAA"}), "ec-zero": keys(ec | {"x": base64url(bytes(32)), "y": base64url(bytes(32))}), "okp-small-order": keys(okp | {"x": base64url(bytes([1, *[0] * 31]))}), "okp-zero": keys(okp | {"x": base64url(bytes(32))}), "x448": keys(okp | {"crv": "X448"}), "padded": keys(okp | {"x": okp["x"] + "="}), "plus": keys(okp | {"x": "+" + okp["x"][1:]}), "encrypt": keys(okp | {"use": "enc"}), "operations": keys(okp | {"key_ops": ["verify"]}, rsa | {"key_ops": ["sign"]}, ec | {"key_ops": 1}),
        "many": keys(*[{"kid": str(n)} for n in range(101)]), **{f"json-{name}": BODIES[name] for name in ("empty", "bom", "twice", "much-too-deep", "lone-surrogate")},
    })  # fmt: skip


def providers_inputs():
    provider = {"name": "okta", "issuer": "https://id.example", "audiences": ["control-plane"], "keys": {"url": "https://id.example/jwks"}, "algorithms": ["RS256", "EdDSA"], "principal": "/sub", "workspace": {"constant": "acme"}, "type": {"constant": "user"}, "roles": {"claim": "/groups", "values": {"admins": ["admin"]}}, "revoked": {"ids": ["1"], "subjects": ["mallory"]}}
    one = lambda **changed: {"providers": [provider | changed]}  # noqa: E731
    every("providers", {
        "one": one(), "none": {"providers": []}, "two": {"providers": [provider, provider | {"name": "other", "issuer": "https://other.example", "keys": {"file": "keys.json"}, "workspace": {"claim": "/tenant", "among": ["*"]}, "type": {"claim": "/kind", "values": {"bot": "agent"}}}]}, "twice": {"providers": [provider, provider]}, "many": {"providers": [provider | {"name": f"p{n}", "issuer": str(n)} for n in range(33)]},
        "algorithm-none": one(algorithms=["none"]), "algorithm-hmac": one(algorithms=["HS256"]), "no-algorithms": one(algorithms=[]), "no-audiences": one(audiences=[]), "plain-http": one(keys={"url": "http://id.example/"}), "loopback": one(keys={"url": "http://127.0.0.1:1/"}), "loopback-look-alike": one(keys={"url": "http://127.0.0.1.example/"}), "loopback-user": one(keys={"url": "http://localhost@id.example/"}), "loopback-hex": one(keys={"url": "http://0x7f000001/"}), "loopback-6": one(keys={"url": "http://[::1]/"}), "file-url": one(keys={"url": "file:///etc/passwd"}), "both": one(keys={"url": "https://a/", "file": "b"}), "neither": one(keys={}), "parent": one(keys={"file": "../../../etc/passwd"}), "file-nul": one(keys={"file": "a\0b"}), "ca": one(keys={"url": "https://a/", "caFile": "ca.pem"}), "ca-of-file": one(keys={"file": "a", "caFile": "b"}),
        "refetch-0": one(keys={"url": "https://a/", "refetchSeconds": 0}), "age-large": one(keys={"url": "https://a/", "maxAgeSeconds": 2**32}), "name-look-alike": one(name="\u043ekta"), "name-colon": one(name="a:b"), "pointer": one(principal="sub"), "pointer-root": one(principal=""), "pointer-tilde": one(principal="/a~2"), "workspace-both": one(workspace={"constant": "acme", "claim": "/t", "among": ["*"]}), "workspace-wildcard": one(workspace={"claim": "/t", "among": [">"]}), "workspace-none": one(workspace={}), "type-none": one(type={}), "role-unknown": one(roles={"claim": "/g", "values": {"a": ["root"]}}), "skew": one(clockSkewSeconds=301), "lifetime": one(maxLifetimeSeconds=0), "unknown": one(secret="x"), "arrays": {"providers": [list(provider.values())]}, **{f"json-{name}": BODIES[name] for name in ("empty", "bom", "twice", "much-too-deep")},
    })  # fmt: skip


def principals_inputs():
    jane = {"id": "jane", "type": "user", "workspace": "acme", "grants": ["intent.submit"], "tokenHash": DIGEST}
    of = lambda *held: {"principals": list(held)}  # noqa: E731
    every("principals", {
        "one": of(jane | {"roles": ["admin"], "notAfter": "2030-01-01T00:00:00Z"}), "none": of(), "empty": "", "blank": " \n", "two-tokens": of(jane, jane | {"tokenHash": "00" * 32}), "token-of-two": of(jane, jane | {"id": "joe"}), "two-types": of(jane, jane | {"type": "agent", "tokenHash": "00" * 32}), "wildcard": of(jane | {"id": "*"}), "look-alike": of(jane | {"id": "j\u0430ne"}), "nul": of(jane | {"id": "jane\0"}), "workspace": of(jane | {"workspace": "../acme"}), "grant-any": of(jane | {"grants": ["", "*", ">", RTL]}), "grant-twice": of(jane | {"grants": ["a", "a"]}), "role": of(jane | {"roles": ["root"]}), "type": of(jane | {"type": "root"}), "hash-upper": of(jane | {"tokenHash": DIGEST.upper()}), "hash-short": of(jane | {"tokenHash": "5e"}), "unknown": of(jane | {"token": "secret"}), "member-twice": '{"principals":[],"principals":[]}', "array": [[]], "arrays": of(list(jane.values())), "instant": of(jane | {"notAfter": "never"}), **{f"json-{name}": BODIES[name] for name in ("bom", "twice", "much-too-deep", "not-utf-8")},
    })  # fmt: skip


def manifest_inputs():
    table = json.loads((ROOT / "shared/skills/tests/skills/foreign/cases.json").read_text())
    for number, case in enumerate(table["cases"][::12]):
        put("manifest", f"foreign-{number:02}", json.dumps(case["manifest"], ensure_ascii=False))
    for number, case in enumerate(table["malformed"][::4]):
        put("manifest", f"malformed-{number:02}", json.dumps(case["manifest"], ensure_ascii=False))
    for path in sorted((ROOT / "deploy/demo/skills").glob("*.json")):
        put("manifest", f"demo-{path.stem}", path.read_bytes())
    manifest = table["cases"][0]["manifest"]
    metadata = lambda **said: manifest | {"metadata": said}  # noqa: E731
    every("manifest", {
        "unsigned": {name: value for name, value in manifest.items() if name != "signature"}, "signature-null": manifest | {"signature": None}, "metadata-null": manifest | {"metadata": None}, "unknown": manifest | {"more": 1}, "key-parent": manifest | {"skill": manifest["skill"] | {"key": "../core"}}, "key-reserved": manifest | {"skill": manifest["skill"] | {"key": "core.wait"}}, "key-look-alike": manifest | {"skill": manifest["skill"] | {"key": "\u0441ore.wait"}}, "entry-point": manifest | {"skill": manifest["skill"] | {"entryPoint": "nats:>"}}, "entry-point-broker": manifest | {"skill": manifest["skill"] | {"entryPoint": "nats:$JS.API"}}, "version-digits": manifest | {"skill": manifest["skill"] | {"version": f"{NUMBER}.0.0"}}, "size": manifest | {"artifact": {"digest": "sha256:5e", "files": [{"path": "../x", "digest": "", "size": -1}]}},
        "keys-alike": metadata(a={"\u00e9": 1, "e\u0301": 2}), "keys-numbers": metadata(a={"10": 1, "9": 2, "01": 3, "4294967295": 4, "-1": 5}), "keys-hidden": metadata(a={"a": 1, f"a{ZERO_WIDTH}": 2, f"a{NUL}": 3}), "numbers": json.dumps(metadata(a=0)).replace('{"a": 0}', '{"a":[1.0,-0.0,1e21,9007199254740993,5e-324]}'), "deep": metadata(a=json.loads(nested(60))), "schema-loop": metadata(actions={"a": {"input": {"$ref": "#"}, "output": {"$ref": "http://169.254.169.254/"}, "effect": "read", "risk": "low"}}), "schema-regex": metadata(actions={"a": {"input": {"pattern": "(a+)+$"}, "output": {"pattern": "("}, "effect": "read", "risk": "low"}}),
        "key-other": manifest | {"signature": manifest["signature"] | {"algorithm": "rsa-pss-sha256"}}, "algorithm-none": manifest | {"signature": manifest["signature"] | {"algorithm": "none"}}, "signature-empty": manifest | {"signature": manifest["signature"] | {"signature": ""}},
    })  # fmt: skip


def key_inputs():
    table = json.loads((ROOT / "shared/skills/tests/skills/foreign/cases.json").read_text())
    for number, key in enumerate(table["good"]):
        put("key", f"good-{number:02}", key["texts"][0])
    for number, text in enumerate(key["texts"][1] for key in table["good"][:3]):
        put("key", f"good-base64-{number}", text)
    for number, key in enumerate(table["bad"]):
        put("key", f"bad-{number:02}", key["text"][:6000])
    private = base64.b64encode(bytes.fromhex("302e020100300506032b657004220420") + bytes([7]) * 32).decode()
    pem = lambda label, body=private: f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"  # noqa: E731
    spki = table["good"][0]["texts"][1]
    signed = signature(b"signed")
    public = subprocess.run(["openssl", "pkey", "-pubout", "-inform", "DER"], input=bytes.fromhex("302e020100300506032b657004220420") + bytes([7]) * 32, capture_output=True, check=True).stdout.decode()
    every("key", {
        "private": pem("PRIVATE KEY"), "private-crlf": pem("PRIVATE KEY").replace("\n", "\r\n"), "private-encrypted": pem("ENCRYPTED PRIVATE KEY"), "private-named-public": pem("PUBLIC KEY"), "private-rsa": pem("RSA PRIVATE KEY"), "private-ec": pem("EC PRIVATE KEY"), "private-openssh": pem("OPENSSH PRIVATE KEY"), "private-truncated": pem("PRIVATE KEY", private[:-8]), "certificate": pem("CERTIFICATE", spki), "two": pem("PUBLIC KEY", spki) * 2, "no-end": f"-----BEGIN PUBLIC KEY-----\n{spki}", "spaces": pem("PUBLIC KEY", " ".join(spki)), "headers": pem("PUBLIC KEY", f"Proc-Type: 4,ENCRYPTED\n\n{spki}"), "raw-zero": base64.b64encode(bytes(32)).decode(), "raw-small-order": base64.b64encode(bytes([1, *[0] * 31])).decode(), "long": "A" * 5000, "nul": f"{spki}\0", "bom": BOM + spki,
        "signed": public.strip() + "\n\n" + base64.b64encode(signed).decode() + "\nsigned", "signed-other": public.strip() + "\n\n" + base64.b64encode(signed[:-1] + b"\x10").decode() + "\nsigned", "signed-zeros": base64.b64encode(bytes([1, *[0] * 31])).decode() + "\n\n" + base64.b64encode(bytes(64)).decode() + "\nx",
    })  # fmt: skip


def policy_inputs():
    for path in sorted((ROOT / "shared/policy/bundle").glob("*.cedar")):
        put("policy", f"shipped-{path.stem}", path.read_bytes())
    put("policy", "shipped-schema", b"schema\n" + (ROOT / "schemas/policy/controlplane.cedarschema").read_bytes())
    head = 'permit(principal, action, resource) when { '
    every("policy", {
        "empty": "", "all": "permit(principal, action, resource);", "risk": '@id("a") @risk("high") forbid(principal, action, resource);', "risk-unknown": '@id("a") @risk("none") permit(principal, action, resource);', "twice": '@id("a") permit(principal, action, resource);' * 2, "approval": '@id("a") @approval("quorum=2; approvers=finance; expires=P1D") permit(principal, action == Action::"runAssisted", resource);', "template": "permit(principal == ?principal, action, resource);",
        "chain-dots": head + "context" + ".a" * 10_000 + " };", "chain-times": head + "1 * " * 8_000 + "1 == 1 };", "deep-parentheses": head + nested(8_000, "(", ")", "true") + " };", "deep-not": head + "!" * 5_000 + "true };", "deep-minus": head + "-" * 5_000 + "1 == 1 };", "deep-if": head + "if true then " * 2_000 + "true" + " else false" * 2_000 + " };", "deep-set": head + nested(2_000, "[", "]") + " == [] };", "deep-record": head + nested(2_000, "{a:", "}", "1") + " == {} };", "deep-dots": head + "context" + ".a" * 5_000 + " };", "many-and": head + "true && " * 4_000 + "true };", "many-plus": head + "1 + " * 5_000 + "1 == 1 };",
        "digits": head + f"{NUMBER} == 1 }};", "overflow": head + "9223372036854775807 + 1 == 0 };", "like": head + '"a" like "' + "*a" * 2_000 + '" };', "escape": head + '"\\u{110000}" == "" };', "surrogate": head + '"\\u{d800}" == "" };', "rtl": head + f'"{RTL}" == "" }};', "look-alike": "perm\u0456t(principal, action, resource);", "nul": "permit(principal,\0action, resource);", "bom": BOM + "permit(principal, action, resource);", "truncated": head + '"', "comment": "//" + "x" * 5_000, "unknown-entity": 'permit(principal == A::B::"../*", action, resource);', "extension": head + 'ip("::/0").isLoopback() && decimal("9.99999") > decimal("0") };',
        "schema-empty": "schema\n", "schema-chain": "schema\n" + "".join(f"type A{n} = A{n + 1};" for n in range(100)) + "type A100 = Long;", "schema-entities": "schema\n" + "".join(f"entity A{n} in [A{n + 1}];" for n in range(200)) + "entity A200;", "schema-actions": "schema\n" + "".join(f"action a{n} in [a{n + 1}];" for n in range(20)) + "action a20;", "schema-deep": "schema\ntype A = " + nested(2_000, "Set<", ">", "Long") + ";", "schema-record-deep": "schema\ntype A = " + nested(2_000, "{a:", "}", "Long") + ";", "schema-loop": "schema\ntype A = B; type B = A;", "schema-twice": "schema\nentity A; entity A;", "schema-parents": "schema\nentity A in [B]; entity B in [A];",
        "bundle": {"policies": {"a.cedar": '@id("a") permit(principal, action, resource);'}, "thresholds": {"large": 1}, "trust": {"publishers": [{"id": "acme", "provenances": ["ci"], "keys": []}]}}, "bundle-names": {"policies": {"../a": "", "": "permit", "\u202e": "x"}, "thresholds": {"if": 1, "a b": 2**63 - 1, "x" * 65: -(2**63)}}, "bundle-trust": {"trust": {"publishers": [{"id": "", "provenances": [""], "provenancePrefixes": [""], "keys": [{"publicKey": "AAAA", "notBefore": "2030-01-01T00:00:00Z", "notAfter": "2020-01-01T00:00:00Z"}]}] * 2}}, "bundle-unknown": {"policy": {}}, "bundle-threshold": '{"thresholds":{"a":9223372036854775808}}',
    })  # fmt: skip


def draft_inputs():
    step = {"id": "a", "uses": "core.wait/wait", "with": {"ms": 10}}
    of = lambda *steps: {"steps": list(steps)}  # noqa: E731
    many = [step | {"id": f"s{n}", "needs": [f"s{n - 1}"] if n else []} for n in range(60)]
    every("draft", {
        "wait": of(step), "chain": of(step, {"id": "b", "uses": "core.wait/wait", "needs": ["a"], "with": {"ms": {"$from": "/steps/a/output/ms"}}}), "order": of({"id": "b", "uses": "core.wait/wait", "needs": ["a"], "with": {"ms": 1}}, step), "none": of(), "no-steps": {}, "not-steps": {"steps": 1}, "not-a-step": of(1, None, [], "x"), "cycle": of(step | {"needs": ["b"]}, step | {"id": "b", "needs": ["a"]}), "self": of(step | {"needs": ["a"]}), "twice": of(step, step), "unknown-need": of(step | {"needs": ["../b", "*", ""]}), "needs-twice": of(step, step | {"id": "b", "needs": ["a", "a"]}), "unknown-skill": of(step | {"uses": "a.b/c"}), "uses-parts": of(step | {"uses": "a/b/c"}, step | {"uses": ""}, step | {"uses": "/"}, step | {"uses": f"core.wait@1.0.0#{DIGEST}/wait"}, step | {"uses": "c\u043ere.wait/wait"}), "uses-pinned": of(step | {"uses": "core.wait@1.0.0/wait"}), "id-wildcard": of(step | {"id": "*"}, step | {"id": "a.b"}, step | {"id": ""}, step | {"id": "x" * 65}), "later": of(step | {"when": "x", "compensate": {}, "forEach": []}), "unknown-member": of(step | {"run": "rm"}), "retry": of(step | {"retry": {"maxAttempts": 0, "backoffMs": -1}}), "retry-large": of(step | {"retry": {"maxAttempts": 2**32, "backoffMs": 2**64 - 1}}), "timeout": of(step | {"timeout": 0}, step | {"id": "b", "timeout": 2**63}),
        "binding-unknown": of(step | {"with": {"ms": {"$from": "/steps/z/output"}}}), "binding-pointer": of(step | {"with": {"ms": {"$from": "steps/a/~2"}}}), "binding-more": of(step | {"with": {"ms": {"$from": "/steps/a/output", "x": 1}}}), "param": of(step | {"with": {"ms": {"$param": "/ms"}}}), "secret": of(step | {"with": {"ms": {"$secret": "../key"}}}), "secret-number": of(step | {"with": {"ms": {"$secret": 1}}}), "unknown-binding": of(step | {"with": {"ms": {"$env": "HOME"}}}), "inexact": '{"steps":[{"id":"a","uses":"core.wait/wait","with":{"ms":9007199254740993}}]}', "float": '{"steps":[{"id":"a","uses":"core.wait/wait","with":{"ms":10.0}}]}', "many-digits": '{"steps":[{"id":"a","uses":"core.wait/wait","with":{"ms":%s}}]}' % NUMBER, "deep": of(step | {"with": {"ms": json.loads(nested(58))}}), "many": {"steps": many}, "too-many": {"steps": [step] * 520}, **{f"json-{name}": BODIES[name] for name in ("empty", "twice", "lone-surrogate", "much-too-deep")},
    })  # fmt: skip


def input_inputs():
    def sent(operation, body):
        return operation + "\n" + (body if isinstance(body, str) else json.dumps(body))

    spec = json.loads((ROOT / "schemas/http/openapi.json").read_text())
    for path, item in spec["paths"].items():
        for method in item.values():
            if not isinstance(method, dict) or "requestBody" not in method:
                continue
            for kind, media in method["requestBody"]["content"].items():
                examples = [media["example"]] if "example" in media else [it["value"] for it in media.get("examples", {}).values()]
                for number, example in enumerate(examples):
                    operation = method.get("operationId", "").removesuffix(".resource")
                    if kind == "application/json" and operation and "events" not in path:
                        put("input", f"example-{operation}-{number}", sent(operation, example))
    every("input", {
        "submit": sent("intent.submit", {"text": "where is order 4711", "metadata": {"playbook": "x", "params": {}}}), "submit-actor": sent("intent.submit", {"text": "x", "actorId": "../*"}), "submit-types": sent("intent.submit", {"text": 1, "metadata": [], "draft": "x", "start": "now", "mode": None, "deadlineAt": "never", "unknown": 1}), "submit-empty": sent("intent.submit", {}), "submit-long": sent("intent.submit", {"text": "x" * 40_000}), "submit-instant": sent("intent.submit", {"text": "x", "deadlineAt": "9999-12-31T23:59:59-23:59"}), "submit-nul": sent("intent.submit", {"text": "\0"}), "approve": sent("execution.approve", {"executionId": ID, "stepId": "refund", "planHash": DIGEST}), "approve-look-alike": sent("execution.approve", {"executionId": ID, "stepId": "r\u0435fund"}), "approve-upper": sent("execution.approve", {"executionId": ID.upper(), "stepId": "a", "planHash": DIGEST.upper()}), "pause": sent("execution.pause", {"runId": f"{ID}:1"}), "pause-zero": sent("execution.pause", {"runId": f"{ID}:0"}), "report": sent("execution.step.report", {"executionId": ID, "stepId": "a", "token": DIGEST, "outcome": "completed", "output": {}}),
        "compile": sent("plan.compile", {"intentId": ID, "draft": {"steps": []}}), "compile-arrays": sent("plan.compile", [ID]), "start-mode": sent("execution.start", {"executionId": ID, "planId": ID, "mode": "root"}), "activate": sent("policy.activate", {"bundle": {"policies": {"a": "permit"}}}), "activate-arrays": sent("policy.activate", {"bundle": ["", {}, {}, [[]]]}), "install-arrays": sent("skill.install", {"skillKey": "a", "version": "1.0.0", "artifactDigest": "x", "manifest": ["1.0.0", [], [], [], []]}), "disable": sent("skill.disable", {"skillKey": "support.refunds", "version": "1"}), "explain": sent("policy.explain", {"executionId": ID, "bundle": {}}), "unknown": sent("execution.lane.get", {}), "broker": sent("$JS.API.STREAM.DELETE", {}),
        "list": "execution.list\n?status=running,blocked&limit=10", "list-repeated": "execution.list\n?status=running&status=failed", "list-limit": "execution.list\n?limit=-1&offset=%s" % ("9" * 100), "list-twice": "execution.list\n?limit=1&limit=2", "list-unknown": "execution.list\n?__proto__=1", "list-broken": "execution.list\n?text=%ff%00%", "list-encoded": "execution.list\n?te%78t=%E2%80%AE", "list-empty": "execution.list\n?&&=&status=", "list-commas": "execution.list\n?status=" + "," * 2_000, "list-instant": "execution.list\n?createdAfter=2026-01-01T00:00:00Z&atLeast=v1.c-1", "get": f"execution.get\n?executionId={ID}", "trace": f"trace.get\n?executionId={ID}&includePayloads=yes", "approvals": "approval.list\n?all=true&cursor=..%2F", "skills": "skill.list\n?limit=4294967296",
    })  # fmt: skip


def cloud_event_inputs():
    event = {"specversion": "1.0", "type": "controlPlane.intent.submit", "source": "/shop", "id": "order-1", "data": {"text": "where is order 4711"}}
    data = json.dumps(event["data"])

    def binary(body=data, version="1.0", **headers):
        attributes = {"ce-type": event["type"], "ce-source": "/shop", "ce-id": "order-1", "content-type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
        return version + "".join(f"\n{name}: {value}" for name, value in attributes.items()) + "\n\n" + body

    batch = lambda *events: {"batch": list(events)}  # noqa: E731
    every("cloud_event", {
        "structured": event, "traceparent": event | {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, "base64": {name: value for name, value in event.items() if name != "data"} | {"data_base64": base64.b64encode(data.encode()).decode()}, "base64-broken": {name: value for name, value in event.items() if name != "data"} | {"data_base64": "!"}, "base64-deep": {name: value for name, value in event.items() if name != "data"} | {"data_base64": base64.b64encode(('{"a":%s}' % nested(64)).encode()).decode()}, "both-data": event | {"data_base64": "e30="}, "no-data": {name: value for name, value in event.items() if name != "data"}, "data-text": event | {"data": "x"}, "data-null": event | {"data": None}, "version": event | {"specversion": "0.3"}, "version-number": event | {"specversion": 1.0}, "type": event | {"type": "controlPlane.policy.activate"}, "extensions": event | {"a": 1, "b": None, "c": [], "d": True}, "media-type": event | {"datacontenttype": "application/json; charset=utf-16"}, "media-type-other": event | {"datacontenttype": "text/xml"},
        "id-space": event | {"id": " "}, "id-nul": event | {"id": "\0"}, "id-any": event | {"id": f"$JS.> * ../{RTL}{LOOKS_ALIKE}"}, "id-long": event | {"id": "x" * 3000}, "id-number": event | {"id": 1}, "source-space": event | {"source": "a b"}, "source-long": event | {"source": "/" * 3000}, "source-empty": event | {"source": ""}, "upper": {name.upper(): value for name, value in event.items()}, "batch": batch(event, event | {"id": "order-2"}), "batch-empty": batch(), "batch-mixed": batch(event, 1, None, [], {}), "batch-nested": batch([event]),
        "binary": binary(), "binary-percent": binary(ce_id="%F0%9F%98%80%20"), "binary-percent-broken": binary(ce_id="%F0%9"), "binary-percent-nul": binary(ce_id="%00"), "binary-utf-8": binary(ce_id="\u00e9"), "binary-twice": binary(CE_ID="other"), "binary-no-id": binary().replace("\nce-id: order-1", ""), "binary-empty-name": binary(ce_="x"), "binary-data-array": binary("[]"), "binary-data-empty": binary(""), "binary-version": binary(version="2.0"), "binary-media-type": binary(ce_datacontenttype="text/plain"), "binary-no-colon": binary().replace("ce-id: order-1", "ce-id"), **{f"json-{name}": BODIES[name] for name in ("empty", "bom", "twice", "much-too-deep", "lone-surrogate")},
    })  # fmt: skip


def cursor_inputs():
    every("cursor", {
        "own": base64url(bytes(8) + b"2026-01-01 " + ID.encode()), "short": base64url(bytes(7)), "empty-key": base64url(bytes(8)), "not-utf-8": base64url(bytes(8) + b"\xff"), "padded": base64url(bytes(9)) + "=", "bits": base64url(bytes(9))[:-1] + "B", "long": "A" * 1100, "longest": "x" * 760, "empty": "", "nul": NUL, "key": f"1767323045678 {ID} refund", "key-digits": f"{NUMBER} {ID} a",
        "types": "type=plan.*,execution.step.blocked", "type-all": "type=*", "type-prefix": "type=controlPlane.skill.*&type=policy.*", "type-unknown": "type=../*,>,$JS", "type-empty": "type=", "type-commas": "type=" + "," * 3_000, "status": "status=running,blocked", "status-unknown": "status=Running", "status-quotes": "status=%22running%22", "execution": f"executionId={ID}", "execution-twice": f"executionId={ID}&executionId={ID}", "execution-upper": f"executionId={ID.upper()}", "after": "after=v1.00-1f4.c-9", "after-broken": "after=v1.00-", "after-twice": "after=v1&after=v1", "unknown": "__proto__=1", "too-long": "type=" + "x" * 4_200, "percent": "type=%ff%", "last-event-id": "v1.00-1f4",
    })  # fmt: skip


if __name__ == "__main__":
    for write in (json_inputs, name_inputs, subject_inputs, record_inputs, timer_inputs, reply_inputs, token_inputs, key_set_inputs, providers_inputs, principals_inputs, manifest_inputs, key_inputs, policy_inputs, draft_inputs, input_inputs, cloud_event_inputs, cursor_inputs):  # fmt: skip
        write()
    sizes = {folder.name: sum(path.stat().st_size for path in folder.iterdir()) for folder in sorted(CORPUS.iterdir())}
    print(json.dumps(sizes, indent=1), sum(sizes.values()))
