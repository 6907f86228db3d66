//! Written by the planner: from an intent to a plan.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    canonical::Digest,
    ids::{DraftId, ExecutionId, Pin, PlanId, SkillKey},
    plan::{Finding, Plan},
    time::Timestamp,
};

payload! {
    /// An outside planner is asked for a draft.
    DraftRequested {
        execution_id: ExecutionId,
        /// Counts from 1; at most five drafts are taken.
        attempt: u32,
        requested_at: Timestamp,
        expires_at: Timestamp,
    }

    PlanCompiled {
        execution_id: ExecutionId,
        plan_id: PlanId,
        compiled_at: Timestamp,
        step_count: u32,
        /// SHA-256 of the plan's canonical bytes.
        deterministic_hash: Digest,
        plan: Plan,
        /// The skills the plan runs, each at one content.
        pins: Vec<Pin>,
        source: PlanSource,
        compiler_version: u32,
        /// Sequence of the catalogue the plan was compiled on.
        catalogue: u64,
        #[serde(rename = "factsdigest")]
        facts_digest: Digest,
    }

    PlanRejected {
        execution_id: ExecutionId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plan_id: Option<PlanId>,
        rejected_at: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reasons: Option<Vec<String>>,
        cause: RejectionCause,
        findings: Vec<Finding>,
        /// Whether this ends the execution. Otherwise another draft is awaited.
        #[serde(rename = "final")]
        is_final: bool,
        /// Sequence of the catalogue it was decided on; absent for a draft that never came.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        catalogue: Option<u64>,
        #[serde(rename = "factsdigest", default, skip_serializing_if = "Option::is_none")]
        facts_digest: Option<Digest>,
    }
}

/// Where a plan's draft came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    tag = "kind"
)]
pub enum PlanSource {
    /// The intent held a draft.
    Intent,
    /// A playbook of an installed skill, with the intent's parameters.
    Playbook {
        skill: SkillKey,
        name: String,
        /// Of the playbook's canonical bytes.
        digest: Digest,
        params_digest: Digest,
    },
    /// An outside planner's draft.
    Draft { draft_id: DraftId },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RejectionCause {
    Compile,
    DraftTimeout,
    Policy,
}
