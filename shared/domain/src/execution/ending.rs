//! The end of an attempt: what a worker's answer, or its silence, means.

use contracts::{
    canonical::Digest,
    event::Event,
    events::executor::{EffectOutcome, StepCompleted, StepFailed},
    facts::facts_digest,
    ids::StepId,
    plan::{PlanStep, RetryPolicy},
    time::Timestamp,
};
use serde_json::Value;

use super::{Execution, Known, RULES, Run, Stage, Step, StepState, steps};

/// What an attempt brought.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Completed(Value),
    Failed(Failure),
}

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
        ) => Ok(completed(known, run, step, number, output, now)),
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
