//! The files under `schemas/` are what the code says.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use contracts::{
    event::EventName,
    registry::{OperationName, asyncapi, catalogue, event_key, event_schema, examples, openapi},
};
use serde_json::{Map, Value};

const COMMAND: &str = "UPDATE_EXPECT=1 cargo test --test contracts";

#[test]
fn the_schemas_of_operations_are_as_committed() {
    let mut files = BTreeMap::new();
    for operation in OperationName::ALL.map(OperationName::entry) {
        files.insert(
            format!("{}.input.json", operation.key),
            operation.input().to_value(),
        );
        files.insert(
            format!("{}.output.json", operation.key),
            operation.output().to_value(),
        );
    }
    agree("operations", &files);
}

#[test]
fn the_schemas_of_events_are_as_committed() {
    let files = EventName::ALL
        .into_iter()
        .map(|event| {
            (
                format!("{}.json", event_key(event)),
                event_schema(event).to_value(),
            )
        })
        .collect();
    agree("events", &files);
}

#[test]
fn the_operations_over_http_are_as_committed() {
    let document = openapi::document();
    agree(
        "http",
        &BTreeMap::from([
            ("capabilities.json".to_owned(), catalogue::document()),
            ("openapi.json".to_owned(), document),
        ]),
    );
}

/// What they are answered is seen on a running system, in `controlplane_it`.
#[test]
fn every_example_of_an_input_is_one() {
    for name in OperationName::ALL {
        let entry = name.entry();
        let example = Value::Object(examples::input(name));
        let schema = entry.input().to_value();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let faults: Vec<_> = validator.iter_errors(&example).collect();
        assert!(faults.is_empty(), "{}: {faults:?}", entry.key);
    }
}

#[test]
fn what_is_said_over_nats_is_as_committed() {
    let document = asyncapi::document();
    agree(
        "nats",
        &BTreeMap::from([("asyncapi.json".to_owned(), document)]),
    );
}

/// Two of one name would be one component of a description.
#[test]
fn no_two_definitions_have_one_name() {
    let operations = OperationName::ALL.map(OperationName::entry);
    let schemas = operations
        .iter()
        .flat_map(|operation| [operation.input(), operation.output()])
        .chain(EventName::ALL.map(event_schema));
    let mut defined: BTreeMap<String, Value> = BTreeMap::new();
    for schema in schemas {
        let schema = schema.to_value();
        let definitions = schema.get("$defs").and_then(Value::as_object);
        for (name, definition) in definitions.into_iter().flatten() {
            let known = defined.entry(name.clone()).or_insert(definition.clone());
            assert_eq!(known, definition, "`{name}`");
        }
    }
    assert!(defined.len() > 50, "{}", defined.len());
}

#[test]
fn every_reference_of_the_openapi_document_leads_somewhere() {
    let document = openapi::document();
    let references = references(&document);
    assert!(references.len() > 100, "{}", references.len());
    for reference in references {
        let pointer = reference.strip_prefix('#').expect(reference);
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let ids = document["paths"].as_object().unwrap().values();
    let ids: Vec<&str> = ids
        .flat_map(|methods| methods.as_object().unwrap().values())
        .map(|method| method["operationId"].as_str().unwrap())
        .collect();
    let distinct: BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "{ids:?}");
}

/// Every `$ref` of a document.
pub(super) fn references(document: &Value) -> Vec<&str> {
    fn walk<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    match member.as_str().filter(|_| name == "$ref") {
                        Some(text) => found.push(text),
                        None => walk(member, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = Vec::new();
    walk(document, &mut found);
    found
}

#[test]
fn every_schema_is_a_schema_and_names_itself() {
    let operations = OperationName::ALL.map(OperationName::entry);
    let schemas = operations
        .iter()
        .flat_map(|operation| [operation.input(), operation.output()])
        .chain(EventName::ALL.map(event_schema));
    let mut ids = BTreeSet::new();
    for schema in schemas {
        let schema = schema.to_value();
        assert!(jsonschema::meta::is_valid(&schema), "{schema}");
        jsonschema::validator_for(&schema).unwrap();
        let id = schema["$id"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "two schemas are `{id}`");
    }
}

#[test]
fn what_is_marked_as_personal_is_what_the_registry_lists() {
    for operation in OperationName::ALL.map(OperationName::entry) {
        let listed = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        let expected: BTreeSet<String> = listed(operation.pii);
        assert_eq!(
            marked(&operation.input().to_value()),
            expected,
            "{}",
            operation.key
        );
        let expected: BTreeSet<String> = listed(operation.output_pii);
        assert_eq!(
            marked(&operation.output().to_value()),
            expected,
            "{}",
            operation.key
        );
    }
    let intent = event_schema(EventName::IntentReceived).to_value();
    assert_eq!(marked(&intent), BTreeSet::from(["text".to_owned()]));
}

/// Paths to the members that a schema marks with `x-pii`.
fn marked(root: &Value) -> BTreeSet<String> {
    fn walk(root: &Value, schema: &Value, path: &[&str], found: &mut BTreeSet<String>) {
        if schema.get("x-pii") == Some(&Value::Bool(true)) {
            found.insert(path.join("/"));
        }
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let target = root.pointer(reference.strip_prefix('#').unwrap()).unwrap();
            walk(root, target, path, found);
        }
        for alternative in schema
            .get("anyOf")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            walk(root, alternative, path, found);
        }
        if let Some(items) = schema.get("items") {
            walk(root, items, &[path, &["*"]].concat(), found);
        }
        if let Some(Value::Object(properties)) = schema.get("properties") {
            for (name, property) in properties {
                walk(root, property, &[path, &[name.as_str()]].concat(), found);
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(root, root, &[], &mut found);
    found
}

/// Compares the files of one folder with what is generated, or writes them.
#[track_caller]
fn agree(folder: &str, files: &BTreeMap<String, Value>) {
    #[expect(clippy::disallowed_methods, reason = "how a test is told to write")]
    let update = std::env::var("UPDATE_EXPECT").is_ok_and(|value| value == "1");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../schemas")
        .join(folder);
    let committed = committed(&folder);
    let mut differing = Vec::new();
    for (name, schema) in files {
        let text = pretty(schema);
        if committed.get(name) != Some(&text) {
            differing.push(name.as_str());
            if update {
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join(name), text).unwrap();
            }
        }
    }
    for name in committed.keys().filter(|name| !files.contains_key(*name)) {
        differing.push(name);
        if update {
            fs::remove_file(folder.join(name)).unwrap();
        }
    }
    assert!(
        update || differing.is_empty(),
        "not as the code says: {differing:?} in {}; to write them anew: {COMMAND}",
        folder.display()
    );
}

fn committed(folder: &Path) -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return BTreeMap::new();
    };
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path: PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// With sorted keys, whatever `serde_json` was built with.
fn pretty(schema: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                let members: BTreeMap<_, _> = members.iter().collect();
                let members = members.into_iter().map(|(key, item)| {
                    let mut item = sorted(item);
                    if let (true, Value::Array(names)) = (key == "required", &mut item) {
                        names.sort_by_key(Value::to_string);
                    }
                    (key.clone(), item)
                });
                Value::Object(members.collect::<Map<_, _>>())
            }
            Value::Array(items) => items.iter().map(sorted).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        }
    }
    let mut text = serde_json::to_string_pretty(&sorted(schema)).unwrap();
    text.push('\n');
    text
}
