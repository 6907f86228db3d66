//! What callers may ask of an execution: allowed, the same answer again, or a coded refusal.
//!
//! * `control`: pausing a run, letting it go on, trying it again
//! * `drafts`: offering a draft, and asking for the plan
//! * `reports`: what became of a step that is completed later
//! * `votes`: approving and rejecting a blocked step

use contracts::{
    canonical::Digest,
    event::Event,
    events::{
        executor::FailureCode,
        intake::{
            CancelRequested, ExecutionStartRequested, IntentReceived, PlanVerificationRequested,
        },
    },
    facts::Actor,
    ids::{BlockId, ExecutionId, IntentId, PlanId, PrincipalId, RunId, StepId, WorkspaceId},
    plan::{Finding, Mode, Start, Status, Verdict},
    time::Timestamp,
};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Execution, Known, RULES, Stage};

mod control;
mod drafts;
mod reports;
mod votes;

pub use control::{cancel_run, pause, resume, retry};
pub use drafts::{Asked, draft_id, offer_draft, plan, planner_goes_on};
pub use reports::{Failed, Report, report};
pub use votes::{Ballot, approve, reject};

/// Why a request is not carried out. An answer, never a reason to try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("there is no execution `{0}`")]
    ExecutionNotFound(ExecutionId),
    #[error("the execution has no intent `{0}`")]
    IntentNotFound(IntentId),
    #[error("the history of this execution does not hold together; see its incidents")]
    Corrupt,
    #[error("the execution has no plan `{0}`")]
    PlanNotFound(PlanId),
    #[error("the plan has no step `{0}`")]
    StepNotFound(StepId),
    #[error("the idempotency key was used before with another request")]
    IdempotencyConflict,
    #[error("the execution is {0}: nothing more can be asked of it")]
    Ended(Status),
    #[error("no draft is awaited: the execution is {0}")]
    NotAwaitingDraft(Status),
    #[error("there is no plan before a `draft` is sent; an outside planner was asked for one")]
    DraftRequired,
    #[error("no outside planner offered a draft in time; submit the intent again")]
    DraftTimedOut,
    #[error("the draft does not compile; the findings say why")]
    PlanRejected(Vec<Finding>),
    #[error("the draft asks for what is not supported yet; the findings name it")]
    NotSupportedYet(Vec<Finding>),
    #[error("step `{0}` is not waiting for a vote")]
    NoOpenBlock(StepId),
    #[error("block `{0}` of this step is not the open one; look at the step again")]
    BlockSuperseded(BlockId),
    #[error("the time to vote ended at {0}")]
    ApprovalExpired(Timestamp),
    #[error("who asked for it cannot vote on it; another person has to")]
    RequesterCannotVote,
    #[error("`{0}` may not vote on this step")]
    NotEligible(PrincipalId),
    #[error("this step is high risk: send the `planHash` that you looked at")]
    PlanHashRequired,
    #[error("the plan is not the one that you looked at")]
    PlanHashMismatch,
    #[error("the inputs of the step are not the ones that you looked at")]
    InputsDigestMismatch,
    #[error("the plan has no verdict that allows a start: the execution is {0}")]
    NotVerified(Status),
    #[error("the run was started before, in mode `{0}`")]
    AlreadyStarted(Mode),
    #[error("mode `{0}` would loosen what the intent asked for")]
    ModeNotPermitted(Mode),
    #[error("there is no run `{0}`")]
    RunNotFound(RunId),
    #[error("run `{0}` has ended")]
    RunEnded(RunId),
    #[error("the next run has not begun yet: the execution is {0}")]
    NotRunning(Status),
    #[error("run `{0}` is not paused")]
    NotPaused(RunId),
    #[error("only a run that failed is tried again: the execution is {0}")]
    NotFailed(Status),
    #[error("the run ended with `{}`: to try it again would go round that decision", .0.as_str())]
    RetryNotPermitted(FailureCode),
    #[error("the token is of no attempt of step `{0}`")]
    TokenInvalid(StepId),
    #[error("step `{0}` is not under way, or by a later attempt")]
    StepNotInFlight(StepId),
    #[error("something else was reported of step `{0}`")]
    AlreadyReported(StepId),
}

