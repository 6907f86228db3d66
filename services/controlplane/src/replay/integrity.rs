//! What must hold for every event, whatever it says: the headers are those its writer seals it
//! with, after the event before it.

use std::collections::BTreeSet;

use contracts::{
    envelope::{Envelope, Headers},
    event::{Event, Service},
    record::{Cause, Head, Recorded, seal},
};
use domain::schema::join;
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
    envelope: &Envelope,
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
    match seal(aggregate, head, event.clone(), writer, &cause, time) {
        Ok((sealed, _)) => compare(&sealed.headers, &envelope.headers),
        Err(_) => Vec::new(),
    }
}

fn trace_id(traceparent: Option<&str>) -> Option<&str> {
    traceparent.and_then(host::trace::trace_id)
}

fn compare(expected: &Headers, found: &Headers) -> Vec<Fault> {
    let names: BTreeSet<&str> = expected
        .iter()
        .chain(found.iter())
        .map(|(name, _)| name)
        .collect();
    names
        .into_iter()
        .filter(|name| expected.get(name) != found.get(name))
        .map(|name| {
            let (what, message) = fault_of(name);
            let value = |headers: &Headers| headers.get(name).map(Value::from);
            Fault {
                what,
                message,
                changes: vec![Change {
                    path: join("/headers", name),
                    expected: value(expected),
                    found: value(found),
                }],
            }
        })
        .collect()
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
