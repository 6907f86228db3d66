//! What the core decides, and what it never does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines,
    reason = "a test names the one event it looks for, and a table of all of them is long"
)]

mod domain {
    mod answers;
    mod approvals;
    mod catalogue;
    mod compiling;
    mod ending;
    mod findings;
    mod illegal;
    mod intake;
    mod kit;
    mod laws;
    mod planning;
    mod playbooks;
    mod reports;
    mod retrying;
    mod running;
    mod second_verdict;
    mod stopping;
    mod takeover;
    mod tracing;
    mod verification;
    mod waits;
}
