#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "skills/anything.rs"]
mod anything;
#[path = "skills/canonical.rs"]
mod canonical;
#[path = "skills/case.rs"]
mod case;
#[path = "skills/demo.rs"]
mod demo;
#[path = "skills/foreign.rs"]
mod foreign;
#[path = "skills/keys.rs"]
mod keys;
#[path = "skills/trusting.rs"]
mod trusting;
#[path = "skills/verify.rs"]
mod verify;
