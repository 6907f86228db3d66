//! Appending the events of one decision.

use contracts::{
    event::{CodecError, Event, Service},
    position::Position,
    record::{Cause, Recorded, seal},
    subject::AggregateId,
    time::Timestamp,
};
use journal::{Journal, append::AppendError};

use crate::aggregate::Aggregate;

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Someone else wrote first: load, fold, decide again.
    #[error("another event is stored as version {version}")]
    Conflict { version: u64 },
    #[error(transparent)]
    Encode(#[from] CodecError),
    #[error("cannot append")]
    Append(#[source] AppendError),
}

/// Who writes, and why.
pub struct Writer<'a> {
    pub journal: &'a dyn Journal,
    pub service: Service,
    pub aggregate: &'a AggregateId,
    pub cause: &'a Cause,
    /// One clock reading per decision.
    pub now: Timestamp,
}

impl Writer<'_> {
    /// Stores `event` as the next version after `state`.
    pub async fn append<A: Aggregate>(
        &self,
        state: &A,
        event: Event,
    ) -> Result<(Position, Recorded), WriteError> {
        let name = event.name();
        let (envelope, recorded) = seal(
            self.aggregate,
            state.head(),
            event,
            self.service,
            self.cause,
            self.now,
        )?;
        match self.journal.append(&envelope).await {
            Ok(position) => {
                tracing::debug!(
                    aggregate = %self.aggregate,
                    version = recorded.version(),
                    event = %name,
                    trace = self.cause.traceparent.as_deref().unwrap_or_default(),
                    "decided"
                );
                Ok((position, recorded))
            }
            Err(AppendError::Conflict { .. }) => Err(WriteError::Conflict {
                version: recorded.version(),
            }),
            Err(error) => Err(WriteError::Append(error)),
        }
    }
}
