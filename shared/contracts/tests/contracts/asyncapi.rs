//! The description of what is said over NATS is whole, and of one piece.

use std::{collections::BTreeSet, sync::LazyLock};

use contracts::{
    event::EventName,
    ids::ExecutionId,
    problem::Code,
    registry::{OperationName, asyncapi, event_key, event_schema, openapi},
    subject::{Shard, Subject},
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::schemas::references;

static DOCUMENT: LazyLock<Value> = LazyLock::new(asyncapi::document);

fn part(path: &str) -> &'static Map<String, Value> {
    let found = DOCUMENT.pointer(path).and_then(Value::as_object);
    found.expect(path)
}

fn target(reference: &Value) -> &'static Value {
    let reference = reference["$ref"].as_str().unwrap();
    DOCUMENT.pointer(&reference[1..]).expect(reference)
}

#[test]
fn every_reference_leads_somewhere() {
    let references = references(&DOCUMENT);
    assert!(references.len() > 500, "{}", references.len());
    for reference in &references {
        let pointer = reference.strip_prefix('#').expect(reference);
        assert!(DOCUMENT.pointer(pointer).is_some(), "{reference}");
    }
    // Nothing is described that nobody says.
    let referred: BTreeSet<&str> = references.into_iter().collect();
    for section in ["schemas", "messages", "parameters", "securitySchemes"] {
        for name in part(&format!("/components/{section}")).keys() {
            let reference = format!("#/components/{section}/{name}");
            assert!(referred.contains(reference.as_str()), "{reference}");
        }
    }
}

