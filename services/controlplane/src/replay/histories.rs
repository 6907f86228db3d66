//! The aggregates of the log, each as far as it was read.
//!
//! What memory they take is bounded by how much is under way at once, some ten kilobytes each: an
//! execution that has ended for good leaves its head, which is some hundred bytes.

use std::collections::HashMap;

use contracts::{
    ids::{ExecutionId, WorkspaceId},
    record::{Head, Recorded},
    subject::{AggregateId, AggregateKind},
};
use domain::{
    execution::{Execution, Known, Stage},
    policy::Policy,
    skill::Skill,
};

use super::moment::Timeline;

/// One aggregate, as far as it was read.
pub(super) struct History {
    pub head: Option<Head>,
    pub timeline: Timeline,
    pub fold: Fold,
}

pub(super) enum Fold {
    Execution(Execution),
    Skill(Skill),
    Policy(Policy),
    /// Holds and incidents: nothing is derived from them.
    Unfolded,
    /// Nothing may follow.
    Ended,
    /// Nothing can be derived from it any more.
    Broken(&'static str),
}

#[derive(Default)]
pub(super) struct Histories {
    going: HashMap<AggregateId, Box<History>>,
    ended: HashMap<Ended, Head>,
    /// Few, and each is named by very many executions.
    workspaces: HashMap<WorkspaceId, u32>,
}

/// An execution, in few bytes.
#[derive(PartialEq, Eq, Hash)]
struct Ended {
    workspace: u32,
    execution: [u8; 16],
}

impl Histories {
    /// The history to go on with, which is given back by [`Self::put`]; nothing where this is the
    /// first that is heard of it.
    pub fn take(&mut self, aggregate: &AggregateId) -> Option<Box<History>> {
        if let Some(history) = self.going.remove(aggregate) {
            return Some(history);
        }
        let execution = execution(aggregate)?;
        let workspace = *self.workspaces.get(aggregate.workspace())?;
        let head = self.ended.remove(&Ended {
            workspace,
            execution,
        })?;
        Some(Box::new(History {
            head: Some(head),
            timeline: Timeline::default(),
            fold: Fold::Ended,
        }))
    }

    pub fn put(&mut self, aggregate: &AggregateId, history: Box<History>) {
        if let (Fold::Ended, Some(head)) = (&history.fold, history.head)
            && let Some(execution) = execution(aggregate)
        {
            let ended = Ended {
                workspace: self.workspace(aggregate.workspace()),
                execution,
            };
            self.ended.insert(ended, head);
            return;
        }
        self.going.insert(aggregate.clone(), history);
    }

    /// Executions that have not ended, in order.
    pub fn unfinished(&self) -> Vec<(&AggregateId, &Known)> {
        let mut unfinished: Vec<_> = (self.going.iter())
            .filter_map(|(aggregate, history)| match &history.fold {
                Fold::Execution(Execution::Known(known)) if !known.is_ended() => {
                    Some((aggregate, known.as_ref()))
                }
                Fold::Execution(_)
                | Fold::Skill(_)
                | Fold::Policy(_)
                | Fold::Unfolded
                | Fold::Ended
                | Fold::Broken(_) => None,
            })
            .collect();
        unfinished.sort_by_key(|(aggregate, _)| *aggregate);
        unfinished
    }

    fn workspace(&mut self, workspace: &WorkspaceId) -> u32 {
        if let Some(number) = self.workspaces.get(workspace) {
            return *number;
        }
        let number = u32::try_from(self.workspaces.len()).unwrap_or(u32::MAX);
        self.workspaces.insert(workspace.clone(), number);
        number
    }
}

/// The bytes that stand for an execution, where its id is spelled as they are.
fn execution(aggregate: &AggregateId) -> Option<[u8; 16]> {
    if aggregate.kind() != AggregateKind::Execution {
        return None;
    }
    let id: ExecutionId = aggregate.id().parse().ok()?;
    (id.to_string() == aggregate.id()).then(|| *id.uuid().as_bytes())
}

impl History {
    pub fn new(kind: AggregateKind) -> Self {
        Self {
            head: None,
            timeline: Timeline::default(),
            fold: Fold::of(kind),
        }
    }
}

impl Fold {
    fn of(kind: AggregateKind) -> Self {
        match kind {
            AggregateKind::Execution => Self::Execution(Execution::NeverReceived),
            AggregateKind::Skill => Self::Skill(Skill::default()),
            AggregateKind::Policy => Self::Policy(Policy::default()),
            AggregateKind::Incident | AggregateKind::Hold | AggregateKind::Schedule => {
                Self::Unfolded
            }
        }
    }

    /// The state after the event, or why it is illegal.
    pub fn evolve(self, recorded: &Recorded) -> Result<Self, String> {
        match self {
            Self::Execution(state) => match state.evolve(recorded) {
                Execution::Corrupt(corruption) => Err(corruption.reason),
                Execution::Known(known) if nothing_follows(&known) => Ok(Self::Ended),
                state @ (Execution::NeverReceived | Execution::Known(_)) => {
                    Ok(Self::Execution(state))
                }
            },
            Self::Skill(state) => Ok(Self::Skill(state.evolve(recorded))),
            Self::Policy(state) => Ok(Self::Policy(state.evolve(recorded))),
            Self::Unfolded | Self::Ended | Self::Broken(_) => Ok(self),
        }
    }

    pub fn trace(&self) -> Option<&str> {
        match self {
            Self::Execution(Execution::Known(known)) => known.traceparent.as_deref(),
            Self::Execution(_)
            | Self::Skill(_)
            | Self::Policy(_)
            | Self::Unfolded
            | Self::Ended
            | Self::Broken(_) => None,
        }
    }
}

/// Whether it has ended, and may not be tried again either.
fn nothing_follows(known: &Known) -> bool {
    match &known.stage {
        Stage::Rejected { .. } | Stage::Completed { .. } => true,
        Stage::Failed { stop, run, .. } => run.is_none() || !stop.code.may_retry(),
        Stage::Received
        | Stage::AwaitingDraft { .. }
        | Stage::Drafted { .. }
        | Stage::DraftRefused { .. }
        | Stage::Compiled { .. }
        | Stage::Verified(_)
        | Stage::Running(_) => false,
    }
}
