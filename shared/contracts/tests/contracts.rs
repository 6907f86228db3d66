//! What the contracts crate promises: exact fields, stable bytes, strict parsing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod contracts {
    mod asyncapi;
    mod canonical;
    mod envelope;
    mod hashes;
    mod ids;
    mod instants;
    mod positions;
    mod reference;
    mod registry;
    mod routing;
    mod sample_documents;
    mod sample_payloads;
    mod samples;
    mod schemas;
    mod subjects;

    /// A failure is printed with its input; no file is kept beside the tests.
    fn properties() -> proptest::test_runner::Config {
        proptest::test_runner::Config {
            failure_persistence: None,
            ..proptest::test_runner::Config::default()
        }
    }
}
