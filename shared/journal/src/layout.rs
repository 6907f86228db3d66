//! Which stream holds what.

use contracts::{
    event::EventName,
    ids::WorkspaceId,
    position::StreamId,
    subject::{AggregateId, AggregateKind, ROOT, SHARDS, Shard},
};

pub const TIMERS: &str = "CONTROL_PLANE_TIMERS";
/// Sealed history of executions.
pub const ARCHIVE: &str = "CONTROL_PLANE_ARCHIVE";
pub(crate) const OBJECTS: &str = "CONTROL_PLANE_OBJECTS";
/// The inboxes of all workspaces together: each one's name begins with it, and in older logs it is
/// the name of the only one.
pub const INBOX: &str = "CONTROL_PLANE_INBOX";
pub(crate) const REFUSED: &str = "CONTROL_PLANE_REFUSED";

/// The stream in which a workspace's inbox waits. Each has its own: to whoever publishes to a stream
/// the broker tells what else is in it, in the number of an acknowledgement and where an expectation
/// is not met.
pub fn inbox(workspace: &WorkspaceId) -> String {
    format!("{INBOX}_{workspace}")
}

/// Into how many streams executions are spread, fixed when the log is made: a power of two from 1
/// to 64. More, so that fsyncs run in parallel and leaders spread over servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamCount(u8);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a number of streams: use 1, 2, 4, 8, 16, 32 or 64")]
pub struct InvalidStreamCount(u8);

impl StreamCount {
    pub const ONE: Self = Self(1);

    pub const fn try_new(count: u8) -> Result<Self, InvalidStreamCount> {
        if count.is_power_of_two() && count <= SHARDS {
            Ok(Self(count))
        } else {
            Err(InvalidStreamCount(count))
        }
    }

    pub const fn get(self) -> u8 {
        self.0
    }

    /// The streams of executions, then the catalogue.
    pub fn streams(self) -> Vec<StreamId> {
        (0..self.0)
            .map(StreamId::Log)
            .chain([StreamId::Catalogue])
            .collect()
    }

    pub fn stream_of(self, aggregate: &AggregateId) -> StreamId {
        if aggregate.kind().in_catalogue() {
            StreamId::Catalogue
        } else {
            StreamId::Log(self.index_of(aggregate.shard()))
        }
    }

    /// The streams that may hold an event.
    pub fn streams_of(self, event: EventName) -> Vec<StreamId> {
        if event.aggregate().in_catalogue() {
            vec![StreamId::Catalogue]
        } else {
            (0..self.0).map(StreamId::Log).collect()
        }
    }

    /// The stream that holds a subject, also that of an event this version does not know; nothing
    /// where it is none of the log.
    pub fn stream_of_subject(self, subject: &str) -> Option<StreamId> {
        let mut tokens = subject.split('.').skip(2);
        let (kind, shard) = (tokens.next()?, tokens.next()?);
        let kind = AggregateKind::ALL
            .into_iter()
            .find(|known| known.as_str() == kind)?;
        if kind.in_catalogue() {
            return Some(StreamId::Catalogue);
        }
        let shard = Shard::all().find(|known| known.to_string() == shard)?;
        Some(StreamId::Log(self.index_of(shard)))
    }

    fn index_of(self, shard: Shard) -> u8 {
        shard.index() / (SHARDS / self.0)
    }

    /// The subjects that a stream of the log takes.
    pub(crate) fn subjects(self, stream: StreamId) -> Vec<String> {
        let kinds = |catalogue| {
            AggregateKind::ALL
                .into_iter()
                .filter(move |kind| kind.in_catalogue() == catalogue)
        };
        match stream {
            StreamId::Catalogue => kinds(true)
                .map(|kind| format!("{ROOT}.*.{}.>", kind.as_str()))
                .collect(),
            StreamId::Log(_) if self == Self::ONE => kinds(false)
                .map(|kind| format!("{ROOT}.*.{}.>", kind.as_str()))
                .collect(),
            StreamId::Log(index) => kinds(false)
                .flat_map(|kind| {
                    Shard::all()
                        .filter(move |shard| self.index_of(*shard) == index)
                        .map(move |shard| format!("{ROOT}.*.{}.{shard}.>", kind.as_str()))
                })
                .collect(),
        }
    }
}

/// A filter for one kind of event in all aggregates.
pub(crate) fn event_filter(event: EventName) -> String {
    format!("{ROOT}.*.{}.*.*.*.{event}", event.aggregate().as_str())
}