impl Rejection {
    /// Stable, as it stands in answers.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ExecutionNotFound(_) => "EXECUTION_NOT_FOUND",
            Self::IntentNotFound(_) => "INTENT_NOT_FOUND",
            Self::Corrupt => "EXECUTION_CORRUPT",
            Self::PlanNotFound(_) => "PLAN_NOT_FOUND",
            Self::StepNotFound(_) => "STEP_NOT_FOUND",
            Self::IdempotencyConflict => "IDEMPOTENCY_CONFLICT",
            Self::Ended(_) => "EXECUTION_ENDED",
            Self::NotAwaitingDraft(_) => "NOT_AWAITING_DRAFT",
            Self::DraftRequired => "DRAFT_REQUIRED",
            Self::DraftTimedOut | Self::PlanRejected(_) => "PLAN_REJECTED",
            Self::NotSupportedYet(_) => "NOT_SUPPORTED_YET",
            Self::NoOpenBlock(_) | Self::BlockSuperseded(_) => "NO_OPEN_BLOCK",
            Self::ApprovalExpired(_) => "APPROVAL_EXPIRED",
            Self::RequesterCannotVote => "REQUESTER_CANNOT_APPROVE",
            Self::NotEligible(_) => "NOT_ELIGIBLE",
            Self::PlanHashRequired => "PLAN_HASH_REQUIRED",
            Self::PlanHashMismatch => "PLAN_HASH_MISMATCH",
            Self::InputsDigestMismatch => "INPUTS_DIGEST_MISMATCH",
            Self::NotVerified(_) => "NOT_VERIFIED",
            Self::AlreadyStarted(_) => "ALREADY_STARTED",
            Self::ModeNotPermitted(_) => "MODE_NOT_PERMITTED",
            Self::RunNotFound(_) => "RUN_NOT_FOUND",
            Self::RunEnded(_) => "RUN_ENDED",
            Self::NotRunning(_) => "NOT_RUNNING",
            Self::NotPaused(_) => "NOT_PAUSED",
            Self::NotFailed(_) => "NOT_FAILED",
            Self::RetryNotPermitted(_) => "RETRY_NOT_PERMITTED",
            Self::TokenInvalid(_) => "TOKEN_INVALID",
            Self::StepNotInFlight(_) => "STEP_NOT_IN_FLIGHT",
            Self::AlreadyReported(_) => "ALREADY_REPORTED",
        }
    }

    /// What was wrong with the draft, where that is the reason.
    pub fn findings(&self) -> &[Finding] {
        if let Self::PlanRejected(findings) | Self::NotSupportedYet(findings) = self {
            findings
        } else {
            &[]
        }
    }
}

/// Events to append; none where the same was asked and done before.
pub type Decision = Result<Vec<Event>, Rejection>;

/// An intent as it was submitted, parsed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Submission {
    pub actor: Actor,
    pub channel_key: Option<String>,
    pub text: String,
    pub metadata: Option<Map<String, Value>>,
    pub draft: Option<Value>,
    pub start: Start,
    pub mode: Mode,
    pub deadline_at: Option<Timestamp>,
}

impl Submission {
    /// What tells another request under the same key apart: everything but the actor's grants,
    /// which may have changed since.
    pub fn digest(&self) -> Digest {
        let content = serde_json::json!({
            "actor": self.actor.id,
            "channelKey": self.channel_key,
            "text": self.text,
            "metadata": self.metadata,
            "draft": self.draft,
            "start": self.start,
            "mode": self.mode,
            "deadlineAt": self.deadline_at,
        });
        contracts::facts::facts_digest(&content)
    }
}

/// The door that an idempotency key came through: the same key means the same only within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Http,
    CloudEvents,
}

/// The execution of a keyed submission: the same for every repetition.
pub fn keyed_id(workspace: &WorkspaceId, door: Door, sender: &str, key: &str) -> ExecutionId {
    /// Ours, drawn once.
    const NAMESPACE: Uuid = Uuid::from_u128(0x1d0e_53a7_90c4_4a4e_8a55_0b1c_5e0f_7d21);
    let door = match door {
        Door::Http => "http",
        Door::CloudEvents => "ce",
    };
    let mut name = Vec::new();
    for part in [workspace.as_str(), door, sender, key] {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part.as_bytes());
    }
    ExecutionId::of(Uuid::new_v5(&NAMESPACE, &name))
}

/// The intent of an execution: one each, so its id follows.
pub fn intent_id(execution: ExecutionId) -> IntentId {
    IntentId::of(Uuid::new_v5(&execution.uuid(), b"intent"))
}

pub fn submit(
    state: &Execution,
    id: ExecutionId,
    submission: &Submission,
    now: Timestamp,
) -> Decision {
    let digest = submission.digest();
    match state {
        Execution::NeverReceived => Ok(vec![
            IntentReceived {
                execution_id: id,
                intent_id: intent_id(id),
                received_at: now,
                actor_id: Some(submission.actor.id.to_string()),
                channel_key: submission.channel_key.clone(),
                actor: submission.actor.clone(),
                text: submission.text.clone(),
                metadata: submission.metadata.clone(),
                draft: submission.draft.clone(),
                request_digest: digest,
                start: submission.start,
                mode: submission.mode,
                deadline_at: submission.deadline_at,
                rules: RULES,
            }
            .into(),
        ]),
        // The same request again: the same execution.
        Execution::Known(known) if known.intent.request_digest == digest => Ok(Vec::new()),
        Execution::Known(_) => Err(Rejection::IdempotencyConflict),
        Execution::Corrupt(_) => Err(Rejection::Corrupt),
    }
}

/// The state of an execution that exists.
pub fn existing(state: &Execution, id: ExecutionId) -> Result<&Known, Rejection> {
    match state {
        Execution::NeverReceived => Err(Rejection::ExecutionNotFound(id)),
        Execution::Known(known) => Ok(known),
        Execution::Corrupt(_) => Err(Rejection::Corrupt),
    }
}

