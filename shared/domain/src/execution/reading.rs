//! What a state says of itself: its status, its plan, its run, the end it goes to.

use std::{collections::BTreeMap, sync::Arc};

use contracts::{
    events::{executor::FailureCode, planner::PlanCompiled},
    facts::Actor,
    ids::{RunId, StepId},
    plan::Status,
};

use super::{Judged, Known, Run, Stage, Step, StepState, Stop, Verified};

impl Known {
    pub fn requester(&self) -> &Actor {
        &self.intent.actor
    }

    pub fn is_ended(&self) -> bool {
        matches!(
            self.stage,
            Stage::Rejected { .. } | Stage::Completed { .. } | Stage::Failed { .. }
        )
    }

    /// Why it ends or has ended, where that is for `code`.
    pub fn ends_by(&self, code: FailureCode) -> Option<&Stop> {
        let stop = match &self.stage {
            Stage::Failed { stop, .. } => Some(stop),
            Stage::Received
            | Stage::AwaitingDraft { .. }
            | Stage::Drafted { .. }
            | Stage::DraftRefused { .. }
            | Stage::Compiled { .. }
            | Stage::Verified(_)
            | Stage::Running(_)
            | Stage::Rejected { .. }
            | Stage::Completed { .. } => self.stop.as_ref(),
        };
        stop.filter(|stop| stop.code == code)
    }

    pub fn run(&self) -> Option<&Run> {
        match &self.stage {
            Stage::Running(run) => Some(run),
            Stage::Failed { run, .. } => run.as_ref(),
            Stage::Received
            | Stage::AwaitingDraft { .. }
            | Stage::Drafted { .. }
            | Stage::DraftRefused { .. }
            | Stage::Compiled { .. }
            | Stage::Verified(_)
            | Stage::Rejected { .. }
            | Stage::Completed { .. } => None,
        }
    }

    pub fn run_id(&self) -> Option<RunId> {
        match &self.stage {
            Stage::Completed { run_id, .. } => Some(*run_id),
            Stage::Verified(Verified {
                retried: Some(retried),
                ..
            }) => Some(RunId {
                execution: self.id,
                number: retried.number,
            }),
            Stage::Received
            | Stage::AwaitingDraft { .. }
            | Stage::Drafted { .. }
            | Stage::DraftRefused { .. }
            | Stage::Compiled { .. }
            | Stage::Verified(_)
            | Stage::Running(_)
            | Stage::Rejected { .. }
            | Stage::Failed { .. } => self.run().map(|run| run.id(self.id)),
        }
    }

    /// The steps of the current or last run.
    pub fn steps(&self) -> Option<&BTreeMap<StepId, Step>> {
        match &self.stage {
            Stage::Completed { steps, .. } => Some(steps),
            Stage::Running(run) | Stage::Failed { run: Some(run), .. } => Some(&run.steps),
            Stage::Verified(verified) => verified.retried.as_ref().map(|retried| &retried.steps),
            Stage::Received
            | Stage::AwaitingDraft { .. }
            | Stage::Drafted { .. }
            | Stage::DraftRefused { .. }
            | Stage::Compiled { .. }
            | Stage::Rejected { .. }
            | Stage::Failed { run: None, .. } => None,
        }
    }

    pub fn compiled(&self) -> Option<&Arc<PlanCompiled>> {
        match &self.stage {
            Stage::Compiled { compiled } => Some(compiled),
            Stage::Failed { compiled, .. } => compiled.as_ref(),
            Stage::Verified(_)
            | Stage::Running(_)
            | Stage::Rejected { .. }
            | Stage::Completed { .. }
            | Stage::Received
            | Stage::AwaitingDraft { .. }
            | Stage::Drafted { .. }
            | Stage::DraftRefused { .. } => self.judged().map(|judged| &judged.compiled),
        }
    }

    pub fn judged(&self) -> Option<&Judged> {
        match &self.stage {
            Stage::Verified(verified) => Some(&verified.judged),
            Stage::Running(run) => Some(&run.judged),
            Stage::Completed { judged, .. } => Some(judged),
            Stage::Rejected { judged, .. } | Stage::Failed { judged, .. } => judged.as_ref(),
            Stage::Received
            | Stage::AwaitingDraft { .. }
            | Stage::Drafted { .. }
            | Stage::DraftRefused { .. }
            | Stage::Compiled { .. } => None,
        }
    }

    pub fn status(&self) -> Status {
        let status = match &self.stage {
            Stage::Received => Status::Received,
            Stage::AwaitingDraft { .. } | Stage::DraftRefused { .. } => Status::AwaitingDraft,
            Stage::Drafted { .. } => Status::Drafted,
            Stage::Compiled { .. } => Status::Compiled,
            Stage::Verified(_) => Status::Verified,
            Stage::Running(run) if run.paused => Status::Paused,
            Stage::Running(run) if is_blocked(run) => Status::Blocked,
            Stage::Running(_) => Status::Running,
            Stage::Rejected { .. } => return Status::Rejected,
            Stage::Completed { .. } => return Status::Completed,
            Stage::Failed { .. } => return Status::Failed,
        };
        if self.stop.is_some() {
            Status::Stopping
        } else {
            status
        }
    }
}

/// Whether someone must vote before anything else can happen.
fn is_blocked(run: &Run) -> bool {
    let busy = run.steps.values().any(|step| match step.state {
        StepState::Proposed { .. }
        | StepState::Started(_)
        | StepState::Accepted { .. }
        | StepState::RetryWait { .. } => true,
        StepState::Pending
        | StepState::Completed { .. }
        | StepState::Failed { .. }
        | StepState::Skipped => false,
    });
    !busy && run.steps.values().any(|step| step.open_block().is_some())
}
