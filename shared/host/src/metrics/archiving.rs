//! What the projector archives.

use contracts::position::StreamId;
use prometheus_client::metrics::{family::Family, gauge::Gauge};

use super::described::{Described, Stream, labels};

labels!(OfArchived { stream: Stream });

/// How far each stream is archived.
#[derive(Debug, Default)]
pub struct Archiving {
    live: Family<OfArchived, Gauge>,
    sealed: Family<OfArchived, Gauge>,
    purged: Family<OfArchived, Gauge>,
    failing: Gauge,
    store: Gauge,
    store_max: Gauge,
}

impl Archiving {
    pub(super) fn describe(&self, described: &mut Described) {
        described.family(
            "log_live_events",
            "Events of a stream that are not purged, as the archiver last saw it",
            &self.live,
        );
        described.family(
            "archive_sealed_windows",
            "Windows of a stream that are sealed in the archive",
            &self.sealed,
        );
        described.family(
            "log_purged_sequence",
            "The last sequence of a stream that is purged, and is in the archive alone",
            &self.purged,
        );
        described.plain(
            "archive_failing",
            "1 where the last try to archive a stream failed; why is in the log of the process. Nothing \
             is purged meanwhile",
            &self.failing,
        );
        described.plain(
            "broker_store_bytes",
            "What the broker stores of all streams of the account, and of each replica",
            &self.store,
        );
        described.plain(
            "broker_store_max_bytes",
            "How much it may store of them; 0 where the account has no limit of its own",
            &self.store_max,
        );
    }

    pub fn stands(&self, stream: StreamId, first: u64, last: u64, sealed: u64) {
        let of = OfArchived {
            stream: Stream::Log(stream),
        };
        let set = |family: &Family<OfArchived, Gauge>, value: u64| {
            let gauge = family.get_or_create(&of);
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set(&self.live, (last + 1).saturating_sub(first));
        set(&self.sealed, sealed);
        set(&self.purged, first.saturating_sub(1));
    }

    pub fn fails(&self, failing: bool) {
        self.failing.set(i64::from(failing));
    }

    pub fn stores(&self, bytes: u64, max: Option<u64>) {
        let number = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.store.set(number(bytes));
        self.store_max.set(number(max.unwrap_or(0)));
    }
}
