//! An event as it leaves the control plane: a complete `CloudEvent` in JSON, with what the subject
//! and the stream say of it written out.

use contracts::{
    position::Position,
    record::Recorded,
    registry::{event_key, event_schema_id},
};
use serde_json::{Map, Value, json};

use super::{Payloads, masked, payload};

/// The JSON format of `CloudEvents` 1.0. Extension attributes are texts, as their specification
/// asks of `sequence`; `masked` says that members of `data` were left out.
pub fn cloud_event(position: Position, recorded: &Recorded, payloads: Payloads) -> Value {
    let attributes = &recorded.attributes;
    let aggregate = &recorded.subject.aggregate;
    let name = recorded.event.name();
    let mut event = Map::new();
    let mut set = |name: &str, value: Value| {
        event.insert(name.to_owned(), value);
    };
    set("specversion", json!("1.0"));
    set("id", json!(attributes.id));
    set("source", json!(attributes.source));
    set("type", json!(event_key(name)));
    set("time", json!(attributes.time));
    set("subject", json!(recorded.subject.to_string()));
    set("datacontenttype", json!("application/json"));
    set("dataschema", json!(event_schema_id(name)));
    set("sequence", json!(position.sequence.to_string()));
    set("stream", json!(position.stream.name()));
    set("aggregateversion", json!(recorded.version().to_string()));
    set("workspace", json!(aggregate.workspace()));
    set("correlationid", json!(aggregate.id()));
    set("eventhash", json!(recorded.hash));
    if let Some(traceparent) = &attributes.traceparent {
        set("traceparent", json!(traceparent));
    }
    if let Some(causation) = attributes.causation {
        set("causationid", json!(causation));
    }
    if let Some(hash) = attributes.prev_hash {
        set("prevhash", json!(hash));
    }
    for (name, value) in &attributes.extensions {
        // What a newer writer added does not hide what is written out here.
        event
            .entry(name.clone())
            .or_insert_with(|| Value::String(value.clone()));
    }
    let data = match payloads {
        Payloads::Whole => payload(&recorded.event),
        Payloads::Masked => {
            event.insert("masked".to_owned(), Value::Bool(true));
            masked(&recorded.event)
        }
    };
    event.insert("data".to_owned(), Value::Object(data));
    Value::Object(event)
}
