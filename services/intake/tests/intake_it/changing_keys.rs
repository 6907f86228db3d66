//! Keys and providers that change while intake runs.

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::get};
use contracts::problem::Code;
use host::http::{
    server::{self, Bounds},
    tls::{Files, Tls},
};
use serde_json::{Value, json};
use testkit::{
    authority::{Authority, Certificate},
    issuer::{KeyServer, SigningKey, key_set},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::gate::{Gate, ISSUER, claims, provider, replace, with};

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
    // Nor does who names none.
    let nameless = unnamed_token(&SigningKey::ed25519("garbage", 2));
    for _ in 0..50 {
        gate.refuses("nameless", &nameless, "signature").await;
    }
    assert_eq!(server.asked(), 1);
    gate.submit(&key.token(&claims())).await.ok();
}

/// The key set of a provider that names no key.
fn unnamed(key: &SigningKey) -> Value {
    let mut keys = key_set([key]);
    keys["keys"][0].as_object_mut().unwrap().remove("kid");
    keys
}

fn unnamed_token(key: &SigningKey) -> String {
    key.signed(r#"{"alg":"EdDSA"}"#, &claims().to_string())
}

#[tokio::test]
async fn a_key_without_a_name_changes_without_waiting_until_it_is_old() {
    let [old, new] = [SigningKey::ed25519("old", 1), SigningKey::ed25519("new", 2)];
    let server = KeyServer::start(&unnamed(&old)).await;
    let keys = json!({ "url": server.url(), "refetchSeconds": 1, "maxAgeSeconds": 3600 });
    let gate = Gate::open(&json!([provider("kc", ISSUER, &keys)])).await;
    let (with_old, with_new) = (unnamed_token(&old), unnamed_token(&new));
    gate.submit(&with_old).await.ok();
    server.answer_keys(&unnamed(&new));
    gate.until(&with_new, 201).await;
    gate.refuses("taken back", &with_old, "signature").await;
}

#[tokio::test]
async fn who_vouches_for_a_provider_changes_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(), Authority::new());
    let (ca, next) = (
        directory.path().join("ca.crt"),
        directory.path().join("next.crt"),
    );
    old.write(&ca);
    new.write(&next);
    let key = SigningKey::ed25519("ed", 1);
    let own = new.issue(directory.path(), "own", &["localhost"]);
    let url = encrypted(own, &key_set([&key])).await;
    let keys = json!({ "url": url, "caFile": ca, "refetchSeconds": 1 });
    let gate = Gate::open(&json!([provider("kc", ISSUER, &keys)])).await;
    let token = key.token(&claims());
    gate.refuses("a stranger", &token, "could not be had").await;
    std::fs::rename(&next, &ca).unwrap();
    gate.until(&token, 201).await;
}

/// Where keys are served by someone with this certificate.
async fn encrypted(own: Certificate, keys: &Value) -> String {
    let files = Files {
        cert: own.cert,
        key: own.key,
        client_ca: None,
    };
    let tls = Arc::new(Tls::load(files).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let keys = keys.to_string();
    let routes = Router::new().route("/keys", get(async move || keys));
    let shutdown = CancellationToken::new();
    tokio::spawn(server::serve(
        listener,
        Some(tls),
        routes,
        shutdown,
        Bounds::default(),
    ));
    format!("https://localhost:{port}/keys")
}

/// A file is read again for as long as it is refused; what it names is not asked again.
#[tokio::test]
async fn a_faulty_provider_does_not_make_the_others_fetch_their_keys_again() {
    let [one, other] = [
        SigningKey::ed25519("one", 1),
        SigningKey::ed25519("other", 2),
    ];
    let server = KeyServer::start(&key_set([&one])).await;
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("keys.json");
    let gate = Gate::open(&json!([])).await;
    let by_url = provider("one", ISSUER, &json!({ "url": server.url() }));
    let faulty = provider("other", "https://other", &json!({ "file": missing }));
    let mut of_other = claims();
    of_other["iss"] = json!("https://other");
    let (with_one, with_other) = (one.token(&claims()), other.token(&of_other));
    // Each time it is another file, and each time it is refused.
    for refusals in 1..=3 {
        let document = json!({ "providers": [by_url, faulty] });
        replace(&gate.file("providers.json"), &document);
        refused_so_often(&gate, &with_one, refusals).await;
    }
    replace(&missing, &key_set([&other]));
    gate.until(&with_other, 201).await;
    gate.until(&with_one, 201).await;
    assert_eq!(server.asked(), 1);
}

async fn refused_so_often(gate: &Gate, token: &str, refusals: usize) {
    let stays = |line: &&String| line.contains("the identity providers stay as before");
    let asking = async {
        while gate.process.output().iter().filter(stays).count() < refusals {
            gate.refuses("no provider", token, "issuer").await;
        }
    };
    let asked = tokio::time::timeout(Duration::from_secs(30), asking).await;
    assert!(asked.is_ok(), "the file is not refused {refusals} times");
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
