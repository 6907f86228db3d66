//! The same request over HTTP and over NATS: one handler, one answer.

use std::{sync::LazyLock, time::Duration};

use contracts::{
    problem::Code,
    registry::{self, Kind, OperationName},
};
use journal::request::{Request, RequestError};
use serde_json::{Value, json};

use crate::{
    caller::{self, Answer},
    cases::{deletion, echo, installation, intent, manifest, refund},
    world::{WORKSPACE, World},
};

static DESCRIBED: LazyLock<Value> = LazyLock::new(registry::asyncapi::document);

async fn send(
    world: &World,
    subject: String,
    headers: &[(&str, &str)],
    payload: Vec<u8>,
) -> Result<Answer, RequestError> {
    let request = Request {
        subject,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        payload: payload.into(),
        timeout: Duration::from_secs(20),
        apart: false,
    };
    let reply = world.journal.request(request).await?;
    Ok(Answer {
        status: reply.header("Cp-Status").unwrap().parse().unwrap(),
        headers: reply
            .headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .collect(),
        body: serde_json::from_slice(&reply.payload).unwrap(),
    })
}

async fn over_nats(
    world: &World,
    who: &str,
    operation: &str,
    input: &Value,
    headers: &[(&str, &str)],
) -> Answer {
    let subject = format!("cp.api.{WORKSPACE}.{who}.{operation}");
    let payload = serde_json::to_vec(input).unwrap();
    let answer = send(world, subject, headers, payload).await.unwrap();
    caller::check_registered(operation, &answer);
    check_described(operation, &answer);
    answer
}

/// Its status and its headers are those of a message that is described.
fn check_described(operation: &str, answer: &Answer) {
    let message = match answer.status {
        200 | 201 => format!("answer.{operation}"),
        _ => "refusal".to_owned(),
    };
    let headers = &DESCRIBED["components"]["messages"][&message]["headers"];
    let described = headers["properties"].as_object().expect(&message);
    let statuses = described["Cp-Status"]["enum"].as_array().unwrap();
    assert!(
        statuses.contains(&json!(answer.status.to_string())),
        "{answer:#?}"
    );
    for name in headers["required"].as_array().unwrap() {
        let name = name.as_str().unwrap().to_ascii_lowercase();
        assert!(answer.header(&name).is_some(), "{name}: {answer:#?}");
    }
    for (name, _) in &answer.headers {
        let is_described = described.keys().any(|it| it.eq_ignore_ascii_case(name));
        assert!(is_described, "{name}: {answer:#?}");
    }
}

/// What does not depend on when it was asked.
fn lasting(answer: &Answer) -> (u16, Value) {
    let mut body = answer.body.clone();
    if let Some(members) = body.as_object_mut() {
        members.remove("position");
        // A verdict is given anew.
        members.remove("verifiedAt");
        // What an execution has come to meanwhile.
        members.retain(|name, value| name != "status" || value.is_u64());
    }
    (answer.status, body)
}

/// Asked over HTTP and then over NATS; the answer to both.
async fn both(world: &World, who: &str, operation: &str, input: &Value) -> Answer {
    let http = world.ask(who, operation, input).await;
    let nats = over_nats(world, who, operation, input, &[]).await;
    assert_eq!(lasting(&http), lasting(&nats), "{operation} by {who}");
    let refused = !matches!(http.status, 200 | 201);
    let told = nats.header("nats-service-error-code").map(str::to_owned);
    assert_eq!(told, refused.then(|| http.status.to_string()));
    assert_eq!(nats.header("content-type"), http.header("content-type"));
    nats
}

