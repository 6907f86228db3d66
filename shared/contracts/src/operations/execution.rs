//! `controlPlane.execution.*`

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::several::Several;
use crate::{
    canonical::Digest,
    facts::{Actor, Eligible},
    ids::{
        ActionName, BlockId, ExecutionId, IntentId, Pin, PlanId, PrincipalId, RunId, SkillKey,
        StepId, WorkspaceId,
    },
    plan::{Finding, Mode, RiskTier, Start, Status, Verdict},
    position::Positions,
    time::Timestamp,
};

use super::trace::Stage;

message! {
    /// `controlPlane.execution.start`: a verified plan begins to run. Twice is the same run.
    input StartInput {
        execution_id: ExecutionId,
        plan_id: PlanId,
    }, optional {
        /// May tighten what the intent asked for, never loosen it.
        mode: Mode,
    }

    output StartOutput {
        run_id: RunId,
        status: Status,
        started_at: Timestamp,
    }, optional {
        plan_hash: Digest,
        position: Positions,
    }

    /// `controlPlane.execution.approve`: one vote for a blocked step.
    input ApproveInput {
        execution_id: ExecutionId,
        step_id: StepId,
        /// Anyone but the caller needs the grant `act-as`.
        approved_by: PrincipalId,
    }, optional {
        note: String,
        /// The plan the voter saw; required where the risk tier is `high`.
        plan_hash: Digest,
        /// The inputs the voter saw.
        inputs_digest: Digest,
        /// The block the vote is for; the open one where it is absent.
        block_id: BlockId,
    }

    output ApproveOutput {
        execution_id: ExecutionId,
        step_id: StepId,
        status: Status,
        approved_at: Timestamp,
    }, optional {
        block_id: BlockId,
        plan_hash: Digest,
        position: Positions,
    }

    /// `controlPlane.execution.reject`: one vote against a blocked step, which ends the run.
    input RejectInput {
        execution_id: ExecutionId,
        step_id: StepId,
        /// Anyone but the caller needs the grant `act-as`.
        rejected_by: PrincipalId,
        reason: String,
    }, optional {
        plan_hash: Digest,
        inputs_digest: Digest,
        /// The block the vote is for; the open one where it is absent.
        block_id: BlockId,
    }

    output RejectOutput {
        execution_id: ExecutionId,
        step_id: StepId,
        status: Status,
        rejected_at: Timestamp,
    }, optional {
        block_id: BlockId,
        plan_hash: Digest,
        position: Positions,
    }

    /// `controlPlane.execution.cancel`: starts nothing more; what is in flight still ends.
    input CancelInput {
        execution_id: ExecutionId,
        /// Anyone but the caller needs the grant `act-as`.
        cancelled_by: PrincipalId,
    }, optional {
        reason: String,
    }

    output CancelOutput {
        execution_id: ExecutionId,
        status: Status,
        cancelled_at: Timestamp,
    }, optional {
        position: Positions,
    }

    /// `controlPlane.execution.pause`: nothing new is started; what is under way ends, and votes
    /// count.
    input PauseInput {
        run_id: RunId,
        /// Anyone but the caller needs the grant `act-as`.
        paused_by: PrincipalId,
    }, optional {
        reason: String,
    }

    output PauseOutput {
        run_id: RunId,
        status: Status,
        paused_at: Timestamp,
    }, optional {
        execution_id: ExecutionId,
        position: Positions,
    }

    /// `controlPlane.execution.resume`: a paused run goes on.
    input ResumeInput {
        run_id: RunId,
        /// Anyone but the caller needs the grant `act-as`.
        resumed_by: PrincipalId,
    }, optional {
    }

    output ResumeOutput {
        run_id: RunId,
        status: Status,
        resumed_at: Timestamp,
    }, optional {
        execution_id: ExecutionId,
        position: Positions,
    }

    /// `controlPlane.execution.retry`: a failed run goes on from what it had not done, as the next
    /// run. What was completed is not done again.
    input RetryInput {
        /// The run that failed.
        run_id: RunId,
        /// Anyone but the caller needs the grant `act-as`.
        retried_by: PrincipalId,
    }, optional {
        reason: String,
    }

    output RetryOutput {
        /// The run that follows it.
        run_id: RunId,
        status: Status,
        /// What is done again.
        phase: Stage,
        retried_at: Timestamp,
    }, optional {
        execution_id: ExecutionId,
        position: Positions,
    }

    /// `controlPlane.execution.abort`: as `controlPlane.execution.cancel`, by the run.
    input AbortInput {
        run_id: RunId,
        /// Anyone but the caller needs the grant `act-as`.
        aborted_by: PrincipalId,
    }, optional {
        reason: String,
    }

    output AbortOutput {
        run_id: RunId,
        status: Status,
        aborted_at: Timestamp,
    }, optional {
        execution_id: ExecutionId,
        position: Positions,
    }

    /// `controlPlane.execution.shutdown`: as `controlPlane.execution.abort`. There is one way to
    /// end a run early: nothing new is started, and what is in flight ends.
    input ShutdownInput {
        run_id: RunId,
        /// Anyone but the caller needs the grant `act-as`.
        shutdown_by: PrincipalId,
    }, optional {
        reason: String,
    }

    output ShutdownOutput {
        run_id: RunId,
        status: Status,
        shutdown_at: Timestamp,
    }, optional {
        execution_id: ExecutionId,
        position: Positions,
    }

    /// `controlPlane.execution.get`
    input GetInput {
        execution_id: ExecutionId,
    }, optional {
        /// Answer with nothing older than this position.
        at_least: Positions,
    }

    output GetOutput {
        execution: ExecutionRecord,
    }, optional {
        position: Positions,
    }

    /// `controlPlane.execution.list`: the newest first. What is listed fits every filter that is
    /// given, and one of the values of each.
    input ListInput {
    }, optional {
        /// Must be the workspace of the credential.
        workspace_id: WorkspaceId,
        status: Status,
        limit: u32,
        /// How many to leave out; not together with `cursor`.
        offset: u32,
        /// The `nextCursor` of the answer before, with the same filters. What comes in between
        /// is neither shown twice nor moves anything out of sight, as it does with `offset`.
        cursor: String,
        /// Besides `status`: those that stand in any way that is named.
        statuses: Several<Status>,
        verdict: Several<Verdict>,
        risk_tier: Several<RiskTier>,
        /// A skill that a step of the plan uses.
        skill_key: SkillKey,
        /// Who asked for it.
        actor_id: PrincipalId,
        /// The channel that the intent named.
        channel_key: String,
        waiting_for: Several<WaitingFor>,
        /// How they are driven: `observe` for those that were judged and never run.
        mode: Several<Mode>,
        /// Words of the intent's text, in any case: 1 to 200 characters.
        text: String,
        /// Created at or after this instant.
        created_from: Timestamp,
        /// Created before this instant.
        created_to: Timestamp,
        /// Last changed at or after this instant.
        updated_from: Timestamp,
        /// Last changed before this instant.
        updated_to: Timestamp,
        /// Answer with nothing older than this position.
        at_least: Positions,
    }

    output ListOutput {
        items: Vec<ExecutionSummary>,
        /// How many there are, whatever the limit.
        total: u64,
    }, optional {
        /// For what follows; absent where nothing does.
        next_cursor: String,
        position: Positions,
    }

    /// One execution as the fold of its events.
    output ExecutionRecord {
        execution_id: ExecutionId,
        status: Status,
        created_at: Timestamp,
        updated_at: Timestamp,
    }, optional {
        intent_id: IntentId,
        plan_id: PlanId,
        run_id: RunId,
        risk_tier: RiskTier,
        requires_approval: bool,
        lane: LaneState,
        #[schemars(extend("x-pii" = true))]
        text: String,
        /// Who asked for it.
        actor: Actor,
        channel_key: String,
        start: Start,
        mode: Mode,
        deadline_at: Timestamp,
        /// The plan's deterministic hash.
        plan_hash: Digest,
        verdict: Verdict,
        policy_version: Digest,
        /// In the order of their ids.
        steps: Vec<StepSummary>,
        /// What it cannot go on without, where that is not its services' next move.
        waiting_for: Vec<WaitingFor>,
        failure: Failure,
        /// Why its plan was refused.
        findings: Vec<Finding>,
        /// How many events it is folded from.
        version: u64,
    }

    output ExecutionSummary {
        execution_id: ExecutionId,
        status: Status,
        updated_at: Timestamp,
    }, optional {
        risk_tier: RiskTier,
        lane: LaneState,
        created_at: Timestamp,
        #[schemars(extend("x-pii" = true))]
        text: String,
        actor_id: PrincipalId,
        requires_approval: bool,
        error_code: String,
        verdict: Verdict,
        channel_key: String,
        waiting_for: Vec<WaitingFor>,
        /// How it is driven; in mode `observe` it was judged, and nothing of it ran.
        mode: Mode,
    }

    /// Part of the reference contract; this control plane has no lanes and never sets it.
    output LaneState {
    }, optional {
        lane_key: String,
        lane_status: String,
        lane_phase: String,
        owner_role: String,
        evidence_bundle_count: u32,
        pending_approval_count: u32,
        recommended_next_lane: String,
    }

    output StepSummary {
        id: StepId,
        uses: Pin,
        action: ActionName,
        status: StepStatus,
        /// Attempts made, takeovers included.
        attempts: u32,
    }, optional {
        verdict: Verdict,
        tier: RiskTier,
        /// Why the verdict is what it is.
        reasons: Vec<String>,
        inputs_digest: Digest,
        /// Set while the step waits for votes.
        approval: OpenApproval,
        next_attempt_at: Timestamp,
        error_code: String,
        error_message: String,
    }

    /// What a voter has to know, and to name in the vote.
    output OpenApproval {
        block_id: BlockId,
        plan_hash: Digest,
        inputs_digest: Digest,
        /// How many different people must approve.
        quorum: u32,
        eligible: BTreeSet<Eligible>,
        /// Whether a vote must name the plan's hash.
        plan_hash_required: bool,
        votes: Vec<Vote>,
        expires_at: Timestamp,
        reason: String,
    }

    output Vote {
        by: PrincipalId,
        approved_at: Timestamp,
    }

    /// How an execution ended that did not complete.
    output Failure {
        /// Of `execution.failed`, or the cause of a refused plan.
        code: String,
    }, optional {
        message: String,
        step_id: StepId,
    }
}

