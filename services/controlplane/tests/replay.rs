//! Replay on histories that the real deciders made: untouched ones come out clean, and nothing
//! that was changed afterwards does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

#[path = "replay/cases.rs"]
mod cases;
#[path = "replay/chain_only.rs"]
mod chain_only;
#[path = "replay/clocks.rs"]
mod clocks;
#[path = "replay/copies.rs"]
mod copies;
#[path = "replay/counts.rs"]
mod counts;
#[path = "replay/documents.rs"]
mod documents;
#[path = "replay/forging.rs"]
mod forging;
#[path = "replay/histories.rs"]
mod histories;
#[path = "replay/sources.rs"]
mod sources;
#[path = "replay/sweep.rs"]
mod sweep;
#[path = "replay/tampering.rs"]
mod tampering;
#[path = "replay/worker.rs"]
mod worker;
#[path = "replay/world.rs"]
mod world;
