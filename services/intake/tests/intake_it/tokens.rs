//! Tokens that identity providers sign: who is let in, and as whom.

use contracts::{facts::ActorType, problem::Code};
use serde_json::{Value, json};
use testkit::issuer::{KeyServer, SigningKey, key_set};

use crate::{
    caller,
    gate::{AUDIENCE, Gate, at, claims, keys, provider, with, without},
    world::token,
};

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

/// The broker knows those of the file, and a subject says who asks: there is no token there.
#[tokio::test]
async fn over_nats_it_is_the_principals_of_the_file_who_ask() {
    let keys = keys();
    let gate = Gate::with_keys(&key_set(&keys)).await;
    gate.process.line("serves operations over NATS").await;
    let sam = crate::process::caller_of(&gate.world, "sam").await;
    assert_eq!(crate::process::submitted_over_nats(&sam, "k").await, 201);
}
