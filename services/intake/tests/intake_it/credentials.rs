use std::{path::Path, time::Duration};

use contracts::{canonical::Digest, facts::ActorType, problem::Code, registry::Grant};
use host::{
    clock::{Ambient as _, System},
    principals::{self, Document, Principals, PrincipalsError},
};
use serde_json::json;

use crate::{
    caller,
    cases::{echo, intent},
    world::{WORKSPACE, World, credential, everybody, token},
};

async fn with_headers(world: &World, headers: &[(&str, &str)]) -> caller::Answer {
    let mut all = vec![("content-type", "application/json")];
    all.extend_from_slice(headers);
    let body = intent(echo()).to_string();
    caller::post(world.address, "/v1/intent.submit", &all, body.as_bytes()).await
}

#[tokio::test]
async fn who_is_not_known_is_not_let_in() {
    let world = World::alone().await;
    let sam = token("sam");
    let good = format!("Bearer {sam}");
    let cases = [
        vec![],
        vec![("authorization", String::new())],
        vec![("authorization", "Bearer".to_owned())],
        vec![("authorization", "Bearer ".to_owned())],
        vec![("authorization", sam.clone())],
        vec![("authorization", format!("Basic {sam}"))],
        vec![("authorization", format!("Bearer {sam} {sam}"))],
        vec![("authorization", format!("Bearer {}", &sam[..63]))],
        vec![("authorization", format!("Bearer {}", sam.to_uppercase()))],
        vec![("authorization", "Bearer short".to_owned())],
        vec![("authorization", format!("Bearer {}", token("nobody")))],
        // The hash in the file is no token.
        vec![(
            "authorization",
            format!("Bearer {}", principals::token_hash(&sam)),
        )],
        vec![
            ("authorization", good.clone()),
            ("authorization", good.clone()),
        ],
        vec![("authorization", format!("Bearer {}", token("old")))],
    ];
    for case in cases {
        let headers: Vec<_> = case
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let answer = with_headers(&world, &headers).await;
        answer.is(Code::Unauthenticated);
        // Of a token that is not good, the reason is said; of none, nothing.
        let detail = answer.body["detail"].as_str().unwrap();
        let challenge = if detail.starts_with("the token ") {
            format!("Bearer error=\"invalid_token\", error_description=\"{detail}\"")
        } else {
            "Bearer".to_owned()
        };
        let found = answer.header("www-authenticate");
        assert_eq!(found, Some(challenge.as_str()), "{case:?}");
    }
    with_headers(&world, &[("authorization", &good)]).await.ok();
    with_headers(&world, &[("Authorization", &format!("bearer  {sam}"))])
        .await
        .ok();
}

#[tokio::test]
async fn every_operation_needs_its_grant() {
    let world = World::alone().await;
    for (operation, grant) in [
        ("intent.submit", "intent.submit"),
        ("plan.compile", "plan.compile"),
        ("plan.verify", "plan.verify"),
        ("execution.start", "execution.start"),
        ("execution.approve", "execution.approve"),
        ("execution.reject", "execution.approve"),
        ("execution.cancel", "execution.cancel"),
        ("skill.install", "skill.install"),
        ("skill.disable", "skill.disable"),
        ("policy.activate", "policy.activate"),
    ] {
        // Also before what was sent is looked at.
        let answer = world
            .ask("guest", operation, &json!({ "nonsense": 1 }))
            .await;
        answer.is(Code::Forbidden);
        assert!(
            answer.body["detail"].as_str().unwrap().contains(grant),
            "{answer:#?}"
        );
    }
}

/// An outside planner may draft, and nothing else.
#[tokio::test]
async fn a_draft_needs_only_the_grant_to_draft() {
    let world = World::alone().await;
    let unknown = "0198f3b1-0000-7000-8000-000000000000";
    let mut input = json!({ "executionId": unknown, "intentId": unknown });
    world
        .ask("llm", "plan.compile", &input)
        .await
        .is(Code::Forbidden);
    input["draft"] = json!(null);
    world
        .ask("llm", "plan.compile", &input)
        .await
        .is(Code::Forbidden);
    input["draft"] = echo();
    world
        .ask("llm", "plan.compile", &input)
        .await
        .is(Code::IntentNotFound);
}

