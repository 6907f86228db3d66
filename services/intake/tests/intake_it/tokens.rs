//! Tokens that identity providers sign, shown to intake as a process.

use std::{path::PathBuf, process::Command, time::Duration};

use contracts::{facts::ActorType, problem::Code};
use host::{
    clock::{Ambient as _, System},
    config::names,
    identity::TOKEN_BYTES_MAX,
};
use ring::hmac;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{
    issuer::{KeyServer, SigningKey, compact, encoded, key_set},
    process::Process,
};

use crate::{
    caller::{self, Answer},
    cases::{echo, intent},
    process::{address, command},
    world::{WORKSPACE, World, credential, everybody, token},
};

const ISSUER: &str = "https://id.example.com/realms/acme";
const AUDIENCE: &str = "control-plane";

/// Of an RSA key that is too short.
const WEAK_MODULUS: &str = "uRxa3dQT1htTflyhlQRNTYeioU6h3KJpNcbLogeTLZAQo9vrivVHey8i_nF24_Gu9qAJvK4XKOR2\
                            kkED3bqGSp4Ixa0TGGVmq5G_JypihJ5fimH4PcaerPco8gzM7fNxKt5bTpp9K8Wv4YT23FS5eZRw\
                            m64MHINtFfCGYyoWHfk";

/// A provider in the manner of Keycloak.
pub fn provider(name: &str, issuer: &str, keys: &Value) -> Value {
    json!({
        "name": name,
        "issuer": issuer,
        "audiences": [AUDIENCE],
        "keys": keys,
        "algorithms": ["RS256", "PS256", "ES256", "EdDSA"],
        "principal": "/sub",
        "workspace": { "claim": "/workspace", "among": [WORKSPACE] },
        "type": {
            "claim": "/kind",
            "values": { "person": "user", "bot": "agent", "job": "service" },
        },
        "roles": {
            "claim": "/realm_access/roles",
            "values": { "cp-submit": ["submitter"], "cp-vote": ["approver"] },
        },
        "grants": { "claim": "/groups", "values": { "treasury": ["approve.refunds"] } },
    })
}

/// Seconds since 1970, from now.
fn at(seconds: i64) -> i64 {
    System.now().as_millis() / 1000 + seconds
}

/// Claims of a token that is good, of someone who may submit.
fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "maria", "jti": "t-1",
        "iat": at(-1), "nbf": at(-1), "exp": at(300),
        "workspace": WORKSPACE, "kind": "person",
        "realm_access": { "roles": ["cp-submit", "offline_access"] },
    })
}

fn with(member: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[member] = value;
    claims
}

fn without(member: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(member);
    claims
}

/// Intake with providers, as a process.
struct Gate {
    world: World,
    process: Process,
    directory: TempDir,
}

impl Gate {
    async fn open(providers: &Value) -> Self {
        let mut world = World::on_broker().await;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("providers.json");
        std::fs::write(&file, json!({ "providers": providers }).to_string()).unwrap();
        let mut people = everybody();
        people
            .principals
            .push(credential("kc:local", "user", WORKSPACE, &[]));
        let principals = directory.path().join("principals.json");
        std::fs::write(&principals, serde_json::to_vec(&people).unwrap()).unwrap();
        let mut command: Command = command(&world, directory.path());
        command
            .env(names::PRINCIPALS_FILE, principals)
            .env(names::IDENTITY_PROVIDERS_FILE, file);
        let process = Process::spawn("intake", command, &directory.path().join("log"));
        world.address = address(&process).await;
        Self {
            world,
            process,
            directory,
        }
    }

    /// With the keys in a file.
    async fn with_keys(keys: &Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("keys.json");
        std::fs::write(&file, keys.to_string()).unwrap();
        Self::open(&json!([provider("kc", ISSUER, &json!({ "file": file }))])).await
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn submit(&self, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("content-type", "application/json"),
            ("authorization", bearer.as_str()),
        ];
        let body = intent(echo()).to_string();
        caller::post(
            self.world.address,
            "/v1/intent.submit",
            &headers,
            body.as_bytes(),
        )
        .await
    }