#[tokio::test]
async fn every_command_is_answered_alike() {
    let world = World::new().await.equipped().await;
    let by_hand = json!({
        "workspaceId": WORKSPACE, "text": "later", "draft": echo(), "start": "manual",
    });
    let execution = world.submit(&by_hand).await.text("executionId");
    let state = world
        .until(&execution, |state| {
            state.status() == Some(contracts::plan::Status::Verified)
        })
        .await;
    let plan = state.known().unwrap().compiled().unwrap().plan_id;
    let (voted, block) = world.blocked(deletion(), "delete").await;
    let vote = json!({
        "executionId": voted, "stepId": "delete", "approvedBy": "ada",
        "planHash": block["planHash"], "blockId": block["blockId"],
    });
    let (rejected, _) = world.blocked(refund(), "refund").await;
    let installed = installation(&manifest("1.0.0"));
    let compile =
        json!({ "executionId": execution, "intentId": state.known().unwrap().intent.intent_id });
    let start = json!({ "executionId": execution, "planId": plan });
    let verify = json!({ "executionId": execution, "planId": plan });
    let cancel = json!({ "executionId": voted, "cancelledBy": "sam" });
    let reject =
        json!({ "executionId": rejected, "stepId": "refund", "rejectedBy": "ada", "reason": "no" });
    let disable = json!({ "skillKey": "acme.orders", "disabledBy": "sam" });
    let activate = json!({ "bundle": crate::cases::bundle() });
    for (who, operation, input) in [
        ("sam", "plan.compile", &compile),
        ("sam", "plan.verify", &verify),
        ("sam", "execution.start", &start),
        ("ada", "execution.approve", &vote),
        ("sam", "execution.cancel", &cancel),
        ("ada", "execution.reject", &reject),
        ("sam", "skill.install", &installed),
        ("sam", "skill.disable", &disable),
        ("sam", "policy.activate", &activate),
    ] {
        let answer = both(&world, who, operation, input).await;
        if operation != "plan.verify" {
            answer.ok();
        }
    }
}

#[tokio::test]
async fn every_refusal_is_answered_alike() {
    let world = World::new().await.equipped().await;
    let unknown = "00000000-0000-7000-8000-000000000007";
    let nowhere = |members: Value| {
        let mut input = json!({ "executionId": unknown });
        for (name, value) in members.as_object().unwrap() {
            input[name] = value.clone();
        }
        input
    };
    for (who, operation, input, code) in [
        (
            "sam",
            "plan.compile",
            nowhere(json!({ "intentId": unknown })),
            Code::IntentNotFound,
        ),
        (
            "sam",
            "plan.verify",
            nowhere(json!({ "planId": unknown })),
            Code::ExecutionNotFound,
        ),
        (
            "sam",
            "execution.start",
            nowhere(json!({ "planId": unknown })),
            Code::ExecutionNotFound,
        ),
        (
            "ada",
            "execution.approve",
            nowhere(json!({ "stepId": "a", "approvedBy": "ada" })),
            Code::ExecutionNotFound,
        ),
        (
            "ada",
            "execution.reject",
            nowhere(json!({ "stepId": "a", "rejectedBy": "ada", "reason": "no" })),
            Code::ExecutionNotFound,
        ),
        (
            "sam",
            "execution.cancel",
            nowhere(json!({ "cancelledBy": "sam" })),
            Code::ExecutionNotFound,
        ),
        ("guest", "intent.submit", intent(echo()), Code::Forbidden),
        (
            "bot",
            "execution.approve",
            nowhere(json!({ "stepId": "a", "approvedBy": "bot" })),
            Code::Forbidden,
        ),
        (
            "sam",
            "intent.submit",
            json!({ "workspaceId": "elsewhere", "text": "x" }),
            Code::WorkspaceMismatch,
        ),
        (
            "sam",
            "intent.submit",
            json!({ "workspaceId": WORKSPACE, "text": "x", "actorId": "ada" }),
            Code::ActorMismatch,
        ),
        (
            "sam",
            "intent.submit",
            json!({ "workspaceId": WORKSPACE, "txt": 7 }),
            Code::InvalidInput,
        ),
        (
            "ada",
            "execution.approve",
            nowhere(json!({ "cancelledBy": "ada" })),
            Code::InvalidInput,
        ),
        (
            "sam",
            "skill.disable",
            json!({ "skillKey": "acme.nothing", "disabledBy": "sam" }),
            Code::SkillNotFound,
        ),
    ] {
        both(&world, who, operation, &input).await.is(code);
    }
}

