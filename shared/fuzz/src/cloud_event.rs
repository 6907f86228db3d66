//! Intents that come as `CloudEvents`: structured, in binary mode, or as a batch.

use contracts::plan::Finding;
use host::http::body;
use intake::cloud_event::{self, CloudEvent};
use serde_json::{Value, json};

use crate::{Reached, message::Message};

pub const PROPERTIES: &[&str] = &["structured", "batch", "binary"];

/// An object is an event, an array in `batch` a batch; and otherwise there are headers, an empty
/// line and a body.
pub fn holds(bytes: &[u8]) -> Reached {
    if let Ok(members) = body::parse(bytes) {
        if let Some(Value::Array(events)) = members.get("batch") {
            let taken = events.iter().filter(|event| structured(event)).count();
            (taken > 0).then_some("batch").into_iter().collect()
        } else {
            let is_taken = structured(&Value::Object(members));
            is_taken.then_some("structured").into_iter().collect()
        }
    } else if let Some(message) = Message::read(bytes) {
        binary(&message).then_some("binary").into_iter().collect()
    } else {
        Reached::new()
    }
}

/// Whether it is one.
fn structured(sent: &Value) -> bool {
    let Value::Object(members) = sent else {
        return false;
    };
    is_taken(&cloud_event::structured(members.clone()))
}

/// Whether it is one.
fn binary(message: &Message<'_>) -> bool {
    let mut headers = message.headers();
    headers.push(("ce-specversion".to_owned(), message.first.to_owned()));
    let Ok(data) = body::parse(message.body) else {
        return false;
    };
    let pairs = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    assert!(cloud_event::is_binary(pairs.clone().map(|(name, _)| name)));
    is_taken(&cloud_event::binary(pairs, Value::Object(data)))
}

fn is_taken(read: &Result<CloudEvent, Vec<Finding>>) -> bool {
    match read {
        Ok(event) => taken(event),
        Err(findings) => assert!(!findings.is_empty(), "refused without a reason"),
    }
    read.is_ok()
}

/// Its key can be shown and stored, and it is the same event in structured mode.
fn taken(event: &CloudEvent) {
    for text in [&event.source, &event.id] {
        assert!(!text.trim().is_empty() && !text.contains(char::is_control));
    }
    let mut again = json!({
        "specversion": "1.0",
        "type": "controlPlane.intent.submit",
        "source": event.source,
        "id": event.id,
        "data": event.data,
    });
    if let Some(traceparent) = &event.traceparent {
        again["traceparent"] = json!(traceparent);
    }
    let again = again.as_object().unwrap().clone();
    assert_eq!(cloud_event::structured(again).as_ref(), Ok(event));
}
