//! How a process is seen from outside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "telemetry/metrics.rs"]
mod metrics;
#[path = "telemetry/spans.rs"]
mod spans;
#[path = "telemetry/strangers.rs"]
mod strangers;
