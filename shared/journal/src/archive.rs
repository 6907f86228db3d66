//! The archive: sealed history of executions (`log.md` §5). Here is what is written, and when it
//! may be; [`crate::jetstream::Archiver`] writes it, and every journal reads it.
//!
//! * A *window* is an aligned block of sequences of one stream of executions. Blocks are fixed, so
//!   that every archiver writes the same bytes, and several of them are harmless.
//! * A *part* holds the events of one aggregate that stand in one window, as they are stored. It is
//!   written once, and never changed.
//! * A *seal* names the parts of a window. A window is archived when its seal is there and all that
//!   it names was read back through the leader and found to be what the log holds.
//!
//! Whatever a message says is archived as it is stored, so that nothing which one version cannot
//! read, or nobody can, holds up the archive. What does not continue the history that is archived
//! of its aggregate (a version met twice, a hole, a broken chain) is kept *aside*: readers find it
//! with the aggregate, and with it the fault. What names no aggregate and version is a *stray*,
//! which only readers of the whole stream see.
//!
//! * [`part`]: how the events of a window become parts
//! * [`seal`]: what a window's parts are, and a digest over its events

use std::time::Duration;

use contracts::position::StreamId;

use crate::Unavailable;

pub(crate) mod part;
pub(crate) mod seal;

/// What parts' subjects begin with, and what seals' do.
pub(crate) const PARTS_ROOT: &str = "cp.archive";
pub(crate) const SEALS_ROOT: &str = "cp.sealed";

/// What is written, so that a later version can write something else.
pub(crate) const FORMAT: u32 = 1;

/// How many sequences one window holds, fixed when a log is made. An archiver holds one window in
/// memory, and a seal names up to as many parts, in one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSize(u64);

/// Of so many that a purge of one window keeps its stream busy for about 10 ms (1.2 µs an event), and
/// of so few that a window of usual events takes some 11 MB.
const WINDOW_EVENTS_MAX: u64 = 8_192;

impl WindowSize {
    pub const USUAL: Self = Self(WINDOW_EVENTS_MAX);

    /// From 1 to 8,192.
    pub const fn try_new(events: u64) -> Option<Self> {
        if events >= 1 && events <= WINDOW_EVENTS_MAX {
            Some(Self(events))
        } else {
            None
        }
    }

    pub const fn get(self) -> u64 {
        self.0
    }

    pub const fn window(self, index: u64) -> Window {
        Window {
            index,
            first: index * self.0 + 1,
            last: (index + 1) * self.0,
        }
    }

    /// The one in which a sequence stands. Sequences count from 1.
    pub const fn window_of(self, sequence: u64) -> Window {
        self.window(sequence.saturating_sub(1) / self.0)
    }
}

/// An aligned block of sequences of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Counts from 0.
    pub index: u64,
    pub first: u64,
    pub last: u64,
}

/// How much of each stream stays live, whatever is archived: at least so many of its newest events,
/// and all that are not so old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveWindow {
    events: u64,
    age: Duration,
}

/// The least age of what is purged: twice the five minutes (`log.md` §2) after which no writer appends
/// on a fold, because the guard of a version that is purged passes again.
pub const LIVE_AGE_MIN: Duration = Duration::from_mins(10);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLiveWindow {
    #[error("at least one event has to stay live")]
    Events,
    #[error("events have to stay live for at least {} s", LIVE_AGE_MIN.as_secs())]
    Age,
}

impl LiveWindow {
    /// With it a broker holds some 8 MB for subjects of events that are older than an hour.
    pub const USUAL: Self = Self {
        events: 100_000,
        age: Duration::from_hours(1),
    };

    pub fn try_new(events: u64, age: Duration) -> Result<Self, InvalidLiveWindow> {
        if events == 0 {
            // A stream that holds nothing cannot be told from one of which all is purged.
            return Err(InvalidLiveWindow::Events);
        }
        if age < LIVE_AGE_MIN && cfg!(not(feature = "failpoints")) {
            return Err(InvalidLiveWindow::Age);
        }
        Ok(Self { events, age })
    }

    pub fn events(self) -> u64 {
        self.events
    }

    pub fn age(self) -> Duration {
        self.age
    }
}

/// Why a window is not archived.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// What is written once was written otherwise: by an archiver that read another log, or by
    /// somebody else.
    #[error("the archive holds other bytes at `{subject}` than the log gives")]
    Forked { subject: String },
    /// Nothing of the window is sealed, so nothing after it is purged.
    #[error(
        "`{}` has nothing at {sequence}, and it was never archived: put the stream back from a \
         copy that has it",
        stream.name()
    )]
    Missing { stream: StreamId, sequence: u64 },
    #[error("the archive of `{}` from {first} on is not what its stream holds: {reason}", stream.name())]
    Differs {
        stream: StreamId,
        first: u64,
        reason: String,
    },
    /// Another archiver did it meanwhile: look again where the stream stands.
    #[error("window {index} of `{}` was archived by another archiver meanwhile", stream.name())]
    Overtaken { stream: StreamId, index: u64 },
    #[error("window {index} of `{}` is not the next to be {doing}", stream.name())]
    OutOfOrder {
        stream: StreamId,
        index: u64,
        doing: &'static str,
    },
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What is not purged, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purged {
    /// Everything up to this sequence is gone from the live window.
    UpTo(u64),
    /// It belongs to the live window.
    StillLive(Due),
    /// This consumer has yet to acknowledge what stands after `floor`; nothing, where it has never
    /// been made.
    Awaited {
        consumer: String,
        floor: Option<u64>,
    },
}

/// When a window may be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Now,
    /// When so many more events are stored.
    AfterEvents(u64),
    /// After so much time, by the broker's clock.
    AfterTime(Duration),
}
