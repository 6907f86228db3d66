//! Appending the events of one decision.

use contracts::{
    event::{CodecError, Event},
    position::Position,
    record::{Cause, Recorded, seal},
    subject::AggregateId,
    time::Timestamp,
};
use journal::append::AppendError;
use tokio::time::Instant;

use crate::{
    aggregate::Aggregate,
    engine::Host,
    failpoint,
    trace::{
        self,
        told::{self, Parent},
    },
};

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Someone else wrote first, or the fold is so old that nobody could tell: load, fold, decide
    /// again.
    #[error("another event is stored as version {version}")]
    Conflict { version: u64 },
    #[error(transparent)]
    Encode(#[from] CodecError),
    #[error("cannot append")]
    Append(#[source] AppendError),
}

/// Who writes, and why.
pub struct Writer<'a> {
    pub host: &'a Host,
    pub aggregate: &'a AggregateId,
    pub cause: &'a Cause,
    /// What the event's span hangs from.
    pub parent: Parent,
    /// One clock reading per decision.
    pub now: Timestamp,
    /// When the fold that is appended on was asked for: it holds all that was stored by then.
    pub known_at: Instant,
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
            self.host.service,
            self.cause,
            self.now,
        )?;
        failpoint::reach("before-append");
        let began = Instant::now();
        // INVARIANT: no version is appended that may be purged, because its guard would pass.
        if began.saturating_duration_since(self.known_at) > self.host.fold_age_max {
            let version = recorded.version();
            return Err(WriteError::Conflict { version });
        }
        let answered = self.host.journal.append(&envelope).await;
        let metrics = &self.host.metrics;
        match answered {
            Ok(position) => {
                metrics.stored(&recorded.event, began.elapsed());
                if let Some(tracer) = &self.host.tracer
                    && let Some(span) = told::span(&recorded, state.head(), self.cause, self.parent)
                {
                    tracer.tell(span);
                }
                tracing::debug!(
                    aggregate = %self.aggregate,
                    version = recorded.version(),
                    event = %name,
                    trace = self.cause.traceparent.as_deref().and_then(trace::trace_id),
                    "decided"
                );
                Ok((position, recorded))
            }
            Err(error) => {
                metrics.log.not_stored(&error, began.elapsed());
                Err(match error {
                    AppendError::Conflict { .. } => WriteError::Conflict {
                        version: recorded.version(),
                    },
                    AppendError::NotClaimChecked { .. }
                    | AppendError::DigestDiffers { .. }
                    | AppendError::Payload { .. }
                    | AppendError::Refused { .. }
                    | AppendError::Unavailable { .. } => WriteError::Append(error),
                })
            }
        }
    }
}
