//! Tokens that are not good, each with the reason that is said.

use host::identity::TOKEN_BYTES_MAX;
use ring::hmac;
use serde_json::{Value, json};
use testkit::issuer::{SigningKey, compact, encoded, key_set};

use crate::gate::{AUDIENCE, Gate, ISSUER, at, claims, keys, with, without};

/// Of an RSA key that is too short.
const WEAK_MODULUS: &str = "uRxa3dQT1htTflyhlQRNTYeioU6h3KJpNcbLogeTLZAQo9vrivVHey8i_nF24_Gu9qAJvK4XKOR2\
                            kkED3bqGSp4Ixa0TGGVmq5G_JypihJ5fimH4PcaerPco8gzM7fNxKt5bTpp9K8Wv4YT23FS5eZRw\
                            m64MHINtFfCGYyoWHfk";

/// What it is, the token, and what is said of it.
type Case = (&'static str, String, &'static str);

const FORM: &str = "three parts of base64url";

/// A header of the key `ed`, with these members changed.
fn header(changed: Value) -> String {
    let mut header = json!({ "alg": "EdDSA", "kid": "ed", "typ": "JWT" });
    let Value::Object(changed) = changed else {
        panic!("not members: {changed}")
    };
    for (name, value) in changed {
        header[name] = value;
    }
    header.to_string()
}

/// With the key that it should be, so that only the claims are wrong.
fn claims_that_are_wrong() -> Vec<Case> {
    let cases = [
        ("expired", with("exp", json!(at(-61))), "has expired"),
        ("not yet", with("nbf", json!(at(120))), "not good yet"),
        ("issued later", with("iat", json!(at(120))), "not good yet"),
        (
            "for a year",
            with("exp", json!(at(31_536_000))),
            "for longer",
        ),
        ("no end", without("exp"), "until when"),
        ("odd end", with("exp", json!("tomorrow")), "not a number"),
        ("odd begin", with("nbf", json!({})), "not a number"),
        ("early", with("iat", json!(-5)), "not a number"),
        ("audience", with("aud", json!("other")), "another audience"),
        (
            "half of it",
            with("aud", json!("control")),
            "another audience",
        ),
        (
            "and more",
            with("aud", json!([AUDIENCE, 7])),
            "another audience",
        ),
        ("no audience", without("aud"), "another audience"),
        ("issuer", with("iss", json!("https://evil")), "issuer"),
        ("nearly", with("iss", json!(format!("{ISSUER}/"))), "issuer"),
        ("no issuer", without("iss"), "issuer"),
        ("nobody", without("sub"), "names no principal"),
        ("empty", with("sub", json!("")), "names no principal"),
        ("several", with("sub", json!(["a"])), "names no principal"),
        (
            "long",
            with("sub", json!("x".repeat(126))),
            "too long a name",
        ),
        (
            "local",
            with("sub", json!("local")),
            "known by other tokens",
        ),
        ("nowhere", without("workspace"), "names no workspace"),
        (
            "odd place",
            with("workspace", json!("A B")),
            "names no workspace",
        ),
        (
            "elsewhere",
            with("workspace", json!("elsewhere")),
            "no say in",
        ),
        ("no type", without("kind"), "a user, a service or an agent"),
        (
            "odd type",
            with("kind", json!("admin")),
            "a user, a service or an agent",
        ),
    ];
    let [_, _, ed] = keys();
    let signed = |(case, claims, reason): (_, Value, _)| (case, ed.token(&claims), reason);
    cases.into_iter().map(signed).collect()
}

