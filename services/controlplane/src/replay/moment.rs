//! When a decision was made, by two clocks: that of the service that made it, which may be wrong,
//! and that of the broker, which is one for all and tells only when things were stored.

use std::collections::BTreeMap;

use contracts::{event::Service, ids::EventId, record::Recorded, time::Timestamp};

use super::integrity::writer;

#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// `ce-time`: the clock of the service, but never before the event that it follows.
    pub decided_at: Timestamp,
    /// By the broker's clock. May be long after, where the service was paused in between.
    pub stored_at: Option<Timestamp>,
    /// By the broker's clock, the latest instant at which it is certain that the service had not
    /// yet asked for its facts: what had been stored by then is in them.
    pub facts_after: Option<Timestamp>,
}

/// When the events of one aggregate were stored.
#[derive(Default)]
pub(super) struct Timeline {
    stored: BTreeMap<EventId, Timestamp>,
    last: Option<Last>,
}

struct Last {
    decision: Decision,
    stored_at: Option<Timestamp>,
    /// When the event before the whole decision was stored.
    decided_after: Option<Timestamp>,
}

/// What the events of one decision share.
#[derive(PartialEq, Eq)]
struct Decision {
    by: Option<Service>,
    at: Timestamp,
}

impl Timeline {
    /// Takes the next event.
    pub fn take(&mut self, recorded: &Recorded, stored_at: Option<Timestamp>) -> Moment {
        let decision = Decision {
            by: writer(&recorded.event),
            at: recorded.time(),
        };
        let decided_after = match &self.last {
            Some(last) if last.decision == decision => last.decided_after,
            Some(last) => last.stored_at,
            None => None,
        };
        let moment = Moment {
            decided_at: decision.at,
            stored_at,
            facts_after: self.facts_after(recorded, decision.by, decided_after),
        };
        if let Some(at) = stored_at {
            self.stored.insert(recorded.id(), at);
        }
        self.last = Some(Last {
            decision,
            stored_at,
            decided_after,
        });
        moment
    }

    /// Every service asks for its facts after it has received what wakes it. Only the executor
    /// asks for them again for each state that it comes to: planner and verifier may have asked
    /// before the event that they decide on was stored. A timer is not in the log, and leaves no
    /// more than that event.
    fn facts_after(
        &self,
        recorded: &Recorded,
        by: Option<Service>,
        decided_after: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let cause = recorded.attributes.causation;
        let woken_after = cause.and_then(|cause| self.stored.get(&cause).copied());
        match woken_after {
            Some(_) if by == Some(Service::Executor) => woken_after.max(decided_after),
            Some(_) => woken_after,
            None => decided_after,
        }
    }
}
