//! The fold: one event on one state. What each event may follow is written here and in the modules
//! below, and nowhere else.
//!
//! * [`planning`]: drafts, plans, and verdicts on them
//! * [`steps`]: the steps of a run, and votes on them

use std::{collections::BTreeMap, sync::Arc};

use contracts::{
    event::{Event, EventName},
    events::{
        executor::{
            CompletionOutcome, ExecutionCompleted, ExecutionFailed, ExecutionStarted,
            ExecutionStopping, FailureCode,
        },
        intake::CancelRequested,
    },
    ids::RunId,
    plan::{Mode, Verdict},
    record::Recorded,
};

use super::{
    Block, Corruption, Execution, Known, Retried, Run, Stage, Step, StepState, Stop, Verified,
};

mod planning;
mod steps;

/// Why an event is illegal in its state.
type Illegal = String;
type Fold<T = ()> = Result<T, Illegal>;

pub(super) fn first(recorded: &Recorded) -> Execution {
    let Event::IntentReceived(intent) = &recorded.event else {
        return corrupt(recorded, "an execution begins with `intent.received`");
    };
    if recorded.version() != 1 {
        return corrupt(recorded, "an execution begins at version 1");
    }
    if recorded.subject.aggregate.execution_id() != Some(intent.execution_id) {
        return corrupt(
            recorded,
            "the payload is of another execution than the subject",
        );
    }
    Execution::Known(Box::new(Known {
        workspace: recorded.subject.aggregate.workspace().clone(),
        id: intent.execution_id,
        head: recorded.head(),
        catalogue: 0,
        traceparent: recorded.attributes.traceparent.clone(),
        intent: Arc::new(intent.clone()),
        deadline_at: intent.deadline_at,
        stage: Stage::Received,
        stop: None,
    }))
}

pub(super) fn next(mut known: Box<Known>, recorded: &Recorded) -> Execution {
    let expected = known.head.version + 1;
    if recorded.version() != expected {
        return corrupt(recorded, format!("version {expected} is next"));
    }
    match apply(&mut known, recorded) {
        Ok(()) => {
            known.head = recorded.head();
            let named = recorded.event.catalogue().unwrap_or(0);
            known.catalogue = known.catalogue.max(named);
            Execution::Known(known)
        }
        Err(reason) => corrupt(recorded, reason),
    }
}

fn corrupt(recorded: &Recorded, reason: impl Into<String>) -> Execution {
    Execution::Corrupt(Corruption {
        version: recorded.version(),
        event: recorded.event.name(),
        reason: reason.into(),
    })
}

fn apply(known: &mut Known, recorded: &Recorded) -> Fold {
    if known.is_ended() && recorded.event.name() != EventName::RetryRequested {
        return Err("nothing but a retry follows the end".to_owned());
    }
    match &recorded.event {
        Event::IntentReceived(_) => Err("the intent was received before".to_owned()),
        Event::DraftRequested(event) => planning::draft_requested(known, event),
        Event::PlanDrafted(event) => planning::drafted(known, event),
        Event::PlanCompiled(event) => planning::compiled(known, event),
        Event::PlanRejected(event) => planning::rejected(known, event),
        Event::PlanVerified(event) => planning::verified(known, event),
        Event::PlanVerificationRequested(event) => planning::verification_requested(known, event),
        Event::ExecutionStartRequested(event) => planning::start_requested(known, event),
        Event::ExecutionStarted(event) => started(known, event),
        Event::StepProposed(event) => steps::proposed(known, recorded.version(), event),
        Event::StepJudged(event) => steps::judged(known, event),
        Event::StepBlocked(event) => steps::blocked(known, event),
        Event::ExecutionApproved(event) => steps::approved(known, recorded, event),
        Event::ExecutionRejected(event) => steps::rejected(known, recorded, event),
        Event::StepStarted(event) => steps::started(known, recorded, event),
        Event::StepAccepted(event) => steps::accepted(known, event),
        Event::StepReported(event) => steps::reported(known, event),
        Event::StepCompleted(event) => steps::completed(known, event),
        Event::StepFailed(event) => steps::failed(known, event),
        Event::StepSkipped(event) => steps::skipped(known, event),
        // Compensation is not run by this version of the rules.
        Event::StepCompensated(_) => Err("no compensation is under way".to_owned()),
        Event::CancelRequested(event) => cancel_requested(known, event),
        Event::ExecutionStopping(event) => stopping(known, event),
        Event::Paused(event) => paused(known, event.run_id, true),
        Event::Resumed(event) => paused(known, event.run_id, false),
        Event::RetryRequested(_) => retry_requested(known, recorded),
        Event::ExecutionCompleted(event) => completed(known, event),
        Event::ExecutionFailed(event) => failed(known, event),
        Event::SkillInstallRequested(_)
        | Event::SkillDisabled(_)
        | Event::SkillInstalled(_)
        | Event::SkillRejected(_)
        | Event::PolicyActivationRequested(_)
        | Event::PolicyActivated(_)
        | Event::PolicyRefused(_)
        | Event::HoldPlaced(_)
        | Event::HoldLifted(_)
        | Event::IncidentRaised(_)
        | Event::IncidentResolved(_) => Err("it belongs to another kind of aggregate".to_owned()),
    }
}

