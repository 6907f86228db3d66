//! What this build offers, for programs that ask before they use it.

use serde_json::{Value, json};

use super::{CAPABILITIES, Capability, NOT_SERVED, OperationName, Provided, VERSION, event_key};
use crate::{event::EventName, subject::API_ROOT};

/// Capabilities, operations and events, with their versions; and the operations of the reference
/// contract that are not served.
pub fn document() -> Value {
    json!({
        "version": VERSION,
        "capabilities": CAPABILITIES.iter().map(capability).collect::<Vec<_>>(),
        "operations": OperationName::ALL.map(operation),
        "notServed": NOT_SERVED.iter().map(|row| json!({
            "key": row.key, "version": row.version, "kind": row.kind.as_str(),
        })).collect::<Vec<_>>(),
        "events": EventName::ALL.into_iter().map(|event| json!({
            "key": event_key(event), "version": VERSION,
        })).collect::<Vec<_>>(),
    })
}

fn capability(capability: &Capability) -> Value {
    let requires = capability.requires.iter();
    json!({
        "key": capability.key,
        "version": capability.version,
        "kind": capability.kind,
        "requires": requires.map(|required| json!({
            "key": required.key, "version": required.version, "reason": required.reason,
        })).collect::<Vec<_>>(),
        "provides": capability.provides.iter().map(provided).collect::<Vec<_>>(),
    })
}

fn provided(provided: &Provided) -> Value {
    json!({
        "surface": provided.surface.as_str(),
        "key": provided.key,
        "version": provided.version,
    })
}

fn operation(name: OperationName) -> Value {
    let entry = name.entry();
    json!({
        "key": entry.key,
        "version": entry.version,
        "kind": entry.kind.as_str(),
        "capability": entry.capability,
        "grant": entry.grant.as_str(),
        "path": format!("/v1/{}", name.short()),
        "subject": format!("{API_ROOT}.<workspace>.<principal>.{}", name.short()),
    })
}
