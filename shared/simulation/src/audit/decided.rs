//! Since when the executor may have decided what it stores.
//!
//! A decision is taken on a fold that holds everything before the first event it yields (the
//! version guard sees to that), so on facts that were confirmed after that was stored, or half a
//! second before: `log.md` §6. How long the appends take, and whether the process was paused
//! between them, changes nothing about that, so the rule holds without an allowance.

use contracts::{event::Event, record::Recorded, time::Timestamp};

/// The executor's facts are shared up to this age. The instants are whole milliseconds.
const FACTS_SHARED_FOR_MS: i64 = 500 + 2;

pub(super) struct Decided {
    /// When the last event before the decision was stored.
    since: Timestamp,
    last: Timestamp,
    batch: Option<Batch>,
}

/// What the events of one decision have in common. Two decisions that look like one make the rule
/// weaker, never wrong.
#[derive(PartialEq, Eq)]
struct Batch {
    catalogue: u64,
    at: Timestamp,
}

impl Decided {
    pub fn at(now: Timestamp) -> Self {
        Self {
            since: now,
            last: now,
            batch: None,
        }
    }

    pub fn take(&mut self, recorded: &Recorded, now: Timestamp) {
        let batch = batch(recorded);
        if batch.is_none() || batch != self.batch {
            self.since = self.last;
        }
        self.batch = batch;
        self.last = now;
    }

    /// Before this instant, the facts were certainly not confirmed.
    pub fn facts_since(&self) -> Timestamp {
        Timestamp::from_millis(self.since.as_millis() - FACTS_SHARED_FOR_MS)
    }
}

fn batch(recorded: &Recorded) -> Option<Batch> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "everything else the executor decides stands alone"
    )]
    let (catalogue, at) = match &recorded.event {
        Event::StepProposed(event) => (event.catalogue, event.proposed_at),
        Event::StepBlocked(event) => (event.catalogue, event.blocked_at),
        Event::StepStarted(event) => (event.catalogue, event.started_at),
        _ => return None,
    };
    Some(Batch { catalogue, at })
}
