//! What the services say to each other and to their callers: identifiers, the subjects and
//! envelopes of the log, one type per event, the operations with their errors, and the registry
//! that lists them all.
//!
//! Deliberately absent: decisions (in `domain`) and anything that reads or writes a socket.
//!
//! * [`ids`], [`time`]: identifiers that prove their form, instants in milliseconds
//! * [`canonical`]: RFC 8785 JSON and SHA-256, for everything that is hashed
//! * [`subject`], [`envelope`]: where an event is stored, and how it looks on the wire
//! * [`position`], [`record`]: where a reader is, events as they are read back
//! * [`event`], [`events`]: the closed set of events, one module per writer
//! * [`plan`], [`facts`], [`bundle`], [`manifest`]: documents that events carry
//! * [`operations`], [`problem`]: commands, queries, and the answers that say no
//! * [`registry`]: all of them in one table, with grants, errors, capabilities
//! * [`planted`]: mistakes that the simulation must find, in builds made for it

pub mod bundle;
pub mod canonical;
pub mod envelope;
pub mod event;
pub mod events;
pub mod facts;
pub mod ids;
pub mod manifest;
pub mod operations;
pub mod plan;
pub mod planted;
pub mod position;
pub mod problem;
pub mod record;
pub mod registry;
pub mod subject;
pub mod time;
