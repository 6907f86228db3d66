//! Intents that come as `CloudEvents`: the same operation through another door.

use serde_json::{Map, Value, json};

use super::{
    OperationName,
    components::{component, reference},
};
use crate::problem::Code;

/// Where they are posted.
pub const PATH: &str = "/v1/events";

/// One event, as one JSON object.
pub const STRUCTURED: &str = "application/cloudevents+json";

/// Several, as one JSON array.
pub const BATCH: &str = "application/cloudevents-batch+json";

/// Events of one batch: what a producer gathers in a moment. A body holds some thousands at most.
pub const BATCH_MAX: usize = 256;

/// The longest `id` and `source`: longer than any that a producer writes.
pub const ID_CHARS_MAX: usize = 255;
pub const SOURCE_CHARS_MAX: usize = 1024;

/// What an event asks for; its type is the key of this operation.
pub const OPERATION: OperationName = OperationName::IntentSubmit;

/// What may be answered that is not an execution.
pub fn errors() -> impl Iterator<Item = Code> {
    let operation = OPERATION.entry().all_errors();
    operation.chain([Code::BatchIncomplete])
}

/// Attributes that mean something, with what they mean.
pub(super) fn attributes() -> [(&'static str, Value, &'static str); 5] {
    [
        (
            "specversion",
            json!({ "type": "string", "const": "1.0" }),
            "the version of CloudEvents.",
        ),
        (
            "id",
            json!({ "type": "string", "minLength": 1, "maxLength": ID_CHARS_MAX }),
            "with the source, what makes a repetition the same event.",
        ),
        (
            "source",
            json!({ "type": "string", "minLength": 1, "maxLength": SOURCE_CHARS_MAX }),
            "a URI reference, of whoever makes the ids.",
        ),
        (
            "type",
            json!({ "type": "string", "const": OPERATION.entry().key }),
            "the one that is taken.",
        ),
        (
            "traceparent",
            json!({ "type": "string" }),
            "W3C trace context; it goes before that of the request.",
        ),
    ]
}

/// One event in structured mode.
pub(super) fn structured() -> Value {
    let mut properties: Map<String, Value> = attributes()
        .into_iter()
        .map(|(name, mut schema, what)| {
            if let Some(members) = schema.as_object_mut() {
                let mut what = what.to_owned();
                what.get_mut(..1).map(str::make_ascii_uppercase);
                members.insert("description".to_owned(), what.into());
            }
            (name.to_owned(), schema)
        })
        .collect();
    properties.insert(
        "datacontenttype".to_owned(),
        json!({ "const": "application/json" }),
    );
    properties.insert("data".to_owned(), reference(&component(OPERATION, "Input")));
    let base64 = json!({
        "type": "string",
        "contentEncoding": "base64",
        "description": "Instead of `data`: its bytes.",
    });
    properties.insert("data_base64".to_owned(), base64);
    json!({
        "description": "A `CloudEvent` in structured mode; other attributes are let pass.",
        "type": "object",
        "properties": properties,
        "required": ["specversion", "id", "source", "type"],
        "oneOf": [{ "required": ["data"] }, { "required": ["data_base64"] }],
    })
}
