//! The registry and the generated schemas against the reference contract, field by field.

mod fixture;

use std::collections::{BTreeMap, BTreeSet};

use contracts::{
    event::EventName,
    registry::{
        CAPABILITIES, Kind, NOT_SERVED, Operation, OperationName, Section, event_key, event_schema,
    },
};
use serde_json::Value;

use self::fixture::{Reference, Type, reference};

fn served() -> impl Iterator<Item = &'static Operation> {
    OperationName::ALL
        .into_iter()
        .map(OperationName::entry)
        .filter(|operation| operation.section == Section::Reference)
}

#[test]
fn the_fixture_is_whole() {
    let reference = reference();
    assert_eq!(reference.operations.len(), 20);
    assert_eq!(reference.not_served.len(), 3);
    assert_eq!(reference.events.len(), 10);
    assert_eq!(reference.capabilities.len(), 5);
}

#[test]
fn every_baseline_operation_is_served_and_every_other_is_known() {
    let reference = reference();
    let keys: BTreeSet<_> = served().map(|operation| operation.key).collect();
    let expected: BTreeSet<_> = reference.operations.keys().map(String::as_str).collect();
    assert_eq!(keys, expected);

    let known: BTreeSet<_> = NOT_SERVED
        .iter()
        .map(|row| format!("{} {} {}", row.kind.as_str(), row.key, row.version))
        .collect();
    assert_eq!(known, reference.not_served);
}

#[test]
fn an_operation_has_the_row_of_the_reference() {
    let reference = reference();
    for operation in served() {
        let expected = &reference.operations[operation.key];
        let key = operation.key;
        assert_eq!(
            expected.head,
            [operation.kind.as_str(), key, operation.version]
        );
        let capability = format!("{} 1.0.0", operation.capability.unwrap());
        assert_eq!(expected.all("capability"), [capability], "{key}");
        let pii = expected
            .all("pii")
            .first()
            .map_or(vec![], |text| text.split(", ").collect());
        assert_eq!(operation.pii, pii, "{key}");
        assert_eq!(
            operation.idempotent,
            !expected.all("idempotent").is_empty(),
            "{key}"
        );
        assert_eq!(operation.idempotent, operation.kind == Kind::Query, "{key}");

        let errors: BTreeSet<_> = operation
            .errors
            .iter()
            .map(|code| format!("{code} {}", code.http()))
            .collect();
        for error in expected.all("error") {
            assert!(errors.contains(error), "{key} lacks the error {error}");
        }
        let emits: BTreeSet<_> = operation
            .emits
            .iter()
            .map(|event| event_key(*event))
            .collect();
        for event in expected.all("emits") {
            assert!(emits.contains(event), "{key} does not emit {event}");
        }
    }
}

