//! The end of an attempt: what a worker's answer, or its silence, means.

use contracts::{
    canonical::Digest,
    event::Event,
    events::{
        executor::{EffectOutcome, StepAccepted, StepCompleted, StepFailed},
        intake::{ReportedOutcome, StepReported},
    },
    facts::facts_digest,
    ids::StepId,
    plan::{PlanStep, RetryPolicy},
    time::Timestamp,
};
use serde_json::Value;

use super::{Execution, Known, RULES, Run, Stage, Step, StepState, steps};
use crate::{catalogue::InstalledSkill, schema};

/// What an attempt brought.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Completed(Value),
    Failed(Failure),
    /// It will be reported later, within so many milliseconds.
    Accepted {
        within_ms: u64,
    },
}

/// How long a step may be completed later, where its skill does not say: a day; and at most: thirty.
pub const ACCEPTED_MS_DEFAULT: u64 = 24 * 60 * 60 * 1000;
pub const ACCEPTED_MS_MAX: u64 = 30 * ACCEPTED_MS_DEFAULT;

impl Outcome {
    /// What a skill gives as its output, if it is what its action declares.
    pub fn of_output(skill: Option<&InstalledSkill>, step: &PlanStep, output: Value) -> Self {
        let invalid = |message: String| {
            Self::Failed(Failure {
                code: "OUTPUT_INVALID".to_owned(),
                message: Some(message.chars().take(MESSAGE_CHARS_MAX).collect()),
                retryable: false,
                outcome: EffectOutcome::Unknown,
            })
        };
        let action = skill.and_then(|skill| skill.metadata.actions.get(&step.action));
        match action.map(|action| schema::faults(&action.output, &output)) {
            Some(Ok(faults)) if faults.is_empty() => Self::Completed(output),
            Some(Ok(faults)) => {
                let said: Vec<String> = faults
                    .iter()
                    .map(|fault| format!("{} {}", fault.path, fault.message))
                    .collect();
                invalid(said.join("; "))
            }
            Some(Err(error)) => invalid(error.to_string()),
            None => invalid("the action is unknown".to_owned()),
        }
    }

    /// What a report means.
    pub(super) fn of_report(
        report: &StepReported,
        skill: Option<&InstalledSkill>,
        step: &PlanStep,
    ) -> Self {
        match report.outcome {
            ReportedOutcome::Completed => {
                let output = report.output.clone().unwrap_or(Value::Null);
                Self::of_output(skill, step, output)
            }
            ReportedOutcome::Failed => Self::Failed(Failure {
                code: report
                    .error_code
                    .clone()
                    .unwrap_or_else(|| "REPORTED_FAILED".to_owned()),
                message: report.error.clone(),
                retryable: report.retryable.unwrap_or(false),
                // Who reports a failure says that it was not done.
                outcome: EffectOutcome::NotDone,
            }),
        }
    }
}

/// The longest code and message of a failure that are kept, in characters.
pub const CODE_CHARS_MAX: usize = 64;
pub const MESSAGE_CHARS_MAX: usize = 1000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Stable, the skill's own or the executor's.
    pub code: String,
    pub message: Option<String>,
    pub retryable: bool,
    pub outcome: EffectOutcome,
}

impl Failure {
    /// No answer in time: the effect may have happened.
    pub fn timed_out() -> Self {
        Self {
            code: "TIMEOUT".to_owned(),
            message: Some("no answer within the time of the step".to_owned()),
            retryable: true,
            outcome: EffectOutcome::Unknown,
        }
    }
}

/// A result that comes too late or from nowhere: counted, never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the step was never started")]
    NeverStarted,
    #[error("the step has ended before")]
    AlreadyEnded,
    #[error("a later attempt is under way, and this one failed")]
    Superseded,
}

