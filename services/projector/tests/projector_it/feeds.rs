//! Live feeds.

use contracts::plan::Mode;
use policy::shipped::default_bundle;
use serde_json::Value;

use super::{
    story::{TEXT, echo},
    world::{AUDITOR, READER, World},
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
