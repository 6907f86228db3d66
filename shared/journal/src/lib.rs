//! The log, and everything else that crosses the broker: one trait, [`Journal`], over NATS
//! JetStream and over memory. The rules it keeps are those of `log.md`; one conformance suite
//! holds both implementations to them.
//!
//! Deliberately absent: folding and deciding (in `domain`), the loop (in `host`).
//! Nobody outside this crate, the worker kit and the test kit sees the broker's client.
//!
//! * [`append`], [`history`], [`stored`]: writing an event, loading an aggregate, reading on
//! * [`delivery`], [`tail`]: durable consumption with acknowledgement, live following without
//! * [`archive`]: what has left the streams, which readers find without knowing
//! * [`timer`], [`object`], [`request`]: wake-ups, large payloads, request and reply
//! * [`inbox`]: what waits on the broker for intake, and what intake refused of it
//! * [`layout`]: which stream holds what
//! * [`jetstream`], [`memory`]: the two implementations
//! * [`permissions`], [`broker`]: what each user may do, and a server configuration that says so

pub mod append;
pub mod archive;
pub mod broker;
pub mod delivery;
pub mod history;
pub mod inbox;
pub mod jetstream;
pub mod layout;
pub mod memory;
pub mod object;
pub mod permissions;
pub mod request;
pub mod stored;
pub mod tail;
pub mod timer;

use std::error::Error;

use async_trait::async_trait;
use bytes::Bytes;
use contracts::{
    canonical::Digest,
    envelope::Envelope,
    position::{Position, Positions, StreamId},
    record::{Head, Recorded},
    subject::AggregateId,
};

use crate::{
    append::{AppendAllError, AppendError},
    delivery::{ConsumerSpec, Deliveries},
    history::{LoadError, Page, Read},
    layout::StreamCount,
    object::ObjectError,
    request::{Reply, Request, RequestError, Requests},
    stored::Entry,
    tail::{Scope, Tail, TailError},
    timer::Timer,
};

/// The one way to the log. Services hold an `Arc<dyn Journal>`.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Into how many streams executions are spread.
    fn stream_count(&self) -> StreamCount;

    /// Changes whenever the connection was lost and is back. Whoever keeps the head of an
    /// aggregate confirms it before its next append when this has changed.
    fn epoch(&self) -> u64;

    /// Waits until that is another one than `epoch`. Safe to cancel.
    async fn reconnected(&self, epoch: u64);

    /// Whether the broker can be reached as far as is known; for readiness, never for deciding.
    fn is_connected(&self) -> bool;

    /// Stores the event if its aggregate has nothing stored at its version. An event whose bytes
    /// are already there is stored: an append may be repeated until it is answered.
    async fn append(&self, envelope: &Envelope) -> Result<Position, AppendError>;

    /// Appends in order, each after the one before is acknowledged, and stops at the first that
    /// fails. Those before it stay stored.
    async fn append_all(&self, envelopes: &[Envelope]) -> Result<Vec<Position>, AppendAllError> {
        let mut stored = Vec::with_capacity(envelopes.len());
        for envelope in envelopes {
            match self.append(envelope).await {
                Ok(position) => stored.push(position),
                Err(source) => return Err(AppendAllError { stored, source }),
            }
        }
        Ok(stored)
    }

    /// All events of an aggregate, in order, checked: versions without a hole from 1, the hash
    /// chain whole. Empty if there is none; only [`Read::Confirmed`] makes that certain.
    async fn load(
        &self,
        aggregate: &AggregateId,
        read: Read,
    ) -> Result<Vec<(Position, Recorded)>, LoadError>;

    /// The events of an aggregate that follow the one that `after` is of, up to the head that the
    /// leader has, or up to as much as a page holds: what a reader of a long history holds at once.
    /// Checked among themselves, and against `after`.
    async fn page(&self, aggregate: &AggregateId, after: Option<&Head>) -> Result<Page, LoadError>;

    /// The last event of an aggregate, as the leader of its stream has it.
    async fn head(&self, aggregate: &AggregateId) -> Result<Option<(Position, Head)>, LoadError>;

    /// Whether the archive has anything of an aggregate, as its leader says. Who has not loaded an
    /// aggregate asks before it appends a first version: where all of it is archived, the guard
    /// passes again.
    async fn is_archived(&self, aggregate: &AggregateId) -> Result<bool, Unavailable>;

    /// How much work waits to be begun: the events that no process has been given yet, of those that
    /// make a service start some ([`delivery::Purpose::Drive`]). What a service has never asked for is not known.
    async fn waiting(&self) -> Result<u64, Unavailable>;

    /// The last sequence of a stream, as its leader has it.
    async fn last_sequence(&self, stream: StreamId) -> Result<u64, Unavailable>;

    /// At most `max_events` events after a sequence, in order. May lag behind the leader.
    async fn read(
        &self,
        stream: StreamId,
        after: u64,
        max_events: usize,
    ) -> Result<Vec<Entry>, Unavailable>;

    /// Follows the log live from after the given positions. Positions beyond a stream's end are
    /// refused.
    async fn tail(&self, after: &Positions, scope: Scope) -> Result<Box<dyn Tail>, TailError>;

    /// Takes part in a durable consumer, creating it if it is not there.
    async fn consume(&self, spec: ConsumerSpec) -> Result<Box<dyn Deliveries>, Unavailable>;

    /// Sets a wake-up; one with the same aggregate, key and service is replaced. An instant in
    /// the past fires at once. Stored when this returns.
    async fn arm(&self, timer: &Timer) -> Result<(), Unavailable>;

    /// Keeps bytes under their digest.
    async fn put_object(&self, bytes: Bytes) -> Result<Digest, ObjectError>;

    /// The bytes with this digest, verified.
    async fn get_object(&self, digest: &Digest) -> Result<Bytes, ObjectError>;

    /// Asks whoever serves the subject.
    async fn request(&self, request: Request) -> Result<Reply, RequestError>;

    /// Serves a subject (it may hold wildcards), sharing the work with all who name the same
    /// queue.
    async fn serve(&self, subject: &str, queue: &str) -> Result<Box<dyn Requests>, Unavailable>;

    /// Sends what is still buffered and closes the connection.
    async fn close(&self);

    /// The streams of the log: those of executions, then the catalogue.
    fn streams(&self) -> Vec<StreamId> {
        self.stream_count().streams()
    }
}

/// The broker did not do what was asked in the time there was. Whether it will is not known: an
/// append that ends so may still be stored.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}: the broker gave no usable answer")]
pub struct Unavailable {
    doing: String,
    refused: bool,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl Unavailable {
    pub fn new(doing: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            doing: doing.into(),
            refused: false,
            source: source.into(),
        }
    }

    /// The broker gave an answer that will be the same again: an operator has to act.
    #[must_use]
    pub fn refused(self, refused: bool) -> Self {
        Self { refused, ..self }
    }

    /// Whether trying again is of no use before an operator has acted.
    pub fn is_refused(&self) -> bool {
        self.refused
    }
}

/// An error and what led to it, in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