/// The event for what attempt `number` of `step` brought. The first end that is stored for a
/// step's key counts; a success counts whichever attempt brought it, a failure only for the
/// attempt that is under way.
pub fn end(
    state: &Execution,
    step: &StepId,
    number: u32,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<Event, Refused> {
    let Execution::Known(known) = state else {
        return Err(Refused::NeverStarted);
    };
    let run = match &known.stage {
        Stage::Running(run) => run,
        Stage::Completed { .. } | Stage::Failed { .. } => return Err(Refused::AlreadyEnded),
        Stage::Received
        | Stage::AwaitingDraft { .. }
        | Stage::Drafted { .. }
        | Stage::DraftRefused { .. }
        | Stage::Compiled { .. }
        | Stage::Verified(_)
        | Stage::Rejected { .. } => return Err(Refused::NeverStarted),
    };
    let (Some(plan_step), Some(current)) =
        (run.judged.compiled.plan.step(step), run.steps.get(step))
    else {
        return Err(Refused::NeverStarted);
    };
    ended(known, run, plan_step, current, number, outcome, now)
}

/// As [`end`], of a step that is known to be there.
pub(super) fn ended(
    known: &Known,
    run: &Run,
    plan_step: &PlanStep,
    current: &Step,
    number: u32,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<Event, Refused> {
    if number == 0 || number > current.attempts {
        return Err(Refused::NeverStarted);
    }
    match (&current.state, outcome) {
        (StepState::Completed { .. } | StepState::Failed { .. } | StepState::Skipped, _) => {
            Err(Refused::AlreadyEnded)
        }
        // Where the step waits to start again, this spares it.
        (
            StepState::Started(_)
            | StepState::Accepted { .. }
            | StepState::RetryWait { .. }
            | StepState::Pending
            | StepState::Proposed { .. },
            Outcome::Completed(output),
        ) => Ok(completed(known, run, &plan_step.id, number, output, now)),
        (StepState::Started(_), Outcome::Accepted { within_ms }) => {
            if number == current.attempts {
                Ok(accepted(known, run, &plan_step.id, number, *within_ms, now))
            } else {
                Err(Refused::Superseded)
            }
        }
        // It waits already, or for another attempt.
        (
            StepState::Accepted { .. }
            | StepState::RetryWait { .. }
            | StepState::Pending
            | StepState::Proposed { .. },
            Outcome::Accepted { .. },
        ) => Err(Refused::Superseded),
        (StepState::Started(_) | StepState::Accepted { .. }, Outcome::Failed(failure)) => {
            if number == current.attempts {
                Ok(failed(known, run, plan_step, current, number, failure, now))
            } else {
                Err(Refused::Superseded)
            }
        }
        (
            StepState::RetryWait { .. } | StepState::Pending | StepState::Proposed { .. },
            Outcome::Failed(_),
        ) => Err(Refused::AlreadyEnded),
    }
}

fn completed(
    known: &Known,
    run: &Run,
    step: &StepId,
    attempt: u32,
    output: &Value,
    now: Timestamp,
) -> Event {
    StepCompleted {
        execution_id: known.id,
        run_id: run.id(known.id),
        step_id: step.clone(),
        completed_at: now,
        attempt,
        output: output.clone(),
        output_digest: facts_digest(output),
        rules: RULES,
    }
    .into()
}

fn accepted(
    known: &Known,
    run: &Run,
    step: &StepId,
    attempt: u32,
    within_ms: u64,
    now: Timestamp,
) -> Event {
    StepAccepted {
        execution_id: known.id,
        run_id: run.id(known.id),
        step_id: step.clone(),
        attempt,
        accepted_at: now,
        expires_at: now.plus_ms(within_ms.clamp(1, ACCEPTED_MS_MAX)),
        rules: RULES,
    }
    .into()
}

/// A failed attempt, tried again where it may be and tries are left.
pub(super) fn failed(
    known: &Known,
    run: &Run,
    step: &PlanStep,
    state: &Step,
    attempt: u32,
    failure: &Failure,
    now: Timestamp,
) -> Event {
    let again = failure.retryable && known.stop.is_none() && state.tries < step.retry.max_attempts;
    let next_attempt_at = again.then(|| {
        let key = steps::idempotency_key(known.id, &step.id);
        now.plus_ms(backoff_ms(&step.retry, state.tries, &key))
    });
    StepFailed {
        execution_id: known.id,
        run_id: run.id(known.id),
        step_id: step.id.clone(),
        failed_at: now,
        attempt,
        error_code: failure.code.clone(),
        error_message: failure.message.clone(),
        retryable: failure.retryable,
        outcome: failure.outcome,
        next_attempt_at,
        rules: RULES,
    }
    .into()
}

/// Doubles with every try up to the cap; the upper half is jitter, drawn from the step's key so
/// that it is the same when it is decided again.
fn backoff_ms(retry: &RetryPolicy, tries: u32, key: &Digest) -> u64 {
    let doubled = retry.backoff_ms.saturating_mul(
        1_u64
            .checked_shl(tries.saturating_sub(1))
            .unwrap_or(u64::MAX),
    );
    let full = doubled.min(retry.backoff_ms_max);
    let drawn = Digest::of_parts([key.bytes().as_slice(), &tries.to_be_bytes()]);
    let [a, b, c, d, ..] = *drawn.bytes();
    let half = full / 2;
    half + u64::from(u32::from_be_bytes([a, b, c, d])) % (full - half + 1)
}
