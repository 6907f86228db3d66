//! What durable consumers bring, and what is given back.
//!
//! How far a consumer is behind is taken from what it is given: each delivery says how many are
//! left. So a consumer that is given nothing, because this process is full, says what was so when
//! it was last given something; what this process holds is always of now.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use journal::delivery::{Delivery, Purpose, Unanswered};
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use super::described::{Counts, Described, Stream, labels};
use crate::trouble::Trouble;

labels!(OfConsumer { consumer: &'static str });
labels!(OfStream {
    consumer: &'static str,
    stream: Stream
});
labels!(OfTrouble { trouble: &'static str });

/// All consumers of a process.
#[derive(Default)]
pub struct Consumption {
    deliveries: Counts<OfConsumer>,
    redeliveries: Counts<OfConsumer>,
    pending: Family<OfStream, Gauge>,
    unanswered: Family<OfConsumer, Gauge>,
    troubles: Counts<OfTrouble>,
    held: Mutex<BTreeMap<&'static str, Held>>,
}

struct Held {
    gauge: Gauge,
    now: Unanswered,
}

impl Consumption {
    pub(super) fn describe(&self, described: &mut Described) {
        described.family(
            "deliveries",
            "Messages that the broker gave to this process",
            &self.deliveries,
        );
        described.family(
            "redeliveries",
            "Those among them that this or another process was given before",
            &self.redeliveries,
        );
        described.family(
            "consumer_pending",
            "Messages that the consumer had yet to be given when this process was last given one, \
             all processes together",
            &self.pending,
        );
        described.family(
            "consumer_unanswered",
            "Messages that this process was given and has neither acknowledged nor given back",
            &self.unanswered,
        );
        described.family(
            "troubles",
            "Messages that were not done with: `transient` (comes again), `newer` (needs an \
             upgrade), `stuck` (an operator has to act), `poison` (an incident), `fatal` (the \
             process ends)",
            &self.troubles,
        );
    }

    /// A consumer of this process, for as long as it consumes.
    pub fn consumer(&self, purpose: Purpose, unanswered: Unanswered) -> Consumer {
        let consumer = purpose.as_str();
        let label = OfConsumer { consumer };
        for trouble in ["transient", "newer", "stuck", "poison", "fatal"] {
            drop(self.troubles.get_or_create(&OfTrouble { trouble }));
        }
        let held = Held {
            gauge: self.unanswered.get_or_create_owned(&label),
            now: unanswered,
        };
        // One that consumes again takes the place of what it was.
        self.held().insert(consumer, held);
        Consumer {
            name: consumer,
            deliveries: self.deliveries.get_or_create_owned(&label),
            redeliveries: self.redeliveries.get_or_create_owned(&label),
            pending: self.pending.clone(),
        }
    }

    pub fn trouble(&self, trouble: &Trouble) {
        let trouble = match trouble {
            Trouble::Transient(_) => "transient",
            Trouble::Newer(_) => "newer",
            Trouble::Stuck(_) => "stuck",
            Trouble::Poison { .. } => "poison",
            Trouble::Fatal(_) => "fatal",
        };
        self.troubles.get_or_create(&OfTrouble { trouble }).inc();
    }

    pub(super) fn look(&self) {
        for held in self.held().values() {
            held.gauge
                .set(i64::try_from((held.now)()).unwrap_or(i64::MAX));
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<&'static str, Held>> {
        // A map of gauges is whole after any panic.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One durable consumer of this process.
#[derive(Clone)]
pub struct Consumer {
    name: &'static str,
    deliveries: Counter,
    redeliveries: Counter,
    pending: Family<OfStream, Gauge>,
}

impl Consumer {
    pub fn delivered(&self, delivery: &Delivery) {
        self.deliveries.inc();
        if delivery.delivered > 1 {
            self.redeliveries.inc();
        }
        if let Some(pending) = delivery.pending {
            let gauge = self.pending.get_or_create(&OfStream {
                consumer: self.name,
                stream: Stream::of(&delivery.message),
            });
            gauge.set(i64::try_from(pending).unwrap_or(i64::MAX));
        }
    }
}
