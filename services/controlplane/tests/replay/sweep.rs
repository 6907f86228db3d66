//! Every single value of a history, changed on its own and sealed again.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use contracts::{event::Event, subject::AggregateId};
use domain::schema::join;
use serde_json::{Value, json};

use crate::{
    cases,
    copies::{Copy, subject},
    world::{World, workspace},
};

/// Values that ids, times and enumerations have.
const WORDS: [&str; 23] = [
    "0198f3a0-7c1e-7d2a-9b3c-4d5e6f708192",
    "0198f3a0-7c1e-7d2a-9b3c-4d5e6f708192:1",
    "2030-06-01T13:00:00.000Z",
    "1.0.9",
    "autonomous",
    "assist",
    "blocked",
    "low",
    "high",
    "read",
    "money",
    "user",
    "service",
    "auto",
    "manual",
    "not_done",
    "unknown",
    "succeeded",
    "observed",
    "inputs_known",
    "policy_changed",
    "control_bypass",
    "intent",
];

/// What only who did it could say: the deciders take any. `-` is without the value.
const FREE: [&str; 10] = [
    "execution.approved -/inputsDigest",
    "execution.approved -/note",
    "execution.approved -/planHash",
    "execution.approved /by/id",
    "execution.approved /by/type",
    "execution.approved /note",
    "execution.step.started /owner",
    "execution.step.started /owner",
    "execution.step.started /tokenHash",
    "execution.step.started /tokenHash",
];

/// Each in an execution of its own, all of them replayed together.
#[tokio::test]
async fn no_value_can_be_changed_but_those_that_only_their_sender_knows() {
    let mut world = World::new(1).await;
    let mut ids = vec![cases::refund(&mut world, "0").await];
    let values = values(&mut Copy::of(&world.journal).await, &aggregate(ids[0]));
    assert!(values.len() > 200, "{}", values.len());
    for key in 1..values.len() {
        ids.push(cases::refund(&mut world, &key.to_string()).await);
    }
    let mut copy = Copy::of(&world.journal).await;
    for (id, value) in ids.iter().zip(&values) {
        value.change(&mut copy, &aggregate(*id));
    }
    copy.reseal();

    let report = copy.replay().await;

    let named: BTreeSet<&str> = report
        .differences
        .iter()
        .map(|difference| difference.place.id.as_str())
        .chain(
            report
                .not_rederived
                .iter()
                .map(|listed| listed.place.id.as_str()),
        )
        .collect();
    let mut unnamed: Vec<String> = ids
        .iter()
        .zip(&values)
        .filter(|(id, _)| !named.contains(id.to_string().as_str()))
        .map(|(_, value)| format!("{} {}", value.event, value.path))
        .collect();
    unnamed.sort();
    assert_eq!(unnamed, FREE);
}

fn aggregate(id: contracts::ids::ExecutionId) -> AggregateId {
    AggregateId::execution(workspace(), id)
}

/// A value somewhere in a history.
struct Place {
    version: u64,
    event: String,
    path: String,
}

fn values(copy: &mut Copy, aggregate: &AggregateId) -> Vec<Place> {
    let mut values = Vec::new();
    for line in &copy.lines {
        let subject = subject(line);
        if subject.aggregate != *aggregate {
            continue;
        }
        let payload = STANDARD.decode(&line.payload).unwrap();
        let event = Event::decode(subject.event, &payload).unwrap();
        let mut paths = Vec::new();
        leaves("", &event.to_json().unwrap(), &mut paths);
        let left_out: Vec<String> = paths.iter().map(|path| format!("-{path}")).collect();
        let places = paths.into_iter().chain(left_out);
        let places = places.filter(|path| changed(&event, path).is_some());
        values.extend(places.map(|path| Place {
            version: subject.version,
            event: subject.event.to_string(),
            path,
        }));
    }
    values
}

fn leaves(path: &str, value: &Value, paths: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                leaves(&join(path, key), value, paths);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                leaves(&join(path, &index.to_string()), value, paths);
            }
        }
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) => paths.push(path.to_owned()),
    }
}

/// The event with another value at `path`; nothing where no other is readable.
fn changed(event: &Event, path: &str) -> Option<Event> {
    let json = event.to_json().unwrap();
    if let Some(path) = path.strip_prefix('-') {
        return without(event, json, path);
    }
    others(json.pointer(path).unwrap())
        .into_iter()
        .find_map(|other| {
            let mut json = json.clone();
            *json.pointer_mut(path).unwrap() = other;
            let changed = Event::from_json(event.name(), json).ok()?;
            (changed != *event).then_some(changed)
        })
}

fn without(event: &Event, mut json: Value, path: &str) -> Option<Event> {
    let (parent, name) = path.rsplit_once('/')?;
    match json.pointer_mut(parent)? {
        Value::Object(members) => members.remove(name)?,
        Value::Array(items) => items.remove(name.parse().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
    };
    let changed = Event::from_json(event.name(), json).ok()?;
    (changed != *event).then_some(changed)
}

fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::Bool(value) => vec![json!(!value)],
        Value::Number(number) => vec![json!(number.as_i64().unwrap() + 1)],
        // Where any text will do, the first one is taken; else what its type can be read from.
        Value::String(text) => [format!("{text}x"), text.replacen('@', "@2", 1)]
            .into_iter()
            .chain(["0".repeat(64)])
            .chain(WORDS.map(str::to_owned))
            .map(Value::from)
            .collect(),
        Value::Null | Value::Array(_) | Value::Object(_) => Vec::new(),
    }
}

impl Place {
    fn change(&self, copy: &mut Copy, aggregate: &AggregateId) {
        let line = copy
            .lines
            .iter_mut()
            .find(|line| {
                let subject = subject(line);
                subject.aggregate == *aggregate && subject.version == self.version
            })
            .unwrap();
        let name = subject(line).event;
        let payload = STANDARD.decode(&line.payload).unwrap();
        let event = Event::decode(name, &payload).unwrap();
        let changed = changed(&event, &self.path).unwrap();
        line.payload = STANDARD.encode(changed.encode().unwrap());
    }
}
