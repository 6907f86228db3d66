//! Planner, verifier and executor as processes on a real broker: from an intent to its end, and
//! through every kind of death on the way.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and reads the clock as the processes do"
)]

mod executor_it {
    pub mod archived;
    pub mod control;
    pub mod crashes;
    pub mod described;
    pub mod door;
    pub mod histories;
    pub mod hostile;
    pub mod keys;
    pub mod later;
    pub mod policies;
    pub mod races;
    pub mod skills;
    pub mod worker;
    pub mod world;
}
