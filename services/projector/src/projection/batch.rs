//! One batch: what follows from its events, and the transaction that stores it.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{
    ids::WorkspaceId,
    position::Positions,
    record::Recorded,
    subject::{AggregateId, AggregateKind},
};
use domain::{execution::Execution, policy::Policy, record, skill::Skill};
use host::incident::Incident;
use journal::stored::Entry;

use super::{Projection, Stored, incidents};
use crate::{
    database::{
        rows::{EventRow, ExecutionRow, PolicyRow, SkillRow},
        write::{self, Write, WriteError},
    },
    folds::{Fold, Tale},
    history::{self, Break},
};

/// What follows from the events of a batch, before any of it is stored.
#[derive(Default)]
struct Work {
    events: Vec<EventRow>,
    reached: Positions,
    executions: BTreeMap<AggregateId, Fold>,
    /// Folded from what is stored, once the events of this batch are.
    others: BTreeSet<AggregateId>,
    /// Versions of aggregates that are not folded here, to find those that are written twice.
    versions: BTreeSet<(AggregateId, u64)>,
    incidents: Vec<Incident>,
}

impl Projection {
    pub(super) async fn store_once(&mut self, entries: &[Entry]) -> Result<Stored, WriteError> {
        let mut work = Work {
            reached: self.reached.clone(),
            ..Work::default()
        };
        for entry in entries {
            self.take(entry, &mut work).await?;
        }
        for incident in &work.incidents {
            if let Stored::Stopped = incidents::raise(&self.host, incident).await {
                return Ok(Stored::Stopped);
            }
        }
        let mut write = write::begin(&mut self.writer).await?;
        write.events(&work.events).await?;
        executions(&mut write, &mut work.executions).await?;
        for aggregate in &work.others {
            other(&mut write, aggregate).await?;
        }
        write.advance(&self.reached, &work.reached).await?;
        write.commit().await?;
        self.reached = work.reached;
        for (aggregate, fold) in work.executions {
            if is_under_way(&fold.tale) {
                self.folds.keep(aggregate, fold);
            }
        }
        Ok(Stored::Yes)
    }

    async fn take(&mut self, entry: &Entry, work: &mut Work) -> Result<(), WriteError> {
        let row = EventRow::of(entry);
        let subject = row.subject.clone();
        work.events.push(row);
        work.reached.advance(entry.position);
        let recorded = match &entry.recorded {
            Ok(recorded) => recorded,
            Err(error) => {
                work.incidents
                    .push(incidents::unreadable(&entry.raw.subject, error));
                if let Some(subject) = subject {
                    self.take_unreadable(&subject.aggregate, work).await?;
                }
                return Ok(());
            }
        };
        let aggregate = &recorded.subject.aggregate;
        match aggregate.kind() {
            AggregateKind::Execution => {
                let bytes = entry.raw.payload.len();
                return self.take_execution(recorded, bytes, work).await;
            }
            AggregateKind::Skill | AggregateKind::Policy => {
                work.others.insert(aggregate.clone());
            }
            AggregateKind::Incident | AggregateKind::Hold | AggregateKind::Schedule => {}
        }
        let version = (aggregate.clone(), recorded.version());
        let twice = !work.versions.insert(version)
            || write::has_version(&mut self.writer, aggregate, recorded.version()).await?;
        if twice {
            let version = recorded.version();
            let broken = Break::fault(recorded, &journal::history::Fault::Forked { version });
            work.incidents.push(incidents::broken(recorded, &broken));
        }
        Ok(())
    }

    async fn take_execution(
        &mut self,
        recorded: &Recorded,
        bytes: usize,
        work: &mut Work,
    ) -> Result<(), WriteError> {
        let aggregate = &recorded.subject.aggregate;
        let mut fold = self.fold_of(aggregate, work).await?;
        fold.bytes += bytes;
        if let Tale::Sound(state) = fold.tale {
            let (tale, broken) = next(state, recorded);
            fold.tale = tale;
            if let Some(broken) = broken {
                work.incidents.push(incidents::broken(recorded, &broken));
            }
        }
        work.executions.insert(aggregate.clone(), fold);
        Ok(())
    }

    async fn take_unreadable(
        &mut self,
        aggregate: &AggregateId,
        work: &mut Work,
    ) -> Result<(), WriteError> {
        match aggregate.kind() {
            AggregateKind::Execution => {
                let fold = self.fold_of(aggregate, work).await?;
                let tale = Tale::Broken;
                work.executions
                    .insert(aggregate.clone(), Fold { tale, ..fold });
            }
            AggregateKind::Skill | AggregateKind::Policy => {
                work.others.insert(aggregate.clone());
            }
            AggregateKind::Incident | AggregateKind::Hold | AggregateKind::Schedule => {}
        }
        Ok(())
    }

