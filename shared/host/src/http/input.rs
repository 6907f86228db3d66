//! The input of an operation, parsed into its type, or every fault of it.

use std::{collections::BTreeMap, sync::LazyLock};

use axum::{extract::Query, http::Uri};
use contracts::{
    ids::ExecutionId,
    plan::Finding,
    problem::{Code, Problem},
    registry::{Operation, OperationName},
    time::Timestamp,
};
use domain::schema::{self, Fault};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_path_to_error::{Path, Segment};

pub const MISSING_MEMBER: &str = "MISSING_MEMBER";
pub const UNKNOWN_MEMBER: &str = "UNKNOWN_MEMBER";
pub const WRONG_TYPE: &str = "WRONG_TYPE";
pub const INVALID_VALUE: &str = "INVALID_VALUE";
pub const DUPLICATE_MEMBER: &str = "DUPLICATE_MEMBER";

/// Findings of one answer: more than anyone corrects before trying again, and less than what a
/// body of a mebibyte could ask for.
const FINDINGS_MAX: usize = 100;

/// Of a path or a message in a finding: what was sent may be one very long name.
const FINDING_CHARS_MAX: usize = 256;

/// Parses. An input that does not parse is held against the published schema, to say all that is
/// wrong with it and not only what comes first; and so is one that holds a document, whose objects
/// would be read from arrays too.
pub fn parse<T: DeserializeOwned>(
    operation: &Operation,
    input: Map<String, Value>,
) -> Result<T, Problem> {
    let input = Value::Object(input);
    if let Some(schema) = WITH_DOCUMENTS.get(operation.key) {
        let findings = faults(schema, &input);
        if !findings.is_empty() {
            return Err(invalid(findings));
        }
    }
    serde_path_to_error::deserialize(&input).map_err(|error| {
        let schema = operation.input().to_value();
        let mut findings = faults(&schema, &input);
        let path = pointer(error.path());
        if findings.is_empty() {
            findings.push(finding(path, INVALID_VALUE, error.inner().to_string()));
        }
        invalid(findings)
    })
}

/// Parses what is no operation's input, or gives every fault of it against its schema.
pub fn fitting<T: DeserializeOwned>(schema: &Value, input: &Value) -> Result<T, Vec<Finding>> {
    let findings = faults(schema, input);
    if !findings.is_empty() {
        return Err(findings);
    }
    serde_path_to_error::deserialize(input).map_err(|error| {
        let message = error.inner().to_string();
        vec![finding(pointer(error.path()), INVALID_VALUE, message)]
    })
}

/// The schemas of inputs in which objects stand that have a type of their own.
static WITH_DOCUMENTS: LazyLock<BTreeMap<&'static str, Value>> = LazyLock::new(|| {
    let holds_document = |schema: &Value| {
        let definitions = schema.get("$defs").and_then(Value::as_object);
        let mut definitions = definitions.into_iter().flat_map(Map::values);
        definitions.any(|definition| definition.get("properties").is_some())
    };
    let schemas = OperationName::ALL.map(|name| {
        let entry = name.entry();
        (entry.key, entry.input().to_value())
    });
    let with_documents = schemas
        .into_iter()
        .filter(|(_, schema)| holds_document(schema));
    with_documents.collect()
});

/// The input that a query string holds: texts, read as the schema's types. What may be a list
/// stands several times, or has its values separated by commas.
pub fn from_query(operation: &Operation, uri: &Uri) -> Result<Map<String, Value>, Problem> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|_| Problem::new(Code::InvalidInput, "the query string cannot be read"))?;
    let schema = operation.input().to_value();
    let mut input: Map<String, Value> = Map::new();
    let mut twice = Vec::new();
    for (name, text) in pairs {
        let described = schema.pointer("/properties").and_then(|all| all.get(&name));
        if described.is_some_and(is_list) {
            let values = text.split(',').map(|value| value.trim().into());
            let member = input.entry(name).or_insert(Value::Array(Vec::new()));
            if let Value::Array(all) = member {
                all.extend(values);
            }
            continue;
        }
        let path = schema::join("", &name);
        if input.insert(name, typed(described, text)).is_some() {
            twice.push(finding(
                path,
                DUPLICATE_MEMBER,
                "this stands twice".to_owned(),
            ));
        }
    }
    if twice.is_empty() {
        Ok(input)
    } else {
        Err(invalid(twice))
    }
}

/// Whether a list of texts is among what the schema takes.
fn is_list(schema: &Value) -> bool {
    let choices = schema.get("anyOf").and_then(Value::as_array);
    schema::types(schema).contains(&"array")
        || choices.is_some_and(|choices| choices.iter().any(is_list))
}

fn typed(schema: Option<&Value>, text: String) -> Value {
    let types = schema.map(schema::types).unwrap_or_default();
    let read: Option<Value> = if types.contains(&"integer") {
        text.parse::<u64>().ok().map(Value::from)
    } else if types.contains(&"boolean") {
        text.parse::<bool>().ok().map(Value::from)
    } else {
        None
    };
    // What cannot be read stays a text, and is refused as one.
    read.unwrap_or(Value::String(text))
}

/// `INVALID_INPUT` with all that was found.
pub fn invalid(mut findings: Vec<Finding>) -> Problem {
    let detail = match findings.as_slice() {
        [one] if one.path.is_empty() => one.message.clone(),
        [one] => format!("`{}`: {}", one.path, one.message),
        several if several.len() > FINDINGS_MAX => {
            format!("more than {FINDINGS_MAX} faults; the findings name the first of them")
        }
        several => format!("{} faults; the findings name each", several.len()),
    };
    findings.truncate(FINDINGS_MAX);
    Problem::new(Code::InvalidInput, detail).with_findings(findings)
}

