//! What is written to the log.

use std::collections::BTreeMap;

use contracts::event::{EventName, Service};
use journal::{append::AppendError, jetstream::Fate};
use prometheus_client::metrics::{counter::Counter, histogram::Histogram};
use tokio::time::Duration;

use super::described::{Counts, Described, Sizes, Times, labels};

labels!(
    /// What became of an append.
    OfOutcome { outcome: &'static str }
);
labels!(OfEvent { event: &'static str });
labels!(OfCode { code: &'static str });

/// From the quickest append of a quiet broker to one that its patience ends.
const APPEND_SECONDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// From the smallest group to the largest.
const GROUP_EVENTS: [f64; 7] = [8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Why an incident is raised: there from the start, at zero, so that the first one is a rise.
const INCIDENTS: [&str; 4] = [
    "AGGREGATE_CORRUPT",
    "EVENT_NOT_STORABLE",
    "LOG_FORKED",
    "POISON_MESSAGE",
];

/// Appends, and what they store.
#[derive(Debug)]
pub struct Log {
    appends: Times<OfOutcome>,
    groups: Sizes<OfOutcome>,
    events: Counts<OfEvent>,
    incidents: Counts<OfCode>,
    /// Found without a look-up, as each event needs them.
    quick: Quick,
}

#[derive(Debug)]
struct Quick {
    stored: Histogram,
    by_event: BTreeMap<EventName, Counter>,
}

impl Log {
    /// Every event that a service may write is there from the start, at zero.
    pub(super) fn new(services: &[Service]) -> Self {
        let appends =
            Times::new_with_constructor((|| Histogram::new(APPEND_SECONDS)) as fn() -> Histogram);
        let outcome = |outcome| appends.get_or_create_owned(&OfOutcome { outcome });
        for seen in ["conflict", "refused", "unknown"] {
            drop(outcome(seen));
        }
        let stored = outcome("stored");
        let groups =
            Sizes::new_with_constructor((|| Histogram::new(GROUP_EVENTS)) as fn() -> Histogram);
        for outcome in ["stored", "refused", "unknown"] {
            drop(groups.get_or_create(&OfOutcome { outcome }));
        }
        let events = Counts::<OfEvent>::default();
        let by_event = services
            .iter()
            .flat_map(|service| service.writes())
            .map(|name| {
                let event = name.as_str();
                (name, events.get_or_create_owned(&OfEvent { event }))
            })
            .collect();
        let incidents = Counts::<OfCode>::default();
        for code in INCIDENTS {
            drop(incidents.get_or_create(&OfCode { code }));
        }
        Self {
            quick: Quick { stored, by_event },
            appends,
            groups,
            events,
            incidents,
        }
    }

    pub(super) fn describe(&self, described: &mut Described) {
        described.times(
            "append",
            "How long it took to store an event, or to hear why not: `stored`, `conflict` (another \
             one stands there: decided again), `refused` (an operator has to act), `unknown` (no \
             usable answer in time)",
            &self.appends,
        );
        described.family(
            "append_group_events",
            "How many events were appended in one group, where every append is fsynced, and what \
             became of the group: `stored`, `refused` (one of its events conflicts, or the broker has \
             no room for another group) or `unknown`; in the last two each was sent by itself",
            &self.groups,
        );
        described.family("events", "Events that were stored", &self.events);
        described.family(
            "incidents_raised",
            "Incidents that were stored: an operator has to look",
            &self.incidents,
        );
    }

    /// An event was stored.
    pub(super) fn stored(&self, event: EventName, took: Duration) {
        self.quick.stored.observe(took.as_secs_f64());
        if let Some(count) = self.quick.by_event.get(&event) {
            count.inc();
        }
    }

    /// An event was not stored, or nobody knows.
    pub fn not_stored(&self, error: &AppendError, took: Duration) {
        let outcome = match error {
            AppendError::Conflict { .. } => "conflict",
            AppendError::Unavailable { .. } => "unknown",
            AppendError::NotClaimChecked { .. }
            | AppendError::DigestDiffers { .. }
            | AppendError::Payload { .. }
            | AppendError::Refused { .. } => "refused",
        };
        let appends = self.appends.get_or_create(&OfOutcome { outcome });
        appends.observe(took.as_secs_f64());
    }

    /// So many events were appended as one.
    pub fn grouped(&self, events: u32, fate: Fate) {
        let outcome = match fate {
            Fate::Stored => "stored",
            Fate::Refused => "refused",
            Fate::Unknown => "unknown",
        };
        let groups = self.groups.get_or_create(&OfOutcome { outcome });
        groups.observe(f64::from(events));
    }

    pub fn incident(&self, code: &'static str) {
        self.incidents.get_or_create(&OfCode { code }).inc();
    }
}
