//! One execution as a driver knows it: its fold, since when that is the leader's, and appending to
//! it.

use contracts::{
    event::Event,
    ids::EventId,
    record::{Cause, Recorded},
    subject::AggregateId,
    time::Timestamp,
};
use domain::execution::Execution;
use host::{
    aggregate::{self, Loaded},
    engine::Host,
    trace::told::Parent,
    trouble::Trouble,
    write::{WriteError, Writer},
};
use tokio::time::Instant;

/// What the state is worth.
#[derive(Debug, Clone, Copy)]
enum Known {
    /// Nothing was read yet: whatever holds the wake-up is as good as what a delivery brings.
    Not,
    /// It is loaded again before it is decided on, as the leader has it.
    No,
    /// It was the leader's then, or had what was delivered then.
    Since(Instant),
}

pub struct Tracked<'a> {
    host: &'a Host,
    pub aggregate: AggregateId,
    pub state: Execution,
    known: Known,
    epoch: u64,
}

impl<'a> Tracked<'a> {
    pub fn unknown(host: &'a Host, aggregate: AggregateId) -> Self {
        Self {
            host,
            aggregate,
            state: Execution::NeverReceived,
            known: Known::Not,
            epoch: host.journal.epoch(),
        }
    }

    /// The next version as it was delivered saves a load.
    pub fn take(&mut self, event: &Recorded) {
        let follows = self.state.head().is_some_and(|head| {
            head.version + 1 == event.version() && Some(head.hash) == event.attributes.prev_hash
        });
        if follows && aggregate::known(event).is_ok() {
            self.evolve(event);
        }
    }

    fn evolve(&mut self, event: &Recorded) {
        let state = std::mem::replace(&mut self.state, Execution::NeverReceived);
        self.state = state.evolve(event);
    }

    /// It is loaded again before it is decided on.
    pub fn distrust(&mut self) {
        self.known = Known::No;
    }

    /// Loads the state where it may be behind `version`, or behind what the leader has.
    pub async fn refresh(&mut self, version: u64) -> Result<(), Trouble> {
        if self.is_stale() {
            return self.reload().await;
        }
        if self.state.version() < version {
            let (begun, epoch) = (Instant::now(), self.host.journal.epoch());
            let journal = self.host.journal.as_ref();
            let loaded = aggregate::load(journal, &self.aggregate, version).await?;
            self.loaded(loaded, begun, epoch);
        }
        Ok(())
    }

    /// Loads the state that the leader has.
    pub async fn reload(&mut self) -> Result<(), Trouble> {
        let (begun, epoch) = (Instant::now(), self.host.journal.epoch());
        let loaded = aggregate::confirmed(self.host.journal.as_ref(), &self.aggregate).await?;
        self.loaded(loaded, begun, epoch);
        Ok(())
    }

    fn loaded(&mut self, loaded: Loaded<Execution>, begun: Instant, epoch: u64) {
        self.state = loaded.state;
        self.epoch = epoch;
        self.known = Known::Since(begun);
    }

    /// Whether it must be confirmed before anything is appended on it.
    fn is_stale(&self) -> bool {
        let is_old = match self.known {
            Known::Not => false,
            Known::No => true,
            Known::Since(at) => at.elapsed() > self.host.fold_age_max,
        };
        is_old || self.epoch != self.host.journal.epoch()
    }

    /// Stores one event, and gives its id. Nothing where someone else wrote first, or where the
    /// fold had to be confirmed: then the decision has to be made again.
    pub async fn append(
        &mut self,
        event: Event,
        wake: Option<EventId>,
        parent: Parent,
        now: Timestamp,
    ) -> Result<Option<EventId>, Trouble> {
        let known_at = match self.known {
            Known::Since(at) if !self.is_stale() => at,
            Known::Since(_) | Known::Not | Known::No => {
                self.reload().await?;
                return Ok(None);
            }
        };
        let known = self.state.known();
        let cause = Cause {
            id: wake,
            traceparent: known.and_then(|known| known.traceparent.clone()),
        };
        let writer = Writer {
            host: self.host,
            aggregate: &self.aggregate,
            cause: &cause,
            parent,
            now,
            known_at,
        };
        match writer.append(&self.state, event).await {
            Ok((_, recorded)) => {
                self.evolve(&recorded);
                self.known = Known::Since(Instant::now());
                Ok(Some(recorded.id()))
            }
            Err(WriteError::Conflict { .. }) => {
                self.reload().await?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The instant of a decision: the later of the clock, the last event, and the timer that came.
    pub fn instant(&self, due: Option<Timestamp>) -> Timestamp {
        let clock = self.host.now();
        let after = self.state.head().map_or(clock, |head| head.time.max(clock));
        due.map_or(after, |due| due.max(after))
    }
}