/// The state of the execution that came of this intent.
pub fn of_intent(
    state: &Execution,
    id: ExecutionId,
    intent: IntentId,
) -> Result<&Known, Rejection> {
    match existing(state, id) {
        Ok(known) if known.intent.intent_id == intent => Ok(known),
        Ok(_) | Err(Rejection::ExecutionNotFound(_)) => Err(Rejection::IntentNotFound(intent)),
        Err(rejection) => Err(rejection),
    }
}

/// The state of the execution that a run is of: one that is not there has no run either.
pub fn of_run(state: &Execution, run: RunId) -> Result<&Known, Rejection> {
    match existing(state, run.execution) {
        Err(Rejection::ExecutionNotFound(_)) => Err(Rejection::RunNotFound(run)),
        found => found,
    }
}

fn open(known: &Known) -> Result<(), Rejection> {
    if known.is_ended() || known.stop.is_some() {
        Err(Rejection::Ended(known.status()))
    } else {
        Ok(())
    }
}

/// Judge the plan again. Nothing to append while a verdict is awaited anyway.
pub fn verify(known: &Known, plan: PlanId, by: &Actor, now: Timestamp) -> Decision {
    open(known)?;
    let compiled = known.compiled().ok_or(Rejection::PlanNotFound(plan))?;
    if compiled.plan_id != plan {
        return Err(Rejection::PlanNotFound(plan));
    }
    match &known.stage {
        Stage::Compiled { .. } => Ok(Vec::new()),
        Stage::Verified(verified) => match verified.start {
            Some(mode) => Err(Rejection::AlreadyStarted(mode)),
            None => Ok(vec![
                PlanVerificationRequested {
                    execution_id: known.id,
                    plan_id: plan,
                    by: by.clone(),
                    requested_at: now,
                    rules: RULES,
                }
                .into(),
            ]),
        },
        Stage::Running(run) => Err(Rejection::AlreadyStarted(run.mode)),
        Stage::Received
        | Stage::AwaitingDraft { .. }
        | Stage::Drafted { .. }
        | Stage::DraftRefused { .. }
        | Stage::Rejected { .. }
        | Stage::Completed { .. }
        | Stage::Failed { .. } => Err(Rejection::PlanNotFound(plan)),
    }
}

/// Start by hand. A mode may tighten what the intent asked for, never loosen it; starting twice is
/// the same run.
pub fn start(
    known: &Known,
    plan: PlanId,
    mode: Option<Mode>,
    by: &Actor,
    now: Timestamp,
) -> Decision {
    let asked = mode.unwrap_or(known.intent.mode);
    if asked < known.intent.mode {
        return Err(Rejection::ModeNotPermitted(asked));
    }
    let has_plan = known
        .compiled()
        .is_some_and(|compiled| compiled.plan_id == plan);
    if !has_plan {
        open(known)?;
        return Err(Rejection::PlanNotFound(plan));
    }
    let same_run = |started: Mode| {
        if started == asked {
            Ok(Vec::new())
        } else {
            Err(Rejection::AlreadyStarted(started))
        }
    };
    match &known.stage {
        // Also for whoever asks again after the end of it.
        Stage::Running(run) | Stage::Failed { run: Some(run), .. } => same_run(run.mode),
        Stage::Completed { mode, .. } => same_run(*mode),
        Stage::Verified(_) if known.stop.is_some() => Err(Rejection::Ended(known.status())),
        Stage::Verified(verified) => match verified.start {
            Some(started) => same_run(started),
            None if verified.judged.verdict.verdict == Verdict::Blocked => {
                Err(Rejection::NotVerified(known.status()))
            }
            None if let Some(mode) = verified.mode(&known.intent) => same_run(mode),
            None => Ok(vec![
                ExecutionStartRequested {
                    execution_id: known.id,
                    plan_id: plan,
                    mode: asked,
                    by: by.clone(),
                    requested_at: now,
                    rules: RULES,
                }
                .into(),
            ]),
        },
        Stage::Failed { run: None, .. } | Stage::Rejected { .. } => {
            Err(Rejection::Ended(known.status()))
        }
        Stage::Compiled { .. }
        | Stage::Received
        | Stage::AwaitingDraft { .. }
        | Stage::Drafted { .. }
        | Stage::DraftRefused { .. } => {
            open(known)?;
            Err(Rejection::NotVerified(known.status()))
        }
    }
}

pub fn cancel(known: &Known, by: &Actor, reason: Option<&str>, now: Timestamp) -> Decision {
    if known.ends_by(FailureCode::Cancelled).is_some() {
        return Ok(Vec::new());
    }
    // What stops for another reason may be tried again after it: that is no cancellation.
    open(known)?;
    Ok(vec![
        CancelRequested {
            execution_id: known.id,
            by: by.clone(),
            reason: reason.map(str::to_owned),
            requested_at: now,
            rules: RULES,
        }
        .into(),
    ])
}
