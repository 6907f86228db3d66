//! What callers were told, and what was to become of it.

use contracts::{
    canonical::Digest,
    events::executor::FailureCode,
    ids::{ExecutionId, PlanId, PrincipalId, RunId, SkillKey, SkillVersion, StepId, WorkspaceId},
};

use super::{
    Auditor,
    execution::{End, Execution, Stage},
    rule::{Check, Rule, ensure},
};

/// What is known of a run's pauses when something is asked of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pauses {
    pub is_paused: bool,
    /// How often it was paused, and went on.
    pub pauses: u32,
    pub resumes: u32,
}

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
    Planned {
        execution: ExecutionId,
        plan: PlanId,
    },
    Judged {
        execution: ExecutionId,
        plan: PlanId,
    },
    Started {
        execution: ExecutionId,
    },
    Paused {
        run: RunId,
        before: Pauses,
    },
    Resumed {
        run: RunId,
        before: Pauses,
    },
    Retried {
        run: RunId,
    },
    Reported {
        execution: ExecutionId,
        step: StepId,
    },
    Activated {
        workspace: WorkspaceId,
        hash: Digest,
    },
    Installed {
        workspace: WorkspaceId,
        key: SkillKey,
        version: SkillVersion,
    },
    Disabled {
        workspace: WorkspaceId,
        key: SkillKey,
        version: SkillVersion,
    },
}

impl Answered {
    /// What it is about, unless that is the catalogue.
    pub fn execution(&self) -> Option<ExecutionId> {
        match self {
            Self::Submitted { execution }
            | Self::Approved { execution, .. }
            | Self::Rejected { execution, .. }
            | Self::Cancelled { execution }
            | Self::Planned { execution, .. }
            | Self::Judged { execution, .. }
            | Self::Started { execution }
            | Self::Reported { execution, .. } => Some(*execution),
            Self::Paused { run, .. } | Self::Resumed { run, .. } | Self::Retried { run } => {
                Some(run.execution)
            }
            Self::Activated { .. } | Self::Installed { .. } | Self::Disabled { .. } => None,
        }
    }
}

impl Auditor {
    pub fn pauses(&self, run: RunId) -> Pauses {
        let execution = self.executions.get(&run.execution);
        execution.map_or_else(Pauses::default, |execution| execution.pauses(run.number))
    }

    pub(super) fn check_answer(&self, answered: &Answered) -> Check {
        let stored = match answered.execution() {
            Some(id) => {
                let execution = self.executions.get(&id);
                execution.is_some_and(|execution| is_stored(execution, answered))
            }
            None => self.books.catalogue.has_stored(answered),
        };
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
        Answered::Planned { plan, .. } => execution.plan.as_ref().is_some_and(|it| it.id == *plan),
        Answered::Judged { plan, .. } => {
            let planned = execution.plan.as_ref().is_some_and(|it| it.id == *plan);
            planned && execution.verdicts > 0
        }
        Answered::Started { .. } => {
            // What is only observed has ended without a run.
            let observed = execution.stage == Stage::Ended(End::Completed);
            execution.wanted.is_some() || execution.runs > 0 || observed
        }
        // Nothing is stored for what is so already: but then it was so at some moment since it was
        // asked for, as what is answered without an event is read from the leader.
        Answered::Paused { run, before } => {
            before.is_paused || execution.pauses(run.number).pauses > before.pauses
        }
        Answered::Resumed { run, before } => {
            let resumes = execution.pauses(run.number).resumes;
            resumes > before.resumes || (resumes > 0 && !before.is_paused)
        }
        Answered::Retried { run } => execution.retries.contains(&run.number),
        Answered::Reported { step: id, .. } => step(id).is_some_and(|step| step.reports > 0),
        Answered::Activated { .. } | Answered::Installed { .. } | Answered::Disabled { .. } => {
            false
        }
    }
}

fn has_ended(execution: &Execution) -> Check {
    let cancelled = execution.stage == Stage::Ended(End::Failed(FailureCode::Cancelled));
    ensure(cancelled || !execution.cancelled, Rule::CancelLost, || {
        format!("it ended at {:?}", execution.stage)
    })
}