fn misplaced<T>(known: &Known) -> Fold<T> {
    Err(format!("it does not follow `{}`", known.status()))
}

fn running(known: &mut Known, id: RunId) -> Fold<&mut Run> {
    let execution = known.id;
    let Stage::Running(run) = &mut known.stage else {
        return Err("no run is under way".to_owned());
    };
    if run.id(execution) == id {
        Ok(run)
    } else {
        Err(format!("run {} is under way", run.number))
    }
}

fn started(known: &mut Known, event: &ExecutionStarted) -> Fold {
    if known.stop.is_some() {
        return Err("nothing new starts while it stops".to_owned());
    }
    let Stage::Verified(verified) = &known.stage else {
        return misplaced(known);
    };
    if verified.judged.verdict.verdict == Verdict::Blocked {
        return Err("a blocked plan does not start".to_owned());
    }
    if event.mode == Mode::Observe || verified.mode(&known.intent) != Some(event.mode) {
        return Err("it is not started in this mode".to_owned());
    }
    if event.run_id != verified.run_id(known.id) {
        return Err(format!("run `{}` is next", verified.run_id(known.id)));
    }
    known.stage = Stage::Running(verified.run(event.mode));
    Ok(())
}

fn cancel_requested(known: &mut Known, event: &CancelRequested) -> Fold {
    if known.stop.is_some() {
        return Err("it is stopping already".to_owned());
    }
    let reason = event.reason.as_deref().unwrap_or("no reason given");
    known.stop = Some(Stop {
        code: FailureCode::Cancelled,
        step: None,
        message: format!("cancelled by `{}`: {reason}", event.by.id),
    });
    Ok(())
}

fn stopping(known: &mut Known, event: &ExecutionStopping) -> Fold {
    if known.stop.is_some() {
        return Err("it is stopping already".to_owned());
    }
    let Some(run) = event.run_id else {
        return Err("it is of no run".to_owned());
    };
    if !running(known, run)?.in_flight() {
        return Err("nothing is under way".to_owned());
    }
    decided_by_executor(event.code)?;
    known.stop = Some(Stop {
        code: event.code,
        step: event.step_id.clone(),
        message: event.cause.clone(),
    });
    Ok(())
}

/// What people decide is in the history before the executor acts on it.
fn decided_by_executor(code: FailureCode) -> Fold {
    match code {
        FailureCode::Cancelled | FailureCode::ApprovalRejected => {
            Err("nobody asked for it".to_owned())
        }
        FailureCode::ApprovalExpired
        | FailureCode::PolicyBlocked
        | FailureCode::StepFailed
        | FailureCode::SkillUnavailable
        | FailureCode::DeadlineExceeded => Ok(()),
    }
}

fn paused(known: &mut Known, id: RunId, pause: bool) -> Fold {
    if known.stop.is_some() {
        return Err("it is stopping already".to_owned());
    }
    let run = running(known, id)?;
    if run.paused == pause {
        return Err("it is so already".to_owned());
    }
    run.paused = pause;
    run.was_paused = true;
    Ok(())
}

