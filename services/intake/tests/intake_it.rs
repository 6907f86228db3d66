//! Intake behind a real TCP port: every command, and everything that a caller can do wrong.
//!
//! * [`world`]: intake on a log, with planner, verifier and executor as their deciders are
//! * [`caller`]: requests as bytes, and what came back
//! * [`gate`]: intake as a process, with an identity provider
//! * [`cases`]: intents, drafts, skills and bundles that are in order
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "intake_it/bounds.rs"]
mod bounds;
#[path = "intake_it/caller.rs"]
mod caller;
#[path = "intake_it/cases.rs"]
mod cases;
#[path = "intake_it/catalogue.rs"]
mod catalogue;
#[path = "intake_it/changing_keys.rs"]
mod changing_keys;
/// Answers are held against what is published, as those to the command are.
#[path = "../../controlplane/tests/controlplane_it/conforming.rs"]
#[allow(dead_code, reason = "events are held against it there")]
mod conforming;
#[path = "intake_it/credentials.rs"]
mod credentials;
#[path = "intake_it/doors.rs"]
mod doors;
#[path = "intake_it/events.rs"]
mod events;
#[path = "intake_it/executions.rs"]
mod executions;
#[path = "intake_it/failures.rs"]
mod failures;
#[path = "intake_it/gate.rs"]
mod gate;
#[path = "intake_it/hostile.rs"]
mod hostile;
#[path = "intake_it/inbox.rs"]
mod inbox;
#[path = "intake_it/intents.rs"]
mod intents;
#[path = "intake_it/odd.rs"]
mod odd;
#[path = "intake_it/plans.rs"]
mod plans;
#[path = "intake_it/process.rs"]
mod process;
#[path = "intake_it/providers.rs"]
mod providers;
#[path = "../../../shared/contracts/tests/contracts/reference/fixture.rs"]
#[allow(dead_code, reason = "answers are all that is held against it here")]
mod reference;
#[path = "intake_it/refused_tokens.rs"]
mod refused_tokens;
#[path = "intake_it/tls.rs"]
mod tls;
#[path = "intake_it/tokens.rs"]
mod tokens;
#[path = "intake_it/world.rs"]
mod world;
