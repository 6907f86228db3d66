use contracts::{canonical::Digest, event::Event, position::StreamId, problem::Code};
use host::clock::{Ambient as _, System};
use journal::Journal as _;
use serde_json::{Value, json};

use crate::{
    cases::{echo, intent},
    world::{WORKSPACE, World, a_moment, memory},
};

#[tokio::test]
async fn an_intent_becomes_an_execution() {
    let world = World::alone().await;
    let input = json!({
        "workspaceId": WORKSPACE,
        "text": "say hello",
        "actorId": "sam",
        "channelKey": "mail",
        "metadata": { "playbook": "greet", "params": { "who": "Ada" } },
        "draft": echo(),
        "start": "manual",
        "mode": "assist",
        "deadlineAt": "2999-01-01T00:00:00+01:00",
    });
    let answer = world.submit(&input).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let execution = answer.text("executionId");
    let location = format!("/v1/executions/{execution}");
    assert_eq!(answer.header("location"), Some(location.as_str()));
    assert_eq!(answer.body["status"], "received");
    assert!(answer.text("position").starts_with("v1.00-"));

    let history = world.history(&execution).await;
    let [recorded] = history.as_slice() else {
        panic!("{history:#?}");
    };
    let Event::IntentReceived(received) = &recorded.event else {
        panic!("{recorded:#?}");
    };
    assert_eq!(answer.text("intentId"), received.intent_id.to_string());
    assert_eq!(answer.text("receivedAt"), received.received_at.to_string());
    assert_eq!(
        received.deadline_at.unwrap().to_string(),
        "2998-12-31T23:00:00.000Z"
    );
    let stored = recorded.event.to_json().unwrap();
    for member in ["text", "channelKey", "metadata", "draft", "start", "mode"] {
        assert_eq!(stored[member], input[member], "{member}");
    }
    assert_eq!(stored["actor"]["id"], "sam");
    assert_eq!(stored["actor"]["type"], "user");
    assert!(
        received.actor.grants.contains("plan.verify"),
        "the grants of that moment"
    );
}

#[tokio::test]
async fn what_is_left_out_is_automatic_and_autonomous() {
    let world = World::alone().await;
    let input = json!({ "workspaceId": WORKSPACE, "text": "hello" });
    let execution = world.submit(&input).await.text("executionId");
    let stored = world.history(&execution).await[0].event.to_json().unwrap();
    assert_eq!(
        (&stored["start"], &stored["mode"]),
        (&json!("auto"), &json!("autonomous"))
    );
    assert_eq!(stored.get("draft"), None);
}

/// Both spellings of an operation are the same one.
#[tokio::test]
async fn the_full_key_of_an_operation_is_its_name_too() {
    let world = World::alone().await;
    let short = world.submit(&intent(echo())).await;
    let full = world.ask("sam", "intent.submit", &intent(echo())).await;
    assert_eq!(short.status, full.status);
    let bearer = format!("Bearer {}", crate::world::token("sam"));
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let body = intent(echo()).to_string();
    let path = "/v1/controlPlane.intent.submit";
    let answer = crate::caller::post(world.address, path, &headers, body.as_bytes()).await;
    assert_eq!(answer.status, 201);
}

#[tokio::test]
async fn the_same_request_under_one_key_is_one_execution() {
    let world = World::alone().await;
    let key = [("idempotency-key", "order 4711/refund")];
    let first = world
        .ask_with("sam", "intent.submit", &intent(echo()), &key)
        .await;
    a_moment().await;
    let again = world
        .ask_with("sam", "intent.submit", &intent(echo()), &key)
        .await;
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.body, again.body);
    assert_eq!(first.header("location"), again.header("location"));
    assert_eq!(
        world.names(&first.text("executionId")).await,
        ["intent.received"]
    );
}

/// The guard of a first version no longer sees what has left the live window.
#[tokio::test]
async fn a_key_whose_execution_is_archived_runs_nothing_again() {
    let log = memory();
    let world = World::alone_on(&log).await;
    let key = [("idempotency-key", "of long ago")];
    let input = intent(echo());
    let ask = || world.ask_with("sam", "intent.submit", &input, &key);
    let first = ask().await;
    // One event stays live.
    world.submit(&input).await;
    let stream = StreamId::Log(0);
    let end = log.last_sequence(stream).await.unwrap();
    assert_eq!(log.archive(stream, end), end - 1);
    a_moment().await;
    let again = ask().await;
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.body, again.body);
    assert_eq!(log.last_sequence(stream).await.unwrap(), end);
    let other = json!({ "workspaceId": WORKSPACE, "text": "another" });
    let conflict = world.ask_with("sam", "intent.submit", &other, &key).await;
    conflict.is(Code::IdempotencyConflict);
}

