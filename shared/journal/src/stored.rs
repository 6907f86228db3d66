//! Messages of the log as they are stored, and what they say.

use bytes::Bytes;
use contracts::{
    canonical::Digest,
    envelope::{Envelope, Fields, Headers, InvalidHeaders, hash_of},
    position::{Position, StreamId},
    record::{Recorded, Undecodable},
    subject::{InvalidSubject, Subject},
    time::Timestamp,
};

use crate::{object::ObjectError, timer::InvalidTimer};

/// The header that names a payload which is stored apart.
pub(crate) const DATA_REF: &str = "ce-dataref";

/// One message of the log.
#[derive(Debug)]
pub struct Entry {
    pub position: Position,
    /// When the broker stored it, by the clock of its stream's leader: one clock for all writers,
    /// where `ce-time` is the writer's own. Nothing where it is not known.
    pub stored_at: Option<Timestamp>,
    pub raw: Raw,
    pub recorded: Result<Recorded, Unreadable>,
}

/// One message of the log as it is stored, and where in its stream; a payload that is stored apart is not
/// in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub sequence: u64,
    pub stored_at: Option<Timestamp>,
    pub raw: Raw,
}

/// The bytes of a message. The broker's own headers are left out; a payload that was stored apart
/// is filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    pub subject: String,
    pub headers: Vec<(String, String)>,
    pub payload: Bytes,
}

/// A message of the log that this binary cannot read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("its subject is not one this version knows")]
    Subject(#[from] InvalidSubject),
    #[error("its headers are not those of an event")]
    Headers(#[from] InvalidHeaders),
    #[error("it does not decode")]
    Undecodable(#[from] Undecodable),
    #[error("it has a payload beside `{digest}`, which is stored apart")]
    NotEmpty { digest: Digest },
    #[error("its payload `{digest}`, which is stored apart, cannot be had")]
    Payload {
        digest: Digest,
        #[source]
        source: ObjectError,
    },
    #[error("it is not a timer")]
    Timer(#[from] InvalidTimer),
}

impl Unreadable {
    /// Whether a newer binary may know it: then it is not poison, and waits.
    pub fn is_newer(&self) -> bool {
        matches!(
            self,
            Self::Subject(InvalidSubject::UnknownEvent(_) | InvalidSubject::Aggregate(_))
                | Self::Undecodable(Undecodable::Newer { .. })
        )
    }
}

impl Kept {
    /// Whether its payload has to be fetched.
    pub(crate) fn is_apart(&self) -> bool {
        self.raw.data_ref().is_some()
    }

    pub(crate) fn decoded(self, stream: StreamId) -> Entry {
        let sequence = self.sequence;
        Entry {
            stored_at: self.stored_at,
            ..Entry::new(Position { stream, sequence }, self.raw)
        }
    }
}

impl Raw {
    /// How much there is of it.
    pub fn bytes(&self) -> usize {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| name.len() + value.len());
        self.subject.len() + headers.sum::<usize>() + self.payload.len()
    }

    pub fn envelope(&self) -> Result<Envelope, Unreadable> {
        Ok(Envelope {
            subject: self.subject.parse::<Subject>()?,
            headers: Headers::from_wire(self.headers.iter().map(|(name, value)| (name, value)))?,
            payload: self.payload.clone(),
        })
    }

    /// `eventHash` of the bytes as they are stored, whatever they say. Headers are in their order.
    pub(crate) fn stored_hash(&self) -> Digest {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str(), value.as_str()));
        hash_of(&self.subject, headers, &self.payload)
    }

    pub fn decode(&self) -> Result<Recorded, Unreadable> {
        let subject = self.subject.parse::<Subject>()?;
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str(), value.as_str()));
        let headers = Fields::from_wire(headers)?;
        Ok(Recorded::of_fields(subject, &headers, &self.payload)?)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(found, _)| found == name)?;
        Some(value)
    }

    /// The digest of a payload that was stored apart.
    pub(crate) fn data_ref(&self) -> Option<Digest> {
        let value = self.header(DATA_REF)?;
        value.strip_prefix("sha256:")?.parse().ok()
    }
}

impl From<&Envelope> for Raw {
    fn from(envelope: &Envelope) -> Self {
        let headers = envelope.headers.iter();
        Self {
            subject: envelope.subject.to_string(),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            payload: envelope.payload.clone(),
        }
    }
}

impl Entry {
    pub fn new(position: Position, raw: Raw) -> Self {
        Self {
            position,
            stored_at: None,
            recorded: raw.decode(),
            raw,
        }
    }

    /// The same entry, stored at that instant.
    #[must_use]
    pub fn stored_at(self, stored_at: Option<Timestamp>) -> Self {
        Self { stored_at, ..self }
    }
}
