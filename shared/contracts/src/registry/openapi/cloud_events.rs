//! `POST /v1/events`, in the three modes of `CloudEvents` over HTTP.

use serde_json::{Map, Value, json};

use super::{Components, JSON, component, reference, refusals, traceparent};
use crate::registry::cloud_events::{
    BATCH, BATCH_MAX, ID_CHARS_MAX, OPERATION, PATH, SOURCE_CHARS_MAX, STRUCTURED, errors,
};

pub(super) const TAG: &str = "intent";

const WHAT: &str = "An intent as a `CloudEvent` whose type is `controlPlane.intent.submit` and whose \
    data is the input of that operation: in structured mode, in binary mode with the attributes in \
    headers, or several as a batch. `source` and `id` are its idempotency key: the same event again \
    is the same execution. Where some events of a batch are refused, the others are taken all the \
    same, and the findings say which were not.";

/// Beside other methods of the same path.
pub(super) fn add(paths: &mut Map<String, Value>, components: &mut Components) {
    components.define("CloudEvent", event());
    components.define("CloudEventBatchOutput", batch_output());
    let methods = paths.entry(PATH).or_insert_with(|| json!({}));
    if let Some(methods) = methods.as_object_mut() {
        methods.insert("post".to_owned(), post());
    }
}

fn post() -> Value {
    let output = reference(&component(OPERATION, "Output"));
    let one = |description: &str| json!({ "description": description, "content": { JSON: { "schema": output } } });
    let again = json!({
        "description": "One event that was taken before, or a batch.",
        "content": { JSON: { "schema": { "anyOf": [output, reference("CloudEventBatchOutput")] } } },
    });
    let mut responses = Map::from_iter([
        ("200".to_owned(), again),
        ("201".to_owned(), one("An execution of its own.")),
    ]);
    responses.extend(refusals(errors()));
    let mut parameters = vec![traceparent()];
    parameters.extend(attributes().map(|(name, schema, what)| {
        json!({
            "name": format!("ce-{name}"),
            "in": "header",
            "description": format!("In binary mode, percent-encoded: {what}"),
            "schema": schema,
        })
    }));
    let batch = json!({
        "type": "array", "maxItems": BATCH_MAX, "items": reference("CloudEvent"),
    });
    json!({
        "operationId": "events.post",
        "tags": [TAG],
        "summary": "events.post",
        "description": WHAT,
        "parameters": parameters,
        "requestBody": {
            "required": true,
            "content": {
                STRUCTURED: { "schema": reference("CloudEvent") },
                BATCH: { "schema": batch },
                JSON: { "schema": reference(&component(OPERATION, "Input")) },
            },
        },
        "responses": responses,
        "x-grant": OPERATION.entry().grant.as_str(),
        "x-emits": OPERATION.entry().emits.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// Attributes that mean something, with what they mean.
fn attributes() -> [(&'static str, Value, &'static str); 5] {
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

fn event() -> Value {
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
    properties.insert("datacontenttype".to_owned(), json!({ "const": JSON }));
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

fn batch_output() -> Value {
    let output = reference(&component(OPERATION, "Output"));
    let own = json!({
        "type": "object",
        "properties": { "source": { "type": "string" }, "id": { "type": "string" } },
        "required": ["source", "id"],
    });
    json!({
        "description": "What became of each event, in the order of the batch.",
        "type": "object",
        "properties": { "items": { "type": "array", "items": { "allOf": [own, output] } } },
        "required": ["items"],
    })
}
