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

/// What must hold of one parser, whatever the bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Of its folder in `corpus`, too.
    pub name: &'static str,
    pub holds: fn(&[u8]),
    /// How many mutated inputs the tests try: fewer where one takes long, so that no target takes
    /// more than about a second.
    pub mutations: usize,
}

const fn target(name: &'static str, holds: fn(&[u8]), mutations: usize) -> Target {
    Target {
        name,
        holds,
        mutations,
    }
}

pub const TARGETS: [Target; 17] = [
    target("cloud_event", cloud_event::holds, 5000),
    target("cursor", cursor::holds, 1000),
    target("draft", draft::holds, 1500),
    target("input", input::holds, 1500),
    target("json", json::holds, 2000),
    target("key", key::holds, 5000),
    target("key_set", key_set::holds, 5000),
    target("manifest", manifest::holds, 1000),
    target("name", name::holds, 700),
    target("policy", policy::holds, 20),
    target("principals", principals::holds, 5000),
    target("providers", providers::holds, 500),
    target("record", record::holds, 4000),
    target("reply", reply::holds, 4000),
    target("subject", subject::holds, 4000),
    target("timer", timer::holds, 4000),
    target("token", token::holds, 5000),
];
