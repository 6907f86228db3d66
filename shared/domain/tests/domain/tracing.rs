//! What a trace tells of each event, and what it keeps from who may not see payloads.

use std::collections::BTreeSet;

use contracts::{
    event::{Event, EventName},
    operations::trace::Stage,
    plan::Status,
    position::{Position, StreamId},
    record::{Cause, Recorded, seal},
    subject::AggregateId,
};
use domain::{
    execution::Execution,
    trace::{Payloads, cloud_event, entries},
};
use serde_json::Value;

use super::kit::{at, execution_id, given, samples::sample, step};

/// Members that are shown although they are texts: words of policies, of the code, and names that
/// services and planners give themselves. None is written by who asks, votes or is written about.
const WORDS: [&str; 16] = [
    "about",
    "approval",
    "artifactDigest",
    "code",
    "compilerVersion",
    "engineVersion",
    "errorCode",
    "outcome",
    "plannerModel",
    "policyIds",
    "reason",
    "reasons",
    "scope",
    "service",
    "source",
    "channelKey",
];

/// Of people only who they are.
const PEOPLE: [&str; 2] = ["by", "actor"];

fn recorded(event: Event) -> Recorded {
    let workspace = "acme".parse().unwrap();
    let aggregate = AggregateId::execution(workspace, execution_id());
    let writer = event.name().writers()[0];
    let cause = Cause::default();
    let sealed = seal(&aggregate, None, event, writer, &cause, at(0));
    sealed.unwrap().1
}

/// Whether a schema describes ids, instants, digests, numbers and closed sets of words only.
fn is_closed(root: &Value, schema: &Value) -> bool {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        return is_closed(
            root,
            root.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        );
    }
    for several in ["anyOf", "oneOf"] {
        if let Some(choices) = schema.get(several).and_then(Value::as_array) {
            return choices.iter().all(|choice| is_closed(root, choice));
        }
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        return properties.values().all(|member| is_closed(root, member));
    }
    let of = |name: &str| schema.get(name);
    let is_text = match of("type") {
        Some(Value::String(one)) => one == "string",
        Some(Value::Array(several)) => several.contains(&"string".into()),
        _ => of("const").is_none() && of("enum").is_none(),
    };
    let items = of("items").is_none_or(|items| is_closed(root, items));
    let named = ["format", "pattern", "enum", "const"];
    items && (!is_text || named.iter().any(|name| of(name).is_some()))
}

/// For every event there is: what is shown without the grant is closed, or named above.
#[test]
fn without_the_grant_nothing_is_shown_that_a_person_wrote() {
    let world = given(&[step("a")]);
    let mut open = Vec::new();
    for name in EventName::ALL {
        let recorded = recorded(sample(name, &world));
        let position = Position {
            stream: StreamId::Log(0),
            sequence: 1,
        };
        let masked = cloud_event(position, &recorded, Payloads::Masked);
        let whole = cloud_event(position, &recorded, Payloads::Whole);
        assert_eq!(masked["masked"], true, "{name}");
        assert_eq!(whole.get("masked"), None, "{name}");
        assert_eq!(whole["data"], recorded.event.to_json().unwrap());
        let schema = name.schema().to_value();
        let shown = masked["data"].as_object().unwrap();
        for (member, value) in shown {
            assert_eq!(whole["data"][member], *value, "{name}: {member}");
            let described = &schema["properties"][member];
            let known = WORDS.contains(&member.as_str()) || PEOPLE.contains(&member.as_str());
            if !known && !is_closed(&schema, described) {
                open.push(format!("{name}: {member}: {described}"));
            }
            assert_ne!(described["x-pii"], true, "{name}: {member}");
        }
        let hidden = [
            "text", "draft", "inputs", "output", "note", "plan", "problem", "facts",
        ];
        for member in hidden {
            assert!(!shown.contains_key(member), "{name}: {member}");
        }
        // As the trace has it.
        let told = &entries(std::slice::from_ref(&recorded), Payloads::Masked)[0];
        assert_eq!(told.payload, None, "{name}");
        assert_eq!(told.stage, Stage::of(name), "{name}");
        for member in told.metadata.iter().flat_map(serde_json::Map::keys) {
            assert!(
                shown.contains_key(member) || member == "causationId",
                "{name}: {member}"
            );
        }
        let told = &entries(std::slice::from_ref(&recorded), Payloads::Whole)[0];
        let payload = told.payload.clone().map(Value::Object);
        assert_eq!(payload, Some(whole["data"].clone()), "{name}");
    }
    assert!(open.is_empty(), "{open:#?}");
}

/// After each event the status is that of the fold so far.
#[test]
fn each_entry_says_how_the_execution_stood_after_it() {
    let world = given(&[step("a")])
        .driven()
        .when_succeeded("a")
        .when_woken(1);
    assert_eq!(world.known().status(), Status::Completed);
    let trace = entries(&world.log, Payloads::Masked);
    assert_eq!(trace.len(), world.log.len());
    let mut seen = BTreeSet::new();
    for (index, entry) in trace.iter().enumerate() {
        let so_far = Execution::fold(&world.log[..=index]);
        assert_eq!(Some(entry.status), so_far.status(), "{index}");
        assert_eq!(entry.version, Some(index as u64 + 1));
        assert_eq!(entry.event_id, Some(world.log[index].id()));
        assert_eq!(entry.hash, Some(world.log[index].hash));
        seen.insert(entry.stage);
    }
    let stages = [
        Stage::Intent,
        Stage::Plan,
        Stage::Policy,
        Stage::Execution,
        Stage::Step,
    ];
    assert_eq!(seen, BTreeSet::from(stages));
}
