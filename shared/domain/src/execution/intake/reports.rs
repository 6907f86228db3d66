//! What is reported from outside of a step that is completed later.

use contracts::{
    canonical::Digest,
    events::intake::{ReportedOutcome, StepReported},
    facts::Actor,
    ids::StepId,
    time::Timestamp,
};
use serde_json::Value;

use super::{Decision, Rejection};
use crate::execution::{Known, RULES, Stage, Step};

/// A report, parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub step: StepId,
    /// Of the completion token: only who was given the call knows it.
    pub token_hash: Digest,
    pub by: Actor,
    pub result: Result<Value, Failed>,
}

/// The effect did not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    pub code: Option<String>,
    pub message: Option<String>,
    pub retryable: bool,
}

/// A success counts whichever attempt brings it, a failure only of the attempt that is under way.
pub fn report(known: &Known, report: &Report, now: Timestamp) -> Decision {
    let run = match &known.stage {
        Stage::Running(run) => run,
        Stage::Completed { steps, .. } => {
            return Err(after(steps.get(&report.step), known, report));
        }
        Stage::Failed { run: Some(run), .. } => {
            return Err(after(run.steps.get(&report.step), known, report));
        }
        Stage::Received
        | Stage::AwaitingDraft { .. }
        | Stage::Drafted { .. }
        | Stage::DraftRefused { .. }
        | Stage::Compiled { .. }
        | Stage::Verified(_)
        | Stage::Rejected { .. }
        | Stage::Failed { run: None, .. } => {
            return Err(Rejection::StepNotFound(report.step.clone()));
        }
    };
    let step = run
        .steps
        .get(&report.step)
        .ok_or_else(|| Rejection::StepNotFound(report.step.clone()))?;
    let attempt = attempt_of(step, report)?;
    let event = StepReported {
        execution_id: known.id,
        run_id: run.id(known.id),
        step_id: report.step.clone(),
        attempt,
        outcome: match report.result {
            Ok(_) => ReportedOutcome::Completed,
            Err(_) => ReportedOutcome::Failed,
        },
        output: report.result.as_ref().ok().cloned(),
        error: failed(report).and_then(|failed| failed.message.clone()),
        error_code: failed(report).and_then(|failed| failed.code.clone()),
        retryable: failed(report).map(|failed| failed.retryable),
        by: Some(report.by.clone()),
        reported_at: now,
        rules: RULES,
    };
    if let Some(earlier) = step.last_report() {
        return if says_the_same(earlier, &event) {
            Ok(Vec::new())
        } else {
            Err(Rejection::AlreadyReported(report.step.clone()))
        };
    }
    let counts = match report.result {
        Ok(_) => step.may_succeed(),
        Err(_) => step.in_flight() && attempt == step.attempts,
    };
    if counts {
        Ok(vec![event.into()])
    } else {
        Err(Rejection::StepNotInFlight(report.step.clone()))
    }
}

/// The same report again is the same answer, for as long as the run lasts in which it was made.
fn after(step: Option<&Step>, known: &Known, report: &Report) -> Rejection {
    match step.map(|step| attempt_of(step, report)) {
        None => Rejection::StepNotFound(report.step.clone()),
        Some(Err(rejection)) => rejection,
        Some(Ok(_)) => Rejection::Ended(known.status()),
    }
}

fn attempt_of(step: &Step, report: &Report) -> Result<u32, Rejection> {
    let mut attempts = step.tokens.iter();
    let found = attempts.find(|(_, hash)| **hash == report.token_hash);
    found
        .map(|(attempt, _)| *attempt)
        .ok_or_else(|| Rejection::TokenInvalid(report.step.clone()))
}

fn failed(report: &Report) -> Option<&Failed> {
    report.result.as_ref().err()
}

fn says_the_same(one: &StepReported, other: &StepReported) -> bool {
    one.attempt == other.attempt
        && one.outcome == other.outcome
        && one.output == other.output
        && one.error == other.error
        && one.error_code == other.error_code
        && one.retryable == other.retryable
}
