//! Spans, and the ids of W3C Trace Context.

use std::{borrow::Cow, fmt};

use contracts::{canonical::Digest, ids::EventId, time::Timestamp};

use super::is_well_formed;

/// The id of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(pub [u8; 16]);

/// The id of a span within its trace.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(pub [u8; 8]);

/// A span as others refer to it: what a `traceparent` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    pub trace: TraceId,
    pub span: SpanId,
    /// Whether whoever began the trace wants it recorded.
    pub is_sampled: bool,
}

/// What was done, and by whom it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub context: Context,
    pub parent: Option<SpanId>,
    pub name: Cow<'static, str>,
    pub kind: Kind,
    pub began: Timestamp,
    pub ended: Timestamp,
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it went wrong, if it did.
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something that happened here.
    Internal,
    /// A request that was answered.
    Server,
    /// A request to someone else.
    Client,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
}

impl Context {
    /// Of a well-formed `traceparent`.
    pub fn parse(traceparent: &str) -> Option<Self> {
        if !is_well_formed(traceparent) {
            return None;
        }
        let mut parts = traceparent.split('-').skip(1);
        Some(Self {
            trace: TraceId(bytes(parts.next()?)?),
            span: SpanId(bytes(parts.next()?)?),
            is_sampled: {
                let [flags] = bytes(parts.next()?)?;
                flags & 1 == 1
            },
        })
    }

    /// Another span of the same trace.
    #[must_use]
    pub fn with(self, span: SpanId) -> Self {
        Self { span, ..self }
    }
}

/// As a `traceparent`.
impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.is_sampled);
        write!(f, "00-{}-{}-{flags:02x}", self.trace, self.span)
    }
}

impl SpanId {
    /// The first 8 bytes of the event's id.
    pub fn of_event(id: EventId) -> Self {
        Self::first_of(id.uuid().as_bytes())
    }

    /// Of the call that a stored `step.started` leads to.
    pub fn of_call(started: EventId) -> Self {
        let digest = Digest::of_parts([b"call".as_slice(), started.uuid().as_bytes()]);
        Self::first_of(digest.bytes())
    }

    /// Drawn: of what no event stands for.
    pub fn of_random(bytes: [u8; 32]) -> Self {
        Self::first_of(&bytes)
    }

    /// The first 8 of more bytes. All zero is no id; that is not met by chance.
    fn first_of(bytes: &[u8]) -> Self {
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(bytes) {
            *to = *from;
        }
        Self(id)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(i64::from(number))
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

fn bytes<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
