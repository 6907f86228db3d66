//! Submitting, watching, voting, cancelling: who may, and with which exit code.

use contracts::{facts::facts_digest, operations::trace::TraceEntry};
use controlplane::vote::{named, seen_in};
use serde_json::json;
use testkit::process::Process;

use crate::world::{Answer, STOP_WITHIN, World, command, type_in};

const HELLO: &str =
    r#"{"steps":[{"id":"hello","uses":"core.echo/echo","with":{"message":"hello"}}]}"#;

#[tokio::test]
async fn an_operator_asks_looks_and_replays() {
    let world = World::up().await;

    let watched = world.type_in(&[
        "intent",
        "submit",
        "Say hello",
        "--draft",
        HELLO,
        "--key",
        "k",
        "--watch",
    ]);
    assert_eq!(watched.code, 0, "{}{}", watched.out, watched.err);
    assert!(
        watched.out.contains("execution.completed"),
        "{}",
        watched.out
    );
    assert!(!watched.out.contains('\u{1b}'), "colours are for terminals");

    let again = world.ask(&[
        "intent",
        "submit",
        "Say hello",
        "--draft",
        HELLO,
        "--key",
        "k",
    ]);
    let position = again["position"].as_str().unwrap();
    let list = world.ask(&["execution", "list", "--at-least", position]);
    assert_eq!(list["total"], 1);
    let id = list["items"][0]["executionId"].as_str().unwrap();
    let record = world.ask(&["execution", "get", id]);
    assert_eq!(record["execution"]["status"], "completed");
    let shown = world.type_in(&["execution", "get", id]);
    assert!(shown.out.contains("core.echo@1.0.0/echo"), "{}", shown.out);
    let trace = world.ask(&["trace", "get", id, "--payloads"]);
    let outputs: Vec<_> = trace["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["event"] == "execution.step.completed")
        .map(|entry| entry["payload"]["output"].clone())
        .collect();
    assert_eq!(outputs, [json!({ "message": "hello" })]);
    let explained = world.type_in(&["policy", "explain", id]);
    assert!(
        explained.out.contains("reads-run-by-themselves"),
        "{}",
        explained.out
    );

    // The same key: the same execution, or a refusal where it is another request.
    assert_eq!(
        world.submit(&["Say hello", "--draft", HELLO, "--key", "k"]),
        id
    );
    let other = world.type_in(&["intent", "submit", "Something else", "--key", "k"]);
    assert_eq!(other.code, 1);
    assert!(other.err.contains("IDEMPOTENCY_CONFLICT"), "{}", other.err);
    let again = world.type_in(&["--json", "intent", "submit", "Something else", "--key", "k"]);
    let problem: serde_json::Value = serde_json::from_str(&again.err).unwrap();
    assert_eq!(problem["problem"]["code"], "IDEMPOTENCY_CONFLICT");

    let manual = world.submit(&["Say hello", "--draft", HELLO, "--start", "manual"]);
    wait_until(&world, &manual, "plan.verified").await;
    world.ask(&["execution", "start", &manual]);
    assert_eq!(world.type_in(&["execution", "watch", &manual]).code, 0);

    let replayed = world.ask(&["replay", "--all"]);
    assert_eq!(replayed["summary"]["differences"], 0);
    assert_eq!(replayed["summary"]["executions"], 2);
    assert_eq!(world.ask(&["replay", id])["summary"]["executions"], 1);
    let export = world.directory.path().join("export.jsonl");
    let export = export.to_str().unwrap();
    world.ask(&["events", "export", "--output", export]);
    let lines = std::fs::read_to_string(export).unwrap();
    assert!(
        lines
            .lines()
            .skip(1)
            .all(|line| line.contains("\"storedAt\":\""))
    );
    assert_eq!(world.ask(&["replay", "--from", export]), replayed);
}

#[tokio::test]
async fn a_vote_names_what_was_shown_and_needs_the_right_person() {
    let world = World::up().await;
    // In mode assist a human approves every step.
    let words = ["Say hello", "--draft", HELLO, "--mode", "assist"];
    let id = world.submit(&words);
    wait_until(&world, &id, "execution.step.blocked").await;

    let shown = world.type_in(&["execution", "approve", &id, "--yes", "nobody"]);
    assert_eq!(shown.code, 1);
    let by_requester = world.type_in(&["--as", "submitter", "execution", "approve", &id, "--yes"]);
    assert_eq!(by_requester.code, 1, "{}", by_requester.out);
    assert!(
        by_requester.err.contains("execution.approve"),
        "{}",
        by_requester.err
    );

    // Here nobody can be asked.
    for options in [&[][..], &["--json"]] {
        let unasked = [options, &["execution", "approve", &id]].concat();
        let unasked = world.type_in(&unasked);
        assert_eq!(unasked.code, 2, "{}", unasked.out);
        assert!(unasked.err.contains("add `--yes`"), "{}", unasked.err);
    }
    let open = world.ask(&["execution", "get", &id]);
    assert_eq!(open["execution"]["status"], "blocked", "nothing was voted");

    let approved = world.type_in(&["execution", "approve", &id, "--yes", "--note", "fine"]);
    assert_eq!(approved.code, 0, "{}", approved.err);
    let record = world.ask(&["execution", "get", &id]);
    let hash = record["execution"]["planHash"].as_str().unwrap();
    for part in [
        "Say hello",
        "hello: core.echo@1.0.0/echo",
        "pinned      ",
        "publisher   core",
        "effect      read",
        hash,
        "\"message\": \"hello\"",
    ] {
        assert!(
            approved.out.contains(part),
            "{part} is not in {}",
            approved.out
        );
    }
    let watched = world.type_in(&["execution", "watch", &id]);
    assert_eq!(watched.code, 0, "{}", watched.out);
    let trace = world.ask(&["trace", "get", &id, "--payloads"]);
    let entries = trace["entries"].as_array().unwrap();
    let vote = entries
        .iter()
        .find(|entry| entry["event"] == "execution.approved")
        .unwrap();
    assert_eq!(vote["payload"]["planHash"], hash);
    assert_eq!(vote["payload"]["note"], "fine");
    assert!(vote["payload"]["inputsDigest"].is_string());

    // No vote is open any more.
    assert_eq!(
        world.type_in(&["execution", "approve", &id, "--yes"]).code,
        1
    );

    let rejected = world.submit(&words);
    wait_until(&world, &rejected, "execution.step.blocked").await;
    let no = world.type_in(&["execution", "reject", &rejected, "--yes", "--reason", "no"]);
    assert_eq!(no.code, 0, "{}", no.err);
    let watched = world.type_in(&["execution", "watch", &rejected]);
    assert_eq!(watched.code, 1, "it did not complete");
    let record = world.ask(&["execution", "get", &rejected]);
    assert_eq!(record["execution"]["failure"]["code"], "APPROVAL_REJECTED");

    let cancelled = world.submit(&words);
    world.ask(&[
        "execution",
        "cancel",
        &cancelled,
        "--reason",
        "changed my mind",
    ]);
    assert_eq!(world.type_in(&["execution", "watch", &cancelled]).code, 1);
    let record = world.ask(&["execution", "get", &cancelled]);
    assert_eq!(record["execution"]["failure"]["code"], "CANCELLED");
}

#[tokio::test]
async fn all_findings_of_a_faulty_plan_are_shown() {
    let world = World::up().await;
    let draft = r#"{"steps":[{"id":"a","uses":"no.skill/run","needs":["b"],"with":{}}]}"#;
    let id = world.submit(&["Do it", "--draft", draft]);
    let watched = world.type_in(&["execution", "watch", &id]);
    assert_eq!(watched.code, 1);
    let shown = world.type_in(&["execution", "get", &id]);
    for part in [
        "/steps/0/needs/0  UNKNOWN_STEP",
        "/steps/0/uses     UNKNOWN_SKILL",
    ] {
        assert!(shown.out.contains(part), "{part} is not in {}", shown.out);
        assert!(
            watched.out.contains(part),
            "{part} is not in {}",
            watched.out
        );
    }
    let faulty = world.type_in(&["execution", "list", "--limit", "100000"]);
    assert_eq!(faulty.code, 1);
    assert!(faulty.err.contains("/limit"), "{}", faulty.err);
}

#[test]
fn a_vote_on_inputs_that_the_record_does_not_hold_is_refused() {
    let inputs = json!({ "message": "hello" });
    let proposed = json!([{
        "timestamp": "2031-01-01T00:00:00.000Z",
        "stage": "execution",
        "status": "running",
        "event": "execution.step.proposed",
        "stepId": "hello",
        "payload": { "inputs": inputs },
    }]);
    let entries: Vec<TraceEntry> = serde_json::from_value(proposed).unwrap();
    let step = "hello".parse().unwrap();
    let seen = seen_in(&entries, &step, &facts_digest(&inputs)).unwrap();
    assert_eq!(seen.inputs, inputs);
    let other = facts_digest(&json!({ "message": "bye" }));
    let refused = seen_in(&entries, &step, &other).err().unwrap().to_string();
    assert!(refused.contains("holds no inputs"), "{refused}");
}

#[test]
fn who_acted_under_a_lent_name_is_shown() {
    let actor = json!({ "type": "user", "id": "ada", "grants": [], "via": "proxy" });
    let actor = serde_json::from_value(actor).unwrap();
    assert_eq!(named(&actor), "ada (by proxy)");
}

#[test]
fn wrong_usage_is_2_and_no_control_plane_is_3() {
    assert_eq!(type_in(&["intent", "submit"]).code, 2);
    assert_eq!(type_in(&["execution", "get", "not-an-id"]).code, 2);
    assert_eq!(type_in(&["intent", "submit", " "]).code, 2);
    let id = "0198f300-0000-7000-8000-000000000000";
    let reject = ["execution", "reject", id, "--reason", ""];
    assert_eq!(type_in(&reject).code, 2, "a rejection says why");
    assert_eq!(type_in(&["replay"]).code, 2);
    assert_eq!(
        type_in(&["replay", "--all", "--from", "/does/not/exist"]).code,
        2
    );
    let nowhere = type_in(&["--context", "/does/not/exist", "execution", "list"]);
    assert_eq!(nowhere.code, 3);
    assert!(nowhere.err.contains("controlplane up"), "{}", nowhere.err);
}

#[tokio::test]
async fn who_watches_is_told_what_it_waits_for_and_no_more_than_that() {
    let world = World::up().await;
    let id = world.submit(&["Do something about it"]);
    let watching = watch(&world, &id, &[]);
    watching.line("words fit no playbook").await;
    watching.line(&format!("execution cancel {id}")).await;
    world.ask(&["execution", "cancel", &id]);
    assert_eq!(watching.wait(STOP_WITHIN).await.code(), Some(1));

    let id = world.submit(&["Say hello", "--draft", HELLO, "--mode", "assist"]);
    let watching = watch(&world, &id, &[]);
    let hint = format!("execution approve {id} hello");
    watching.line(&hint).await;
    world.ask(&["execution", "approve", &id, "--yes"]);
    assert!(watching.wait(STOP_WITHIN).await.success());
    let later = world.type_in(&["execution", "watch", &id]);
    assert!(
        !later.out.contains(&hint),
        "it waits no more: {}",
        later.out
    );
}

#[tokio::test]
async fn a_context_that_is_wrong_says_what_to_do() {
    let world = World::up().await;
    let list = |context: &str| {
        let file = world.directory.path().join("context.json");
        std::fs::write(&file, context).unwrap();
        type_in(&["--context", file.to_str().unwrap(), "execution", "list"])
    };
    let context = world.file("context.json");
    assert_eq!(list(&context).code, 0);
    let cut = list(&context[..40]);
    assert_eq!(cut.code, 2);
    assert!(
        cut.err.contains("`controlplane up` writes it"),
        "{}",
        cut.err
    );
    let token = &context.split("\"token\": \"").nth(1).unwrap()[..8];
    let stranger = list(&context.replace(token, "00000000"));
    assert_eq!(stranger.code, 1);
    assert!(stranger.err.contains("UNAUTHENTICATED"), "{}", stranger.err);
    world.kill9().await;
    let nobody = list(&context);
    assert_eq!(nobody.code, 3);
    assert!(nobody.err.contains("Connection refused"), "{}", nobody.err);
    assert!(
        nobody.err.contains("is `controlplane up` running"),
        "{}",
        nobody.err
    );
}

/// Reads the live feed until this has happened.
pub async fn wait_until(world: &World, id: &str, event: &str) {
    watch(world, id, &["--json"]).line(event).await;
}

fn watch(world: &World, id: &str, options: &[&str]) -> Process {
    let context = world.path("context.json");
    let context = ["--context", context.to_str().unwrap()];
    let words = [options, &context, &["execution", "watch", id]].concat();
    let log = world.directory.path().join(format!("watch-{id}.log"));
    Process::spawn("watch", command(&words), &log)
}

/// Every command says the same over NATS, as the broker's user of its identity.
#[tokio::test]
async fn the_same_is_answered_over_nats() {
    let world = World::up().await;
    let over = |words: &[&str], way: &str| {
        let mut all = vec!["--json", "--over", way];
        all.extend(words);
        world.type_in(&all)
    };
    let submit = [
        "intent",
        "submit",
        "Say hello",
        "--draft",
        HELLO,
        "--key",
        "k",
    ];
    let submitted = over(&submit, "nats");
    assert_eq!(submitted.code, 0, "{}{}", submitted.out, submitted.err);
    let submitted: serde_json::Value = serde_json::from_str(&submitted.out).unwrap();
    let id = submitted["executionId"].as_str().unwrap();
    let watched = world.type_in(&["execution", "watch", id]);
    assert_eq!(watched.code, 0, "{}{}", watched.out, watched.err);
    let unknown = "00000000-0000-7000-8000-000000000007";
    for words in [
        &submit[..],
        &["intent", "submit", "Something else", "--key", "k"],
        &["execution", "list"],
        &["execution", "get", id],
        &["execution", "get", unknown],
        &["execution", "cancel", id],
        &["execution", "cancel", unknown],
        &["trace", "get", id, "--payloads"],
        &["policy", "explain", id],
        &["skill", "list"],
        &["--as", "approver", "intent", "submit", "Something"],
    ] {
        let (http, nats) = (over(words, "http"), over(words, "nats"));
        assert_eq!(http.code, nats.code, "{words:?}: {}{}", nats.out, nats.err);
        let parsed = |answer: &Answer| -> serde_json::Value {
            let text = [&answer.out, &answer.err][usize::from(answer.code != 0)];
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{words:?}: {error}: {text}"))
        };
        assert_eq!(parsed(&http), parsed(&nats), "{words:?}");
    }
}
