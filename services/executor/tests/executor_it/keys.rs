//! One key is one effect, however often it is sent.

use std::time::Duration;

use contracts::{event::EventName, ids::ExecutionId};
use serde_json::{Value, json};

use super::{
    door::{Door, SAM},
    worker::Worker,
    world::{World, names, trusting},
};

fn refund(order: &str) -> Value {
    json!({
        "workspaceId": "demo",
        "text": "refund this order",
        "draft": { "steps": [
            { "id": "pay", "uses": "test.shop/refund", "with": { "order": order } },
        ]},
    })
}

#[tokio::test]
async fn two_keys_are_two_effects_one_key_is_one_and_another_body_is_a_conflict() {
    let (world, _services) = World::running(1).await;
    let worker = Worker::serve(&world.journal, Duration::ZERO).await;
    let door = Door::open(&world, "intake").await;
    let submit = async |key: &str, order: &str| {
        door.ask_with(SAM, "intent.submit", Some(key), &refund(order))
            .await
    };

    let (status, one) = submit("key-1", "7").await;
    assert_eq!(status, 201, "{one}");
    let (status, again) = submit("key-1", "7").await;
    assert_eq!(status, 200, "{again}");
    assert_eq!(one["executionId"], again["executionId"]);
    let (_, two) = submit("key-2", "7").await;
    assert_ne!(one["executionId"], two["executionId"]);
    let (status, conflict) = submit("key-1", "8").await;
    assert_eq!(
        (status, &conflict["code"]),
        (409, &json!("IDEMPOTENCY_CONFLICT"))
    );
    assert!(
        conflict["detail"].as_str().unwrap().contains("key"),
        "{conflict}"
    );

    for answer in [one, two] {
        let id: ExecutionId = answer["executionId"].as_str().unwrap().parse().unwrap();
        world.until(id, EventName::StepBlocked).await;
        world.approve(id, "pay").await.unwrap();
        let history = world.finished(id).await;
        assert_eq!(names(&history).last().unwrap(), "execution.completed");
    }
    assert_eq!(worker.counts(), [1, 1]);
}

/// Intake dies after its append: the caller, who got no answer, asks again under the same key.
#[tokio::test]
async fn intake_dies_after_its_append_and_the_repetition_finds_the_same_execution() {
    let world = World::new(1).await;
    let _services = world.services();
    world.activate(&trusting()).await;
    let armed = world.failpoint("intake.appended");
    let body = json!({
        "workspaceId": "demo",
        "text": "say it",
        "draft": { "steps": [ { "id": "say", "uses": "core.echo/echo", "with": {} } ] },
    });
    let doomed = Door::open_with(&world, "doomed", &armed).await;
    let unanswered = doomed.try_ask(SAM, "intent.submit", "key-1", &body).await;
    assert!(unanswered.is_none(), "it was answered: {unanswered:?}");
    assert!(world.mark("intake.appended").exists());

    let door = Door::open(&world, "intake").await;
    let (status, answer) = door
        .ask_with(SAM, "intent.submit", Some("key-1"), &body)
        .await;
    // Not created again: it was stored before the process died.
    assert_eq!(status, 200, "{answer}");
    let id: ExecutionId = answer["executionId"].as_str().unwrap().parse().unwrap();
    let history = world.finished(id).await;
    assert_eq!(names(&history).last().unwrap(), "execution.completed");
    assert_eq!(
        names(&history)
            .iter()
            .filter(|name| *name == "intent.received")
            .count(),
        1
    );
}
