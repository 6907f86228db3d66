//! Intents that wait on the broker until an intake takes them.

use serde_json::json;

use super::{
    Header, JSON, Parts, always, exactly, headers, messages_of, security, sometimes, tagged,
    traceparent,
};
use crate::{
    registry::{
        cloud_events::{OPERATION, STRUCTURED, attributes, structured},
        components::{component, reference},
    },
    subject::INBOX_ROOT,
};

pub(super) const TAG: (&str, &str) = (
    "inbox",
    "Intents that wait on the broker, also while no intake runs.",
);

const NAME: &str = "inbox";
const STRUCTURED_MODE: &str = "inbox.structured";
const BINARY_MODE: &str = "inbox.binary";

const WHAT: &str = "An intent as a CloudEvent whose type is `controlPlane.intent.submit` and whose \
    data is the input of that operation, one event a message. `source` and `id` are its idempotency \
    key: the same event again is the same execution. The broker acknowledges what it keeps, as any \
    stream of JetStream, and refuses a message of more than 128 KiB and one beyond 1,000 of a principal \
    that wait. Leave `Nats-Msg-Id` out: the principals of a workspace share its stream, where they can \
    learn the last one, and one that was seen a moment before drops a message. What is kept and then refused by intake is kept with its reason for the operator.";

pub(super) fn add(parts: &mut Parts) {
    parts.schemas.define("CloudEvent", structured());
    let kind =
        "Left out, a message without attributes in its headers is an event in structured mode.";
    parts.message(
        STRUCTURED_MODE,
        json!({
            "name": STRUCTURED_MODE,
            "title": "An intent, as one JSON object",
            "contentType": STRUCTURED,
            "headers": headers([
                sometimes(
                    "Content-Type",
                    json!({ "type": "string", "enum": [STRUCTURED, JSON] }),
                    kind,
                ),
                traceparent(),
            ]),
            "payload": reference("CloudEvent"),
        }),
    );
    parts.message(
        BINARY_MODE,
        json!({
            "name": BINARY_MODE,
            "title": "An intent, with its attributes in headers, percent-encoded",
            "contentType": JSON,
            "headers": headers(binary_headers()),
            "payload": reference(&component(OPERATION, "Input")),
        }),
    );
    let address = format!("{INBOX_ROOT}.{{workspace}}.{{principal}}");
    let modes = [STRUCTURED_MODE, BINARY_MODE];
    parts.channel(NAME, Some(&address), WHAT, modes);
    let entry = OPERATION.entry();
    parts.operation(
        NAME,
        json!({
            "action": "send",
            "channel": super::reference(&["channels", NAME]),
            "messages": messages_of(NAME, &modes),
            "summary": entry.key,
            "description": WHAT,
            "security": security("principal"),
            "tags": tagged(TAG),
            "x-grant": entry.grant.as_str(),
            "x-emits": entry.emits.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
    );
}

fn binary_headers() -> Vec<Header> {
    let mut headers: Vec<Header> = attributes()
        .into_iter()
        .map(|(name, schema, what)| {
            let header = format!("ce-{name}");
            if name == "traceparent" {
                sometimes(header, schema, what)
            } else {
                always(header, schema, what)
            }
        })
        .collect();
    headers.extend([
        sometimes(
            "Content-Type",
            exactly(JSON),
            "Of the data, which is JSON in any case.",
        ),
        traceparent(),
    ]);
    headers
}
