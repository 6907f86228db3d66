//! A kit for workers in Rust: it takes the calls of a skill from NATS, calls an async function for
//! each, and answers.
//!
//! A call may come again with the same idempotency key. While the first is being worked on, the
//! repeat is told so; after a success it gets the same answer from memory; after a failure it is
//! acted on again, because nothing was done.
//!
//! Deliberately absent: a memory that outlives the process. A worker whose effects are not
//! idempotent in themselves keeps the key beside its effect, in its own store.
//!
//! * [`wire`]: what a call and its answer look like
//! * [`serve`]: the loop
//! * [`answers`]: the bounded memory of answers

mod answers;
mod serve;
pub mod wire;

pub use serve::{ConnectError, Limits, ServeError, Worker};
pub use wire::{Call, Failure};
