//! What is answered and what is stored, held against what is published: the schemas under
//! `schemas/`, where a member that they do not name is a fault too, and the fields of the
//! reference contract.

use std::{collections::BTreeMap, fs, path::Path, sync::LazyLock};

use contracts::{
    envelope::{Attributes, Headers},
    event::EventName,
    registry::{OperationName, Section, event_key},
};
use journal::stored::Raw;
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::reference::{Reference, Type, reference};

static REFERENCE: LazyLock<Reference> = LazyLock::new(reference);

static ANSWERS: LazyLock<BTreeMap<OperationName, Validator>> = LazyLock::new(|| {
    let validator = |operation: OperationName| {
        let file = format!("operations/{}.output.json", operation.entry().key);
        (operation, closed(published(&file)))
    };
    OperationName::ALL.map(validator).into()
});

static EVENTS: LazyLock<BTreeMap<EventName, Validator>> = LazyLock::new(|| {
    let validator = |event: EventName| {
        let file = format!("events/{}.json", event_key(event));
        (event, closed(published(&file)))
    };
    EventName::ALL.map(validator).into()
});

static PROBLEM: LazyLock<Validator> = LazyLock::new(|| {
    let mut document = published("http/openapi.json");
    let components = document["components"].take();
    closed(json!({ "$ref": "#/components/schemas/Problem", "components": components }))
});

static HEADERS: LazyLock<Validator> = LazyLock::new(|| {
    let mut document = published("nats/asyncapi.json");
    closed(document["components"]["schemas"]["EventHeaders"].take())
});

/// As it is committed.
fn published(file: &str) -> Value {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
    let text = fs::read_to_string(schemas.join(file));
    serde_json::from_str(&text.unwrap_or_else(|error| panic!("{file}: {error}"))).unwrap()
}

/// To readers a schema is open, so that members can be added; to this build it is not.
fn closed(mut schema: Value) -> Validator {
    close(&mut schema);
    jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap()
}

fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            // A model has a type beside its properties; a member that is called so has not.
            let is_model = members.get("properties").is_some_and(Value::is_object)
                && members.contains_key("type");
            if is_model && !members.contains_key("additionalProperties") {
                members.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Fails with the path of each member that is too many, too few or not as published.
#[track_caller]
pub fn check_answer(operation: OperationName, answer: &Value) {
    let entry = operation.entry();
    let mut faults = faults(&ANSWERS[&operation], answer);
    if entry.section == Section::Reference {
        let fields = REFERENCE.operations[entry.key].fields("output");
        model(answer, &fields, "", &mut faults);
    }
    assert!(
        faults.is_empty(),
        "an answer to `{}` is not as published: {faults:#?}\n{answer:#}",
        entry.key
    );
}

/// As [`check_answer`], of a refusal.
#[track_caller]
pub fn check_problem(problem: &Value) {
    let faults = faults(&PROBLEM, problem);
    assert!(
        faults.is_empty(),
        "a problem is not as published: {faults:#?}\n{problem:#}"
    );
}

/// As [`check_answer`], of an event as it is stored; and it has the headers that it must have.
#[track_caller]
pub fn check_event(raw: &Raw) -> EventName {
    let headers = Headers::from_wire(raw.headers.iter().map(|(name, value)| (name, value)));
    let headers = headers.unwrap_or_else(|error| panic!("{}: {error}", raw.subject));
    let told: Value = headers
        .iter()
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let found = faults(&HEADERS, &told);
    assert!(
        found.is_empty(),
        "the headers of `{}` are not as published: {found:#?}\n{told:#}",
        raw.subject
    );
    let attributes = Attributes::from_headers(&headers);
    let attributes = attributes.unwrap_or_else(|error| panic!("{}: {error}", raw.subject));
    let event = attributes.event;
    assert_eq!(headers.get("ce-type"), Some(event_key(event).as_str()));
    assert!(
        raw.subject.ends_with(&format!(".{event}")),
        "{}: {event}",
        raw.subject
    );
    let is_first = raw.subject.ends_with(&format!(".1.{event}"));
    assert_eq!(attributes.prev_hash.is_none(), is_first, "{}", raw.subject);
    let payload: Value = rmp_serde::from_slice(&raw.payload).unwrap();
    let mut faults = faults(&EVENTS[&event], &payload);
    if event.section() == Section::Reference {
        let fields = REFERENCE.events[&event_key(event)].fields("payload");
        model(&payload, &fields, "", &mut faults);
    }
    assert!(
        faults.is_empty(),
        "`{event}` is not as published: {faults:#?}\n{payload:#}"
    );
    event
}

fn faults(validator: &Validator, value: &Value) -> Vec<String> {
    let errors = validator.iter_errors(value);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// Each field of the reference is there where it must be, and is what it has to be.
fn model(value: &Value, fields: &BTreeMap<String, Type>, at: &str, faults: &mut Vec<String>) {
    let Some(members) = value.as_object() else {
        faults.push(format!("{at}: no object"));
        return;
    };
    for (name, field) in fields {
        let at = format!("{at}/{name}");
        match members.get(name) {
            None if field.required => faults.push(format!("{at}: the reference requires it")),
            None => {}
            Some(Value::Array(items)) if field.list => {
                for (index, item) in items.iter().enumerate() {
                    of_type(item, &field.name, &format!("{at}/{index}"), faults);
                }
            }
            Some(_) if field.list => faults.push(format!("{at}: no list")),
            Some(value) => of_type(value, &field.name, &at, faults),
        }
    }
}

fn of_type(value: &Value, name: &str, at: &str, faults: &mut Vec<String>) {
    let fits = match name {
        "ID" | "String" => value.is_string(),
        "DateTime" => value.as_str().is_some_and(|text| {
            let parsed: Result<contracts::time::Timestamp, _> = text.parse();
            parsed.is_ok()
        }),
        "Int" => value.is_u64(),
        "Boolean" => value.is_boolean(),
        "JSONObject" => value.is_object(),
        _ => {
            let Some(fields) = REFERENCE.models.get(name) else {
                panic!("the reference has no model `{name}`");
            };
            model(value, fields, at, faults);
            return;
        }
    };
    if !fits {
        faults.push(format!("{at}: no {name}: {value}"));
    }
}

/// A check that lets everything pass would look as one that finds nothing.
#[test]
fn a_member_too_many_and_one_too_few_are_found_at_their_places() {
    let answer = json!({
        "executionId": "0198f300-0000-7000-8000-000000000000", "status": "stopping",
        "cancelledAt": "2031-01-01T00:00:00.000Z",
    });
    check_answer(OperationName::ExecutionCancel, &answer);
    let found = |answer: &Value| {
        let mut found = faults(&ANSWERS[&OperationName::ExecutionCancel], answer);
        let key = OperationName::ExecutionCancel.entry().key;
        let fields = REFERENCE.operations[key].fields("output");
        model(answer, &fields, "", &mut found);
        found.join("\n")
    };
    assert_eq!(found(&answer), "");
    let mut more = answer.clone();
    more["invented"] = json!(1);
    assert!(found(&more).contains("invented"), "{}", found(&more));
    let mut less = answer.clone();
    less.as_object_mut().unwrap().remove("cancelledAt");
    let told = found(&less);
    assert!(
        told.contains("/cancelledAt: the reference requires it"),
        "{told}"
    );
    assert!(told.contains("\"cancelledAt\" is a required"), "{told}");
    let mut other = answer;
    other["cancelledAt"] = json!("yesterday");
    assert!(
        found(&other).contains("/cancelledAt: "),
        "{}",
        found(&other)
    );
    let record = json!({ "execution": { "executionId": "x", "invented": 1 } });
    let nested = faults(&ANSWERS[&OperationName::ExecutionGet], &record).join("\n");
    assert!(nested.contains("/execution: "), "{nested}");
    assert!(nested.contains("invented"), "{nested}");
}
