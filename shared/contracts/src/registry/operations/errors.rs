//! What several operations answer, beside what any may.

use crate::problem::Code;

pub(super) const APPROVE: &[Code] = &[
    Code::ExecutionNotFound,
    Code::StepNotFound,
    Code::ActorMismatch,
    Code::NotEligible,
    Code::RequesterCannotApprove,
    Code::NoOpenBlock,
    Code::ApprovalExpired,
    Code::PlanHashRequired,
    Code::PlanHashMismatch,
    Code::InputsDigestMismatch,
    Code::ExecutionEnded,
    Code::ExecutionCorrupt,
];

/// A rejection need not name the plan: it lets nothing run.
pub(super) const REJECT: &[Code] = &[
    Code::ExecutionNotFound,
    Code::StepNotFound,
    Code::ActorMismatch,
    Code::NotEligible,
    Code::RequesterCannotApprove,
    Code::NoOpenBlock,
    Code::ApprovalExpired,
    Code::PlanHashMismatch,
    Code::InputsDigestMismatch,
    Code::ExecutionEnded,
    Code::ExecutionCorrupt,
];

pub(super) const PAUSE: &[Code] = &[
    Code::RunNotFound,
    Code::ActorMismatch,
    Code::NotRunning,
    Code::RunEnded,
    Code::ExecutionEnded,
    Code::ExecutionCorrupt,
];

pub(super) const RESUME: &[Code] = &[
    Code::RunNotFound,
    Code::ActorMismatch,
    Code::NotRunning,
    Code::NotPaused,
    Code::RunEnded,
    Code::ExecutionEnded,
    Code::ExecutionCorrupt,
];

pub(super) const ABORT: &[Code] = &[
    Code::RunNotFound,
    Code::ActorMismatch,
    Code::RunEnded,
    Code::ExecutionEnded,
    Code::ExecutionCorrupt,
];
