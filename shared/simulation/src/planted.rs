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
    hunt(Bug::AckBeforeRest, 1000),
    hunt(Bug::LostTimer, 3000),
    hunt(Bug::ForeignWakeUp, 3000),
    hunt(Bug::OwnById, 3000),
    hunt(Bug::StaleNothing, 3000),
    hunt(Bug::VoteWithoutBlock, 3000),
    hunt(Bug::OldBundle, 1000),
    hunt(Bug::NoGuard, 3000),
    hunt(Bug::KeyForgetsExecution, 1000),
    hunt(Bug::TakeoverIsRetry, 3000),
    hunt(Bug::SiblingStarts, 1000),
    hunt(Bug::RequesterVotes, 1000),
    hunt(Bug::LateVote, 3000),
    hunt(Bug::PutOffForgets, 3000),
    hunt(Bug::EndWithoutAppend, 1000),
];
