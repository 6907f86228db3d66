//! Events as they are stored, and as they are published again.

use serde_json::{Value, json};

use super::{
    Parts, always, description, exactly, headers, messages_of, of, security, sometimes, tagged,
    text,
};
use crate::{
    canonical::Digest,
    envelope::CONTENT_TYPE,
    event::{EventName, Service},
    ids::EventId,
    registry::{
        components::{camel, reference},
        event_key, event_schema,
    },
    subject::{AggregateKind, REPUBLISHED_ROOT, ROOT},
    time::Timestamp,
};

pub(super) const TAG: (&str, &str) = (
    "event",
    "What happened, as CloudEvents 1.0 in binary mode with MessagePack payloads, published again \
     once it is stored, where that is turned on. A subscriber to `events.<workspace>.>` hears all of \
     them, and to `events.<workspace>.*.*.*.*.<event>` those of one name. Who was away hears nothing \
     of what it missed: the feeds over HTTP go on from a position.",
);

/// The headers of every event.
const HEADERS: &str = "EventHeaders";

const LOG: &str = "Where events are stored, in streams. Nobody subscribes here: a subscriber would \
    also hear what the log then refuses. It is the `Nats-Subject` of what is published again.";

pub(super) fn add(parts: &mut Parts) {
    parts.schemas.define(HEADERS, event_headers());
    for event in EventName::ALL {
        one(parts, event);
    }
    let address =
        format!("{ROOT}.{{workspace}}.{{aggregate}}.{{shard}}.{{id}}.{{version}}.{{event}}");
    let names = EventName::ALL.map(message);
    parts.channel("log", Some(&address), LOG, names.iter().map(String::as_str));
}

/// `event.plan.compiled`, as a channel, an operation and a message.
fn message(event: EventName) -> String {
    format!("event.{event}")
}

fn one(parts: &mut Parts, event: EventName) {
    let (name, key) = (message(event), event_key(event));
    let schema = event_schema(event);
    let what = description(&schema).unwrap_or(&key).to_owned();
    let payload = parts.schemas.add(&camel(event.as_str()), schema);
    let own = json!({ "properties": { "ce-type": exactly(&key) } });
    parts.message(
        &name,
        json!({
            "name": key,
            "title": key,
            "description": what,
            "contentType": CONTENT_TYPE,
            "headers": { "type": "object", "allOf": [reference(HEADERS), own] },
            "payload": payload,
            "x-writers": event.writers().iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
    );
    let kind = event.aggregate();
    let id = if kind == AggregateKind::Execution {
        "executionId"
    } else {
        "id"
    };
    let kind = kind.as_str();
    let address =
        format!("{REPUBLISHED_ROOT}.{{workspace}}.{kind}.{{shard}}.{{{id}}}.{{version}}.{event}");
    parts.channel(&name, Some(&address), &what, [name.as_str()]);
    parts.operation(
        &name,
        json!({
            "action": "receive",
            "channel": super::reference(&["channels", &name]),
            "messages": messages_of(&name, &[&name]),
            "summary": key,
            "description": what,
            "security": security("eventsReader"),
            "tags": tagged(TAG),
        }),
    );
}

fn event_headers() -> Value {
    let own = [
        always(
            "ce-specversion",
            exactly("1.0"),
            "The version of CloudEvents.",
        ),
        always(
            "ce-id",
            of::<EventId>(),
            "The same for the same event, however often it is told.",
        ),
        always("ce-type", text(), "The key of the event."),
        always(
            "ce-source",
            json!({ "type": "string", "enum": Service::ALL.map(Service::source) }),
            "The service that wrote it.",
        ),
        always("ce-time", of::<Timestamp>(), "When it was decided."),
        always(
            "ce-datacontenttype",
            exactly(CONTENT_TYPE),
            "With the names of members.",
        ),
        sometimes(
            "traceparent",
            text(),
            "W3C trace context, as it was received.",
        ),
        sometimes(
            "ce-causationid",
            of::<EventId>(),
            "The event, or the wake-up that is not in the log, that led to this one.",
        ),
        sometimes(
            "ce-prevhash",
            of::<Digest>(),
            "The hash of the version before: of its subject, its headers and its payload as they \
             are stored. Not in version 1.",
        ),
        sometimes(
            "ce-dataref",
            json!({ "type": "string", "pattern": "^sha256:[0-9a-f]{64}$" }),
            "The digest of a payload of more than 256 KiB. The message itself is then empty, and \
             the operations that read give the payload.",
        ),
    ];
    let republished = [
        sometimes(
            "Nats-Stream",
            text(),
            "The stream that holds it, set where it is published again.",
        ),
        sometimes(
            "Nats-Subject",
            text(),
            "Where it is stored, set where it is published again.",
        ),
        sometimes(
            "Nats-Sequence",
            json!({ "type": "string", "pattern": "^[1-9][0-9]*$" }),
            "Its place in the stream, set where it is published again.",
        ),
        sometimes(
            "Nats-Time-Stamp",
            of::<Timestamp>(),
            "When the broker stored it, set where it is published again.",
        ),
    ];
    let mut schema = headers(own.into_iter().chain(republished));
    if let Some(members) = schema.as_object_mut() {
        let what = "Values are percent-encoded, as CloudEvents has it. Other headers whose names \
            begin with `ce-` are extensions of a newer writer, and with `Nats-`, the broker's.";
        members.insert("description".to_owned(), what.into());
    }
    schema
}