/// JSON says the same in many ways; the request is what it says.
#[tokio::test]
async fn another_spelling_of_the_same_body_is_the_same_request() {
    let world = World::alone().await;
    let key = [("idempotency-key", "spelt")];
    let plain = json!({ "workspaceId": WORKSPACE, "text": "hello" });
    let explicit = json!({
        "text": "hello", "workspaceId": WORKSPACE, "actorId": "sam", "start": "auto",
        "mode": "autonomous", "draft": null,
    });
    let first = world.ask_with("sam", "intent.submit", &plain, &key).await;
    a_moment().await;
    let again = world
        .ask_with("sam", "intent.submit", &explicit, &key)
        .await;
    assert_eq!(again.status, 200, "{again:#?}");
    assert_eq!(first.body, again.body);
}

#[tokio::test]
async fn another_body_under_the_same_key_is_a_conflict() {
    let world = World::alone().await;
    let key = [("idempotency-key", "k")];
    let first = world
        .ask_with("sam", "intent.submit", &intent(echo()), &key)
        .await;
    for (member, value) in [
        ("text", json!("another text")),
        ("channelKey", json!("mail")),
        ("metadata", json!({ "a": 1 })),
        ("draft", json!({ "steps": [] })),
        ("start", json!("manual")),
        ("mode", json!("observe")),
        ("deadlineAt", json!("2999-01-01T00:00:00Z")),
    ] {
        let mut other = intent(echo());
        other[member] = value;
        let answer = world.ask_with("sam", "intent.submit", &other, &key).await;
        answer.is(Code::IdempotencyConflict);
    }
    assert_eq!(
        world.names(&first.text("executionId")).await,
        ["intent.received"]
    );
}

#[tokio::test]
async fn a_key_belongs_to_its_sender() {
    let world = World::alone().await;
    let key = [("idempotency-key", "k")];
    let sam = world
        .ask_with("sam", "intent.submit", &intent(echo()), &key)
        .await;
    let mut input = intent(echo());
    let proxy = world.ask_with("proxy", "intent.submit", &input, &key).await;
    input["workspaceId"] = json!("elsewhere");
    let eve = world.ask_with("eve", "intent.submit", &input, &key).await;
    let other = world
        .ask_with(
            "sam",
            "intent.submit",
            &intent(echo()),
            &[("idempotency-key", "l")],
        )
        .await;
    let ids = [&sam, &proxy, &eve, &other].map(|answer| answer.text("executionId"));
    for (index, id) in ids.iter().enumerate() {
        assert!(!ids[..index].contains(id), "{ids:?}");
    }
}

#[tokio::test]
async fn without_a_key_each_request_is_an_execution() {
    let world = World::alone().await;
    let first = world.submit(&intent(echo())).await;
    let second = world.submit(&intent(echo())).await;
    assert_ne!(first.text("executionId"), second.text("executionId"));
}

#[tokio::test]
async fn many_at_once_under_one_key_are_one() {
    let world = World::alone().await;
    let input = intent(echo());
    let key = [("idempotency-key", "raced")];
    let asked = (0..32).map(|_| world.ask_with("sam", "intent.submit", &input, &key));
    let answers = futures::future::join_all(asked).await;
    let first = answers[0].text("executionId");
    assert!(
        answers
            .iter()
            .all(|answer| answer.text("executionId") == first)
    );
    assert!(answers.iter().any(|answer| answer.status == 201));
    assert_eq!(world.names(&first).await, ["intent.received"]);
}

#[tokio::test]
async fn a_key_is_one_to_255_printable_characters() {
    let world = World::alone().await;
    let longest = "k".repeat(255);
    for good in [
        "k",
        "a b",
        "\"quoted\"",
        "8e03978e-40d5-43dd-bc93-6894a57f9324",
        &longest,
    ] {
        let key = [("idempotency-key", good)];
        world
            .ask_with("sam", "intent.submit", &intent(echo()), &key)
            .await
            .ok();
    }
    let too_long = "k".repeat(256);
    for bad in [
        vec![""],
        vec![&too_long],
        vec!["tab\tinside"],
        vec!["ümlaut"],
        vec!["a", "b"],
    ] {
        let keys: Vec<_> = bad.iter().map(|key| ("idempotency-key", *key)).collect();
        let answer = world
            .ask_with("sam", "intent.submit", &intent(echo()), &keys)
            .await;
        answer.is(Code::InvalidIdempotencyKey);
    }
}

