//! Every parser that takes bytes from outside, each with what must hold of it whatever it is
//! given: it answers, what it accepts is valid, and what is written again reads as the same.
//!
//! One plain function per parser ([`TARGETS`]), a folder of inputs for each (`corpus/<name>`), and
//! three that call them: `tests/corpus.rs` replays the folders and bounded, seeded mutations of
//! them at each run of the tests; the same test with `--ignored` goes on for minutes; and
//! `libfuzzer/`, a workspace of its own, lets `libFuzzer` look for new ways through the code. An
//! input that broke something is added to its folder.
//!
//! * [`json`], [`input`], [`cloud_event`], [`cursor`]: what callers send
//! * [`token`], [`key_set`], [`providers`], [`principals`]: who they are
//! * [`manifest`], [`key`], [`policy`], [`draft`]: documents that are judged
//! * [`name`], [`subject`], [`record`], [`timer`], [`reply`]: what goes over the broker
//! * [`mutation`]: one input made into another

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what does not hold is told by panicking"
)]

use std::collections::BTreeSet;

pub mod cloud_event;
pub mod cursor;
pub mod draft;
pub mod input;
pub mod json;
pub mod key;
pub mod key_set;
pub mod manifest;
mod message;
pub mod mutation;
pub mod name;
pub mod policy;
pub mod principals;
pub mod providers;
pub mod record;
pub mod reply;
pub mod subject;
pub mod timer;
pub mod token;

/// Which of a target's properties an input has come to: where a parser refuses, they hold of
/// nothing.
pub type Reached = BTreeSet<&'static str>;

/// What must hold of one parser, whatever the bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Of its folder in `corpus`, too.
    pub name: &'static str,
    pub holds: fn(&[u8]) -> Reached,
    /// To each of them some input of the folder comes.
    pub properties: &'static [&'static str],
    /// How many mutated inputs the tests try: fewer where one takes long, so that no target takes
    /// more than about a second.
    pub mutations: usize,
}

const fn target(
    name: &'static str,
    holds: fn(&[u8]) -> Reached,
    properties: &'static [&'static str],
    mutations: usize,
) -> Target {
    Target {
        name,
        holds,
        properties,
        mutations,
    }
}

pub const TARGETS: [Target; 17] = [
    target(
        "cloud_event",
        cloud_event::holds,
        cloud_event::PROPERTIES,
        5000,
    ),
    target("cursor", cursor::holds, cursor::PROPERTIES, 1000),
    target("draft", draft::holds, draft::PROPERTIES, 1500),
    target("input", input::holds, input::PROPERTIES, 1500),
    target("json", json::holds, json::PROPERTIES, 2000),
    target("key", key::holds, key::PROPERTIES, 5000),
    target("key_set", key_set::holds, key_set::PROPERTIES, 5000),
    target("manifest", manifest::holds, manifest::PROPERTIES, 1000),
    target("name", name::holds, name::PROPERTIES, 700),
    target("policy", policy::holds, policy::PROPERTIES, 20),
    target(
        "principals",
        principals::holds,
        principals::PROPERTIES,
        5000,
    ),
    target("providers", providers::holds, providers::PROPERTIES, 500),
    target("record", record::holds, record::PROPERTIES, 4000),
    target("reply", reply::holds, reply::PROPERTIES, 4000),
    target("subject", subject::holds, subject::PROPERTIES, 4000),
    target("timer", timer::holds, timer::PROPERTIES, 4000),
    target("token", token::holds, token::PROPERTIES, 5000),
];
