//! The instants a state waits for. Each is armed as a timer before the wake-up that led to the
//! state is acknowledged, so that nothing parks silently.

use contracts::{
    ids::{Incarnation, StepId},
    plan::Verdict,
    time::Timestamp,
};

use super::{Execution, Known, Run, Stage, StepState, running, steps};
use crate::catalogue::{Builtin, Catalogue, EntryPoint};

/// An instant that a state waits for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wait {
    pub due: Timestamp,
    pub kind: WaitKind,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitKind {
    /// The deadline of the intent.
    Deadline,
    /// The last instant for a start by hand.
    Start,
    /// An outside planner's time.
    Draft,
    /// The next attempt of a step.
    Retry(StepId),
    /// The end of a vote.
    Approval(StepId),
    /// The end of a `core.wait`.
    Elapsed(StepId),
    /// The last instant for a completion from outside.
    Accepted(StepId),
}

impl WaitKind {
    /// One timer per kind and step: arming again replaces.
    pub fn key(&self) -> String {
        match self {
            Self::Deadline => "deadline".to_owned(),
            Self::Start => "start".to_owned(),
            Self::Draft => "draft".to_owned(),
            Self::Retry(step) => format!("retry-{step}"),
            Self::Approval(step) => format!("approval-{step}"),
            Self::Elapsed(step) => format!("elapsed-{step}"),
            Self::Accepted(step) => format!("accepted-{step}"),
        }
    }
}

/// What the planner waits for.
pub fn of_planner(state: &Execution) -> Vec<Wait> {
    match state {
        Execution::Known(known) if known.stop.is_none() => match known.stage {
            Stage::AwaitingDraft { expires_at, .. } => vec![Wait {
                due: expires_at,
                kind: WaitKind::Draft,
            }],
            Stage::Received
            | Stage::Drafted { .. }
            | Stage::DraftRefused { .. }
            | Stage::Compiled { .. }
            | Stage::Verified(_)
            | Stage::Running(_)
            | Stage::Rejected { .. }
            | Stage::Completed { .. }
            | Stage::Failed { .. } => Vec::new(),
        },
        Execution::Known(_) | Execution::NeverReceived | Execution::Corrupt(_) => Vec::new(),
    }
}

/// The deadline of the intent, armed by the planner as the first to see it, for the executor.
pub fn deadline(state: &Execution) -> Option<Wait> {
    let known = state.known().filter(|known| !known.is_ended())?;
    Some(Wait {
        due: known.deadline_at?,
        kind: WaitKind::Deadline,
    })
}

/// What the executor waits for, soonest first.
pub fn of_executor(state: &Execution, catalogue: &Catalogue) -> Vec<Wait> {
    let Execution::Known(known) = state else {
        return Vec::new();
    };
    if known.is_ended() || known.stop.is_some() {
        // What is under way ends by its own time-out, and its owner waits for it; what is another
        // process's is left to it ([`left_to_others`]).
        return Vec::new();
    }
    let mut waits: Vec<Wait> = deadline(state).into_iter().collect();
    match &known.stage {
        Stage::Verified(verified) => {
            let by_hand = verified.mode(&known.intent).is_none()
                && verified.judged.verdict.verdict != Verdict::Blocked;
            if by_hand {
                waits.push(Wait {
                    due: running::start_deadline(verified),
                    kind: WaitKind::Start,
                });
            }
        }
        Stage::Running(run) => waits.extend(of_run(known, run, catalogue)),
        Stage::Received
        | Stage::AwaitingDraft { .. }
        | Stage::Drafted { .. }
        | Stage::DraftRefused { .. }
        | Stage::Compiled { .. }
        | Stage::Rejected { .. }
        | Stage::Completed { .. }
        | Stage::Failed { .. } => {}
    }
    waits.sort();
    waits
}

fn of_run(known: &Known, run: &Run, catalogue: &Catalogue) -> Vec<Wait> {
    let mut waits = Vec::new();
    for plan_step in &run.judged.compiled.plan.steps {
        let Some(step) = run.steps.get(&plan_step.id) else {
            continue;
        };
        if let Some(block) = step.open_block() {
            waits.push(Wait {
                due: block.opened.expires_at,
                kind: WaitKind::Approval(plan_step.id.clone()),
            });
        }
        match &step.state {
            // A pause is lifted by an event, which is a wake-up of its own.
            StepState::RetryWait { at } if !run.paused => waits.push(Wait {
                due: *at,
                kind: WaitKind::Retry(plan_step.id.clone()),
            }),
            StepState::Accepted { expires_at, .. } => waits.push(Wait {
                due: *expires_at,
                kind: WaitKind::Accepted(plan_step.id.clone()),
            }),
            StepState::Started(attempt)
                if steps::entry_point(known, plan_step, catalogue)
                    == Some(&EntryPoint::Builtin(Builtin::Wait)) =>
            {
                waits.push(Wait {
                    due: steps::wait_over(run, plan_step, attempt),
                    kind: WaitKind::Elapsed(plan_step.id.clone()),
                });
            }
            StepState::Started(_)
            | StepState::RetryWait { .. }
            | StepState::Pending
            | StepState::Proposed { .. }
            | StepState::Completed { .. }
            | StepState::Failed { .. }
            | StepState::Skipped => {}
        }
    }
    waits
}

/// How much later than its time-out an attempt may be ended by another process than its owner.
///
/// He ends it himself, as late as these together: he may stand still between storing its start and
/// sending it for as long as the wake-up stays his (three quarters of `ack_wait`, 15 s as it is
/// set by default), with the whole time of the step from there on where his clock is behind; and
/// an append may fail for seven seconds while leaders change. Whoever is given his wake-up after
/// his death comes before that, and takes the attempt over instead.
const OWNER_LATE_MS: u64 = 20_000;

/// An attempt that another process is at work on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    pub step: StepId,
    pub attempt: u32,
    /// When its owner is past ending it.
    pub due: Timestamp,
    /// The whole of it from the start of the attempt, as nobody knows how much has passed.
    pub after_ms: u64,
}

impl Left {
    /// One timer per attempt.
    pub fn key(step: &StepId, attempt: u32) -> String {
        format!("left-{step}-{attempt}")
    }
}

/// What a process leaves to others when it comes to rest. Each attempt's owner holds a wake-up that
/// it names, so whoever is given that next takes it over; but some process may have acknowledged
/// it before the attempt was started, having held it too, and the broker does not say so. Then
/// nothing would come of the attempt, should its owner die: so there is a timer too.
pub fn left_to_others(state: &Execution, owner: Incarnation) -> Vec<Left> {
    let Some(run) = state.known().and_then(Known::run) else {
        return Vec::new();
    };
    let steps = run.judged.compiled.plan.steps.iter();
    steps
        .filter(|step| !steps::passes_time(step))
        .filter_map(|step| {
            let attempt = run.steps.get(&step.id)?.attempt()?;
            let due = attempt.timeout_at.plus_ms(OWNER_LATE_MS);
            (attempt.owner != owner).then(|| Left {
                step: step.id.clone(),
                attempt: attempt.number,
                due,
                after_ms: due.since_ms(attempt.started_at),
            })
        })
        .collect()
}