#[tokio::test]
async fn one_key_is_one_execution_through_both_doors() {
    let world = World::new().await;
    let input = intent(echo());
    let key = [("idempotency-key", "k-1")];
    let first = over_nats(&world, "sam", "intent.submit", &input, &key).await;
    assert_eq!(first.status, 201, "{first:#?}");
    let path = format!("/v1/executions/{}", first.text("executionId"));
    assert_eq!(first.header("location"), Some(path.as_str()));
    for again in [
        world.ask_with("sam", "intent.submit", &input, &key).await,
        over_nats(&world, "sam", "intent.submit", &input, &key).await,
    ] {
        assert_eq!(again.status, 200, "{again:#?}");
        assert_eq!(again.text("executionId"), first.text("executionId"));
    }
    over_nats(&world, "sam", "intent.submit", &intent(refund()), &key)
        .await
        .is(Code::IdempotencyConflict);
}

/// The subject says who asks, and no header says otherwise.
#[tokio::test]
async fn nobody_is_someone_else() {
    let world = World::new().await;
    let bearer = format!("Bearer {}", crate::world::token("sam"));
    let headers = [("authorization", bearer.as_str())];
    over_nats(&world, "guest", "intent.submit", &intent(echo()), &headers)
        .await
        .is(Code::Forbidden);
    for who in ["nobody", "old", "eve"] {
        over_nats(&world, who, "intent.submit", &intent(echo()), &headers)
            .await
            .is(Code::Unauthenticated);
    }
}

#[tokio::test]
async fn what_is_no_request_is_refused_as_over_http() {
    let world = World::new().await;
    let subject = |rest: &str| format!("cp.api.{rest}.intent.submit");
    let own = subject(&format!("{WORKSPACE}.sam"));
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let deep = format!("{{\"text\":{deep}}}");
    let twice = format!("{{\"workspaceId\":\"{WORKSPACE}\",\"text\":\"a\",\"text\":\"b\"}}");
    for (payload, headers, code) in [
        ("", &[][..], Code::InvalidJson),
        ("nonsense", &[], Code::InvalidJson),
        ("[]", &[], Code::InvalidJson),
        (&deep, &[], Code::TooDeep),
        (&twice, &[], Code::InvalidJson),
        (
            "{}",
            &[("content-type", "text/xml")],
            Code::UnsupportedMediaType,
        ),
        ("{}", &[("a b", "c")], Code::InvalidInput),
        ("{}", &[("x", "a\u{0}b")], Code::InvalidInput),
    ] {
        let answer = send(&world, own.clone(), headers, payload.into()).await;
        answer.unwrap().is(code);
    }
    for who in ["Acme!.sam", "acme.%zz", "..sam", "acme.a%2e"] {
        let answer = send(&world, subject(who), &[], b"{}".to_vec()).await;
        match answer {
            Ok(answer) => assert!(matches!(answer.status, 401 | 404), "{who}: {answer:#?}"),
            Err(RequestError::NoResponders { .. }) => {}
            Err(error) => panic!("{who}: {error}"),
        }
    }
}

