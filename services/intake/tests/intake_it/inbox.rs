//! Intents that wait on the broker, with intake as a process.

use std::{collections::BTreeMap, path::Path, time::Duration};

use contracts::{problem::Code, subject::AggregateId};
use domain::execution::{
    Execution,
    intake::{Door, keyed_id},
};
use journal::{
    history::Read, inbox::Refusal, jetstream::Refusals, permissions::CALLER_INBOX_PREFIX,
};
use serde_json::{Value, json};
use testkit::{guest::Guest, process::Process};

use crate::{
    cases::{echo, intent},
    events::event,
    process::{hostile_headers, send_raw, spawn, spawn_with},
    world::{ELSEWHERE, WORKSPACE, World, everybody, install_with, options_of},
};

fn subject(who: &str) -> String {
    format!("cp.inbox.{WORKSPACE}.{who}")
}

fn published(who: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("PUB {} {}\r\n", subject(who), payload.len()).into_bytes();
    message.extend(payload);
    message.extend(b"\r\n");
    message
}

fn with_headers(who: &str, headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut block = b"NATS/1.0\r\n".to_vec();
    block.extend(headers);
    block.extend(b"\r\n");
    let (head, all) = (block.len(), block.len() + payload.len());
    let mut message = format!("HPUB {} {head} {all}\r\n", subject(who)).into_bytes();
    message.extend(block);
    message.extend(payload);
    message.extend(b"\r\n");
    message
}

fn execution(id: &str) -> String {
    let workspace = WORKSPACE.parse().unwrap();
    keyed_id(&workspace, Door::CloudEvents, "/orders/desk", id).to_string()
}

async fn received(world: &World, id: &str) {
    let is_there = |state: &Execution| !matches!(state, Execution::NeverReceived);
    world.until(&execution(id), is_there).await;
    let names = world.names(&execution(id)).await;
    let received = names.iter().filter(|name| *name == "intent.received");
    assert_eq!(received.count(), 1, "{names:?}");
}

fn ready(world: &World, directory: &Path) -> Process {
    spawn(world, Some(&world.principals_file), directory)
}

async fn refused(world: &World) -> Vec<Refusal> {
    let options = options_of(world.broker.as_ref().unwrap(), "operator");
    let refusals = Refusals::open(&options).await.unwrap();
    let workspace = WORKSPACE.parse().unwrap();
    let found = refusals.of(&workspace, 0, 100).await.unwrap();
    found.into_iter().map(|(_, refusal)| refusal).collect()
}

/// Waits until so many are kept: each is said in the log before.
async fn until_refused(world: &World, count: usize) -> Vec<Refusal> {
    let waiting = async {
        loop {
            let found = refused(world).await;
            if found.len() >= count {
                return found;
            }
        }
    };
    let waited = tokio::time::timeout(Duration::from_mins(1), waiting).await;
    waited.unwrap()
}

#[tokio::test]
async fn what_is_published_while_no_intake_runs_is_taken_when_one_does() {
    let world = World::on_broker().await;
    let directory = tempfile::tempdir().unwrap();
    let text = |id: &str| event(id, &intent(echo())).to_string();
    send_raw(&world, "sam", &published("sam", text("1").as_bytes())).await;
    let structured = b"content-type: application/cloudevents+json; charset=UTF-8\r\n";
    let two = with_headers("sam", structured, text("2").as_bytes());
    send_raw(&world, "sam", &two).await;
    let binary = b"Ce-Id: 3\r\nce-source: /orders/desk\r\nce-specversion: 1.0\r\n\
        ce-type: controlPlane.intent.submit\r\ncontent-type: application/json\r\n";
    let three = with_headers("sam", binary, intent(echo()).to_string().as_bytes());
    send_raw(&world, "sam", &three).await;
    // Again, as a producer does that has heard no answer.
    send_raw(&world, "sam", &three).await;
    let _process = ready(&world, directory.path());
    for id in ["1", "2", "3"] {
        received(&world, id).await;
    }
    assert_eq!(refused(&world).await, []);
}

#[tokio::test]
async fn what_is_refused_is_kept_with_its_reason() {
    let world = World::on_broker().await;
    let directory = tempfile::tempdir().unwrap();
    let _process = ready(&world, directory.path());
    let whole = event("1", &intent(echo()));
    let changed = |member: &str, value: Value| {
        let mut event = whole.clone();
        event[member] = value;
        event.to_string()
    };
    let elsewhere = json!({ "workspaceId": "globex", "text": "?" });
    let cases = [
        ("sam", "nonsense".to_owned(), Code::InvalidJson),
        ("sam", String::new(), Code::InvalidJson),
        (
            "sam",
            changed("type", "com.example".into()),
            Code::InvalidInput,
        ),
        ("sam", changed("data", elsewhere), Code::WorkspaceMismatch),
        ("guest", whole.to_string(), Code::Forbidden),
        ("old", whole.to_string(), Code::Unauthenticated),
    ];
    for (who, payload, _) in &cases {
        send_raw(&world, who, &published(who, payload.as_bytes())).await;
    }
    let batch = b"content-type: application/cloudevents-batch+json\r\n";
    send_raw(&world, "sam", &with_headers("sam", batch, b"[]")).await;
    let kept = until_refused(&world, cases.len() + 1).await;
    let by_sequence: BTreeMap<u64, Code> = kept
        .iter()
        .map(|refusal| (refusal.sequence, refusal.problem.code))
        .collect();
    let found: Vec<Code> = by_sequence.into_values().collect();
    let mut wanted = cases.map(|(_, _, code)| code).to_vec();
    wanted.push(Code::UnsupportedMediaType);
    assert_eq!(found, wanted);
    let third = kept.iter().find(|refusal| refusal.sequence == 3).unwrap();
    assert_eq!(third.subject, subject("sam"));
    assert_eq!(third.problem.findings[0].path, "/type");
    assert_eq!(
        third.payload_bytes,
        changed("type", "com.example".into()).len()
    );
    // The rest goes on.
    send_raw(
        &world,
        "sam",
        &published("sam", whole.to_string().as_bytes()),
    )
    .await;
    received(&world, "1").await;
}