/// A reference of this format stands alone: what stands beside it is not read.
#[test]
fn nothing_stands_beside_a_reference() {
    fn walk(value: &Value) {
        match value {
            Value::Object(members) => {
                let is_reference = members.get("$ref").is_some_and(Value::is_string);
                assert!(!is_reference || members.len() == 1, "{value}");
                members.values().for_each(walk);
            }
            Value::Array(items) => items.iter().for_each(walk),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    walk(&DOCUMENT);
}

#[test]
fn every_event_is_a_message_that_is_received() {
    for event in EventName::ALL {
        let name = format!("event.{event}");
        let operation = &part("/operations")[&name];
        assert_eq!(operation["action"], "receive", "{name}");
        let message = target(target(&operation["messages"][0]));
        assert_eq!(message["name"], event_key(event));
        assert_eq!(message["contentType"], "application/msgpack");
        assert_eq!(
            message["headers"]["allOf"][1]["properties"]["ce-type"]["const"],
            event_key(event)
        );
        assert_is(target(&message["payload"]), &event_schema(event).to_value());
        assert!(part("/channels/log/messages").contains_key(&name));

        // Its address is that of such an event.
        let id = ExecutionId::of(Uuid::nil()).to_string();
        let address = target(&operation["channel"])["address"].as_str().unwrap();
        let stored: Subject = address
            .replacen("events.", "controlPlane.", 1)
            .replace("{workspace}", "demo")
            .replace("{shard}", &Shard::of(&id).to_string())
            .replace("{executionId}", &id)
            .replace("{id}", &id)
            .replace("{version}", "7")
            .parse()
            .expect(address);
        assert_eq!((stored.event, stored.version), (event, 7));
    }
}

#[test]
fn every_operation_is_a_request_with_its_answer_and_a_refusal() {
    for operation in OperationName::ALL {
        let (entry, short) = (operation.entry(), operation.short());
        let described = &part("/operations")[&format!("operation.{short}")];
        assert_eq!(described["action"], "send", "{short}");
        assert_eq!(described["x-grant"], entry.grant.as_str());
        assert_eq!(
            target(&described["channel"])["address"],
            format!("cp.api.{{workspace}}.{{principal}}.{short}")
        );
        let request = target(target(&described["messages"][0]));
        assert_is(target(&request["payload"]), &entry.input().to_value());
        let reply = &described["reply"];
        assert_eq!(target(&reply["channel"])["address"], Value::Null);
        let [answer, refusal] = reply["messages"].as_array().unwrap().as_slice() else {
            panic!("{short}: {reply}");
        };
        let answer = target(target(answer));
        assert_is(target(&answer["payload"]), &entry.output().to_value());
        let refusal = target(target(refusal));
        assert_eq!(refusal["contentType"], "application/problem+json");
        let statuses = refusal["headers"]["properties"]["Cp-Status"]["enum"].clone();
        let statuses: BTreeSet<String> = serde_json::from_value(statuses).unwrap();
        for code in entry.all_errors() {
            if code == Code::MethodNotAllowed {
                continue;
            }
            assert!(statuses.contains(&code.http().to_string()), "{code}");
            let codes = described["x-errors"].as_array().unwrap();
            assert!(codes.contains(&json!(code.to_string())), "{code}");
        }
    }
}

/// Nothing took the place of something else of its name.
#[test]
fn ids_are_unique() {
    let (events, operations) = (EventName::ALL.len(), OperationName::ALL.len());
    // Besides: the inbox and the call of a skill.
    assert_eq!(part("/operations").len(), events + operations + 2);
    // The log, the two kinds of answers, the inbox and the call of a skill.
    assert_eq!(part("/channels").len(), events + operations + 5);
    // Requests and answers; the refusal; two modes of the inbox; a call and its four answers.
    let messages = part("/components/messages");
    assert_eq!(messages.len(), events + 2 * operations + 1 + 2 + 5);
    let names = messages.values().map(|it| it["name"].as_str().unwrap());
    assert_eq!(names.collect::<BTreeSet<_>>().len(), messages.len());
    let addresses = part("/channels").values();
    let addresses: Vec<&str> = addresses.filter_map(|it| it["address"].as_str()).collect();
    let distinct: BTreeSet<_> = addresses.iter().collect();
    assert_eq!(distinct.len(), addresses.len());
}

#[test]
fn each_token_in_braces_is_a_parameter() {
    for (name, channel) in part("/channels") {
        let address = channel["address"].as_str().unwrap_or_default();
        let tokens: BTreeSet<&str> = address
            .split('.')
            .filter_map(|token| token.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        let given = channel.get("parameters").and_then(Value::as_object);
        let given: BTreeSet<&str> = given
            .into_iter()
            .flat_map(|parameters| parameters.keys().map(String::as_str))
            .collect();
        assert_eq!(tokens, given, "{name}");
        assert_eq!(address.matches('{').count(), tokens.len(), "{name}");
    }
    for (name, parameter) in part("/components/parameters") {
        let Some(schema) = parameter.get("x-schema") else {
            assert!(parameter["enum"].is_array(), "{name}");
            continue;
        };
        let schema = jsonschema::options()
            .should_validate_formats(true)
            .build(schema)
            .unwrap();
        let examples = parameter["examples"].as_array().unwrap();
        assert!(examples.iter().all(|it| schema.is_valid(it)), "{name}");
        assert!(!schema.is_valid(&json!("a.b")), "{name}");
    }
}

#[test]
fn what_is_said_over_http_too_has_one_schema() {
    let over_http = openapi::document();
    let mut shared = 0;
    for (name, schema) in part("/components/schemas") {
        if let Some(other) = over_http["components"]["schemas"].get(name) {
            assert_is(schema, other);
            shared += 1;
        }
    }
    assert!(shared > 80, "{shared}");
}

#[test]
fn workers_are_told_what_they_get_and_may_answer() {
    let call = &part("/operations")["skill.call"];
    assert_eq!(call["action"], "receive");
    assert_eq!(
        target(&call["channel"])["address"],
        "cp.skill.{workspace}.{name}"
    );
    let answers = call["reply"]["messages"].as_array().unwrap().iter();
    let answers = answers.map(|it| target(&target(target(it))["payload"]));
    let answers: Vec<_> = answers
        .map(|schema| jsonschema::validator_for(schema).unwrap())
        .collect();
    let fitting = |answer: &Value| answers.iter().filter(|it| it.is_valid(answer)).count();
    for answer in [
        json!({ "output": { "any": ["thing"] } }),
        json!({ "output": null }),
        json!({ "error": { "code": "CARD_DECLINED" } }),
        json!({ "error": { "code": "BUSY", "message": "later", "retryable": true } }),
        json!({ "inProgress": true }),
        json!({ "accepted": {} }),
        json!({ "accepted": { "expiresAfterMs": 60_000 } }),
    ] {
        assert_eq!(fitting(&answer), 1, "{answer}");
    }
    for answer in [
        json!({}),
        json!({ "output": 1, "error": { "code": "X" } }),
        json!({ "error": { "message": "no code" } }),
        json!({ "inProgress": false }),
        json!({ "accepted": { "expiresAfterMs": -1 } }),
        json!({ "done": true }),
    ] {
        assert_eq!(fitting(&answer), 0, "{answer}");
    }
}

/// The same but for what a component does not say again, and for how a reference is written.
#[track_caller]
fn assert_is(component: &Value, schema: &Value) {
    assert_eq!(plain(component), plain(schema));
}

fn plain(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut plain_members: Map<String, Value> = members
                .iter()
                .filter(|(name, _)| !matches!(name.as_str(), "$id" | "$schema" | "$defs"))
                .map(|(name, member)| (name.clone(), plain(member)))
                .collect();
            // The title of a schema is its key.
            if plain_members.get("title").is_some_and(Value::is_string) {
                plain_members.remove("title");
            }
            if let Some(Value::String(reference)) = members.get("$ref") {
                let name = reference.rsplit('/').next().unwrap();
                plain_members.remove("$ref");
                if plain_members.is_empty() {
                    plain_members.insert("of".to_owned(), name.into());
                } else {
                    let alone = json!([{ "of": name }]);
                    plain_members.insert("allOf".to_owned(), alone);
                }
            }
            Value::Object(plain_members)
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
