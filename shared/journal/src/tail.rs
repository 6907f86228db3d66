//! Following the log live, in order, without acknowledgement.

use async_trait::async_trait;
use contracts::{event::EventName, position::StreamId, subject::AggregateId};

use crate::{Unavailable, stored::Entry};

/// What is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All streams of executions, and the catalogue.
    Everything,
    /// One stream of these.
    Stream(StreamId),
    /// The events of one aggregate.
    Aggregate(AggregateId),
    /// The events of these kinds, of all aggregates, as far as they are live: what is archived before it
    /// is read is left out.
    Live(Vec<EventName>),
}

/// Entries in the order of their sequences within each stream, none left out, none twice. It goes
/// on by itself after the connection was lost, and holds back when it is not read.
#[async_trait]
pub trait Tail: Send {
    /// Waits for the next entry. Safe to cancel.
    async fn next(&mut self) -> Entry;

    /// Waits for one entry, then takes what is there, at most `max`. Safe to cancel.
    async fn next_batch(&mut self, max: usize) -> Vec<Entry>;
}

#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// What was read before is not in this log: a checkpoint of another log, or a tail that was
    /// lost with its server.
    #[error("`{stream}` is to be followed after {after}, but ends at {end}")]
    BeyondEnd {
        stream: String,
        after: u64,
        end: u64,
    },
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}
