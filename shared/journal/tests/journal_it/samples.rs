//! Events to store. What they say does not matter here, so each is made from JSON.

use contracts::{
    envelope::Envelope,
    event::{Event, EventName, Service},
    ids::{EventId, ExecutionId, SkillKey, WorkspaceId},
    record::{Cause, Head, Recorded, seal},
    subject::AggregateId,
    time::Timestamp,
};
use serde_json::{Value, json};
use uuid::Uuid;

pub fn workspace(name: &str) -> WorkspaceId {
    name.parse().unwrap()
}

/// An execution that no other test has.
pub fn execution() -> AggregateId {
    AggregateId::execution(workspace("acme"), ExecutionId::of(Uuid::new_v4()))
}

pub fn skill() -> AggregateId {
    let key: SkillKey = format!("demo.{}", Uuid::new_v4()).parse().unwrap();
    AggregateId::skill(workspace("acme"), &key)
}

pub const KINDS: [EventName; 6] = [
    EventName::CancelRequested,
    EventName::Paused,
    EventName::Resumed,
    EventName::StepSkipped,
    EventName::StepCompensated,
    EventName::RetryRequested,
];

/// An event of this kind with `text` in it.
pub fn event(name: EventName, text: &str) -> Event {
    let id = Uuid::nil();
    let at = Timestamp::from_millis(1_700_000_000_000);
    let mut value = json!({
        "executionId": id, "runId": format!("{id}:1"), "stepId": "one", "reason": text,
        "by": { "type": "user", "id": "ada", "grants": [] }, "rules": 1, "skillKey": "demo",
    });
    for field in [
        "requestedAt",
        "pausedAt",
        "resumedAt",
        "skippedAt",
        "compensatedAt",
        "disabledAt",
    ] {
        value[field] = Value::from(at.to_string());
    }
    Event::from_json(name, value).unwrap()
}

pub fn sealed(
    aggregate: &AggregateId,
    head: Option<&Head>,
    name: EventName,
    text: &str,
) -> (Envelope, Recorded) {
    caused(aggregate, head, name, text, EventId::of(Uuid::new_v4()))
}

pub fn caused(
    aggregate: &AggregateId,
    head: Option<&Head>,
    name: EventName,
    text: &str,
    cause: EventId,
) -> (Envelope, Recorded) {
    let cause = Cause {
        id: Some(cause),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
    };
    let at = Timestamp::from_millis(1_700_000_000_000);
    seal(
        aggregate,
        head,
        event(name, text),
        Service::Intake,
        &cause,
        at,
    )
    .unwrap()
}

/// `count` events in a row, chained.
pub fn history(aggregate: &AggregateId, count: usize) -> Vec<Envelope> {
    let mut head = None;
    let mut envelopes = Vec::new();
    for number in 0..count {
        let kind = KINDS[number % KINDS.len()];
        let (envelope, recorded) = sealed(aggregate, head.as_ref(), kind, &number.to_string());
        head = Some(recorded.head());
        envelopes.push(envelope);
    }
    envelopes
}