    /// Refused, for this reason: in the answer, for programs, and in the log.
    async fn refuses(&self, case: &str, token: &str, reason: &str) {
        let answer = self.submit(token).await;
        answer.is(Code::Unauthenticated);
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(reason), "{case}: {detail}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(
            challenge.starts_with("Bearer error=\"invalid_token\", error_description=\"")
                && challenge.contains(reason),
            "{case}: {challenge}"
        );
    }

    /// Asks until the answer has this status: files are looked at once a second.
    async fn until(&self, token: &str, status: u16) {
        let asking = async {
            while self.submit(token).await.status != status {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let asked = tokio::time::timeout(Duration::from_secs(30), asking).await;
        assert!(asked.is_ok(), "it never answers {status}");
    }

    /// Does this until the log says so: of many refusals at once, it tells a few.
    async fn until_said(&self, reason: &str, attempt: impl AsyncFn()) {
        let said = |line: &String| line.contains("a token is refused: ") && line.contains(reason);
        let trying = async {
            while !self.process.output().iter().any(said) {
                attempt().await;
            }
        };
        let tried = tokio::time::timeout(Duration::from_secs(30), trying).await;
        assert!(tried.is_ok(), "the log does not say `{reason}`");
    }

    async fn actor(&self, token: &str) -> Value {
        let execution = self.submit(token).await.text("executionId");
        let history = self.world.history(&execution).await;
        history[0].event.to_json().unwrap()["actor"].clone()
    }
}

fn keys() -> [SigningKey; 3] {
    [
        SigningKey::rsa("rsa"),
        SigningKey::p256("p256"),
        SigningKey::ed25519("ed", 1),
    ]
}

/// What was written into the file is read again, and the file is whole at any time.
fn replace(path: &std::path::Path, document: &Value) {
    let part = path.with_extension("part");
    std::fs::write(&part, document.to_string()).unwrap();
    std::fs::rename(part, path).unwrap();
}

#[tokio::test]
async fn a_good_token_is_let_in_as_its_claims_say() {
    let keys = keys();
    let gate = Gate::with_keys(&key_set(&keys)).await;
    for key in &keys {
        gate.submit(&key.token(&claims())).await.ok();
    }
    let [rsa, _, ed] = &keys;
    let pss = json!({ "alg": "PS256", "kid": "rsa" }).to_string();
    gate.submit(&rsa.signed(&pss, &claims().to_string()))
        .await
        .ok();

    let actor = gate.actor(&ed.token(&claims())).await;
    assert_eq!(
        (&actor["id"], &actor["type"]),
        (&json!("kc:maria"), &json!("user"))
    );
    assert!(
        actor["grants"]
            .as_array()
            .unwrap()
            .contains(&json!("intent.submit"))
    );

    // Another claim is another principal, whatever it is written with.
    for (sub, id) in [
        ("auth0|123", "kc:auth0+7C123"),
        ("auth0+7C123", "kc:auth0+2B7C123"),
        ("a@example.com", "kc:a@example.com"),
        ("ä b", "kc:+C3+A4+20b"),
    ] {
        let actor = gate.actor(&ed.token(&with("sub", json!(sub)))).await;
        assert_eq!(actor["id"], id);
    }

    for (case, good) in [
        ("two audiences", with("aud", json!(["other", AUDIENCE]))),
        (
            "fractions",
            with(
                "iat",
                json!(at(-1)).as_f64().map(|at| json!(at + 0.5)).unwrap(),
            ),
        ),
        ("within the skew", with("exp", json!(at(-30)))),
        ("no `nbf`, `iat` and `jti`", {
            let mut few = without("nbf");
            for name in ["iat", "jti"] {
                few.as_object_mut().unwrap().remove(name);
            }
            few
        }),
    ] {
        let answer = gate.submit(&ed.token(&good)).await;
        assert_eq!(answer.status, 201, "{case}: {answer:#?}");
    }
    for typ in ["at+jwt", "application/at+JWT", "jwt"] {
        let header = json!({ "alg": "EdDSA", "kid": "ed", "typ": typ }).to_string();
        gate.submit(&ed.signed(&header, &claims().to_string()))
            .await
            .ok();
    }
    // Beside them, tokens of the file are as good as ever.
    gate.submit(&token("sam")).await.ok();
}

#[tokio::test]
async fn a_token_that_is_not_good_is_refused_with_the_reason() {
    let keys = keys();
    let mut set = key_set(&keys);
    let published = set["keys"].as_array_mut().unwrap();
    published.push(json!({ "kty": "RSA", "kid": "weak", "n": WEAK_MODULUS, "e": "AQAB" }));
    published.push(json!({ "kty": "oct", "kid": "oct", "k": encoded(&[7; 32]) }));
    let mut to_encrypt = SigningKey::ed25519("enc", 9).public();
    to_encrypt["use"] = json!("enc");
    published.push(to_encrypt);
    let gate = Gate::with_keys(&set).await;
    gate.process.line("an RSA key has at least 2048 bits").await;
    gate.process
        .line("it is a secret: publish the public half only")
        .await;

    let [rsa, p256, ed] = &keys;
    let good = claims().to_string();
    let header = |changed: Value| {
        let mut header = json!({ "alg": "EdDSA", "kid": "ed", "typ": "JWT" });
        for (name, value) in changed.as_object().unwrap() {
            header[name] = value.clone();
        }
        header.to_string()
    };
    let named = |kid: &str| ed.signed(&header(json!({ "kid": kid })), &good);
    let hmac_with = |secret: &[u8], kid: &str| {
        let header = json!({ "alg": "HS256", "kid": kid, "typ": "JWT" }).to_string();
        compact(&header, &good, |signed| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            hmac::sign(&key, signed).as_ref().to_vec()
        })
    };
    let public_key = rsa.public().to_string();
    let valid = ed.token(&claims());
    let (signed, _) = valid.rsplit_once('.').unwrap();
    let (head, payload) = signed.split_once('.').unwrap();
    let forged = with("sub", json!("root")).to_string();
    let swapped = format!(
        "{head}.{}.{}",
        encoded(forged.as_bytes()),
        encoded(&[1; 64])
    );
    let none = compact(&json!({ "alg": "none" }).to_string(), &good, |_| vec![0]);
    let unsigned = format!(
        "{}.{}.",
        encoded(br#"{"alg":"none"}"#),
        encoded(good.as_bytes())
    );
    let stranger = SigningKey::ed25519("ed", 77);

    let form = "three parts of base64url";
    let cases = [
        (
            "expired",
            ed.token(&with("exp", json!(at(-61)))),
            "has expired",
        ),
        (
            "not yet",
            ed.token(&with("nbf", json!(at(120)))),
            "not good yet",
        ),
        (
            "issued later",
            ed.token(&with("iat", json!(at(120)))),
            "not good yet",
        ),
        (
            "for a year",
            ed.token(&with("exp", json!(at(31_536_000)))),
            "for longer",
        ),
        ("no end", ed.token(&without("exp")), "until when"),
        (
            "an odd end",
            ed.token(&with("exp", json!("tomorrow"))),
            "not a number",
        ),
        (
            "an odd begin",
            ed.token(&with("nbf", json!({}))),
            "not a number",
        ),
        (
            "a negative begin",
            ed.token(&with("iat", json!(-5))),
            "not a number",
        ),
        (
            "other audience",
            ed.token(&with("aud", json!("other"))),
            "another audience",
        ),
        (
            "part of it",
            ed.token(&with("aud", json!("control"))),
            "another audience",
        ),
        (
            "odd audience",
            ed.token(&with("aud", json!([AUDIENCE, 7]))),
            "another audience",
        ),
        ("no audience", ed.token(&without("aud")), "another audience"),
        (
            "other issuer",
            ed.token(&with("iss", json!("https://evil"))),
            "issuer",
        ),
        (
            "nearly the issuer",
            ed.token(&with("iss", json!(format!("{ISSUER}/")))),
            "issuer",
        ),
        ("no issuer", ed.token(&without("iss")), "issuer"),
        (
            "no principal",
            ed.token(&without("sub")),
            "names no principal",
        ),
        (
            "empty principal",
            ed.token(&with("sub", json!(""))),
            "names no principal",
        ),
        (
            "odd principal",
            ed.token(&with("sub", json!(["a"]))),
            "names no principal",
        ),
        (
            "long principal",
            ed.token(&with("sub", json!("x".repeat(126)))),
            "too long a name",
        ),
        (
            "a local one",
            ed.token(&with("sub", json!("local"))),
            "known by other tokens",
        ),
        (
            "no workspace",
            ed.token(&without("workspace")),
            "names no workspace",
        ),
        (
            "odd workspace",
            ed.token(&with("workspace", json!("A B"))),
            "names no workspace",
        ),
        (
            "other workspace",
            ed.token(&with("workspace", json!("elsewhere"))),
            "no say in",
        ),
        (
            "no type",
            ed.token(&without("kind")),
            "a user, a service or an agent",
        ),
        (
            "odd type",
            ed.token(&with("kind", json!("admin"))),
            "a user, a service or an agent",
        ),
        ("forged", swapped, "signature"),
        ("another's key", stranger.token(&claims()), "signature"),
        (
            "of another part",
            format!("{signed}.{}", encoded(&[0; 64])),
            "signature",
        ),
        (
            "short signature",
            format!("{signed}.{}", encoded(&[0; 3])),
            "signature",
        ),
        ("alg none", none, "not allowed"),
        ("no signature", unsigned, form),
        (
            "a shared secret",
            hmac_with(public_key.as_bytes(), "rsa"),
            "not allowed",
        ),
        (
            "the set's secret",
            hmac_with(&[7; 32], "oct"),
            "not allowed",
        ),
        (
            "alg RS384",
            ed.signed(&header(json!({ "alg": "RS384" })), &good),
            "not allowed",
        ),
        (
            "alg in capitals",
            ed.signed(&header(json!({ "alg": "EDDSA" })), &good),
            "not allowed",
        ),
        ("no alg", ed.signed(r#"{"kid":"ed"}"#, &good), "not allowed"),
        ("odd alg", ed.signed(r#"{"alg":["EdDSA"]}"#, &good), form),
        (
            "unfit key",
            rsa.signed(&header(json!({ "alg": "ES256", "kid": "rsa" })), &good),
            "not fit",
        ),
        (
            "unfit key too",
            p256.signed(&header(json!({ "alg": "RS256", "kid": "p256" })), &good),
            "not fit",
        ),
        (
            "weak key",
            rsa.signed(&header(json!({ "alg": "RS256", "kid": "weak" })), &good),
            "not fit",
        ),
        (
            "a key to encrypt",
            SigningKey::ed25519("enc", 9).token(&claims()),
            "not known (kid)",
        ),
        ("unknown key", named("other"), "not known (kid)"),
        (
            "a path for a key",
            named("../../../../etc/passwd"),
            "not known (kid)",
        ),
        ("a query for a key", named("' OR 1=1 --"), "not known (kid)"),
        (
            "a URL for a key",
            named("https://evil/keys"),
            "not known (kid)",
        ),
        ("nothing for a key", named("\u{0}"), "not known (kid)"),
        ("a long key", named(&"k".repeat(300)), "not known (kid)"),
        (
            "its own key",
            {
                let header = header(json!({ "jwk": stranger.public(), "jku": "https://evil" }));
                stranger.signed(&header, &good)
            },
            "signature",
        ),
        (
            "critical",
            ed.signed(&header(json!({ "crit": ["b64"], "b64": false })), &good),
            "critical",
        ),
        (
            "other type",
            ed.signed(&header(json!({ "typ": "logout+jwt" })), &good),
            "another type",
        ),
        (
            "a key twice",
            ed.signed(r#"{"alg":"EdDSA","kid":"ed","kid":"rsa"}"#, &good),
            form,
        ),
        (
            "a claim twice",
            {
                let twice = good.replacen('{', r#"{"sub":"root","#, 1);
                ed.signed(&header(json!({})), &twice)
            },
            form,
        ),
        ("no object", ed.signed(&header(json!({})), "[]"), form),
        ("no JSON", ed.signed(&header(json!({})), "{"), form),
        (
            "too deep",
            ed.signed(&header(json!({})), &"[".repeat(2000)),
            form,
        ),
        (
            "too long",
            ed.token(&with("pad", json!("x".repeat(TOKEN_BYTES_MAX)))),
            "too long",
        ),
        ("cut off", valid[..valid.len() - 6].to_owned(), "signature"),
        ("cut off early", format!("{head}.{}", &payload[..9]), form),
        (
            "padded",
            format!("{head}.{payload}==.{}", encoded(&[0; 64])),
            form,
        ),
        (
            "bad base64",
            format!("{head}.{payload}!.{}", encoded(&[0; 64])),
            form,
        ),
        (
            "empty parts",
            "................................................".to_owned(),
            form,
        ),
        ("five parts", format!("{valid}.{head}.{payload}"), form),
    ];
    // Without the signs that a quoted text cannot hold.
    for (case, token, reason) in &cases {
        let reason = reason.replace("(kid)", "(`kid`)");
        gate.refuses(case, token, &reason).await;
    }
    for wanted in [
        "has expired",
        "another audience",
        "signature",
        "not known (kid)",
    ] {
        let (_, token, reason) = cases.iter().find(|(_, _, it)| *it == wanted).unwrap();
        let reason = reason.replace("(kid)", "(`kid`)");
        let attempt = async || drop(gate.submit(token).await);
        gate.until_said(&reason, attempt).await;
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
        "what a caller wrote is not in the log as it is"
    );
    gate.submit(&valid).await.ok();
}

#[tokio::test]
async fn what_is_not_mapped_is_not_granted_and_no_agent_votes() {
    let keys = keys();
    let gate = Gate::with_keys(&key_set(&keys)).await;
    let ed = &keys[2];
    let roles = |roles: Value| with("realm_access", json!({ "roles": roles }));
    for (case, few) in [
        (
            "other roles",
            roles(json!(["admin", "intent.submit", "submitter"])),
        ),
        ("no roles", without("realm_access")),
        ("odd roles", roles(json!({ "cp-submit": true }))),
        ("odd names", roles(json!([7, null, ["cp-submit"]]))),
    ] {
        let answer = gate.submit(&ed.token(&few)).await;
        assert_eq!(answer.status, 403, "{case}: {answer:#?}");
    }
    // As `scope` has it: one text.
    gate.submit(&ed.token(&roles(json!("openid cp-submit"))))
        .await
        .ok();

    for (kind, may_vote) in [("person", true), ("job", true), ("bot", false)] {
        let mut claims = roles(json!(["cp-submit", "cp-vote"]));
        claims["kind"] = json!(kind);
        claims["groups"] = json!(["treasury", "execution.approve"]);
        let actor = gate.actor(&ed.token(&claims)).await;
        let grants = actor["grants"].as_array().unwrap();
        assert_eq!(
            grants.contains(&json!("execution.approve")),
            may_vote,
            "{actor}"
        );
        assert!(grants.contains(&json!("approve.refunds")), "{actor}");
    }
    let mut bot = roles(json!(["cp-vote"]));
    bot["kind"] = json!("bot");
    let bearer = format!("Bearer {}", ed.token(&bot));
    let headers = [
        ("content-type", "application/json"),
        ("authorization", bearer.as_str()),
    ];
    let answer = caller::post(gate.world.address, "/v1/execution.approve", &headers, b"{}").await;
    answer.is(Code::Forbidden);
    assert_eq!(
        serde_json::to_value(ActorType::Agent).unwrap(),
        gate.actor(&ed.token(&with("kind", json!("bot")))).await["type"]
    );
}

/// The name that stands before each id keeps them apart.
#[tokio::test]
async fn two_providers_have_no_principal_in_common() {
    let (one, other) = (SigningKey::ed25519("k", 1), SigningKey::ed25519("k", 2));
    let servers = [
        KeyServer::start(&key_set([&one])).await,
        KeyServer::start(&key_set([&other])).await,
    ];
    let gate = Gate::open(&json!([
        provider("one", "https://one", &json!({ "url": servers[0].url() })),
        provider("two", "https://two", &json!({ "url": servers[1].url() })),
    ]))
    .await;
    let of = |issuer: &str| with("iss", json!(issuer));
    let first = gate.actor(&one.token(&of("https://one"))).await;
    let second = gate.actor(&other.token(&of("https://two"))).await;
    assert_eq!(
        (&first["id"], &second["id"]),
        (&json!("one:maria"), &json!("two:maria"))
    );
    gate.refuses("not its key", &one.token(&of("https://two")), "signature")
        .await;
}

#[tokio::test]
async fn keys_change_without_a_restart_and_stay_when_they_cannot_be_had() {
    let [old, new] = [SigningKey::ed25519("old", 1), SigningKey::ed25519("new", 2)];
    let server = KeyServer::start(&key_set([&old])).await;
    let keys = json!({ "url": server.url(), "refetchSeconds": 1, "maxAgeSeconds": 1 });
    let gate = Gate::open(&json!([provider("kc", ISSUER, &keys)])).await;
    let (with_old, with_new) = (old.token(&claims()), new.token(&claims()));
    gate.submit(&with_old).await.ok();
    gate.refuses("too early", &with_new, "not known").await;

    // Both are good while both are published.
    server.answer_keys(&key_set([&old, &new]));
    gate.until(&with_new, 201).await;
    gate.submit(&with_old).await.ok();

    // An answer that is of no use changes nothing.
    let large = format!("{{\"keys\":[],\"pad\":\"{}\"}}", "x".repeat(300 * 1024));
    let elsewhere = format!("location: http://{}/other\r\n", server.address);
    for (status, headers, body) in [
        ("500 Internal Server Error", "", ""),
        ("302 Found", elsewhere.as_str(), ""),
        ("200 OK", "", "{\"keys\": 7}"),
        ("200 OK", "", large.as_str()),
    ] {
        let asked = server.asked();
        server.answer_with(status, headers, body);
        let unknown = SigningKey::ed25519("unknown", 3).token(&claims());
        while server.asked() == asked {
            gate.refuses("unknown", &unknown, "not known").await;
        }
        gate.refuses("unknown", &unknown, "not known").await;
        gate.submit(&with_old).await.ok();
        gate.submit(&with_new).await.ok();
    }
    gate.process
        .line("the keys of a provider stay as before: the answer is 500")
        .await;

    // What is published no more is good for about as long as keys may be old.
    server.answer_keys(&key_set([&new]));
    gate.until(&with_old, 401).await;
    gate.submit(&with_new).await.ok();
}

#[tokio::test]
async fn who_names_keys_that_nobody_has_causes_one_request_and_no_more() {
    let key = SigningKey::ed25519("ed", 1);
    let server = KeyServer::start(&key_set([&key])).await;
    let keys = json!({ "url": server.url(), "refetchSeconds": 3600 });
    let gate = Gate::open(&json!([provider("kc", ISSUER, &keys)])).await;
    gate.submit(&key.token(&claims())).await.ok();
    assert_eq!(server.asked(), 1);
    let garbage: Vec<_> = (0..200)
        .map(|number| SigningKey::ed25519(&format!("garbage-{number}"), 2).token(&claims()))
        .collect();
    for few in garbage.chunks(50) {
        let answers = few.iter().map(|token| gate.submit(token));
        for answer in futures::future::join_all(answers).await {
            answer.is(Code::Unauthenticated);
        }
    }
    assert_eq!(server.asked(), 1);
    gate.submit(&key.token(&claims())).await.ok();
}

#[tokio::test]
async fn without_keys_nobody_is_let_in() {
    let key = SigningKey::ed25519("ed", 1);
    let server = KeyServer::start(&key_set([&key])).await;
    server.answer_with("404 Not Found", "", "");
    let keys = json!({ "url": server.url(), "refetchSeconds": 1 });
    let gate = Gate::open(&json!([provider("kc", ISSUER, &keys)])).await;
    let token = key.token(&claims());
    gate.refuses("no keys", &token, "could not be had").await;
    server.answer_keys(&key_set([&key]));
    gate.until(&token, 201).await;
}

#[tokio::test]
async fn the_files_change_without_a_restart() {
    let [one, other] = [
        SigningKey::ed25519("one", 1),
        SigningKey::ed25519("other", 2),
    ];
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys.json");
    replace(&keys, &key_set([&one]));
    let mut provider = provider("kc", ISSUER, &json!({ "file": keys }));
    let gate = Gate::open(&json!([provider])).await;
    let token = one.token(&claims());
    gate.submit(&token).await.ok();

    replace(&keys, &key_set([&one, &other]));
    gate.until(&other.token(&claims()), 201).await;

    // A token, then everything of one subject.
    let another = one.token(&with("jti", json!("t-2")));
    provider["revoked"] = json!({ "ids": ["t-1"] });
    replace(
        &gate.file("providers.json"),
        &json!({ "providers": [provider] }),
    );
    gate.until(&token, 401).await;
    gate.refuses("revoked", &token, "was revoked").await;
    gate.submit(&another).await.ok();
    provider["revoked"] = json!({ "subjects": ["maria"] });
    replace(
        &gate.file("providers.json"),
        &json!({ "providers": [provider] }),
    );
    gate.until(&another, 401).await;
    gate.refuses("revoked", &another, "was revoked").await;
    gate.submit(&one.token(&with("sub", json!("nina"))))
        .await
        .ok();

    // A faulty file changes nothing; without the provider nobody of it is let in.
    replace(&gate.file("providers.json"), &json!({ "providers": 7 }));
    let nina = one.token(&with("sub", json!("nina")));
    let said = async {
        while !gate
            .process
            .output()
            .join("\n")
            .contains("the identity providers stay as before")
        {
            gate.submit(&nina).await.ok();
        }
    };
    tokio::time::timeout(Duration::from_secs(30), said)
        .await
        .unwrap();
    replace(&gate.file("providers.json"), &json!({ "providers": [] }));
    gate.until(&nina, 401).await;
    gate.refuses("no provider", &nina, "issuer").await;
}

/// The broker knows those of the file, and a subject says who asks: there is no token there.
#[tokio::test]
async fn over_nats_it_is_the_principals_of_the_file_who_ask() {
    let keys = keys();
    let gate = Gate::with_keys(&key_set(&keys)).await;
    gate.process.line("serves operations over NATS").await;
    let sam = crate::process::caller_of(&gate.world, "sam").await;
    assert_eq!(crate::process::submitted_over_nats(&sam, "k").await, 201);
}
