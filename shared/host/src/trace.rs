//! The trace an execution belongs to: the caller's, or one that follows from the execution's id.

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
