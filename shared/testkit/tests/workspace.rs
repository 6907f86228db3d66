//! The shape of the workspace: who may see the broker's client, and which way dependencies point.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// The crates a crate may depend on; tests may use the test kit beside them.
const MAY_DEPEND_ON: [(&str, &[&str]); 16] = [
    ("contracts", &[]),
    ("domain", &["contracts"]),
    ("policy", &["contracts", "domain", "skills"]),
    ("skills", &["contracts", "domain"]),
    ("journal", &["contracts"]),
    ("worker", &["contracts"]),
    ("testkit", &["contracts"]),
    (
        "host",
        &["contracts", "domain", "policy", "skills", "journal"],
    ),
    ("intake", SHARED),
    ("planner", SHARED),
    ("verifier", SHARED),
    ("executor", SHARED),
    ("projector", SHARED),
    ("controlplane", COMMAND),
    ("simulation", EVERYTHING),
    ("fuzz", PARSERS),
];

/// Who reads what comes from outside; nothing depends on what looks for faults in them.
const PARSERS: &[&str] = &[
    "contracts",
    "domain",
    "policy",
    "skills",
    "journal",
    "host",
    "worker",
    "intake",
    "projector",
];

/// What is simulated is everything; nothing depends on the simulation.
const EVERYTHING: &[&str] = &[
    "contracts",
    "domain",
    "policy",
    "skills",
    "journal",
    "host",
    "intake",
    "planner",
    "verifier",
    "executor",
    "projector",
    "controlplane",
];

/// `bench` has a worker of its own, as a process beside the services.
const COMMAND: &[&str] = &[
    "contracts",
    "domain",
    "policy",
    "skills",
    "journal",
    "host",
    "worker",
];

const SHARED: &[&str] = &["contracts", "domain", "policy", "skills", "journal", "host"];

/// The only crates that see the broker's client.
const SEE_THE_BROKER: [&str; 3] = ["journal", "worker", "testkit"];

/// The workspace's crates, each with what it depends on outside tests.
fn crates() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let dependencies = |package: &cargo_metadata::Package| {
        package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Normal)
            .map(|dependency| dependency.name.clone())
            .collect()
    };
    metadata
        .workspace_packages()
        .into_iter()
        .map(|package| (package.name.to_string(), dependencies(package)))
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    let crates = crates();
    let allowed: BTreeMap<&str, &[&str]> = MAY_DEPEND_ON.into_iter().collect();
    for (name, dependencies) in &crates {
        let allowed = allowed
            .get(name.as_str())
            .unwrap_or_else(|| panic!("`{name}` has no line in MAY_DEPEND_ON"));
        for dependency in dependencies
            .iter()
            .filter(|name| crates.contains_key(*name))
        {
            assert!(
                allowed.contains(&dependency.as_str()),
                "`{name}` may not depend on `{dependency}`"
            );
        }
    }
}

#[test]
fn only_the_journal_and_the_two_kits_see_the_broker() {
    for (name, dependencies) in crates() {
        let sees = dependencies.contains("async-nats");
        assert!(
            !sees || SEE_THE_BROKER.contains(&name.as_str()),
            "`{name}` may not depend on async-nats: the journal is the way to the broker"
        );
    }
}

#[test]
fn the_core_does_no_input_or_output() {
    let crates = crates();
    for name in ["contracts", "domain", "policy", "skills"] {
        for forbidden in ["tokio", "journal", "sqlx", "axum", "reqwest", "tracing"] {
            assert!(
                !crates[name].contains(forbidden),
                "`{name}` is pure and may not depend on `{forbidden}`"
            );
        }
    }
}
