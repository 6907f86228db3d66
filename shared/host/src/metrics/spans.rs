//! What became of the spans of traces.

use prometheus_client::metrics::counter::Counter;

use super::described::{Counts, Described, labels};

labels!(OfReason { reason: &'static str });

/// Why a span has not arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// More was made than the collector took.
    QueueFull,
    /// The collector could not be reached, or said that it is busy, too often.
    Unreachable,
    /// The collector does not want it.
    Refused,
}

#[derive(Debug, Clone)]
pub struct Spans {
    exported: Counter,
    dropped: Counts<OfReason>,
}

impl Default for Spans {
    /// All reasons are there from the start, at zero.
    fn default() -> Self {
        let dropped = Counts::<OfReason>::default();
        for why in [Lost::QueueFull, Lost::Unreachable, Lost::Refused] {
            let reason = why.as_str();
            drop(dropped.get_or_create(&OfReason { reason }));
        }
        Self {
            exported: Counter::default(),
            dropped,
        }
    }
}

impl Lost {
    const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
        }
    }
}

impl Spans {
    pub(super) fn describe(&self, described: &mut Described) {
        described.plain(
            "spans_exported",
            "Spans that the collector has taken",
            &self.exported,
        );
        described.family(
            "spans_dropped",
            "Spans that were lost: `queue_full`, `unreachable`, `refused`",
            &self.dropped,
        );
    }

    pub fn exported(&self, spans: usize) {
        self.exported.inc_by(spans as u64);
    }

    pub fn dropped(&self, why: Lost, spans: usize) {
        let reason = why.as_str();
        let count = self.dropped.get_or_create(&OfReason { reason });
        count.inc_by(spans as u64);
    }
}
