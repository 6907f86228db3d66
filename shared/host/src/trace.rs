//! The trace an execution belongs to: the caller's, or one that follows from the execution's id.
//!
//! Each event of the log is one span: its span id is the first 8 bytes of its id, and it is in the
//! header `traceparent` of the event, whether spans are exported or not. So what a collector shows
//! can be compared with the log, and a span that was lost can be told from it.
//!
//! * An event's span begins at the time of the event before it and ends at its own: it shows how
//!   long that state lasted, a worker's work or a human's hesitation.
//! * Its parent is the event that `ce-causationid` names. What a timer, a request or another
//!   aggregate led to hangs from the execution's first event; the end of a call from the call.
//! * A call of a skill is a client span below its `step.started`; its id goes to the worker.
//! * A request is a server span below its caller's. One without a caller's trace has a span if it
//!   begins an execution: the root of that trace.
//!
//! Nothing is exported that the caller did not want sampled. Deliberately absent: spans of what is
//! in no trace (skills and policies that nobody sent a trace with, incidents, reads without one).
//!
//! * [`span`]: ids, and what a span says
//! * [`told`]: the span of an event
//! * [`export`], [`otlp`]: on the way to a collector

pub mod export;
pub mod otlp;
pub mod span;
pub mod told;

use contracts::{canonical::Digest, ids::ExecutionId};

/// A W3C `traceparent` that can be stored: the caller's if it is well formed, else one derived
/// from the execution.
pub fn traceparent(received: Option<&str>, execution: ExecutionId) -> String {
    if let Some(value) = received.filter(|value| is_well_formed(value)) {
        return value.to_owned();
    }
    let hex = Digest::of(execution.to_string().as_bytes()).to_string();
    let (trace, rest) = hex.split_at(32);
    let (span, _) = rest.split_at(16);
    format!("00-{trace}-{span}-01")
}

/// The trace id of a `traceparent`.
pub fn trace_id(traceparent: &str) -> Option<&str> {
    traceparent.split('-').nth(1)
}

/// Version 00 of W3C Trace Context: `00-<32 hex>-<16 hex>-<2 hex>`, ids not all zero.
pub fn is_well_formed(value: &str) -> bool {
    let parts: Vec<&str> = value.split('-').collect();
    let hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    match parts.as_slice() {
        [version, trace, span, flags] => {
            *version == "00"
                && hex(trace, 32)
                && hex(span, 16)
                && hex(flags, 2)
                && trace.bytes().any(|b| b != b'0')
                && span.bytes().any(|b| b != b'0')
        }
        _ => false,
    }
}
