//! The pure core: what the control plane decides, without a clock, a socket or a random source.
//!
//! Every aggregate is a fold of its events; every decision is a function of that fold, of what
//! else it was told (time, catalogue, verdicts, results) and of nothing more.
//!
//! * [`catalogue`]: what decisions read beside their aggregate: skills and the active policy
//! * [`skill`], [`policy`]: the aggregates of the catalogue
//! * [`draft`], [`binding`], [`compile`]: from an intent to a plan
//! * [`execution`]: the execution and its deciders, one module per writer
//! * [`record`], [`trace`]: what a reader is shown of a history

pub mod binding;
pub mod catalogue;
pub mod compile;
pub mod draft;
pub mod execution;
pub mod policy;
pub mod record;
pub mod schema;
pub mod skill;
pub mod trace;
