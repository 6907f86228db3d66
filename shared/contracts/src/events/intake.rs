//! Written by intake: what came from outside.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    bundle::Bundle,
    canonical::Digest,
    facts::Actor,
    ids::{
        BlockId, DraftId, ExecutionId, InstallationId, IntentId, PlanId, RunId, SkillKey,
        SkillVersion, StepId,
    },
    manifest::SkillManifest,
    plan::{Mode, Start},
    time::Timestamp,
};

payload! {
    /// An intent was accepted: the first event of every execution.
    IntentReceived {
        execution_id: ExecutionId,
        intent_id: IntentId,
        received_at: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        actor_id: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel_key: Option<String>,
        actor: Actor,
        #[schemars(extend("x-pii" = true))]
        text: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Option<Map<String, Value>>,
        /// A plan draft that came with the intent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        draft: Option<Value>,
        /// Of the request, so that another body under one idempotency key is told apart.
        request_digest: Digest,
        start: Start,
        mode: Mode,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline_at: Option<Timestamp>,
    }

    /// An outside planner offered a draft.
    PlanDrafted {
        execution_id: ExecutionId,
        draft_id: DraftId,
        draft: Value,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        planner_model: Option<String>,
        by: Actor,
        drafted_at: Timestamp,
    }

    /// The plan is to be judged again, before it starts.
    PlanVerificationRequested {
        execution_id: ExecutionId,
        plan_id: PlanId,
        by: Actor,
        requested_at: Timestamp,
    }

    /// A run is started by hand.
    ExecutionStartRequested {
        execution_id: ExecutionId,
        plan_id: PlanId,
        mode: Mode,
        by: Actor,
        requested_at: Timestamp,
    }

    /// One vote for a blocked step.
    ExecutionApproved {
        execution_id: ExecutionId,
        run_id: RunId,
        step_id: StepId,
        block_id: BlockId,
        by: Actor,
        /// As the voter sent it, never filled in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plan_hash: Option<Digest>,
        /// As the voter sent it, never filled in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inputs_digest: Option<Digest>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        approved_at: Timestamp,
    }

    /// One vote against a blocked step: it ends the run.
    ExecutionRejected {
        execution_id: ExecutionId,
        run_id: RunId,
        step_id: StepId,
        block_id: BlockId,
        by: Actor,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plan_hash: Option<Digest>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inputs_digest: Option<Digest>,
        reason: String,
        rejected_at: Timestamp,
    }

    /// A step that was accepted for later was completed from outside.
    StepReported {
        execution_id: ExecutionId,
        run_id: RunId,
        step_id: StepId,
        attempt: u32,
        outcome: ReportedOutcome,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<Value>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// Stable, where the effect did not happen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error_code: Option<String>,
        /// Whether the same may succeed later.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retryable: Option<bool>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Actor>,
        reported_at: Timestamp,
    }

    CancelRequested {
        execution_id: ExecutionId,
        by: Actor,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        requested_at: Timestamp,
    }

    Paused {
        execution_id: ExecutionId,
        run_id: RunId,
        by: Actor,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        paused_at: Timestamp,
    }

    Resumed {
        execution_id: ExecutionId,
        run_id: RunId,
        by: Actor,
        resumed_at: Timestamp,
    }

    /// A failed run goes on from its failed step.
    RetryRequested {
        execution_id: ExecutionId,
        run_id: RunId,
        by: Actor,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<StepId>,
        requested_at: Timestamp,
    }

    SkillInstallRequested {
        installation_id: InstallationId,
        skill_key: SkillKey,
        version: SkillVersion,
        artifact_digest: String,
        manifest: SkillManifest,
        by: Actor,
        requested_at: Timestamp,
    }

    SkillDisabled {
        skill_key: SkillKey,
        /// One version; all of them where it is absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<SkillVersion>,
        by: Actor,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        disabled_at: Timestamp,
    }

    PolicyActivationRequested {
        /// SHA-256 of the bundle's canonical bytes.
        hash: Digest,
        bundle: Bundle,
        by: Actor,
        requested_at: Timestamp,
    }

    HoldPlaced {
        scope: String,
        by: Actor,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        placed_at: Timestamp,
    }

    HoldLifted {
        scope: String,
        by: Actor,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        lifted_at: Timestamp,
    }

    IncidentResolved {
        code: String,
        by: Actor,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        resolved_at: Timestamp,
    }
}

/// How a step ended that was completed from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportedOutcome {
    Completed,
    Failed,
}
