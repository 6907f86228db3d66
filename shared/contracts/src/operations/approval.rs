//! `controlPlane.approval.*`

use super::execution::OpenApproval;
use crate::{
    ids::{ExecutionId, PrincipalId, StepId},
    plan::RiskTier,
    position::Positions,
    time::Timestamp,
};

message! {
    /// `controlPlane.approval.list`: the steps that wait for votes, and that the caller may vote
    /// on; those that expire first come first. Not in the reference contract.
    input ListInput {
    }, optional {
        /// Also what waits for the votes of others.
        all: bool,
        execution_id: ExecutionId,
        limit: u32,
        /// The `nextCursor` of the answer before, with the same filters.
        cursor: String,
        /// Answer with nothing older than this position.
        at_least: Positions,
    }

    output ListOutput {
        items: Vec<ApprovalSummary>,
        /// How many there are, whatever the limit.
        total: u64,
    }, optional {
        /// For what follows; absent where nothing does.
        next_cursor: String,
        position: Positions,
    }

    /// One step that waits for votes.
    output ApprovalSummary {
        execution_id: ExecutionId,
        step_id: StepId,
        risk_tier: RiskTier,
        opened_at: Timestamp,
        approval: OpenApproval,
        /// Whether a vote of the caller would count now.
        may_vote: bool,
    }, optional {
        /// Who asked for the execution, and has no vote on it.
        actor_id: PrincipalId,
        #[schemars(extend("x-pii" = true))]
        text: String,
    }
}
