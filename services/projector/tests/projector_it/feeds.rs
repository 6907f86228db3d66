//! Live feeds.

use std::time::Duration;

use contracts::plan::Mode;
use host::clock::{Ambient as _, System};
use policy::shipped::default_bundle;
use serde_json::{Value, json};
use testkit::issuer::{SigningKey, key_set};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use super::{
    story::{TEXT, echo},
    world::{AUDITOR, Caller, ODD, Projector, READER, STRANGER, World, token_of},
};

fn types(events: &[(String, Value)]) -> Vec<String> {
    let kind = |event: &Value| event["type"].as_str().unwrap().to_owned();
    events.iter().map(|(_, event)| kind(event)).collect()
}

#[tokio::test]
async fn a_feed_tells_what_was_what_comes_and_ends_with_the_execution() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let id = world.story.submitted(Mode::Assist, &echo()).await;
    let projector = world.projector().await;
    let caller = projector.caller(AUDITOR);
    let mut feed = caller.watch(&id.to_string(), None).await;
    assert_eq!(feed.response.headers()["content-type"], "text/event-stream");
    let mut events = Vec::new();
    for _ in 0..5 {
        events.push(feed.next().await.unwrap());
    }
    assert_eq!(
        types(&events).last().unwrap(),
        "controlPlane.execution.step.blocked"
    );
    world.story.approve(id, "say").await;
    world.story.finish(id).await;
    events.extend(feed.all().await);
    assert_eq!(
        types(&events).last().unwrap(),
        "controlPlane.execution.completed"
    );
    assert_eq!(events.len(), 9);

    let history = world.story.history(&world.story.aggregate(id)).await;
    for ((_, event), recorded) in events.iter().zip(&history) {
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["id"], recorded.id().to_string());
        assert_eq!(event["subject"], recorded.subject.to_string());
        assert_eq!(event["workspace"], "acme");
        assert_eq!(event["correlationid"], id.to_string());
        assert_eq!(event["data"], recorded.event.to_json().unwrap());
    }

    // From any event on, nothing is left out and nothing comes twice.
    for (index, (last, _)) in events.iter().enumerate() {
        let mut feed = caller.watch(&id.to_string(), Some(last)).await;
        if index + 1 == events.len() {
            assert_eq!(feed.response.status(), 204);
        } else {
            assert_eq!(feed.all().await, events[index + 1..]);
        }
    }
    let feed = caller.watch(&id.to_string(), Some("last")).await;
    assert_eq!(feed.response.status(), 400);
    projector.stop().await;
}

#[tokio::test]
async fn a_feed_masks_what_its_reader_may_not_see() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let id = world.story.submitted(Mode::Autonomous, &echo()).await;
    let projector = world.projector().await;
    let events = projector
        .caller(READER)
        .watch(&id.to_string(), None)
        .await
        .all()
        .await;
    assert_eq!(
        types(&events).last().unwrap(),
        "controlPlane.execution.completed"
    );
    for (_, event) in &events {
        let text = event.to_string();
        assert!(!text.contains(TEXT) && !text.contains("hello"), "{text}");
        assert_eq!(event["masked"], true);
        assert_eq!(event["data"]["executionId"], id.to_string());
    }
    projector.stop().await;
}

/// Whoever opened it has to come with another one.
#[tokio::test]
async fn a_feed_ends_with_the_signed_token_it_was_opened_with() {
    let world = World::new();
    let (id, _) = world.story.received(Mode::Autonomous, &echo()).await;
    let directory = world.directory.path();
    let key = SigningKey::ed25519("k", 1);
    std::fs::write(directory.join("keys.json"), key_set([&key]).to_string()).unwrap();
    let providers = json!({ "providers": [{
        "name": "kc", "issuer": "https://id.example.com", "audiences": ["control-plane"],
        "keys": { "file": directory.join("keys.json") }, "algorithms": ["EdDSA"],
        "clockSkewSeconds": 0, "principal": "/sub", "workspace": { "constant": "acme" },
        "type": { "constant": "user" },
        "roles": { "claim": "/roles", "values": { "look": ["viewer"] } },
    }] });
    std::fs::write(directory.join("providers.json"), providers.to_string()).unwrap();
    let projector = world.projector().await;
    let end = System.now().as_millis() / 1000 + 3;
    let token = key.token(&json!({
        "iss": "https://id.example.com", "aud": "control-plane", "sub": "maria", "exp": end,
        "roles": ["look"],
    }));
    let caller = Caller::with_token(projector.address, token);
    let mut feed = caller.watch(&id.to_string(), None).await;
    assert!(feed.next().await.is_some());
    assert_eq!(feed.next().await, None);
    assert!(System.now().as_millis() >= end * 1000, "it ended too early");
    assert_eq!(caller.get("/v1/execution.list").await.0, 401);
    projector.stop().await;
}

#[tokio::test]
async fn a_feed_ends_when_the_projector_stops() {
    let world = World::new();
    let (id, _) = world.story.received(Mode::Autonomous, &echo()).await;
    let projector = world.projector().await;
    let mut feed = projector.caller(READER).watch(&id.to_string(), None).await;
    assert!(feed.next().await.is_some());
    projector.stop().await;
    assert_eq!(feed.next().await, None);
}

