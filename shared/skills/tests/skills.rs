#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "skills/canonical.rs"]
mod canonical;
#[path = "skills/demo.rs"]
mod demo;
#[path = "skills/keys.rs"]
mod keys;
#[path = "skills/verify.rs"]
mod verify;
