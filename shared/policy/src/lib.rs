//! What policy says of a plan and of each of its steps: the facts it sees, the Cedar bundle it
//! decides by, the verdict, and why.
//!
//! Pure: the same facts and the same bundle give the same bytes on any machine. Deliberately
//! absent: a clock, the catalogue's fold (in `domain`), and any other source of facts than those
//! that are recorded in the event.
//!
//! * [`facts`], [`signals`]: what a policy sees, taken from a plan and its texts
//! * [`engine`]: a bundle, checked and ready to be asked
//! * [`fault`]: what can be wrong with a bundle
//! * [`annotations`]: what policies say of risk, approval and reason
//! * [`judge`]: verdicts on plans and steps
//! * [`approval`], [`tier`]: who must agree, and how risky it is
//! * [`mod@explain`]: why a verdict came out as it did
//! * [`shipped`]: the default bundle and the schema

pub mod annotations;
pub mod approval;
mod dependence;
pub mod engine;
pub mod explain;
pub mod facts;
pub mod fault;
mod flow;
pub mod judge;
mod load;
mod nesting;
mod request;
pub mod shipped;
pub mod signals;
mod slices;
pub mod tier;
mod trust;

/// Recorded in each verdict. Raised when the same facts and bundle come out differently.
pub const ENGINE_VERSION: &str = "policy-2+cedar-4.14.1";