pub fn one_finding(path: &str, code: &str, message: String) -> Problem {
    invalid(vec![finding(path.to_owned(), code, message)])
}

pub fn finding(path: String, code: &str, message: String) -> Finding {
    Finding {
        path: clipped(path),
        code: code.to_owned(),
        message: clipped(message),
    }
}

fn clipped(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(FINDING_CHARS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

fn faults(schema: &Value, input: &Value) -> Vec<Finding> {
    let mut findings = ill_formatted(schema, input);
    match schema::faults(schema, input) {
        Ok(faults) => findings.extend(
            faults
                .into_iter()
                .flat_map(|fault| explained(schema, input, fault)),
        ),
        Err(error) => tracing::error!(%error, "a published schema cannot be used"),
    }
    findings.sort();
    findings.dedup();
    findings
}

fn explained(schema: &Value, input: &Value, fault: Fault) -> Vec<Finding> {
    let described = described(schema, &fault.path);
    match (
        fault.keyword.as_str(),
        described,
        input.pointer(&fault.path),
    ) {
        ("required" | "additionalProperties", Some(described), Some(Value::Object(found))) => {
            members(described, &fault, found)
        }
        // Optional, and neither null nor what it should be: only the latter is worth a word.
        ("anyOf", Some(described), Some(found)) => {
            let alone = with_definitions(described, schema);
            let within = faults(&alone, found).into_iter();
            within
                .map(|found| Finding {
                    path: format!("{}{}", fault.path, found.path),
                    ..found
                })
                .collect()
        }
        ("oneOf", Some(described), _) => {
            let choices = described.get("oneOf").and_then(Value::as_array);
            let choices: Vec<_> = choices.into_iter().flatten().flat_map(named).collect();
            let message = format!("use one of `{}`", choices.join("`, `"));
            vec![finding(fault.path, INVALID_VALUE, message)]
        }
        ("type", _, _) => vec![finding(fault.path, WRONG_TYPE, fault.message)],
        (_, _, _) => vec![finding(fault.path, INVALID_VALUE, fault.message)],
    }
}

/// The texts that a choice takes: those that need no words of their own stand together.
fn named(choice: &Value) -> impl Iterator<Item = &str> {
    let several = choice.get("enum").and_then(Value::as_array);
    let several = several.into_iter().flatten();
    several.chain(choice.get("const")).filter_map(Value::as_str)
}

fn with_definitions(part: &Value, whole: &Value) -> Value {
    let mut alone = part.clone();
    if let (Some(members), Some(definitions)) = (alone.as_object_mut(), whole.get("$defs")) {
        members.insert("$defs".to_owned(), definitions.clone());
    }
    alone
}

/// One finding for each member that is missing or not known, at the place where it is or would be.
fn members(described: &Value, fault: &Fault, found: &Map<String, Value>) -> Vec<Finding> {
    if fault.keyword == "required" {
        let required = described.get("required").and_then(Value::as_array);
        return required
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .filter(|name| !found.contains_key(*name))
            .map(|name| {
                let path = schema::join(&fault.path, name);
                finding(path, MISSING_MEMBER, format!("`{name}` is required"))
            })
            .collect();
    }
    let known = described.get("properties").and_then(Value::as_object);
    found
        .keys()
        .filter(|name| known.is_none_or(|known| !known.contains_key(*name)))
        .take(FINDINGS_MAX + 1)
        .map(|name| {
            let path = schema::join(&fault.path, name);
            finding(path, UNKNOWN_MEMBER, "there is no such member".to_owned())
        })
        .collect()
}

/// The part of `root` that describes a place in the input, references followed.
fn described<'a>(root: &'a Value, pointer: &str) -> Option<&'a Value> {
    schema::tokens(pointer)
        .try_fold(root, |schema, token| {
            let schema = resolved(root, schema)?;
            let member = schema.get("properties").and_then(|all| all.get(&token));
            member
                .or_else(|| schema.get("items"))
                .or_else(|| schema.get("additionalProperties"))
        })
        .and_then(|schema| resolved(root, schema))
}

fn resolved<'a>(root: &'a Value, schema: &'a Value) -> Option<&'a Value> {
    // An optional member is written as its schema or null.
    let schema = match schema.get("anyOf").and_then(Value::as_array) {
        // One of several values is described as one of them alone.
        Some(choices) => choices.iter().find_map(|choice| {
            let nested = choice.get("anyOf").map(|_| choice);
            let named = choice.get("$ref").map(|_| choice);
            nested.and_then(|choice| resolved(root, choice)).or(named)
        })?,
        None => schema,
    };
    match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => root.pointer(reference.strip_prefix('#')?),
        None => Some(schema),
    }
}

/// JSON Schema only describes formats; these two are checked.
fn ill_formatted(schema: &Value, input: &Value) -> Vec<Finding> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let mut findings = Vec::new();
    for (name, described) in properties.into_iter().flatten() {
        let Some(text) = input.get(name).and_then(Value::as_str) else {
            continue;
        };
        let fault = match described.get("format").and_then(Value::as_str) {
            Some("uuid") => text
                .parse::<ExecutionId>()
                .err()
                .map(|error| error.to_string()),
            Some("date-time") => text
                .parse::<Timestamp>()
                .err()
                .map(|error| error.to_string()),
            Some(_) | None => None,
        };
        if let Some(message) = fault {
            findings.push(finding(schema::join("", name), INVALID_VALUE, message));
        }
    }
    findings
}

fn pointer(path: &Path) -> String {
    path.iter()
        .fold(String::new(), |pointer, segment| match segment {
            Segment::Seq { index } => schema::join(&pointer, &index.to_string()),
            Segment::Map { key } | Segment::Enum { variant: key } => schema::join(&pointer, key),
            Segment::Unknown => pointer,
        })
}
