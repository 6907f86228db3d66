//! Written by the executor: runs, steps, and their ends.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    canonical::Digest,
    facts::ApprovalRule,
    ids::{BlockId, ExecutionId, Incarnation, Pin, PlanId, RunId, StepId},
    plan::Mode,
    time::Timestamp,
};

payload! {
    ExecutionStarted {
        execution_id: ExecutionId,
        run_id: RunId,
        plan_id: PlanId,
        mode: Mode,
        started_at: Timestamp,
    }

    /// The step needs a verdict now: its inputs have become known, or the policy is another.
    StepProposed {
        execution_id: ExecutionId,
        run_id: RunId,
        step_id: StepId,
        /// With every binding resolved, secrets as references.
        inputs: Value,
        inputs_digest: Digest,
        reason: ProposalReason,
        proposed_at: Timestamp,
        catalogue: u64,
        #[serde(rename = "factsdigest")]
        facts_digest: Digest,
    }

    /// The step waits for people.
    StepBlocked {
        execution_id: ExecutionId,
        run_id: RunId,
        step_id: StepId,
        blocked_at: Timestamp,
        reason: String,
        block_id: BlockId,
        plan_hash: Digest,
        inputs_digest: Digest,
        approval: ApprovalRule,
        expires_at: Timestamp,
        catalogue: u64,
        #[serde(rename = "factsdigest")]
        facts_digest: Digest,
    }

    /// Written ahead of the effect: nothing is dispatched before this is stored.
    StepStarted {
        execution_id: ExecutionId,
        run_id: RunId,
        step_id: StepId,
        started_at: Timestamp,
        /// Counts from 1 and on across runs.
        attempt: u32,
        /// Whether it takes over what another process left; not counted as a retry.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        takeover: bool,
        owner: Incarnation,
        idempotency_key: Digest,
        pin: Pin,
        inputs_digest: Digest,
        /// Of the completion token that the dispatched request carries.
        token_hash: Digest,
        timeout_at: Timestamp,
        catalogue: u64,
        #[serde(rename = "factsdigest")]
        facts_digest: Digest,
    }

    /// The skill will complete the step later.
    StepAccepted {
        execution_id: ExecutionId,
        run_id: RunId,
        step_id: StepId,
        attempt: u32,
        accepted_at: Timestamp,
        expires_at: Timestamp,
    }

    StepCompleted {
        execution_id: ExecutionId,
        run_id: RunId,
        step_id: StepId,
        completed_at: Timestamp,
        attempt: u32,
        output: Value,
        output_digest: Digest,
    }

    StepFailed {
        execution_id: ExecutionId,
        run_id: RunId,
        step_id: StepId,
        failed_at: Timestamp,
        attempt: u32,
        error_code: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error_message: Option<String>,
        retryable: bool,
        outcome: EffectOutcome,
        /// Set where the step is tried again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_attempt_at: Option<Timestamp>,
    }

    StepSkipped {
        execution_id: ExecutionId,
        run_id: RunId,
        step_id: StepId,
        reason: String,
        skipped_at: Timestamp,
    }

    StepCompensated {
        execution_id: ExecutionId,
        run_id: RunId,
        step_id: StepId,
        reason: String,
        compensated_at: Timestamp,
    }

    /// Nothing new is started; what is in flight is waited for.
    ExecutionStopping {
        execution_id: ExecutionId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run_id: Option<RunId>,
        code: FailureCode,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step_id: Option<StepId>,
        cause: String,
        stopping_at: Timestamp,
        /// Set where the catalogue was the reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        catalogue: Option<u64>,
        #[serde(rename = "factsdigest", default, skip_serializing_if = "Option::is_none")]
        facts_digest: Option<Digest>,
    }

    ExecutionCompleted {
        execution_id: ExecutionId,
        run_id: RunId,
        completed_at: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        outcome: Option<CompletionOutcome>,
    }

    ExecutionFailed {
        execution_id: ExecutionId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run_id: Option<RunId>,
        failed_at: Timestamp,
        error_code: FailureCode,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error_message: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<Map<String, Value>>,
        /// Of the step it failed by.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step_id: Option<StepId>,
        /// Set where the catalogue was the reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        catalogue: Option<u64>,
        #[serde(rename = "factsdigest", default, skip_serializing_if = "Option::is_none")]
        facts_digest: Option<Digest>,
    }
}

/// Why a step is judged again before it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProposalReason {
    /// Its inputs come from outputs of other steps.
    InputsKnown,
    /// Its last verdict used a bundle that is no longer the active one.
    PolicyChanged,
}

/// Whether a failed effect may have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EffectOutcome {
    NotDone,
    /// Tried again only with the same key; never compensated or skipped without a human.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CompletionOutcome {
    Succeeded,
    /// Judged only, nothing run.
    Observed,
}

/// Why a run failed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailureCode {
    Cancelled,
    ApprovalRejected,
    ApprovalExpired,
    /// By a second verdict; a first one rejects the plan.
    PolicyBlocked,
    StepFailed,
    SkillUnavailable,
    DeadlineExceeded,
}

impl FailureCode {
    /// Whether `execution.retry` may follow. Where a human or a policy decided, it would go
    /// round the decision.
    pub const fn may_retry(self) -> bool {
        match self {
            Self::StepFailed
            | Self::SkillUnavailable
            | Self::DeadlineExceeded
            | Self::ApprovalExpired => true,
            Self::Cancelled | Self::ApprovalRejected | Self::PolicyBlocked => false,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "CANCELLED",
            Self::ApprovalRejected => "APPROVAL_REJECTED",
            Self::ApprovalExpired => "APPROVAL_EXPIRED",
            Self::PolicyBlocked => "POLICY_BLOCKED",
            Self::StepFailed => "STEP_FAILED",
            Self::SkillUnavailable => "SKILL_UNAVAILABLE",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
        }
    }
}