#[tokio::test]
async fn an_agent_never_votes_whatever_its_credential_says() {
    let world = World::new().await.equipped().await;
    let (execution, _) = world.blocked(crate::cases::refund(), "refund").await;
    let vote = json!({ "executionId": execution, "stepId": "refund", "approvedBy": "bot" });
    world
        .ask("bot", "execution.approve", &vote)
        .await
        .is(Code::Forbidden);
    let vote = json!({
        "executionId": execution, "stepId": "refund", "rejectedBy": "bot", "reason": "no",
    });
    world
        .ask("bot", "execution.reject", &vote)
        .await
        .is(Code::Forbidden);
    // What else it may do, it does.
    let submitted = world.ask("bot", "intent.submit", &intent(echo())).await;
    let history = world.history(&submitted.text("executionId")).await;
    let stored = history[0].event.to_json().unwrap();
    assert_eq!(stored["actor"]["type"], "agent");
    let grants = stored["actor"]["grants"].as_array().unwrap();
    assert!(!grants.contains(&json!("execution.approve")), "{stored}");
}

#[tokio::test]
async fn a_name_that_is_not_ones_own_needs_a_grant() {
    let world = World::alone().await;
    let mut input = intent(echo());
    input["actorId"] = json!("ada");
    world.submit(&input).await.is(Code::ActorMismatch);
    let answer = world.ask("proxy", "intent.submit", &input).await;
    let history = world.history(&answer.text("executionId")).await;
    let stored = history[0].event.to_json().unwrap();
    // What both hold, which is nothing: `proxy` may vote, `ada` may, but acting needs no vote.
    let expected = json!({
        "type": "user", "id": "ada", "grants": ["execution.approve"], "via": "proxy",
    });
    assert_eq!(stored["actor"], expected);
    assert_eq!(stored["actorId"], "ada");
}

/// An agent stays one whatever became of its credential.
#[tokio::test]
async fn a_lent_name_keeps_its_type_after_its_credential() {
    let mut gone = credential("bot", "agent", WORKSPACE, &["intent.submit"]);
    gone.not_after = Some(contracts::time::Timestamp::from_millis(1));
    let proxy = credential("proxy", "service", WORKSPACE, &["act-as", "intent.submit"]);
    let document = Document {
        principals: vec![gone, proxy],
    };
    let principals = load(&serde_json::to_string(&document).unwrap()).unwrap();
    let mut headers = axum::http::HeaderMap::new();
    let bearer = format!("Bearer {}", token("proxy"));
    headers.insert("authorization", bearer.parse().unwrap());
    let proxy = principals
        .authenticate(&headers, System.now())
        .await
        .unwrap();
    let bot = "bot".parse().unwrap();
    let acting = principals.acting(&proxy, Some(&bot), System.now()).unwrap();
    assert_eq!(acting.kind, ActorType::Agent);
    assert!(acting.grants.is_empty());
}

#[tokio::test]
async fn a_changed_file_counts_from_then_on() {
    let world = World::alone().await;
    world.submit(&intent(echo())).await.ok();
    let newcomer = Document {
        principals: vec![credential(
            "newcomer",
            "user",
            WORKSPACE,
            &["intent.submit"],
        )],
    };
    let replacement = world.principals_file.with_extension("new");
    std::fs::write(&replacement, serde_json::to_vec(&newcomer).unwrap()).unwrap();
    std::fs::rename(&replacement, &world.principals_file).unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    world
        .submit(&intent(echo()))
        .await
        .is(Code::Unauthenticated);
    world
        .ask("newcomer", "intent.submit", &intent(echo()))
        .await
        .ok();
    // A faulty file changes nothing; one that is gone lets nobody in.
    std::fs::write(&world.principals_file, "{ not json").unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    world
        .ask("newcomer", "intent.submit", &intent(echo()))
        .await
        .ok();
    std::fs::remove_file(&world.principals_file).unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    world
        .ask("newcomer", "intent.submit", &intent(echo()))
        .await
        .is(Code::Unauthenticated);
}

