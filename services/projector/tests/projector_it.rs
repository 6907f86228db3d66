//! The projector behind a real TCP port, on a log in memory and on a real broker.
//!
//! * [`story`]: histories as the deciders write them
//! * [`world`]: the projector in this process, and its callers
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

/// Answers are held against what is published, as those to the command are.
#[path = "../../controlplane/tests/controlplane_it/conforming.rs"]
#[allow(dead_code, reason = "events are held against it there")]
mod conforming;
#[path = "../../../shared/contracts/tests/contracts/reference/fixture.rs"]
#[allow(dead_code, reason = "answers are all that is held against it here")]
mod reference;

mod projector_it {
    mod archiving;
    mod bounds;
    mod broker;
    mod crowd;
    mod engines;
    mod explanations;
    mod faults;
    mod feeds;
    mod filters;
    mod isolation;
    mod lists;
    mod live;
    mod pages;
    mod rebuilding;
    mod skills;
    mod story;
    mod tags;
    mod ties;
    mod traces;
    mod voters;
    mod world;
}
