//! Events as they are written to the log and as they are read back.

use uuid::Uuid;

use crate::{
    canonical::Digest,
    envelope::{Attributes, Envelope, Fields, INLINE_PAYLOAD_BYTES_MAX, InvalidHeaders, hash_of},
    event::{self, CodecError, Event, EventName, Service},
    events::RULES,
    ids::EventId,
    subject::{AggregateId, Subject},
    time::Timestamp,
};

/// An event that was read from the log, decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    pub subject: Subject,
    pub attributes: Attributes,
    /// `eventHash` of the stored bytes.
    pub hash: Digest,
    pub event: Event,
}

/// The tail of an aggregate: what the next event is chained to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub version: u64,
    pub hash: Digest,
    pub time: Timestamp,
}

/// What leads to an event: the wake-up that is being driven and the trace it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cause {
    pub id: Option<EventId>,
    pub traceparent: Option<String>,
}

/// A stored message that is not an event of the log.
#[derive(Debug, thiserror::Error)]
pub enum Undecodable {
    #[error("its headers are not those of an event")]
    Headers(#[from] InvalidHeaders),
    #[error("its payload is not that of an event")]
    Payload(#[from] CodecError),
    #[error("its payload has another digest than `ce-dataref` says, {expected}")]
    PayloadDiffers { expected: Digest },
    /// Not poison: a newer binary wrote it.
    #[error("it was written by rules {rules}, and this version knows {RULES}")]
    Newer { rules: u32 },
    #[error("`ce-type` says `{header}`, the subject `{subject}`")]
    TypeDiffers { header: String, subject: String },
}

impl Recorded {
    pub fn decode(envelope: &Envelope) -> Result<Self, Undecodable> {
        let subject = envelope.subject.clone();
        Self::of_fields(subject, &envelope.headers.fields(), &envelope.payload)
    }

    /// As [`Self::decode`], of what was received.
    pub fn of_fields(
        subject: Subject,
        headers: &Fields<'_>,
        payload: &[u8],
    ) -> Result<Self, Undecodable> {
        let attributes = Attributes::from_fields(headers)?;
        if attributes.event != subject.event {
            return Err(Undecodable::TypeDiffers {
                header: attributes.event.to_string(),
                subject: subject.event.to_string(),
            });
        }
        // The hash covers the reference only, so what it refers to is checked here.
        let data_ref = attributes.data_ref;
        if let Some(expected) = data_ref.filter(|it| *it != Digest::of(payload)) {
            return Err(Undecodable::PayloadDiffers { expected });
        }
        let event = Event::decode(subject.event, payload)
            .map_err(|error| newer(payload).unwrap_or_else(|| error.into()))?;
        let stored: &[u8] = if data_ref.is_some() { &[] } else { payload };
        Ok(Self {
            event,
            hash: hash_of(&subject.to_string(), headers.iter(), stored),
            subject,
            attributes,
        })
    }

    pub fn version(&self) -> u64 {
        self.subject.version
    }

    pub fn id(&self) -> EventId {
        self.attributes.id
    }

    pub fn time(&self) -> Timestamp {
        self.attributes.time
    }

    pub fn head(&self) -> Head {
        Head {
            version: self.subject.version,
            hash: self.hash,
            time: self.attributes.time,
        }
    }
}

/// What newer rules wrote may hold anything this version does not know; the number of the rules is
/// where it always is.
fn newer(payload: &[u8]) -> Option<Undecodable> {
    #[derive(serde::Deserialize)]
    struct Written {
        rules: u32,
    }
    let Written { rules } = event::payload(payload).ok()?;
    (rules > RULES).then_some(Undecodable::Newer { rules })
}

/// The trace that led to an event, with the event's own span: the first 8 bytes of its id.
fn own_span(traceparent: &str, id: EventId) -> String {
    let span = id.uuid().simple().to_string();
    let span = span.get(..16).unwrap_or_default();
    match traceparent.split('-').collect::<Vec<_>>().as_slice() {
        [version, trace, _, flags] => format!("{version}-{trace}-{span}-{flags}"),
        // Only what is well formed is taken at the edge.
        _ => traceparent.to_owned(),
    }
}

/// Writes `event` as the next version after `head` (version 1 where there is none), chained to
/// it. `time` is one clock reading per decision; the event gets the later of it and its
/// predecessor's.
pub fn seal(
    aggregate: &AggregateId,
    head: Option<&Head>,
    event: Event,
    writer: Service,
    cause: &Cause,
    time: Timestamp,
) -> Result<(Envelope, Recorded), CodecError> {
    let version = head.map_or(1, |head| head.version + 1);
    let payload = event.encode()?;
    let attributes = Attributes::sealed(aggregate, head, event.name(), writer, cause, time);
    let attributes = attributes.with_payload(&payload);
    let envelope = Envelope {
        subject: Subject {
            aggregate: aggregate.clone(),
            version,
            event: event.name(),
        },
        headers: attributes.to_headers(),
        payload: payload.into(),
    };
    let recorded = Recorded {
        hash: envelope.hash(),
        subject: envelope.subject.clone(),
        attributes,
        event,
    };
    Ok((envelope, recorded))
}

impl Attributes {
    /// What [`seal`] writes over an event that says so little that it stands in its own message.
    pub fn sealed(
        aggregate: &AggregateId,
        head: Option<&Head>,
        event: EventName,
        writer: Service,
        cause: &Cause,
        time: Timestamp,
    ) -> Self {
        let version = head.map_or(1, |head| head.version + 1);
        let id = event_id(aggregate, version, cause.id);
        Self {
            id,
            event,
            source: writer.source(),
            time: head.map_or(time, |head| head.time.max(time)),
            traceparent: cause
                .traceparent
                .as_deref()
                .map(|trace| own_span(trace, id)),
            causation: cause.id,
            prev_hash: head.map(|head| head.hash),
            data_ref: None,
            extensions: std::collections::BTreeMap::new(),
        }
    }

    /// With the reference to a payload that is too large for its message.
    #[must_use]
    pub fn with_payload(self, payload: &[u8]) -> Self {
        let is_apart = payload.len() > INLINE_PAYLOAD_BYTES_MAX;
        Self {
            data_ref: is_apart.then(|| Digest::of(payload)),
            ..self
        }
    }
}

/// `UUIDv5` of aggregate, version and cause.
fn event_id(aggregate: &AggregateId, version: u64, cause: Option<EventId>) -> EventId {
    /// Ours, drawn once.
    const NAMESPACE: Uuid = Uuid::from_u128(0x6f0c_6d6e_1d0b_4b5e_9c3a_5f2e_87d1_4a10);
    let cause = cause.map(|id| id.to_string()).unwrap_or_default();
    let name = [aggregate.prefix(), &version.to_string(), &cause].join("\n");
    EventId::of(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
}