    /// As of the events before this one: from this batch, from memory, or from what is stored.
    async fn fold_of(
        &mut self,
        aggregate: &AggregateId,
        work: &mut Work,
    ) -> Result<Fold, WriteError> {
        if let Some(fold) = work.executions.remove(aggregate) {
            return Ok(fold);
        }
        if let Some(fold) = self.folds.take(aggregate) {
            return Ok(fold);
        }
        let stored = write::history(&mut self.writer, aggregate).await?;
        let bytes = stored.iter().map(|raw| raw.payload.len()).sum();
        let (events, broken) = history::sound(&stored);
        let tale = match Execution::fold(&events) {
            sound @ (Execution::NeverReceived | Execution::Known(_)) if broken.is_none() => {
                Tale::Sound(sound)
            }
            Execution::NeverReceived | Execution::Known(_) | Execution::Corrupt(_) => Tale::Broken,
        };
        let waiting = is_waiting(&tale);
        Ok(Fold {
            tale,
            bytes,
            waiting,
        })
    }
}

/// The fold with one more event, and why it broke if it did.
fn next(state: Execution, recorded: &Recorded) -> (Tale, Option<Break>) {
    if let Err(fault) = history::follows(state.head(), recorded) {
        return (Tale::Broken, Some(Break::fault(recorded, &fault)));
    }
    match state.evolve(recorded) {
        Execution::Corrupt(corruption) => {
            let broken = Break::illegal(recorded, &corruption);
            (Tale::Broken, Some(broken))
        }
        sound @ (Execution::NeverReceived | Execution::Known(_)) => (Tale::Sound(sound), None),
    }
}

fn is_waiting(tale: &Tale) -> bool {
    match tale {
        Tale::Sound(Execution::Known(known)) => !record::open_approvals(known).is_empty(),
        Tale::Sound(Execution::NeverReceived | Execution::Corrupt(_)) | Tale::Broken => false,
    }
}

/// Whether more is expected: after an end there is nothing but a retry.
fn is_under_way(tale: &Tale) -> bool {
    match tale {
        Tale::Sound(Execution::Known(known)) => !known.is_ended(),
        Tale::Sound(Execution::NeverReceived | Execution::Corrupt(_)) | Tale::Broken => false,
    }
}

/// The rows of all executions that the batch has touched.
async fn executions(
    write: &mut Write<'_>,
    touched: &mut BTreeMap<AggregateId, Fold>,
) -> Result<(), WriteError> {
    let mut rows = Vec::with_capacity(touched.len());
    let mut votes_changed = Vec::new();
    for (aggregate, fold) in touched {
        let row = match &fold.tale {
            Tale::Sound(Execution::Known(known)) => Some(ExecutionRow::of(known)),
            Tale::Sound(Execution::NeverReceived | Execution::Corrupt(_)) => None,
            Tale::Broken => broken(write, aggregate).await?,
        };
        let Some(row) = row else {
            continue;
        };
        let waiting = !row.approvals.is_empty();
        if waiting || fold.waiting {
            votes_changed.push(rows.len());
        }
        fold.waiting = waiting;
        rows.push(row);
    }
    write.executions(&rows).await?;
    for row in votes_changed
        .into_iter()
        .filter_map(|index| rows.get(index))
    {
        write.approvals(row).await?;
    }
    Ok(())
}

/// How an execution stood before its history broke; nothing where it does not even begin.
async fn broken(
    write: &mut Write<'_>,
    aggregate: &AggregateId,
) -> Result<Option<ExecutionRow>, WriteError> {
    let stored = write.history(aggregate).await?;
    let (mut events, mut broken) = history::sound(&stored);
    if let Execution::Corrupt(corruption) = Execution::fold(&events) {
        let illegal = events
            .iter()
            .position(|it| it.version() == corruption.version);
        let rest = illegal
            .map(|index| events.split_off(index))
            .unwrap_or_default();
        broken = rest
            .first()
            .map(|recorded| Break::illegal(recorded, &corruption));
    }
    let sound = Execution::fold(&events);
    Ok(sound.known().map(|known| {
        let row = ExecutionRow::of(known);
        match broken {
            None => row,
            Some(Break {
                version, at, cause, ..
            }) => {
                let at = at.unwrap_or(row.record.updated_at);
                ExecutionRow {
                    record: record::broken(row.record, version, at, cause),
                    approvals: Vec::new(),
                    ..row
                }
            }
        }
    }))
}

/// The rows of a skill or of a workspace's policies, which are few and change rarely.
async fn other(write: &mut Write<'_>, aggregate: &AggregateId) -> Result<(), WriteError> {
    let stored = write.history(aggregate).await?;
    let (events, _) = history::sound(&stored);
    let workspace: &WorkspaceId = aggregate.workspace();
    match aggregate.kind() {
        AggregateKind::Skill => {
            write
                .skills(&SkillRow::all(workspace, &Skill::fold(&events)))
                .await
        }
        AggregateKind::Policy => {
            write
                .policies(&PolicyRow::all(workspace, &Policy::fold(&events))?)
                .await
        }
        AggregateKind::Execution
        | AggregateKind::Incident
        | AggregateKind::Hold
        | AggregateKind::Schedule => Ok(()),
    }
}
