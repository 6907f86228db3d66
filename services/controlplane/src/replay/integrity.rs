//! What must hold for every event, whatever it says: the headers are those its writer seals it
//! with, after the event before it.

use std::collections::BTreeSet;

use contracts::{
    canonical::Digest,
    envelope::{Attributes, Fields, Headers},
    event::{Event, Service},
    record::{Cause, Head, Recorded},
};
use domain::schema::join;
use journal::stored::Raw;
use serde_json::Value;

use super::{
    asked,
    derived::is_planners,
    report::{Change, What},
};

/// A fault of an event's headers.
pub(super) struct Fault {
    pub what: What,
    pub message: &'static str,
    pub changes: Vec<Change>,
}

/// Who wrote the event, as far as it must be one service.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other event has one writer"
)]
pub(super) fn writer(event: &Event) -> Option<Service> {
    match event {
        Event::PlanRejected(event) if is_planners(event.cause) => Some(Service::Planner),
        Event::PlanRejected(_) => Some(Service::Verifier),
        Event::IncidentRaised(event) => Service::ALL
            .into_iter()
            .find(|service| service.as_str() == event.service),
        event => event.name().writers().first().copied(),
    }
}

/// `trace` is the trace that the events of planner, verifier and executor belong to.
pub(super) fn faults(
    head: Option<&Head>,
    recorded: &Recorded,
    raw: &Raw,
    trace: Option<&str>,
) -> Vec<Fault> {
    let event = &recorded.event;
    let Some(writer) = writer(event) else {
        return vec![Fault {
            what: What::Writer,
            message: "it names no service as its writer",
            changes: Vec::new(),
        }];
    };
    let attributes = &recorded.attributes;
    let own_trace = attributes.traceparent.as_deref();
    let strays = writer != Service::Intake
        && trace.is_some_and(|trace| trace_id(Some(trace)) != trace_id(own_trace));
    let cause = Cause {
        id: attributes.causation,
        traceparent: if strays { trace } else { own_trace }.map(str::to_owned),
    };
    let time = asked::asked_at(event).unwrap_or(attributes.time);
    let aggregate = &recorded.subject.aggregate;
    let expected = Attributes::sealed(aggregate, head, event.name(), writer, &cause, time);
    let expected = expected.with_payload(&raw.payload).to_headers();
    // They were found to be headers of an event when it was decoded.
    let found = raw.headers.iter();
    let found = found.map(|(name, value)| (name.as_str(), value.as_str()));
    if expected.iter().eq(found.clone()) {
        return Vec::new();
    }
    match Fields::from_wire(found) {
        Ok(found) => compare(&expected, &found),
        Err(_) => vec![Fault {
            what: What::Unreadable,
            message: "its headers are not those of an event",
            changes: Vec::new(),
        }],
    }
}

/// The fault of an event that is not chained to the one before it. Whatever else its headers say
/// is not looked at.
pub(super) fn unchained(head: Option<&Head>, recorded: &Recorded) -> Vec<Fault> {
    let (expected, found) = (head.map(|head| head.hash), recorded.attributes.prev_hash);
    if expected == found {
        return Vec::new();
    }
    let name = "ce-prevhash";
    let value = |hash: Option<Digest>| hash.map(|hash| hash.to_string());
    vec![fault(name, value(expected), value(found))]
}

fn trace_id(traceparent: Option<&str>) -> Option<&str> {
    traceparent.and_then(host::trace::trace_id)
}

fn compare(expected: &Headers, found: &Fields<'_>) -> Vec<Fault> {
    let names: BTreeSet<&str> = expected
        .iter()
        .chain(found.iter())
        .map(|(name, _)| name)
        .collect();
    names
        .into_iter()
        .filter(|name| expected.get(name) != found.get(name))
        .map(|name| {
            let owned = |value: Option<&str>| value.map(str::to_owned);
            fault(name, owned(expected.get(name)), owned(found.get(name)))
        })
        .collect()
}

fn fault(header: &str, expected: Option<String>, found: Option<String>) -> Fault {
    let (what, message) = fault_of(header);
    Fault {
        what,
        message,
        changes: vec![Change {
            path: join("/headers", header),
            expected: expected.map(Value::from),
            found: found.map(Value::from),
        }],
    }
}

fn fault_of(header: &str) -> (What, &'static str) {
    match header {
        "ce-prevhash" => (What::Chain, "it is not chained to the event before it"),
        "ce-id" => (
            What::Id,
            "its id does not follow from its aggregate, its version and its cause",
        ),
        "ce-time" => (
            What::Time,
            "its time is before the event before it, or not when it was asked for",
        ),
        "ce-source" => (What::Writer, "another service may write it"),
        "traceparent" => (What::Header, "it does not belong to the execution's trace"),
        _ => (What::Header, "its writer does not set this header so"),
    }
}
