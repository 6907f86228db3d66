//! A seeded world: the real services, two processes of each, on the log in memory, in one thread
//! and in virtual time; with people who ask, workers who fail, and everything that can go wrong on
//! the way. What must hold is checked after every event, and at the end everything must have
//! ended, replay must agree, and the read model must say what the log says.
//!
//! Deliberately absent: any model of the services. What runs here is what runs in production, with
//! another clock, another chance, and another implementation of `Journal`.
//!
//! * [`script`], [`draw`], [`chance`]: a history before it happens, from a seed or from a file
//! * [`world`], [`processes`], [`people`], [`workers`], [`shop`]: who takes part
//! * [`wire`], [`sea`]: what happens to messages, to processes and to time
//! * [`audit`], [`read_model`]: what must hold
//! * [`run`], [`shrink`], [`coverage`], [`transcript`]: many worlds, and what is told of them

pub mod audit;
pub mod chance;
pub mod coverage;
pub mod draw;
pub mod people;
#[cfg(feature = "planted-bugs")]
pub mod planted;
pub mod processes;
pub mod read_model;
pub mod run;
pub mod script;
pub mod sea;
pub mod shop;
pub mod shrink;
pub mod transcript;
pub mod wire;
pub mod workers;
pub mod world;
