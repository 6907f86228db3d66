//! What the projector reads, and for whom.

use contracts::{operations::execution::WaitingFor, position::Positions};
use prometheus_client::metrics::{
    counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
};

use super::{
    described::{Described, Stream, labels},
    requests::InFlight,
};

labels!(OfPosition { stream: Stream });
labels!(OfReason { reason: &'static str });

/// From what a batch usually takes to a read model that is being rebuilt.
const DELAY_SECONDS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0, 3600.0,
];

/// How many executions wait for each of what there is to wait for.
pub type Waiting = [(WaitingFor, i64); WaitingFor::ALL.len()];

#[derive(Debug)]
pub struct Reading {
    position: Family<OfPosition, Gauge>,
    events: Counter,
    delay: Histogram,
    waiting: Family<OfReason, Gauge>,
    readers: Gauge,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            position: Family::default(),
            events: Counter::default(),
            delay: Histogram::new(DELAY_SECONDS),
            waiting: Family::default(),
            readers: Gauge::default(),
        }
    }
}

impl Reading {
    pub(super) fn describe(&self, described: &mut Described) {
        described.family(
            "projection_position",
            "The last sequence of each stream that the read model has",
            &self.position,
        );
        described.plain(
            "projected_events",
            "Events that were stored in the read model",
            &self.events,
        );
        described.time(
            "projection_delay",
            "From when the broker stored an event until the read model had it, of the oldest of \
             each batch; by the broker's clock and this process's",
            &self.delay,
        );
        described.family(
            "executions_waiting",
            "Executions by what they wait for: a `draft`, a `start` by hand, an `approval`, to \
             `resume`, the `retry` of a step, its `completion` from outside, or that `time` passes; \
             counted a few seconds after something changed",
            &self.waiting,
        );
        described.plain(
            "feed_readers",
            "Live feeds that are being read",
            &self.readers,
        );
    }

    /// A batch of events is in the read model; the oldest was stored so long ago.
    pub fn projected(&self, events: usize, reached: &Positions, oldest_ms: Option<u64>) {
        self.events.inc_by(events as u64);
        self.reached(reached);
        if let Some(ms) = oldest_ms {
            self.delay
                .observe(std::time::Duration::from_millis(ms).as_secs_f64());
        }
    }

    pub fn reached(&self, reached: &Positions) {
        for position in reached.iter() {
            let stream = Stream::Log(position.stream);
            let gauge = self.position.get_or_create(&OfPosition { stream });
            gauge.set(i64::try_from(position.sequence).unwrap_or(i64::MAX));
        }
    }

    pub fn waiting(&self, waiting: Waiting) {
        for (kind, executions) in waiting {
            let reason = kind.as_str();
            self.waiting
                .get_or_create(&OfReason { reason })
                .set(executions);
        }
    }

    /// A feed is read until this is dropped.
    pub fn reads(&self) -> InFlight {
        InFlight::of(&self.readers)
    }
}
