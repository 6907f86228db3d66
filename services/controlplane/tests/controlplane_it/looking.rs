//! Looking for executions, at what waits for votes, and at what happens as it happens.

use serde_json::Value;
use testkit::process::Process;

use crate::{
    asking::wait_until,
    world::{World, command, kill9},
};

const HELLO: &str =
    r#"{"steps":[{"id":"hello","uses":"core.echo/echo","with":{"message":"hello"}}]}"#;

fn ids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    let id = |item: &Value| item["executionId"].as_str().unwrap().to_owned();
    items.iter().map(id).collect()
}

#[tokio::test]
async fn executions_are_found_by_what_is_asked_for() {
    let world = World::up().await;
    let hello = [
        "intent",
        "submit",
        "Hello there",
        "--draft",
        HELLO,
        "--watch",
    ];
    assert_eq!(world.type_in(&hello).code, 0);
    let waits = world.submit(&["100% sure_", "--draft", HELLO, "--mode", "assist"]);
    wait_until(&world, &waits, "execution.step.blocked").await;
    let position = world.ask(&["execution", "get", &waits])["position"].clone();
    let position = position.as_str().unwrap();
    let list = |words: &[&str]| {
        let words = [&["execution", "list", "--at-least", position], words].concat();
        ids(&world.ask(&words))
    };
    let all = list(&[]);
    assert_eq!(all.len(), 2);
    let (blocked, done) = (&all[0], &all[1]);
    assert_eq!(*blocked, waits);
    for (words, expected) in [
        (&["--status", "completed"][..], vec![done]),
        (&["--status", "completed,blocked"], vec![blocked, done]),
        (&["--status", "completed", "--status", "failed"], vec![done]),
        (&["--verdict", "assist"], vec![blocked]),
        (&["--tier", "low"], vec![blocked, done]),
        (&["--tier", "high"], vec![]),
        (&["--skill", "core.echo"], vec![blocked, done]),
        (&["--skill", "core.wait"], vec![]),
        (&["--actor", "submitter"], vec![blocked, done]),
        (&["--actor", "approver"], vec![]),
        (&["--channel", "mail"], vec![]),
        (&["--waiting-for", "approval"], vec![blocked]),
        (&["--waiting-for", "draft,start"], vec![]),
        (&["--mode", "assist"], vec![blocked]),
        (&["--mode", "autonomous,assist"], vec![blocked, done]),
        (&["--mode", "observe"], vec![]),
        (&["--text", "SURE_"], vec![blocked]),
        (&["--text", "%"], vec![blocked]),
        (&["--since", "1h"], vec![blocked, done]),
        (&["--until", "1h"], vec![]),
        (
            &[
                "--since",
                "2020-01-31T09:00:00Z",
                "--until",
                "0s",
                "--limit",
                "1",
            ],
            vec![blocked],
        ),
        (&["--limit", "1", "--offset", "1"], vec![done]),
        (&["--all"], vec![blocked, done]),
    ] {
        let expected: Vec<String> = expected.into_iter().cloned().collect();
        assert_eq!(list(words), expected, "{words:?}");
    }
    let told = world.type_in(&["execution", "list", "--all"]);
    assert!(told.out.contains("2 of 2"), "{}", told.out);
    assert!(told.out.contains("WAITS FOR"), "{}", told.out);
    assert!(told.out.contains("MODE"), "{}", told.out);
    for words in [
        ["--status", "sleeping"],
        ["--waiting-for", "godot"],
        ["--mode", "asleep"],
        ["--since", "yesterday"],
        ["--all", "--limit=3"],
    ] {
        let answer = world.type_in(&[&["execution", "list"][..], &words].concat());
        assert_eq!(answer.code, 2, "{words:?}: {}", answer.err);
    }
}

#[tokio::test]
async fn a_voter_is_shown_what_waits_for_a_vote() {
    let world = World::up().await;
    let nothing = world.type_in(&["approvals"]);
    assert!(nothing.out.contains("nothing waits"), "{}", nothing.out);
    let id = world.submit(&["Hello", "--draft", HELLO, "--mode", "assist"]);
    wait_until(&world, &id, "execution.step.blocked").await;
    let position = world.ask(&["execution", "get", &id])["position"].clone();
    let at_least = ["approvals", "--at-least", position.as_str().unwrap()];
    let waiting = world.ask(&at_least);
    assert_eq!(ids(&waiting), std::slice::from_ref(&id));
    assert_eq!(waiting["items"][0]["mayVote"], true);
    let told = world.type_in(&["approvals"]);
    assert!(told.out.contains(&id), "{}", told.out);
    assert!(told.out.contains("execution approve"), "{}", told.out);
    // Who asked has no vote, and is told so.
    let own = world.ask(&[&["--as", "submitter"][..], &at_least].concat());
    assert_eq!(own["total"], 0);
    let all = world.ask(&["--as", "submitter", "approvals", "--all"]);
    assert_eq!(all["items"][0]["mayVote"], false);
    let approved = world.ask(&["execution", "approve", &id, "--yes"]);
    let position = approved["position"].as_str().unwrap();
    let left = world.ask(&["approvals", "--at-least", position]);
    assert_eq!(left["total"], 0);
}

fn tail(world: &World, name: &str, words: &[&str]) -> Process {
    let context = world.path("context.json");
    let context = ["--context", context.to_str().unwrap()];
    let words = [&context[..], &["events", "tail"], words].concat();
    let log = world.directory.path().join(format!("{name}.log"));
    Process::spawn(name, command(&words), &log)
}

#[tokio::test]
async fn what_happens_is_followed_through_a_break() {
    let world = World::up().await;
    let follow = tail(
        &world,
        "json",
        &["--json", "--after", "v1", "--type", "execution.completed"],
    );
    let people = tail(
        &world,
        "people",
        &["--type", "intent.*,execution.completed", "--after", "v1"],
    );
    let mut all = Vec::new();
    for round in 0..3 {
        let id = world.submit(&["Hello", "--draft", HELLO]);
        follow.line(&id).await;
        people.line(&id).await;
        all.push(id);
        if round == 0 {
            kill9(world.pid_of("projector"));
            world.process().line("`projector` is ready again").await;
        }
    }
    let events: Vec<Value> = follow
        .output()
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<&str> = events
        .iter()
        .map(|event| event["correlationid"].as_str().unwrap())
        .collect();
    assert_eq!(told, all);
    assert!(
        events
            .iter()
            .all(|it| it["type"] == "controlPlane.execution.completed")
    );
    people.line("execution.completed").await;
    let said = people.output().join("\n");
    assert!(said.contains("intent.received"), "{said}");
    assert!(!said.contains('\u{1b}'), "no terminal, no colours: {said}");

    let unknown = world.type_in(&["events", "tail", "--type", "plan.eaten"]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.err.contains("plan.eaten"), "{}", unknown.err);
}
