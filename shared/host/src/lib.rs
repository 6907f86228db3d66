//! What all services share: configuration, the clock, health, shutdown, and the one loop
//! (consume, fold, decide, append, acknowledge).
//!
//! The only crate that reads the clock, the environment or a random source: deciders are told.
//!
//! * [`config`], [`clock`], [`health`], [`serve`]: a process and its edges
//! * [`metrics`], [`trace`], [`telemetry`]: how it is seen from outside: numbers, spans, logs
//! * [`http`], [`principals`], [`identity`]: HTTP as intake and projector speak it, and who calls
//! * [`watched`]: files that are read again when they have changed
//! * [`catalogue`]: the fold of the catalogue, confirmed with its leader
//! * [`aggregate`], [`write`]: loading and appending one aggregate
//! * [`engine`]: the loop of planner and verifier
//! * [`wake`], [`trouble`]: what wakes an aggregate, and why a message is not done with
//! * [`judge`]: what the verifier decides, shared with replay
//! * [`micro`]: the operations over NATS
//! * [`incident`]: what cannot be processed
//! * [`failpoint`]: places where a test may kill the process

pub mod aggregate;
pub mod catalogue;
pub mod clock;
pub mod config;
pub mod engine;
pub mod failpoint;
pub mod health;
pub mod http;
pub mod identity;
pub mod incident;
pub mod judge;
pub mod metrics;
pub mod micro;
pub mod principals;
pub mod serve;
pub mod telemetry;
pub mod trace;
pub mod trouble;
pub mod wake;
pub mod watched;
pub mod write;

/// A service makes and drops many small things for each event, and what was dropped last is what is
/// made of next: it is still in the processor's cache. Measured beside the allocators that take what
/// was dropped long ago, this one saves a fifth of the CPU of every service, and of the broker beside
/// them.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
