//! All events of one aggregate, and what must hold for them.

use contracts::{
    position::Position,
    record::{Head, Recorded},
    subject::AggregateId,
};

use crate::{
    Unavailable,
    stored::{Entry, Unreadable},
};

/// How sure a reader wants to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// From any replica: quick, and may miss the latest events.
    Nearest,
    /// Up to the head that the stream's leader has.
    Confirmed,
}

/// Events of a page.
pub const PAGE_EVENTS_MAX: usize = 64;

/// Bytes of their payloads, after which no more is added: one event may be larger.
pub const PAGE_BYTES: usize = 512 * 1024;

/// Some of the events of an aggregate, in order.
#[derive(Debug)]
pub struct Page {
    pub events: Vec<(Position, Recorded)>,
    /// Whether the leader had nothing after them.
    pub is_last: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the history of `{aggregate}` does not hold together: {fault}")]
    Corrupt {
        aggregate: AggregateId,
        fault: Fault,
    },
    #[error("`{subject}` cannot be read")]
    Unreadable {
        subject: String,
        #[source]
        source: Unreadable,
    },
    /// Not poison.
    #[error("`{subject}` was written by a newer version: upgrade this one")]
    Newer { subject: String },
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Where a history breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Versions count from 1 without a gap.
    Hole { expected: u64, found: u64 },
    /// Each event names the hash of the one before it.
    Chain { version: u64 },
    /// A version stands there twice, with different events: on the leader and on a replica, in the
    /// archive and in the live window, or one after the other.
    Forked { version: u64 },
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hole { expected, found } => {
                write!(f, "version {found} stands where {expected} is due")
            }
            Self::Chain { version } => {
                write!(f, "version {version} is not chained to the one before it")
            }
            Self::Forked { version } => write!(f, "version {version} was written twice"),
        }
    }
}

/// The events of an aggregate from entries in the order of their sequences.
pub(crate) fn decoded(entries: Vec<Entry>) -> Result<Vec<(Position, Recorded)>, LoadError> {
    entries
        .into_iter()
        .map(|entry| match entry.recorded {
            Ok(recorded) => Ok((entry.position, recorded)),
            Err(error) if error.is_newer() => Err(LoadError::Newer {
                subject: entry.raw.subject,
            }),
            Err(source) => Err(LoadError::Unreadable {
                subject: entry.raw.subject,
                source,
            }),
        })
        .collect()
}

/// INVARIANT: versions are 1 … n, each chained to the one before. The first fault, if there is
/// one.
pub fn check<'a>(events: impl IntoIterator<Item = &'a Recorded>) -> Result<(), Fault> {
    check_after(None, events)
}

/// As [`check`], of events that follow the one that `head` is of.
pub fn check_after<'a>(
    head: Option<&Head>,
    events: impl IntoIterator<Item = &'a Recorded>,
) -> Result<(), Fault> {
    let mut previous: Option<Head> = head.copied();
    for event in events {
        let expected = previous.map_or(1, |before| before.version + 1);
        let found = event.version();
        if previous.is_some_and(|before| found <= before.version) {
            return Err(Fault::Forked { version: found });
        }
        if found != expected {
            return Err(Fault::Hole { expected, found });
        }
        if event.attributes.prev_hash != previous.map(|before| before.hash) {
            return Err(Fault::Chain { version: found });
        }
        previous = Some(event.head());
    }
    Ok(())
}

/// Whether the last event that is stored is the one that `head` is of, where it is of its version.
pub(crate) fn check_head(head: &Head, last: Option<&Recorded>) -> Result<(), Fault> {
    let stored = last.map(Recorded::head);
    if stored.is_some_and(|stored| stored.version == head.version && stored.hash != head.hash) {
        return Err(Fault::Forked {
            version: head.version,
        });
    }
    Ok(())
}
