//! Intents that come as `CloudEvents`: structured, in binary mode, or as a batch.

use host::http::body;
use intake::cloud_event::{self, CloudEvent};
use serde_json::{Value, json};

use crate::message::Message;

/// An object is an event, an array in `batch` a batch; and otherwise there are headers, an empty
/// line and a body.
pub fn holds(bytes: &[u8]) {
    if let Ok(members) = body::parse(bytes) {
        match members.get("batch") {
            Some(Value::Array(events)) => events.iter().for_each(structured),
            Some(_) | None => structured(&Value::Object(members)),
        }
    } else if let Some(message) = Message::read(bytes) {
        binary(&message);
    }
}

fn structured(sent: &Value) {
    let Value::Object(members) = sent else {
        return;
    };
    match cloud_event::structured(members.clone()) {
        Ok(event) => taken(&event),
        Err(findings) => assert!(!findings.is_empty(), "refused without a reason"),
    }
}

fn binary(message: &Message<'_>) {
    let mut headers = message.headers();
    headers.push(("ce-specversion".to_owned(), message.first.to_owned()));
    let Ok(data) = body::parse(message.body) else {
        return;
    };
    let pairs = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    assert!(cloud_event::is_binary(pairs.clone().map(|(name, _)| name)));
    match cloud_event::binary(pairs, Value::Object(data)) {
        Ok(event) => taken(&event),
        Err(findings) => assert!(!findings.is_empty(), "refused without a reason"),
    }
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
