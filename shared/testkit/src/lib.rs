//! Real processes for tests: a nats-server or three, and our own services, each gone when its
//! guard is dropped or the test is killed. A failing guard panics with what the process said.
//! And what such processes are given: certificates, and tokens.
//!
//! * [`process`]: one child process, its output, its signals
//! * [`nats`]: nats-server, alone or as a cluster
//! * [`issuer`]: an identity provider, its keys and tokens
//! * [`authority`]: certificates, and who issues them
//! * [`guest`]: a broker's user, who tries what it may not
//! * [`stub`]: a broker that only announces a version
#![expect(clippy::panic, reason = "a test fails by panicking")]

pub mod authority;
pub mod guest;
pub mod issuer;
pub mod nats;
pub mod process;
pub mod stub;