/// What a trace does not show to a caller, a feed does not either.
#[tokio::test]
async fn payloads_take_the_grant_for_traces_too() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let id = world.story.submitted(Mode::Autonomous, &echo()).await;
    let projector = world.projector().await;
    let events = projector
        .caller(ODD)
        .watch(&id.to_string(), None)
        .await
        .all()
        .await;
    assert!(!events.is_empty());
    assert!(events.iter().all(|(_, event)| event["masked"] == true));
    projector.stop().await;
}

/// A connection of a reader that takes what it gets in small pieces, or not at all.
pub async fn slow_reader(projector: &Projector, path: &str) -> TcpStream {
    slow_reader_as(projector, READER, path).await
}

pub async fn slow_reader_as(projector: &Projector, name: &str, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(projector.address).await.unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n",
        token_of(name)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// As a browser does: it goes on with the id it has.
#[tokio::test]
async fn a_reader_that_is_too_slow_is_let_go_and_goes_on_where_it_was() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let mut long = world.story.long(1).await;
    let projector = world.projector().await;
    let path = format!("/v1/executions/{}/events", long.id);
    let mut stream = slow_reader(&projector, &path).await;
    let mut said = vec![0; 64];
    stream.read_exact(&mut said).await.unwrap();
    // More than what waits for it, and the buffers on the way.
    let mut end = long.goes_on().await;
    for _ in 0..900 {
        end = long.goes_on().await;
    }
    let caller = projector.caller(READER);
    caller.ok(&format!("/v1/executions?atLeast={end}")).await;
    let reading = stream.read_to_end(&mut said);
    tokio::time::timeout(Duration::from_secs(20), reading)
        .await
        .expect("the feed ends")
        .unwrap();
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains(": too slow: go on with `Last-Event-ID`"));
    let ids: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .collect();

    let history = world.story.history(&world.story.aggregate(long.id)).await;
    assert!((10..history.len()).contains(&ids.len()), "{}", ids.len());
    let mut feed = caller
        .watch(&long.id.to_string(), ids.last().copied())
        .await;
    for recorded in &history[ids.len()..] {
        let (_, event) = feed.next().await.unwrap();
        assert_eq!(event["id"], recorded.id().to_string());
    }
    projector.stop().await;
}

#[tokio::test]
async fn two_thousand_events_are_told_everywhere() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let mut long = world.story.long(2000).await;
    let end = long.goes_on().await;
    let (id, length) = (
        long.id,
        world
            .story
            .history(&world.story.aggregate(long.id))
            .await
            .len(),
    );
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let list = caller.ok(&format!("/v1/executions?atLeast={end}")).await;
    assert_eq!(list["items"][0]["status"], "verified");
    let record = caller
        .ok(&format!("/v1/executions/{id}?atLeast={end}"))
        .await;
    assert_eq!(record["execution"]["version"], length);
    let trace = caller.ok(&format!("/v1/executions/{id}/trace")).await;
    assert_eq!(trace["entries"].as_array().unwrap().len(), length);
    let mut feed = caller.watch(&id.to_string(), None).await;
    for version in 1..=length {
        let (_, event) = feed.next().await.unwrap();
        assert_eq!(event["aggregateversion"], version.to_string());
    }
    projector.stop().await;
}

/// Nobody reads on with a credential that was taken back.
#[tokio::test]
async fn a_feed_ends_with_the_credential_it_was_opened_with() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let mut long = world.story.long(1).await;
    let projector = world.projector().await;
    let mut feed = projector
        .caller(READER)
        .watch(&long.id.to_string(), None)
        .await;
    let (_, first) = feed.next().await.unwrap();
    assert_eq!(first["type"], "controlPlane.intent.received");
    let told = world.story.history(&world.story.aggregate(long.id)).await;
    for _ in 1..told.len() {
        feed.next().await.unwrap();
    }
    std::fs::write(world.directory.path().join("principals.json"), "").unwrap();
    // As long as a file may stand before it is looked at again.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    long.goes_on().await;
    assert_eq!(feed.next().await, None);
    projector.stop().await;
}

#[tokio::test]
async fn one_reader_cannot_take_the_places_of_all() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let ours = world.story.long(1).await;
    let other = world.other_workspace();
    other.activate(&default_bundle()).await;
    let theirs = other.long(1).await;
    let projector = world.projector().await;
    let path = format!("/v1/executions/{}/events", ours.id);
    let mut open = Vec::new();
    for _ in 0..600 {
        let mut stream = slow_reader(&projector, &path).await;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        if &head == b"HTTP/1.1 429" {
            break;
        }
        assert_eq!(&head, b"HTTP/1.1 200");
        open.push(stream);
    }
    assert!(open.len() < 600);
    let stranger = projector.caller(STRANGER);
    let feed = stranger.watch(&theirs.id.to_string(), None).await;
    assert_eq!(feed.response.status(), 200);
    // Who closes one may open another.
    drop(open);
    let caller = projector.caller(READER);
    let patience = tokio::time::Instant::now() + Duration::from_secs(20);
    while caller
        .watch(&ours.id.to_string(), None)
        .await
        .response
        .status()
        == 429
    {
        assert!(tokio::time::Instant::now() < patience);
    }
    drop(feed);
    projector.stop().await;
}