fn retry_requested(known: &mut Known, recorded: &Recorded) -> Fold {
    let Stage::Failed {
        stop,
        run: Some(run),
        ..
    } = &known.stage
    else {
        return Err("only a run that failed is tried again".to_owned());
    };
    if !stop.code.may_retry() {
        return Err("a retry would go round a decision".to_owned());
    }
    let steps = run.steps.iter().map(|(id, step)| (id.clone(), again(step)));
    known.stage = Stage::Verified(Verified {
        judged: run.judged.clone(),
        start: Some(run.mode),
        retried: Some(Retried {
            number: run.number + 1,
            steps: steps.collect(),
        }),
    });
    // Who asks for a retry after the deadline sets it aside; otherwise the next run could only
    // fail by it again.
    known.deadline_at = known.deadline_at.filter(|at| recorded.time() < *at);
    known.stop = None;
    Ok(())
}

/// A step in the next run: completed effects stay, everything else begins anew, and attempts
/// count on.
fn again(step: &Step) -> Step {
    match step.state {
        StepState::Completed { .. } | StepState::Skipped => step.clone(),
        StepState::Pending
        | StepState::Proposed { .. }
        | StepState::Started(_)
        | StepState::Accepted { .. }
        | StepState::RetryWait { .. }
        | StepState::Failed { .. } => Step {
            state: StepState::Pending,
            tries: 0,
            report: None,
            block: step.block.clone().filter(Block::is_passed),
            ..step.clone()
        },
    }
}

fn completed(known: &mut Known, event: &ExecutionCompleted) -> Fold {
    if known.stop.is_some() {
        return misplaced(known);
    }
    let outcome = event.outcome.unwrap_or(CompletionOutcome::Succeeded);
    let (mode, judged, steps) = match (&known.stage, outcome) {
        (Stage::Verified(verified), CompletionOutcome::Observed) => {
            let observed = verified.mode(&known.intent) == Some(Mode::Observe)
                && verified.judged.verdict.verdict != Verdict::Blocked
                && event.run_id == verified.run_id(known.id);
            if !observed {
                return misplaced(known);
            }
            (Mode::Observe, verified.judged.clone(), BTreeMap::new())
        }
        (Stage::Running(run), CompletionOutcome::Succeeded) => {
            if event.run_id != run.id(known.id) {
                return Err(format!("run {} is under way", run.number));
            }
            if !run.is_done() {
                return Err("some steps are not completed".to_owned());
            }
            (run.mode, run.judged.clone(), run.steps.clone())
        }
        _ => return misplaced(known),
    };
    known.stage = Stage::Completed {
        run_id: event.run_id,
        mode,
        outcome,
        judged,
        steps,
    };
    Ok(())
}

fn failed(known: &mut Known, event: &ExecutionFailed) -> Fold {
    let (run, run_id, never_begun) = match &known.stage {
        Stage::Running(run) if run.in_flight() => {
            return Err("a step is still under way".to_owned());
        }
        Stage::Running(run) => (Some(run.clone()), Some(run.id(known.id)), None),
        // A run that was to be tried again stays the last one, and may be tried again.
        Stage::Verified(verified) => {
            let to_come = verified.retried.as_ref().map(|retried| retried.number);
            (verified.last_run(), None, to_come)
        }
        Stage::Received
        | Stage::AwaitingDraft { .. }
        | Stage::Drafted { .. }
        | Stage::DraftRefused { .. }
        | Stage::Compiled { .. } => (None, None, None),
        Stage::Rejected { .. } | Stage::Completed { .. } | Stage::Failed { .. } => {
            return misplaced(known);
        }
    };
    if event.run_id != run_id {
        return Err("it is of another run".to_owned());
    }
    let stop = match known.stop.take() {
        Some(stop) if stop.code == event.error_code => stop,
        Some(stop) => return Err(format!("it stops for `{}`", stop.code.as_str())),
        None => {
            decided_by_executor(event.error_code)?;
            Stop {
                code: event.error_code,
                step: event.step_id.clone(),
                message: event.error_message.clone().unwrap_or_default(),
            }
        }
    };
    known.stage = Stage::Failed {
        stop,
        run,
        never_begun,
        compiled: known.compiled().cloned(),
        judged: known.judged().cloned(),
    };
    Ok(())
}
