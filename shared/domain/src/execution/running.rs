//! The executor's decisions: what a state asks for at an instant.
//!
//! [`drive`] gives the events that are due, in an order that does not depend on where it is cut
//! off: after a prefix of them is stored, it gives the rest.

use std::collections::BTreeSet;

use contracts::{
    canonical::Digest,
    event::Event,
    events::executor::{
        CompletionOutcome, EffectOutcome, ExecutionCompleted, ExecutionFailed, ExecutionStarted,
        ExecutionStopping, FailureCode, StepFailed,
    },
    facts::facts_digest,
    ids::{EventId, Incarnation, RunId, StepId},
    plan::{Mode, Verdict},
    planted::{self, Bug},
    time::Timestamp,
};
use serde::Serialize;

use super::{
    Execution, Known, RULES, Run, Stage, Stop, Verified, nothing,
    steps::{self, Next},
};
use crate::catalogue::Catalogue;

/// How long a plan that is started by hand waits for its start: seven days.
pub const START_EXPIRES_AFTER_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// The outside of a decision: everything it depends on beside the state.
pub struct Context<'a> {
    /// Not before the last event.
    pub now: Timestamp,
    /// This process.
    pub owner: Incarnation,
    /// Wake-ups whose delivery has just been received: what another process left under one of
    /// them is taken over.
    pub fresh: &'a BTreeSet<EventId>,
    /// Whether this process is at work on an attempt of a step: one of its own that it is not at
    /// work on, because a fault came between, is left behind too.
    pub under_way: &'a dyn Fn(&StepId, u32) -> bool,
    /// Whether the timer has come that another process's attempt of a step was given
    /// ([`super::waits::left_to_others`]): its owner would have ended it by then.
    pub overdue: &'a dyn Fn(&StepId, u32) -> bool,
    pub catalogue: &'a Catalogue,
    /// The hash of the completion token for an attempt of a step.
    pub token_hash: &'a dyn Fn(&StepId, u32) -> Digest,
}

/// What a decision on the catalogue read there.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Read {
    pub policy_version: Option<Digest>,
    /// Of the step's skill; absent where no skill was looked up.
    pub skill_enabled: Option<bool>,
}

impl Read {
    pub fn digest(&self) -> Digest {
        facts_digest(self)
    }
}

pub fn drive(state: &Execution, context: &Context<'_>) -> Vec<Event> {
    let Execution::Known(known) = state else {
        // Nothing was received, or nothing can follow.
        return nothing();
    };
    if known.is_ended() {
        // Only a retry follows, and it is asked for from outside.
        return nothing();
    }
    if let Some(stop) = &known.stop {
        return stopping(known, stop, context);
    }
    if let Some(deadline) = known.deadline_at
        && context.now >= deadline
        && let Some(event) = too_late(known, deadline, context)
    {
        return vec![event];
    }
    match &known.stage {
        Stage::Verified(verified) => start(known, verified, context),
        Stage::Running(run) => running(known, run, context),
        // The planner's and the verifier's turn, or an outside planner's; or it has ended.
        Stage::Received
        | Stage::AwaitingDraft { .. }
        | Stage::Drafted { .. }
        | Stage::DraftRefused { .. }
        | Stage::Compiled { .. }
        | Stage::Rejected { .. }
        | Stage::Completed { .. }
        | Stage::Failed { .. } => nothing(),
    }
}

/// Like an approval, a deadline is met by recorded times, not by when the executor woke: what was
/// reported is taken first, and a run whose last step ended in time is done.
fn too_late(known: &Known, deadline: Timestamp, context: &Context<'_>) -> Option<Event> {
    if let Stage::Running(run) = &known.stage {
        let steps = &run.judged.compiled.plan.steps;
        let end = steps
            .iter()
            .find_map(|step| steps::reported_end(known, run, step, context));
        if end.is_some() {
            return end;
        }
        if run.is_done() && run.last_end_at < deadline {
            return None;
        }
    }
    let reason = Reason::deadline("the deadline of the intent has passed");
    Some(stop(known, reason, context))
}

fn start(known: &Known, verified: &Verified, context: &Context<'_>) -> Vec<Event> {
    if verified.judged.verdict.verdict == Verdict::Blocked {
        // The verifier rejects it.
        return nothing();
    }
    let Some(mode) = verified.mode(&known.intent) else {
        if context.now >= start_deadline(verified) {
            let reason = Reason::deadline("nobody started the plan in time");
            return vec![stop(known, reason, context)];
        }
        return nothing();
    };
    let compiled = &verified.judged.compiled;
    if compiled.plan.hash().ok() != Some(compiled.deterministic_hash) {
        let reason = Reason {
            stop: Stop {
                code: FailureCode::PolicyBlocked,
                step: None,
                message: "the plan does not have the hash that was judged".to_owned(),
            },
            read: None,
        };
        return vec![stop(known, reason, context)];
    }
    let run_id = verified.run_id(known.id);
    if mode == Mode::Observe {
        return vec![completed(
            known,
            run_id,
            CompletionOutcome::Observed,
            context.now,
        )];
    }
    vec![
        ExecutionStarted {
            execution_id: known.id,
            run_id,
            plan_id: compiled.plan_id,
            mode,
            started_at: context.now,
            rules: RULES,
        }
        .into(),
    ]
}

/// Until when a manual start is waited for.
pub(super) fn start_deadline(verified: &Verified) -> Timestamp {
    verified
        .judged
        .verdict
        .verified_at
        .plus_ms(START_EXPIRES_AFTER_MS)
}

