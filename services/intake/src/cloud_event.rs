//! `CloudEvents` 1.0 with JSON data, as they come over HTTP and NATS: structured mode, where one
//! JSON object is the whole event, and binary mode, where headers hold its attributes.
//!
//! One type is taken, `controlPlane.intent.submit`, with the input of that operation as its data.
//! `source` and `id` are its idempotency key. Attributes that mean nothing here are let pass.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use contracts::{
    plan::Finding,
    registry::cloud_events::{ID_CHARS_MAX, OPERATION, SOURCE_CHARS_MAX},
};
use host::http::{
    body,
    input::{DUPLICATE_MEMBER, INVALID_VALUE, MISSING_MEMBER, WRONG_TYPE, finding as found_at},
};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// Before the name of an attribute, in binary mode.
const HEADER_PREFIX: &str = "ce-";

/// An event that asks for an execution.
#[derive(Debug, PartialEq)]
pub struct CloudEvent {
    pub source: String,
    pub id: String,
    /// Of the extension for distributed tracing.
    pub traceparent: Option<String>,
    /// The input of `controlPlane.intent.submit`.
    pub data: Map<String, Value>,
}

/// Whether headers say that they hold the attributes of an event.
pub fn is_binary<'a>(mut names: impl Iterator<Item = &'a str>) -> bool {
    names.any(|name| attribute(name).is_some())
}

/// One event in structured mode, or all that is wrong with it.
pub fn structured(mut event: Map<String, Value>) -> Result<CloudEvent, Vec<Finding>> {
    let mut findings = Vec::new();
    let data = match (event.remove("data"), event.remove("data_base64")) {
        (Some(data), None) => object(data, "/data", &mut findings),
        (None, Some(encoded)) => decoded(&encoded, &mut findings),
        (None, None) => {
            let message = "the input of `controlPlane.intent.submit` belongs here".to_owned();
            findings.push(finding("/data", MISSING_MEMBER, message));
            None
        }
        (Some(_), Some(_)) => {
            let message = "leave out `data` or `data_base64`".to_owned();
            findings.push(finding("/data_base64", DUPLICATE_MEMBER, message));
            None
        }
    };
    let mut attributes = BTreeMap::new();
    for (name, value) in event {
        match value {
            Value::String(text) => {
                attributes.insert(name, text);
            }
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)
                if READ.contains(&name.as_str()) =>
            {
                let message = "this is a text".to_owned();
                findings.push(finding(&format!("/{name}"), WRONG_TYPE, message));
            }
            // As if it were not there.
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => {}
        }
    }
    read(&attributes, data, findings)
}

/// An event whose attributes are in headers and whose data was the body, or all that is wrong
/// with it.
pub fn binary<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    data: Value,
) -> Result<CloudEvent, Vec<Finding>> {
    let mut findings = Vec::new();
    let mut attributes = BTreeMap::new();
    for (name, value) in headers {
        let Some(name) = attribute(name) else {
            continue;
        };
        let path = format!("/{name}");
        let text = std::str::from_utf8(value).ok().and_then(|text| {
            let decoded = percent_decode_str(text).decode_utf8();
            decoded.ok().map(Cow::into_owned)
        });
        let Some(text) = text else {
            let message = "this is no percent-encoded UTF-8".to_owned();
            findings.push(finding(&path, INVALID_VALUE, message));
            continue;
        };
        if attributes.insert(name, text).is_some() {
            let message = "this header stands twice".to_owned();
            findings.push(finding(&path, DUPLICATE_MEMBER, message));
        }
    }
    // The body's own media type says what it is.
    attributes.remove("datacontenttype");
    let data = object(data, "/data", &mut findings);
    read(&attributes, data, findings)
}

/// Attributes that mean something here.
const READ: [&str; 6] = [
    "specversion",
    "id",
    "source",
    "type",
    "datacontenttype",
    "traceparent",
];

fn read(
    attributes: &BTreeMap<String, String>,
    data: Option<Map<String, Value>>,
    mut findings: Vec<Finding>,
) -> Result<CloudEvent, Vec<Finding>> {
    let mut check = |name: &'static str, wanted: &str, is_valid: &dyn Fn(&str) -> bool| {
        let path = format!("/{name}");
        // Of another type, it is named already.
        let is_named = findings.iter().any(|it| it.path == path);
        match attributes.get(name) {
            Some(text) if is_valid(text) => Some(text.clone()),
            Some(_) => {
                findings.push(finding(&path, INVALID_VALUE, format!("this is {wanted}")));
                None
            }
            None if is_named => None,
            None => {
                findings.push(finding(&path, MISSING_MEMBER, format!("this is {wanted}")));
                None
            }
        }
    };
    let submit = OPERATION.entry().key;
    check("specversion", "`1.0`", &|text| text == "1.0");
    check("type", &format!("`{submit}`"), &|text| text == submit);
    let id = format!("1 to {ID_CHARS_MAX} characters, none of them a control character");
    let id = check("id", &id, &|text| {
        is_printable(text, ID_CHARS_MAX) && !text.trim().is_empty()
    });
    let source = format!("a URI reference of 1 to {SOURCE_CHARS_MAX} characters");
    let source = check("source", &source, &|text| {
        is_printable(text, SOURCE_CHARS_MAX) && !text.contains(char::is_whitespace)
    });
    if attributes.contains_key("datacontenttype") {
        check(
            "datacontenttype",
            "`application/json`, or left out",
            &is_json,
        );
    }
    match (id, source, data) {
        (Some(id), Some(source), Some(data)) if findings.is_empty() => Ok(CloudEvent {
            source,
            id,
            traceparent: attributes.get("traceparent").cloned(),
            data,
        }),
        (_, _, _) => Err(findings),
    }
}

/// The attribute that a header holds.
fn attribute(name: &str) -> Option<String> {
    let prefix = name.get(..HEADER_PREFIX.len())?;
    let rest = name.get(HEADER_PREFIX.len()..)?;
    let is_attribute = prefix.eq_ignore_ascii_case(HEADER_PREFIX) && !rest.is_empty();
    is_attribute.then(|| rest.to_ascii_lowercase())
}

fn is_printable(text: &str, chars_max: usize) -> bool {
    (1..=chars_max).contains(&text.chars().count()) && !text.contains(char::is_control)
}

fn is_json(media_type: &str) -> bool {
    let kind = media_type.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

fn object(data: Value, path: &str, findings: &mut Vec<Finding>) -> Option<Map<String, Value>> {
    if let Value::Object(members) = data {
        return Some(members);
    }
    let message = "this is the input of `controlPlane.intent.submit`, an object".to_owned();
    findings.push(finding(path, WRONG_TYPE, message));
    None
}

fn decoded(encoded: &Value, findings: &mut Vec<Finding>) -> Option<Map<String, Value>> {
    let path = "/data_base64";
    let bytes = encoded.as_str().and_then(|text| STANDARD.decode(text).ok());
    let Some(bytes) = bytes else {
        let message = "this is a text in base64".to_owned();
        findings.push(finding(path, INVALID_VALUE, message));
        return None;
    };
    match body::parse(&bytes) {
        Ok(members) => Some(members),
        Err(problem) => {
            findings.push(finding(path, INVALID_VALUE, problem.detail));
            None
        }
    }
}

fn finding(path: &str, code: &str, message: String) -> Finding {
    found_at(path.to_owned(), code, message)
}
