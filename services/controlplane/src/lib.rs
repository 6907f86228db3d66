//! The `controlplane` command: what an operator types, and a whole control plane on one machine.
//!
//! Everything but `install`, `up` and what reads the log itself goes through the HTTP API, with
//! the grants of one credential. Deliberately absent: any way round that API, and any state
//! beside the context file.
//!
//! * [`command`]: the command line, and which module answers it
//! * [`intent`], [`execution`], [`approvals`], [`vote`], [`watch`], [`tail`], [`trace`],
//!   [`policy`], [`skill`]: the operator's commands
//! * [`ask`]: any operation, as it is
//! * [`user`]: who may ask
//! * [`inbox`]: what was published and refused
//! * [`log`], [`replay`], [`export`]: the log itself, decided again or written out
//! * [`bench`]: what an execution takes here
//! * [`install`], [`up`], [`demo`]: making the streams; one machine; the demonstration
//! * [`context`], [`login`], [`api`], [`feed`]: who asks, and how
//! * [`screen`], [`failure`]: what a person or a program is told

pub mod api;
pub mod approvals;
pub mod ask;
pub mod bench;
pub mod command;
pub mod context;
pub mod demo;
pub mod execution;
pub mod export;
pub mod failure;
pub mod feed;
pub mod inbox;
pub mod install;
pub mod intent;
pub mod log;
pub mod login;
pub mod policy;
pub mod replay;
pub mod screen;
pub mod skill;
pub mod tail;
pub mod trace;
pub mod up;
pub mod user;
pub mod vote;
pub mod watch;