/// Good claims under a signature that does not count.
fn signatures_that_do_not_count() -> Vec<Case> {
    let [rsa, p256, ed] = keys();
    let good = claims().to_string();
    let valid = ed.token(&claims());
    let (signed, _) = valid.rsplit_once('.').unwrap();
    let (head, _) = signed.split_once('.').unwrap();
    let forged = encoded(with("sub", json!("root")).to_string().as_bytes());
    let zeros = |count| encoded(&vec![0; count]);
    let stranger = SigningKey::ed25519("ed", 77);
    let own_key = header(json!({ "jwk": stranger.public(), "jku": "https://evil" }));
    let none = encoded(br#"{"alg":"none"}"#);
    let alg = |alg: Value| ed.signed(&header(json!({ "alg": alg })), &good);
    let secret = |secret: &[u8], kid: &str| {
        let header = header(json!({ "alg": "HS256", "kid": kid }));
        compact(&header, &good, |signed| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            hmac::sign(&key, signed).as_ref().to_vec()
        })
    };
    let public_key = rsa.public().to_string();
    let unfit = |key: &SigningKey, alg: &str, kid: &str| {
        key.signed(&header(json!({ "alg": alg, "kid": kid })), &good)
    };
    vec![
        (
            "forged",
            format!("{head}.{forged}.{}", zeros(64)),
            "signature",
        ),
        ("a stranger's", stranger.token(&claims()), "signature"),
        ("zeros", format!("{signed}.{}", zeros(64)), "signature"),
        ("too short", format!("{signed}.{}", zeros(3)), "signature"),
        ("its own key", stranger.signed(&own_key, &good), "signature"),
        ("cut off", valid[..valid.len() - 6].to_owned(), "signature"),
        (
            "none",
            format!("{none}.{}.{}", encoded(good.as_bytes()), zeros(1)),
            "not allowed",
        ),
        (
            "no signature",
            format!("{none}.{}.", encoded(good.as_bytes())),
            FORM,
        ),
        (
            "the public key as a secret",
            secret(public_key.as_bytes(), "rsa"),
            "not allowed",
        ),
        ("the set's secret", secret(&[7; 32], "oct"), "not allowed"),
        ("RS384", alg(json!("RS384")), "not allowed"),
        ("capitals", alg(json!("EDDSA")), "not allowed"),
        (
            "no algorithm",
            ed.signed(r#"{"kid":"ed"}"#, &good),
            "not allowed",
        ),
        ("several", alg(json!(["EdDSA"])), FORM),
        ("RSA as a curve", unfit(&rsa, "ES256", "rsa"), "not fit"),
        ("a curve as RSA", unfit(&p256, "RS256", "p256"), "not fit"),
        ("a weak key", unfit(&rsa, "RS256", "weak"), "not fit"),
    ]
}

fn keys_that_are_not_known() -> Vec<Case> {
    let [_, _, ed] = keys();
    let named = |kid: &str| ed.signed(&header(json!({ "kid": kid })), &claims().to_string());
    [
        ("to encrypt", SigningKey::ed25519("enc", 9).token(&claims())),
        ("another", named("other")),
        ("a path", named("../../../../etc/passwd")),
        ("a query", named("' OR 1=1 --")),
        ("an address", named("https://evil/keys")),
        ("nothing", named("\u{0}")),
        ("a long one", named(&"k".repeat(300))),
    ]
    .map(|(case, token)| (case, token, "not known (`kid`)"))
    .into()
}

fn forms_that_are_none() -> Vec<Case> {
    let [_, _, ed] = keys();
    let good = claims().to_string();
    let valid = ed.token(&claims());
    let parts: Vec<&str> = valid.split('.').collect();
    let (head, payload, signature) = (parts[0], parts[1], parts[2]);
    let signed = |changed: Value| ed.signed(&header(changed), &good);
    let of = |claims: &str| ed.signed(&header(json!({})), claims);
    let twice = good.replacen('{', r#"{"sub":"root","#, 1);
    let long = with("pad", json!("x".repeat(TOKEN_BYTES_MAX)));
    vec![
        (
            "critical",
            signed(json!({ "crit": ["b64"], "b64": false })),
            "critical",
        ),
        (
            "to log out",
            signed(json!({ "typ": "logout+jwt" })),
            "another type",
        ),
        ("odd key", signed(json!({ "kid": 7 })), FORM),
        (
            "two keys",
            ed.signed(r#"{"alg":"EdDSA","kid":"ed","kid":"rsa"}"#, &good),
            FORM,
        ),
        ("a claim twice", of(&twice), FORM),
        ("no object", of("[]"), FORM),
        ("no JSON", of("{"), FORM),
        ("too deep", of(&"[".repeat(2000)), FORM),
        ("too long", ed.token(&long), "too long"),
        ("cut off", format!("{head}.{}", &payload[..40]), FORM),
        ("padded", format!("{head}.{payload}==.{signature}"), FORM),
        ("bad base64", format!("{head}.{payload}!.{signature}"), FORM),
        (
            "other base64",
            format!("{head}.{payload}+/.{signature}"),
            FORM,
        ),
        ("nothing", ".".repeat(48), FORM),
        ("five parts", format!("{valid}.{head}.{payload}"), FORM),
    ]
}

#[tokio::test]
async fn a_token_that_is_not_good_is_refused_with_the_reason() {
    let mut set = key_set(&keys());
    let published = set["keys"].as_array_mut().unwrap();
    published.push(json!({ "kty": "RSA", "kid": "weak", "n": WEAK_MODULUS, "e": "AQAB" }));
    published.push(json!({ "kty": "oct", "kid": "oct", "k": encoded(&[7; 32]) }));
    let order_four = encoded(&[0; 32]);
    published.push(json!({ "kty": "OKP", "crv": "Ed25519", "kid": "point", "x": order_four }));
    let mut to_encrypt = SigningKey::ed25519("enc", 9).public();
    to_encrypt["use"] = json!("enc");
    published.push(to_encrypt);
    let gate = Gate::with_keys(&set).await;
    for reason in [
        "an RSA key has at least 2048 bits",
        "it is a secret: publish the public half",
        "one of small order, which proves nothing",
    ] {
        gate.process.line(reason).await;
    }

    let mut cases = claims_that_are_wrong();
    cases.extend(signatures_that_do_not_count());
    cases.extend(keys_that_are_not_known());
    cases.extend(forms_that_are_none());
    for (case, token, reason) in &cases {
        gate.refuses(case, token, reason).await;
    }
    for wanted in [
        "has expired",
        "another audience",
        "signature",
        "not known (`kid`)",
    ] {
        let (_, token, reason) = cases.iter().find(|(_, _, it)| *it == wanted).unwrap();
        gate.until_said(reason, async || drop(gate.submit(token).await))
            .await;
    }
    let said = gate.process.output().join("\n");
    for (case, token, _) in &cases {
        assert!(
            !said.contains(token.as_str()),
            "{case}: a token is in the log"
        );
    }
    assert!(
        !said.contains('\u{0}'),
        "what a caller wrote is in the log as it is"
    );
    let [_, _, ed] = keys();
    gate.submit(&ed.token(&claims())).await.ok();
}