/// What the steps ask for. An end changes what the others may do, so it stands alone; what is
/// started, proposed or blocked beside each other does not.
fn running(known: &Known, run: &Run, context: &Context<'_>) -> Vec<Event> {
    if run.is_done() {
        let run_id = run.id(known.id);
        let succeeded = CompletionOutcome::Succeeded;
        return vec![completed(known, run_id, succeeded, context.now)];
    }
    let mut going_on = Vec::new();
    let mut elapsed = None;
    for step in &run.judged.compiled.plan.steps {
        match steps::next(known, run, step, context) {
            Next::Idle => {}
            // Nothing is started beside a failure: the run may stop by it.
            Next::Stop(reason) => return vec![stop(known, reason, context)],
            Next::Failed(event) => return vec![event],
            Next::Completed(event) => elapsed = elapsed.or(Some(event)),
            Next::GoesOn(event) => going_on.push(event),
        }
    }
    if going_on.is_empty() {
        going_on.extend(elapsed);
    }
    going_on
}

fn completed(known: &Known, run_id: RunId, outcome: CompletionOutcome, now: Timestamp) -> Event {
    ExecutionCompleted {
        execution_id: known.id,
        run_id,
        completed_at: now,
        outcome: Some(outcome),
        rules: RULES,
    }
    .into()
}

/// Why an execution stops, decided by the executor.
#[derive(Debug, Clone)]
pub(super) struct Reason {
    pub stop: Stop,
    /// Set where the catalogue was the reason.
    pub read: Option<Read>,
}

impl Reason {
    pub fn of_step(code: FailureCode, step: &StepId, message: impl Into<String>) -> Self {
        Self {
            stop: Stop {
                code,
                step: Some(step.clone()),
                message: message.into(),
            },
            read: None,
        }
    }

    fn deadline(message: &str) -> Self {
        Self::plan(FailureCode::DeadlineExceeded, message)
    }

    fn plan(code: FailureCode, message: &str) -> Self {
        Self {
            stop: Stop {
                code,
                step: None,
                message: message.to_owned(),
            },
            read: None,
        }
    }
}

/// Enters Stopping; straight to the end where nothing is under way.
fn stop(known: &Known, reason: Reason, context: &Context<'_>) -> Event {
    let run = running_run(known);
    let Reason { stop, read } = reason;
    if run.is_some_and(Run::in_flight) {
        return ExecutionStopping {
            execution_id: known.id,
            run_id: run.map(|run| run.id(known.id)),
            code: stop.code,
            step_id: stop.step,
            cause: stop.message,
            stopping_at: context.now,
            catalogue: read.as_ref().map(|_| context.catalogue.sequence()),
            facts_digest: read.as_ref().map(Read::digest),
            rules: RULES,
        }
        .into();
    }
    failed(known, &stop, read.as_ref(), context)
}

fn running_run(known: &Known) -> Option<&Run> {
    match &known.stage {
        Stage::Running(run) => Some(run),
        Stage::Received
        | Stage::AwaitingDraft { .. }
        | Stage::Drafted { .. }
        | Stage::DraftRefused { .. }
        | Stage::Compiled { .. }
        | Stage::Verified(_)
        | Stage::Rejected { .. }
        | Stage::Completed { .. }
        | Stage::Failed { .. } => None,
    }
}

fn failed(known: &Known, stop: &Stop, read: Option<&Read>, context: &Context<'_>) -> Event {
    ExecutionFailed {
        execution_id: known.id,
        run_id: running_run(known).map(|run| run.id(known.id)),
        failed_at: context.now,
        error_code: stop.code,
        error_message: Some(stop.message.clone()),
        problem: None,
        step_id: stop.step.clone(),
        catalogue: read.map(|_| context.catalogue.sequence()),
        facts_digest: read.map(Read::digest),
        rules: RULES,
    }
    .into()
}

/// Starts nothing new; ends what needs no answer from outside; then the one end of the run.
fn stopping(known: &Known, stop: &Stop, context: &Context<'_>) -> Vec<Event> {
    let Some(run) = running_run(known) else {
        return vec![failed(known, stop, None, context)];
    };
    if planted::is(Bug::SiblingStarts) {
        // What is ready has nothing to do with what failed.
        let mut siblings = run.judged.compiled.plan.steps.iter();
        let ready = siblings.find_map(|step| {
            let Next::GoesOn(event) = steps::next(known, run, step, context) else {
                return None;
            };
            matches!(&event, Event::StepStarted(it) if !it.takeover).then_some(event)
        });
        if let Some(event) = ready {
            return vec![event];
        }
    }
    let ended: Vec<Event> = run
        .judged
        .compiled
        .plan
        .steps
        .iter()
        .filter_map(|step| steps::stopped(known, run, step, stop, context))
        .collect();
    if !ended.is_empty() {
        return ended;
    }
    if run.in_flight() {
        // Their ends are waited for: each attempt has a time-out.
        return nothing();
    }
    vec![failed(known, stop, None, context)]
}

/// The end of an attempt that is not tried again because the run stops.
pub(super) fn abandoned(
    known: &Known,
    run: &Run,
    step: &StepId,
    attempt: u32,
    code: &str,
    outcome: EffectOutcome,
    now: Timestamp,
) -> Event {
    StepFailed {
        execution_id: known.id,
        run_id: run.id(known.id),
        step_id: step.clone(),
        failed_at: now,
        attempt,
        error_code: code.to_owned(),
        error_message: None,
        retryable: false,
        outcome,
        next_attempt_at: None,
        rules: RULES,
    }
    .into()
}
