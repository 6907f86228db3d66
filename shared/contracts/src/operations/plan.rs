//! `controlPlane.plan.*`

use serde_json::{Map, Value};

use crate::{
    canonical::Digest,
    ids::{ExecutionId, IntentId, PlanId},
    plan::{RiskTier, Verdict},
    position::Positions,
    time::Timestamp,
};

message! {
    /// `controlPlane.plan.compile`: with a draft, offers it to an execution that awaits one;
    /// without, waits for the plan and returns it.
    input CompileInput {
        execution_id: ExecutionId,
        intent_id: IntentId,
    }, optional {
        /// The model that wrote the draft, for the record.
        planner_model: String,
        draft: Map<String, Value>,
    }

    output CompileOutput {
        plan_id: PlanId,
        compiled_at: Timestamp,
        step_count: u32,
        /// SHA-256 of the plan's canonical bytes.
        deterministic_hash: Digest,
    }, optional {
        position: Positions,
    }

    /// `controlPlane.plan.verify`: the active policy judges the plan again, before it starts.
    input VerifyInput {
        execution_id: ExecutionId,
        plan_id: PlanId,
    }, optional {
        /// The bundle the caller expects; refused where it is not the active one.
        policy_version: String,
    }

    output VerifyOutput {
        verdict: Verdict,
        requires_approval: bool,
        verified_at: Timestamp,
    }, optional {
        blocked_reasons: Vec<String>,
        risk_tier: RiskTier,
        /// Absent where no policy is active, which blocks.
        policy_version: Digest,
        plan_hash: Digest,
        position: Positions,
    }
}