#[test]
fn an_operation_has_the_fields_of_the_reference() {
    let reference = reference();
    let mut faults = Vec::new();
    for operation in served() {
        let expected = &reference.operations[operation.key];
        for (side, schema) in [("input", operation.input()), ("output", operation.output())] {
            let schema = schema.to_value();
            let at = format!("{} {side}", operation.key);
            let compare = Comparison {
                root: &schema,
                reference: &reference,
                faults: &mut faults,
            };
            compare.model(&schema, &expected.fields(side), &at, side == "input");
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn an_event_has_the_fields_of_the_reference() {
    let reference = reference();
    let ours: BTreeSet<_> = EventName::ALL
        .into_iter()
        .filter(|event| event.section() == Section::Reference)
        .map(event_key)
        .collect();
    assert_eq!(ours, reference.events.keys().cloned().collect());

    let mut faults = Vec::new();
    for event in EventName::ALL {
        let Some(expected) = reference.events.get(&event_key(event)) else {
            continue;
        };
        assert_eq!(expected.head[2], "1.0.0");
        let schema = event_schema(event).to_value();
        let compare = Comparison {
            root: &schema,
            reference: &reference,
            faults: &mut faults,
        };
        compare.model(
            &schema,
            &expected.fields("payload"),
            &event_key(event),
            false,
        );
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_field_that_the_reference_requires_is_written_by_every_event() {
    let reference = reference();
    for event in EventName::ALL {
        let Some(expected) = reference.events.get(&event_key(event)) else {
            continue;
        };
        // Of the type itself, before it is published: what the type requires is always written.
        let schema = event.schema().to_value();
        let always = required(&schema);
        for (name, field) in expected.fields("payload") {
            assert!(
                !field.required || always.contains(name.as_str()),
                "{event}: {name}"
            );
        }
    }
}

#[test]
fn capabilities_are_those_of_the_reference() {
    let reference = reference();
    assert_eq!(CAPABILITIES.len(), reference.capabilities.len());
    for capability in &CAPABILITIES {
        let expected = &reference.capabilities[capability.key];
        assert_eq!(expected.head[2..], [capability.version, capability.kind]);
        let requires: Vec<_> = capability
            .requires
            .iter()
            .map(|row| format!("{} {}: {}", row.key, row.version, row.reason))
            .collect();
        assert_eq!(expected.all("requires"), requires);
        let provides: Vec<_> = capability
            .provides
            .iter()
            .map(|row| format!("{} {} {}", row.surface.as_str(), row.key, row.version))
            .collect();
        assert_eq!(expected.all("provides"), provides);
    }
}

/// A generated schema beside what the reference says; faults are collected, not thrown.
struct Comparison<'a> {
    root: &'a Value,
    reference: &'a Reference,
    faults: &'a mut Vec<String>,
}

impl Comparison<'_> {
    fn model(
        self,
        schema: &Value,
        expected: &BTreeMap<String, Type>,
        at: &str,
        closed: bool,
    ) -> Self {
        if closed && schema.get("additionalProperties") != Some(&Value::Bool(false)) {
            self.faults.push(format!("{at}: takes unknown members"));
        }
        let required = required(schema);
        let wanted: BTreeSet<_> = expected
            .iter()
            .filter(|(_, field)| field.required)
            .map(|(name, _)| name.as_str())
            .collect();
        if required != wanted {
            self.faults
                .push(format!("{at}: requires {required:?}, not {wanted:?}"));
        }
        expected.iter().fold(self, |compare, (name, field)| {
            let at = format!("{at}.{name}");
            if let Some(property) = schema.pointer(&format!("/properties/{name}")) {
                compare.field(property, field, &at, closed)
            } else {
                compare.faults.push(format!("{at}: missing"));
                compare
            }
        })
    }

    fn field(self, schema: &Value, expected: &Type, at: &str, closed: bool) -> Self {
        let (mut schema, null) = self.resolve(schema);
        if null && expected.required {
            self.faults.push(format!("{at}: may be null"));
        }
        if expected.list {
            if types(&schema) != ["array"] {
                self.faults.push(format!("{at}: not a list"));
                return self;
            }
            schema = self.resolve(&schema["items"]).0;
        }
        let types = types(&schema);
        let is_model = self.reference.models.get(&expected.name);
        let fits = match expected.name.as_str() {
            "ID" | "String" => {
                types == ["string"] && schema.get("format") != Some(&"date-time".into())
            }
            "DateTime" => types == ["string"] && schema["format"] == "date-time",
            "Int" => types == ["integer"],
            "Boolean" => types == ["boolean"],
            "JSONObject" => types == ["object"] && schema["additionalProperties"] == true,
            _ => types == ["object"] && is_model.is_some(),
        };
        if !fits {
            self.faults
                .push(format!("{at}: not {}: {schema}", expected.name));
        }
        match is_model {
            Some(fields) => self.model(&schema, fields, at, closed),
            None => self,
        }
    }

    /// Follows references and takes `null` out of the alternatives.
    fn resolve(&self, schema: &Value) -> (Value, bool) {
        let mut schema = schema.clone();
        let mut null = false;
        loop {
            if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
                let pointer = reference.strip_prefix('#').unwrap();
                schema = self.root.pointer(pointer).unwrap().clone();
            } else if let Some(any) = schema.get("anyOf").and_then(Value::as_array) {
                let (nulls, others): (Vec<_>, Vec<_>) =
                    any.iter().cloned().partition(|one| one["type"] == "null");
                null |= !nulls.is_empty();
                let [one] = others.as_slice() else {
                    return (schema, null);
                };
                schema = one.clone();
            } else {
                if let Some(names) = schema.get_mut("type").and_then(Value::as_array_mut) {
                    let before = names.len();
                    names.retain(|name| name != "null");
                    null |= names.len() < before;
                }
                return (schema, null);
            }
        }
    }
}

fn required(schema: &Value) -> BTreeSet<&str> {
    schema
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().map(|name| name.as_str().unwrap()).collect())
        .unwrap_or_default()
}

/// The JSON types that a schema allows; alternatives that agree count once.
fn types(schema: &Value) -> Vec<String> {
    let mut found = BTreeSet::new();
    match schema.get("type") {
        Some(Value::String(name)) => {
            found.insert(name.clone());
        }
        Some(Value::Array(names)) => {
            found.extend(names.iter().map(|name| name.as_str().unwrap().to_owned()));
        }
        _ => {}
    }
    if let Some(alternatives) = schema.get("oneOf").and_then(Value::as_array) {
        found.extend(alternatives.iter().flat_map(types));
    }
    found.into_iter().collect()
}