/// Such headers end the connection of the client that reads them, at every delivery.
#[tokio::test]
async fn no_header_in_the_inbox_stops_it() {
    let world = World::on_broker().await;
    let directory = tempfile::tempdir().unwrap();
    let process = ready(&world, directory.path());
    let taken = format!("takes intents from the inbox workspace={WORKSPACE}");
    process.line(&taken).await;
    let hostile = hostile_headers();
    for (number, headers) in hostile.iter().enumerate() {
        let text = event(&format!("bad-{number}"), &intent(echo())).to_string();
        send_raw(
            &world,
            "sam",
            &with_headers("sam", headers, text.as_bytes()),
        )
        .await;
        let text = event(&format!("good-{number}"), &intent(echo())).to_string();
        send_raw(&world, "sam", &published("sam", text.as_bytes())).await;
    }
    for number in 0..hostile.len() {
        received(&world, &format!("good-{number}")).await;
    }
    assert!(process.is_running());
    // The last ones are only many: what they mean nothing to is an event all the same.
    let readable = hostile.len() - 1;
    received(&world, &format!("bad-{readable}")).await;
    let kept = until_refused(&world, readable).await;
    assert_eq!(kept.len(), readable);
    for refusal in &kept {
        assert_eq!(refusal.problem.code, Code::InvalidInput, "{refusal:#?}");
    }
}

/// Neither the file nor the broker says that something has become new.
#[tokio::test]
async fn a_workspace_that_comes_later_is_taken_from() {
    let world = World::on_broker().await;
    let broker = world.broker.as_ref().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let whole = everybody();
    let mut known = whole.clone();
    known
        .principals
        .retain(|held| held.workspace.as_str() == WORKSPACE);
    let file = directory.path().join("principals.json");
    std::fs::write(&file, serde_json::to_vec(&known).unwrap()).unwrap();
    let process = spawn(&world, Some(&file), directory.path());
    let taken = |workspace: &str| format!("takes intents from the inbox workspace={workspace}");
    process.line(&taken(WORKSPACE)).await;
    std::fs::write(&file, serde_json::to_vec(&whole).unwrap()).unwrap();
    process
        .line("`controlplane install --principals` makes one")
        .await;
    install_with(&options_of(broker, "installer"), whole.workspaces()).await;
    process.line(&taken(ELSEWHERE)).await;
    let caller = Guest::connect(
        &broker.url(),
        &format!("{ELSEWHERE}.eve"),
        &format!("{ELSEWHERE}.eve-password"),
        CALLER_INBOX_PREFIX,
    )
    .await;
    let mut wanted = intent(echo());
    wanted["workspaceId"] = ELSEWHERE.into();
    let text = event("1", &wanted).to_string();
    let subject = format!("cp.inbox.{ELSEWHERE}.eve");
    let kept = caller.client.request(subject, text.into()).await.unwrap();
    let kept = String::from_utf8(kept.payload.to_vec()).unwrap();
    assert!(kept.contains("CONTROL_PLANE_INBOX_elsewhere"), "{kept}");
    let workspace = ELSEWHERE.parse().unwrap();
    let id = keyed_id(&workspace, Door::CloudEvents, "/orders/desk", "1");
    let aggregate = AggregateId::execution(workspace, id);
    while world
        .journal
        .load(&aggregate, Read::Confirmed)
        .await
        .unwrap()
        .is_empty()
    {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn killed_between_storing_and_acknowledging_it_takes_the_message_once() {
    let world = World::on_broker().await;
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("reached");
    let kill = [
        ("CONTROL_PLANE_FAILPOINT", "intake.appended"),
        ("CONTROL_PLANE_FAILPOINT_FILE", mark.to_str().unwrap()),
    ];
    let process = spawn_with(
        &world,
        Some(&world.principals_file),
        directory.path(),
        &kill,
    );
    let text = event("1", &intent(echo())).to_string();
    send_raw(&world, "sam", &published("sam", text.as_bytes())).await;
    process.wait(Duration::from_mins(1)).await;
    received(&world, "1").await;
    let second = tempfile::tempdir().unwrap();
    let _process = ready(&world, second.path());
    let text = event("2", &intent(echo())).to_string();
    send_raw(&world, "sam", &published("sam", text.as_bytes())).await;
    received(&world, "2").await;
    received(&world, "1").await;
    assert_eq!(refused(&world).await, []);
}
