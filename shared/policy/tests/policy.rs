//! Bundles, facts and verdicts, each as a table.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::needless_pass_by_value,
    reason = "inputs and expectations are written where they are handed over"
)]
#![allow(
    clippy::needless_raw_string_hashes,
    clippy::too_many_lines,
    reason = "expectations are written by `UPDATE_EXPECT=1`"
)]

#[path = "policy/approvals.rs"]
mod approvals;
#[path = "policy/bundles.rs"]
mod bundles;
#[path = "policy/explanations.rs"]
mod explanations;
#[path = "policy/facts.rs"]
mod facts;
#[path = "policy/labels_and_trust.rs"]
mod labels_and_trust;
#[path = "policy/signals.rs"]
mod signals;
#[path = "policy/unknown_inputs.rs"]
mod unknown_inputs;
#[path = "policy/verdicts.rs"]
mod verdicts;
#[path = "policy/world.rs"]
mod world;