#[tokio::test]
async fn a_deadline_lies_ahead() {
    let world = World::alone().await;
    let mut input = intent(echo());
    input["deadlineAt"] = json!("2020-01-01T00:00:00Z");
    for headers in [vec![], vec![("idempotency-key", "late")]] {
        let answer = world
            .ask_with("sam", "intent.submit", &input, &headers)
            .await;
        assert_eq!(
            answer.is(Code::InvalidInput).findings(),
            ["INVALID_VALUE /deadlineAt"]
        );
    }
}

/// Who never heard the answer sends the same again, however late.
#[tokio::test]
async fn a_deadline_that_has_passed_since_does_not_change_the_answer() {
    let world = World::alone().await;
    let mut input = intent(echo());
    let soon = System.now().plus_ms(400);
    input["deadlineAt"] = json!(soon);
    let key = [("idempotency-key", "k")];
    let first = world.ask_with("sam", "intent.submit", &input, &key).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let again = world.ask_with("sam", "intent.submit", &input, &key).await;
    assert_eq!(again.status, 200, "{again:#?}");
    assert_eq!(first.body, again.body);
}

#[tokio::test]
async fn a_text_has_a_bound() {
    let world = World::alone().await;
    let mut input = intent(echo());
    input["text"] = json!("ä".repeat(32 * 1024));
    world.submit(&input).await.ok();
    input["text"] = json!("ä".repeat(32 * 1024) + "!");
    let answer = world.submit(&input).await;
    assert_eq!(
        answer.is(Code::InvalidInput).findings(),
        ["INVALID_VALUE /text"]
    );
}

#[tokio::test]
async fn large_documents_are_taken() {
    let world = World::alone().await;
    let mut input = intent(echo());
    input["metadata"] = json!({ "notes": "x".repeat(900 * 1024) });
    let execution = world.submit(&input).await.text("executionId");
    let stored = world.history(&execution).await[0].event.to_json().unwrap();
    assert_eq!(stored["metadata"], input["metadata"]);
}

#[tokio::test]
async fn the_workspace_is_that_of_the_credential() {
    let world = World::alone().await;
    let mut input = intent(echo());
    input["workspaceId"] = json!("elsewhere");
    world.submit(&input).await.is(Code::WorkspaceMismatch);
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn trace_of(input: &Value, headers: &[(&str, &str)]) -> String {
    let world = World::alone().await;
    let answer = world.ask_with("sam", "intent.submit", input, headers).await;
    let history = world.history(&answer.text("executionId")).await;
    let trace = history[0].attributes.traceparent.clone().unwrap();
    // What follows from the execution is told apart from what came with the request.
    let digest = Digest::of(answer.text("executionId").as_bytes()).to_string();
    trace
        .replace(&digest[..32], "(derived)")
        .replace(&history[0].id().uuid().simple().to_string()[..16], "(own)")
}

#[tokio::test]
async fn the_trace_is_the_callers() {
    let mut input = intent(echo());
    // The event's span is its own, in the caller's trace.
    let expected = format!("00-{TRACE}-(own)-01");
    assert_eq!(trace_of(&input, &[("traceparent", PARENT)]).await, expected);
    input["traceId"] = json!("0af7651916cd43dd8448eb211c80319c");
    assert_eq!(trace_of(&input, &[("traceparent", PARENT)]).await, expected);
}

#[tokio::test]
async fn a_trace_id_in_the_body_is_taken_where_no_header_is() {
    let mut input = intent(echo());
    input["traceId"] = json!(TRACE);
    let expected = format!("00-{TRACE}-(own)-01");
    assert_eq!(trace_of(&input, &[]).await, expected);
    assert_eq!(
        trace_of(&input, &[("traceparent", "nonsense")]).await,
        expected
    );
}

#[tokio::test]
async fn a_trace_that_nobody_can_read_follows_from_the_execution() {
    let mut input = intent(echo());
    for unusable in [json!(null), json!("order-4711"), json!("0".repeat(32))] {
        input["traceId"] = unusable;
        assert_eq!(trace_of(&input, &[]).await, "00-(derived)-(own)-01");
    }
    let two = [("traceparent", PARENT), ("traceparent", PARENT)];
    assert_eq!(
        trace_of(&intent(echo()), &two).await,
        "00-(derived)-(own)-01"
    );
}