fn load(text: &str) -> Result<Principals, PrincipalsError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("principals.json");
    std::fs::write(&path, text).unwrap();
    Principals::load(Some(&path))
}

async fn lets_in(principals: &Principals, who: &str) -> bool {
    let mut headers = axum::http::HeaderMap::new();
    let value = format!("Bearer {}", token(who)).parse().unwrap();
    headers.insert("authorization", value);
    principals
        .authenticate(&headers, System.now())
        .await
        .is_ok()
}

#[tokio::test]
async fn nothing_configured_is_nobody() {
    let missing = Principals::load(Some(Path::new("/nonexistent/principals.json"))).unwrap();
    let none = Principals::load(None).unwrap();
    let empty = load("").unwrap();
    let no_one = load(r#"{ "principals": [] }"#).unwrap();
    for principals in [missing, none, empty, no_one] {
        assert!(!lets_in(&principals, "sam").await);
    }
    let everybody = load(&serde_json::to_string(&everybody()).unwrap()).unwrap();
    assert!(lets_in(&everybody, "sam").await && !lets_in(&everybody, "old").await);
}

#[test]
fn a_faulty_file_is_an_error_that_names_the_fault() {
    let one = |change: fn(&mut serde_json::Value)| {
        let mut entry = json!(credential("sam", "user", WORKSPACE, &[]));
        change(&mut entry);
        json!({ "principals": [entry] }).to_string()
    };
    for text in [
        "{ not json".to_owned(),
        json!([]).to_string(),
        json!({ "principals": [], "extra": 1 }).to_string(),
        one(|entry| entry["token"] = json!("in the clear")),
        one(|entry| entry["tokenHash"] = json!("abc")),
        one(|entry| entry["type"] = json!("robot")),
        one(|entry| entry["workspace"] = json!("Not A Workspace")),
        one(|entry| entry["id"] = json!("")),
        one(|entry| drop(entry.as_object_mut().unwrap().remove("grants"))),
        one(|entry| entry["notAfter"] = json!("tomorrow")),
    ] {
        let refused = load(&text);
        assert!(
            matches!(refused, Err(PrincipalsError::Malformed { .. })),
            "{text}"
        );
    }
    let mut same_token = credential("ada", "user", WORKSPACE, &[]);
    same_token.token_hash = principals::token_hash(&token("sam"));
    let mut other_type = credential("sam", "agent", WORKSPACE, &[]);
    other_type.token_hash = Digest::of(b"another");
    let document = Document {
        principals: vec![
            credential("sam", "user", WORKSPACE, &[]),
            same_token,
            other_type,
        ],
    };
    let error = load(&serde_json::to_string(&document).unwrap())
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("`sam` and `ada` have the same token"),
        "{error}"
    );
    assert!(error.contains("`sam` has two types in `acme`"), "{error}");
}

#[tokio::test]
async fn an_agents_vote_is_taken_out_when_the_file_is_read() {
    let document = Document {
        principals: vec![credential(
            "bot",
            "agent",
            WORKSPACE,
            &["execution.approve", "act-as"],
        )],
    };
    let principals = load(&serde_json::to_string(&document).unwrap()).unwrap();
    let mut headers = axum::http::HeaderMap::new();
    headers.insert(
        "authorization",
        format!("Bearer {}", token("bot")).parse().unwrap(),
    );
    let bot = principals
        .authenticate(&headers, System.now())
        .await
        .unwrap();
    assert_eq!(bot.actor.kind, ActorType::Agent);
    assert_eq!(bot.actor.grants, ["act-as".to_owned()].into());
    assert!(bot.require(Grant::ActAs).is_ok() && bot.require(Grant::ExecutionApprove).is_err());
}

#[test]
fn a_token_is_as_long_as_its_bytes_say() {
    let token = principals::token(System.random_bytes());
    assert_eq!(token.len(), 64);
    assert_ne!(token, principals::token(System.random_bytes()));
}