/// What an execution waits for from outside its services.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum WaitingFor {
    /// An outside planner's draft.
    Draft,
    /// A start by hand.
    Start,
    /// Votes.
    Approval,
    /// That a pause is lifted.
    Resume,
    /// The time of a step's next attempt.
    Retry,
    /// That whoever accepted a step completes it.
    Completion,
    /// That the time of a step that only waits has passed.
    Time,
}

impl WaitingFor {
    pub const ALL: [Self; 7] = [
        Self::Draft,
        Self::Start,
        Self::Approval,
        Self::Resume,
        Self::Retry,
        Self::Completion,
        Self::Time,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Start => "start",
            Self::Approval => "approval",
            Self::Resume => "resume",
            Self::Retry => "retry",
            Self::Completion => "completion",
            Self::Time => "time",
        }
    }
}

/// How a step stands.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    Pending,
    /// Asked for a verdict on what is now known.
    Proposed,
    /// May start as soon as what it needs is completed.
    Permitted,
    /// Waits for votes.
    Blocked,
    Started,
    RetryWait,
    /// Accepted by its skill, to be completed later.
    Waiting,
    Completed,
    Failed,
    Skipped,
    Compensated,
}

impl StepStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Proposed => "proposed",
            Self::Permitted => "permitted",
            Self::Blocked => "blocked",
            Self::Started => "started",
            Self::RetryWait => "retry_wait",
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Compensated => "compensated",
        }
    }
}
