//! `POST /v1/events`, in the three modes of `CloudEvents` over HTTP.

use serde_json::{Map, Value, json};

use super::{Components, JSON, component, reference, refusals, traceparent};
use crate::registry::{
    cloud_events::{BATCH, BATCH_MAX, OPERATION, PATH, STRUCTURED, attributes, errors, structured},
    examples,
};

pub(super) const TAG: &str = "intent";

const WHAT: &str = "An intent as a `CloudEvent` whose type is `controlPlane.intent.submit` and whose \
    data is the input of that operation: in structured mode, in binary mode with the attributes in \
    headers, or several as a batch. `source` and `id` are its idempotency key: the same event again \
    is the same execution. Where some events of a batch are refused, the others are taken all the \
    same, and the findings say which were not.";

/// Beside other methods of the same path.
pub(super) fn add(paths: &mut Map<String, Value>, components: &mut Components) {
    components.define("CloudEvent", structured());
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
    let data = examples::input(OPERATION);
    let event = event("order-4711", &data);
    parameters.extend(attributes().map(|(name, schema, what)| {
        let mut parameter = json!({
            "name": format!("ce-{name}"),
            "in": "header",
            "description": format!("In binary mode, percent-encoded: {what}"),
            "schema": schema,
        });
        if let (Some(shown), Some(members)) = (event.get(name), parameter.as_object_mut()) {
            members.insert("example".to_owned(), shown.clone());
        }
        parameter
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
                STRUCTURED: { "schema": reference("CloudEvent"), "example": event },
                BATCH: { "schema": batch, "example": [event, self::event("order-4712", &data)] },
                JSON: { "schema": reference(&component(OPERATION, "Input")), "example": data },
            },
        },
        "responses": responses,
        "x-grant": OPERATION.entry().grant.as_str(),
        "x-emits": OPERATION.entry().emits.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn event(id: &str, data: &Map<String, Value>) -> Value {
    json!({
        "specversion": "1.0",
        "type": OPERATION.entry().key,
        "source": "/shop/orders",
        "id": id,
        "data": data,
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
