//! Keys and providers that change while intake runs.

use std::time::Duration;

use contracts::problem::Code;
use serde_json::json;
use testkit::issuer::{KeyServer, SigningKey, key_set};

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
