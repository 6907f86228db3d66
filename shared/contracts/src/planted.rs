//! Mistakes that the simulation must find: each breaks one rule at the place where it would really
//! be broken. Without the `planted-bugs` feature they are nothing.
//!
//! What is planted holds for one thread, as a simulated world does. The comment in a branch that
//! asks [`is`] is the thought of who would make the mistake.

use std::{fmt, str::FromStr};

/// A mistake, and the rule that it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    /// A wake-up is acknowledged only when the execution is at rest (`log.md` §7, Rest).
    AckBeforeRest,
    /// A repeat, or a delivery that appended nothing, arms every timer that the state waits for
    /// (`log.md` §7, Timers).
    LostTimer,
    /// Only who holds a delivery of the wake-up that caused an attempt may take it over
    /// (`log.md` §7, Ownership).
    ForeignWakeUp,
    /// After a conflict an append counts as one's own only if the stored bytes equal the bytes
    /// sent (`log.md` §2).
    OwnById,
    /// Before a message is acknowledged without an append, the fold has reached its version
    /// (`log.md` §6, "Nothing to do").
    StaleNothing,
    /// A vote counts for the block that it names, and for no other (`design.md` §3).
    VoteWithoutBlock,
    /// Facts are confirmed with the catalogue's leader after the message was received
    /// (`log.md` §6, Facts).
    OldBundle,
    /// Every append carries the guard of its version (`log.md` §2).
    NoGuard,
    /// A step's idempotency key is never the same for two executions of one plan (`design.md` §4).
    KeyForgetsExecution,
    /// Taking an attempt over is not counted as a retry (`log.md` §7, Ownership).
    TakeoverIsRetry,
    /// Stopping starts nothing new (`design.md` §3).
    SiblingStarts,
    /// Who asked for an execution has no vote on it (`design.md` §3).
    RequesterVotes,
    /// A vote counts if its recorded time is before the expiry of its block (`design.md` §3).
    LateVote,
    /// A message that is put off is acknowledged once a timer stands in its place (`log.md` §6).
    PutOffForgets,
    /// After an answer that did not come the end is unknown: the same bytes are sent again
    /// (`log.md` §2).
    EndWithoutAppend,
    /// Before a dispatch the wake-up is still held (`log.md` §7, Ownership).
    SendsAfterPause,
}

impl Bug {
    pub const ALL: [Self; 16] = [
        Self::AckBeforeRest,
        Self::LostTimer,
        Self::ForeignWakeUp,
        Self::OwnById,
        Self::StaleNothing,
        Self::VoteWithoutBlock,
        Self::OldBundle,
        Self::NoGuard,
        Self::KeyForgetsExecution,
        Self::TakeoverIsRetry,
        Self::SiblingStarts,
        Self::RequesterVotes,
        Self::LateVote,
        Self::PutOffForgets,
        Self::EndWithoutAppend,
        Self::SendsAfterPause,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AckBeforeRest => "ack-before-rest",
            Self::LostTimer => "lost-timer",
            Self::ForeignWakeUp => "foreign-wake-up",
            Self::OwnById => "own-by-id",
            Self::StaleNothing => "stale-nothing",
            Self::VoteWithoutBlock => "vote-without-block",
            Self::OldBundle => "old-bundle",
            Self::NoGuard => "no-guard",
            Self::KeyForgetsExecution => "key-forgets-execution",
            Self::TakeoverIsRetry => "takeover-is-retry",
            Self::SiblingStarts => "sibling-starts",
            Self::RequesterVotes => "requester-votes",
            Self::LateVote => "late-vote",
            Self::PutOffForgets => "put-off-forgets",
            Self::EndWithoutAppend => "end-without-append",
            Self::SendsAfterPause => "sends-after-pause",
        }
    }
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no bug is called `{0}`")]
pub struct UnknownBug(String);

impl FromStr for Bug {
    type Err = UnknownBug;

    fn from_str(text: &str) -> Result<Self, UnknownBug> {
        Self::ALL
            .into_iter()
            .find(|bug| bug.as_str() == text)
            .ok_or_else(|| UnknownBug(text.chars().take(64).collect()))
    }
}

#[cfg(feature = "planted-bugs")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Makes the mistake, or none, on this thread from now on.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether the mistake is made.
#[cfg(feature = "planted-bugs")]
pub fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether the mistake is made: never in this build.
#[cfg(not(feature = "planted-bugs"))]
pub const fn is(_bug: Bug) -> bool {
    false
}