#[tokio::test]
async fn services_are_found_and_counted() {
    let world = World::new().await;
    over_nats(&world, "sam", "intent.submit", &intent(echo()), &[])
        .await
        .ok();
    over_nats(&world, "guest", "intent.submit", &intent(echo()), &[])
        .await
        .is(Code::Forbidden);
    let ask = async |subject: &str| {
        let request = Request {
            subject: subject.to_owned(),
            headers: Vec::new(),
            payload: Vec::new().into(),
            timeout: Duration::from_secs(10),
            apart: false,
        };
        let reply = world.journal.request(request).await.unwrap();
        serde_json::from_slice::<Value>(&reply.payload).unwrap()
    };
    let ping = ask("$SRV.PING").await;
    assert_eq!(ping["type"], "io.nats.micro.v1.ping_response");
    assert_eq!(ping["name"], "control-plane-intake");
    let info = ask("$SRV.INFO.control-plane-intake").await;
    let endpoints = info["endpoints"].as_array().unwrap();
    let commands = OperationName::ALL.into_iter();
    let commands = commands.filter(|operation| operation.entry().kind == Kind::Command);
    assert_eq!(endpoints.len(), commands.count());
    let submit = &endpoints[0];
    assert_eq!(submit["name"], "intent-submit");
    assert_eq!(submit["subject"], "cp.api.*.*.intent.submit");
    assert_eq!(submit["metadata"]["grant"], "intent.submit");
    let id = ping["id"].as_str().unwrap();
    let stats = ask(&format!("$SRV.STATS.control-plane-intake.{id}")).await;
    assert_eq!(stats["type"], "io.nats.micro.v1.stats_response");
    let submit = &stats["endpoints"][0];
    assert_eq!(submit["num_requests"], 2);
    assert_eq!(submit["num_errors"], 1);
    assert_eq!(submit["last_error"], "FORBIDDEN: grant missing");
    assert!(submit["average_processing_time"].as_u64().unwrap() > 0);
}

/// What there is may be known without a credential.
#[tokio::test]
async fn what_is_served_is_published() {
    let world = World::alone().await;
    let document = caller::get(world.address, "/openapi.json").await;
    assert_eq!(document.ok(), &registry::openapi::document());
    let document = caller::get(world.address, "/asyncapi.json").await;
    assert_eq!(document.ok(), &registry::asyncapi::document());
    let catalogue = caller::get(world.address, "/v1/capabilities").await;
    assert_eq!(catalogue.ok(), &registry::catalogue::document());
    caller::post(world.address, "/v1/capabilities", &[], b"")
        .await
        .is(Code::MethodNotAllowed);
}

/// `who` asks at a resource's path.
async fn at(world: &World, who: &str, path: &str, input: &Value) -> Answer {
    let bearer = format!("Bearer {}", crate::world::token(who));
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let body = serde_json::to_vec(input).unwrap();
    caller::post(world.address, path, &headers, &body).await
}

#[tokio::test]
async fn a_resource_is_the_same_command() {
    let world = World::new().await.equipped().await;
    let submitted = at(&world, "sam", "/v1/intents", &intent(echo())).await;
    assert_eq!(submitted.status, 201, "{submitted:#?}");
    let (execution, _) = world.blocked(refund(), "refund").await;
    let path = format!("/v1/executions/{execution}/approve");
    let vote = json!({ "stepId": "refund", "approvedBy": "ada" });
    let other = json!({
        "stepId": "refund", "approvedBy": "ada",
        "executionId": "00000000-0000-7000-8000-000000000007",
    });
    let refused = at(&world, "ada", &path, &other).await;
    refused.is(Code::InvalidInput);
    assert_eq!(refused.findings(), ["INVALID_VALUE /executionId"]);
    let approved = at(&world, "ada", &path, &vote).await;
    let whole = json!({ "executionId": execution, "stepId": "refund", "approvedBy": "ada" });
    let again = world.ask("ada", "execution.approve", &whole).await;
    assert_eq!(approved.text("approvedAt"), again.text("approvedAt"));
    let nonsense = at(&world, "ada", "/v1/executions/nonsense/approve", &vote).await;
    nonsense.is(Code::InvalidInput);
    let commands = registry::RESOURCES
        .iter()
        .filter(|resource| resource.operation.entry().kind == registry::Kind::Command);
    for resource in commands {
        let path = resource.path.replace("{executionId}", &execution);
        at(&world, "guest", &path, &json!({}))
            .await
            .is(Code::Forbidden);
        let asked = caller::get(world.address, &path).await;
        asked.is(Code::MethodNotAllowed);
    }
}
