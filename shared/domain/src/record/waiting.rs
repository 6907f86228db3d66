//! What an execution waits for from outside its services, as its events tell.

use std::collections::BTreeSet;

use contracts::{operations::execution::WaitingFor, plan::Verdict};

use super::open_approvals;
use crate::execution::{Known, Run, Stage, StepState, steps};

/// Nothing where its services have the next move, where it stops, and after its end.
pub fn of(known: &Known) -> BTreeSet<WaitingFor> {
    if known.stop.is_some() {
        return BTreeSet::new();
    }
    match &known.stage {
        Stage::AwaitingDraft { .. } => BTreeSet::from([WaitingFor::Draft]),
        Stage::Verified(verified)
            if verified.mode(&known.intent).is_none()
                && verified.judged.verdict.verdict != Verdict::Blocked =>
        {
            BTreeSet::from([WaitingFor::Start])
        }
        Stage::Running(run) => of_run(known, run),
        Stage::Received
        | Stage::Drafted { .. }
        | Stage::DraftRefused { .. }
        | Stage::Compiled { .. }
        | Stage::Verified(_)
        | Stage::Rejected { .. }
        | Stage::Completed { .. }
        | Stage::Failed { .. } => BTreeSet::new(),
    }
}

fn of_run(known: &Known, run: &Run) -> BTreeSet<WaitingFor> {
    let mut waits = BTreeSet::new();
    if run.paused {
        waits.insert(WaitingFor::Resume);
    }
    if !open_approvals(known).is_empty() {
        waits.insert(WaitingFor::Approval);
    }
    let plan = run.judged.compiled.plan.steps.iter();
    for (planned, step) in plan.filter_map(|it| Some((it, run.steps.get(&it.id)?))) {
        match &step.state {
            StepState::RetryWait { .. } => waits.insert(WaitingFor::Retry),
            StepState::Accepted { .. } => waits.insert(WaitingFor::Completion),
            StepState::Started(_) if steps::passes_time(planned) => waits.insert(WaitingFor::Time),
            StepState::Started(_)
            | StepState::Pending
            | StepState::Proposed { .. }
            | StepState::Completed { .. }
            | StepState::Failed { .. }
            | StepState::Skipped => false,
        };
    }
    waits
}
