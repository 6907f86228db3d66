//! What callers were told, and what was to become of it.

use contracts::{
    events::executor::FailureCode,
    ids::{ExecutionId, PrincipalId, StepId},
};

use super::{
    Auditor,
    execution::{End, Execution, Stage},
    rule::{Check, Rule, ensure},
};

/// A request that was answered with a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    Submitted {
        execution: ExecutionId,
    },
    Approved {
        execution: ExecutionId,
        step: StepId,
        voter: PrincipalId,
    },
    /// Also where another one had rejected it before: one rejection ends the run.
    Rejected {
        execution: ExecutionId,
        step: StepId,
    },
    Cancelled {
        execution: ExecutionId,
    },
}

impl Answered {
    pub fn execution(&self) -> ExecutionId {
        match self {
            Self::Submitted { execution }
            | Self::Approved { execution, .. }
            | Self::Rejected { execution, .. }
            | Self::Cancelled { execution } => *execution,
        }
    }
}

impl Auditor {
    pub(super) fn check_answer(&self, answered: &Answered) -> Check {
        let execution = self.executions.get(&answered.execution());
        let stored = execution.is_some_and(|execution| is_stored(execution, answered));
        ensure(stored, Rule::AnsweredUnstored, || {
            format!("{answered:?} is not")
        })
    }

    /// What must be so at the end, of everything.
    pub(super) fn check_close(&self) -> Result<(), (Option<ExecutionId>, super::rule::Fault)> {
        for execution in self.executions.values() {
            has_ended(execution).map_err(|fault| (Some(execution.id), fault))?;
        }
        let unanswered = self.books.catalogue.unanswered();
        ensure(unanswered.is_none(), Rule::NeverEnded, || {
            unanswered.unwrap_or_default()
        })
        .map_err(|fault| (None, fault))
    }
}

fn is_stored(execution: &Execution, answered: &Answered) -> bool {
    let step = |id| execution.steps.get(id);
    match answered {
        Answered::Submitted { .. } => true,
        Answered::Approved {
            step: id, voter, ..
        } => step(id).is_some_and(|step| step.voters.contains(voter)),
        Answered::Rejected { step: id, .. } => step(id).is_some_and(|step| step.was_rejected),
        Answered::Cancelled { .. } => execution.cancelled,
    }
}

fn has_ended(execution: &Execution) -> Check {
    ensure(!execution.is_open(), Rule::NeverEnded, || {
        format!(
            "it is still at {:?}, stop {:?}",
            execution.stage, execution.stop
        )
    })?;
    let cancelled = execution.stage == Stage::Ended(End::Failed(FailureCode::Cancelled));
    ensure(cancelled || !execution.cancelled, Rule::CancelLost, || {
        format!("it ended at {:?}", execution.stage)
    })
}
