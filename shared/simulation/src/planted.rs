//! The bugs that are planted, and within how many seeds each must be found.

use contracts::planted::Bug;

pub struct Hunt {
    pub bug: Bug,
    /// Several times what it took, so that a change of the world does not fail the hunt by chance.
    pub within: u64,
}

const fn hunt(bug: Bug, within: u64) -> Hunt {
    Hunt { bug, within }
}

pub const HUNTS: [Hunt; Bug::ALL.len()] = [
    hunt(Bug::AckBeforeRest, 200),
    hunt(Bug::LostTimer, 1000),
    hunt(Bug::ForeignWakeUp, 500),
    hunt(Bug::OwnById, 200),
    hunt(Bug::StaleNothing, 1500),
    hunt(Bug::VoteWithoutBlock, 1000),
    hunt(Bug::OldBundle, 200),
    hunt(Bug::NoGuard, 500),
    hunt(Bug::KeyForgetsExecution, 200),
    hunt(Bug::TakeoverIsRetry, 6000),
    hunt(Bug::SiblingStarts, 200),
    hunt(Bug::RequesterVotes, 500),
    hunt(Bug::LateVote, 500),
    hunt(Bug::PutOffForgets, 1500),
    hunt(Bug::EndWithoutAppend, 6000),
    hunt(Bug::SendsAfterPause, 6000),
];
