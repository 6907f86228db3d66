//! One batch: what follows from its events, and the transaction that stores it.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{
    ids::WorkspaceId,
    record::Recorded,
    subject::{AggregateId, AggregateKind},
};
use domain::{execution::Execution, policy::Policy, record, skill::Skill};
use futures::{StreamExt as _, TryStreamExt as _};
use host::incident::Incident;
use journal::{history::Fault, stored::Entry};

use super::{Model, Stored, incidents};
use crate::{
    database::{
        rows::{EventRow, ExecutionRow, PolicyRow, SkillRow, Standing},
        write::{self, Write, WriteError},
    },
    folds::{Fold, Folds, Tale},
    history::{self, Break},
};

impl Model {
    /// Gives how the execution of each event stood after it; nothing where the service stops.
    pub(super) async fn store_once(
        &mut self,
        entries: &[Entry],
    ) -> Result<Option<Vec<Option<Standing>>>, WriteError> {
        let mut reached = self.reached.clone();
        let mut ordinal = self.ordinal;
        for entry in entries {
            reached.advance(entry.position);
        }
        let mut write = write::begin(&mut self.writer.connection).await?;
        // First, so that what is read below is what this process has stored.
        write.advance(&self.reached, &reached).await?;
        let mut batch = Batch {
            write,
            folds: &mut self.folds,
            events: Vec::with_capacity(entries.len()),
            executions: BTreeMap::new(),
            others: BTreeSet::new(),
            versions: BTreeSet::new(),
            incidents: Vec::new(),
        };
        for entry in entries {
            ordinal += 1;
            batch.take(entry, ordinal).await?;
        }
        for incident in &batch.incidents {
            if let Stored::Stopped = incidents::raise(&self.host, incident).await {
                return Ok(None);
            }
        }
        let standings = batch.store().await?;
        self.reached = reached;
        self.ordinal = ordinal;
        Ok(Some(standings))
    }
}

/// What follows from the events of a batch, within its transaction.
struct Batch<'a> {
    write: Write<'a>,
    folds: &'a mut Folds,
    events: Vec<EventRow>,
    executions: BTreeMap<AggregateId, Fold>,
    /// Folded from what is stored, once the events of this batch are.
    others: BTreeSet<AggregateId>,
    /// Versions of aggregates that are not folded here, to find those that are written twice.
    versions: BTreeSet<(AggregateId, u64)>,
    incidents: Vec<Incident>,
}

impl Batch<'_> {
    async fn take(&mut self, entry: &Entry, ordinal: i64) -> Result<(), WriteError> {
        let row = EventRow::of(entry, ordinal);
        let subject = row.subject.clone();
        self.events.push(row);
        let recorded = match &entry.recorded {
            Ok(recorded) => recorded,
            Err(error) => {
                self.incidents
                    .push(incidents::unreadable(&entry.raw.subject, error));
                if let Some(subject) = subject {
                    self.take_unreadable(&subject.aggregate).await?;
                }
                return Ok(());
            }
        };
        let aggregate = &recorded.subject.aggregate;
        match aggregate.kind() {
            AggregateKind::Execution => {
                return self.take_execution(recorded, entry.raw.payload.len()).await;
            }
            AggregateKind::Skill | AggregateKind::Policy => {
                self.others.insert(aggregate.clone());
            }
            AggregateKind::Incident | AggregateKind::Hold | AggregateKind::Schedule => {}
        }
        let version = recorded.version();
        let twice = !self.versions.insert((aggregate.clone(), version))
            || self.write.has_version(aggregate, version).await?;
        if twice {
            let broken = Break::fault(recorded, &Fault::Forked { version });
            self.incidents.push(incidents::broken(recorded, &broken));
        }
        Ok(())
    }

    async fn take_execution(
        &mut self,
        recorded: &Recorded,
        bytes: usize,
    ) -> Result<(), WriteError> {
        let aggregate = &recorded.subject.aggregate;
        let mut fold = self.fold_of(aggregate).await?;
        fold.bytes += bytes;
        if let Tale::Sound(state) = fold.tale {
            let (tale, broken) = next(state, recorded);
            fold.tale = tale;
            if let Some(broken) = broken {
                self.incidents.push(incidents::broken(recorded, &broken));
            }
        }
        if let Some(row) = self.events.last_mut() {
            row.standing = standing(&fold.tale);
        }
        self.executions.insert(aggregate.clone(), fold);
        Ok(())
    }

    async fn take_unreadable(&mut self, aggregate: &AggregateId) -> Result<(), WriteError> {
        match aggregate.kind() {
            AggregateKind::Execution => {
                let fold = self.fold_of(aggregate).await?;
                let tale = Tale::Broken;
                self.executions
                    .insert(aggregate.clone(), Fold { tale, ..fold });
            }
            AggregateKind::Skill | AggregateKind::Policy => {
                self.others.insert(aggregate.clone());
            }
            AggregateKind::Incident | AggregateKind::Hold | AggregateKind::Schedule => {}
        }
        Ok(())
    }

    /// As of the events before this one: from this batch, from memory, or from what is stored.
    async fn fold_of(&mut self, aggregate: &AggregateId) -> Result<Fold, WriteError> {
        if let Some(fold) = self.executions.remove(aggregate) {
            return Ok(fold);
        }
        if let Some(fold) = self.folds.take(aggregate) {
            return Ok(fold);
        }
        let (mut tale, mut bytes) = (Tale::Sound(Execution::NeverReceived), 0);
        // One event at a time: what is stored of an execution may be more than there is memory.
        let mut stored = self.write.events_of(aggregate);
        while let Some(raw) = stored.try_next().await? {
            bytes += raw.payload.len();
            tale = match (tale, raw.decode()) {
                (Tale::Sound(state), Ok(recorded)) => next(state, &recorded).0,
                (Tale::Sound(_), Err(_)) | (Tale::Broken, _) => Tale::Broken,
            };
        }
        drop(stored);
        let row = row(&tale);
        Ok(Fold {
            bytes,
            waiting: row.as_ref().is_some_and(|row| !row.approvals.is_empty()),
            skills: row.map(|row| row.skills()).unwrap_or_default(),
            tale,
        })
    }

    async fn store(self) -> Result<Vec<Option<Standing>>, WriteError> {
        let Self {
            mut write,
            folds,
            events,
            mut executions,
            others,
            ..
        } = self;
        write.events(&events).await?;
        execution_rows(&mut write, &mut executions).await?;
        for aggregate in &others {
            other_rows(&mut write, aggregate).await?;
        }
        write.commit().await?;
        for (aggregate, fold) in executions {
            if is_under_way(&fold.tale) {
                folds.keep(aggregate, fold);
            }
        }
        Ok(events.into_iter().map(|row| row.standing).collect())
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

/// Of a history that holds together.
fn row(tale: &Tale) -> Option<ExecutionRow> {
    match tale {
        Tale::Sound(Execution::Known(known)) => Some(ExecutionRow::of(known)),
        Tale::Sound(Execution::NeverReceived | Execution::Corrupt(_)) | Tale::Broken => None,
    }
}

fn standing(tale: &Tale) -> Option<Standing> {
    match tale {
        Tale::Sound(Execution::Known(known)) => Some(Standing::of(known)),
        Tale::Sound(Execution::NeverReceived) => None,
        Tale::Sound(Execution::Corrupt(_)) | Tale::Broken => Some(Standing::broken()),
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
async fn execution_rows(
    write: &mut Write<'_>,
    touched: &mut BTreeMap<AggregateId, Fold>,
) -> Result<(), WriteError> {
    let mut rows = Vec::with_capacity(touched.len());
    let mut votes_changed = Vec::new();
    let mut skills_changed = Vec::new();
    for (aggregate, fold) in touched {
        let row = match &fold.tale {
            Tale::Sound(_) => row(&fold.tale),
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
        let skills = row.skills();
        if skills != fold.skills {
            skills_changed.push(rows.len());
        }
        fold.skills = skills;
        rows.push(row);
    }
    write.executions(&rows).await?;
    for row in skills_changed
        .into_iter()
        .filter_map(|index| rows.get(index))
    {
        write.execution_skills(row).await?;
    }
    for row in votes_changed
        .into_iter()
        .filter_map(|index| rows.get(index))
    {
        write.approvals(row).await?;
    }
    Ok(())
}

/// How an execution stood before its history broke; nothing where it does not even begin. One event
/// at a time, and so twice: what is stored of an execution may be more than there is memory.
async fn broken(
    write: &mut Write<'_>,
    aggregate: &AggregateId,
) -> Result<Option<ExecutionRow>, WriteError> {
    let (count, broken) = sound_events(write, aggregate).await?;
    let mut sound = Execution::NeverReceived;
    let mut stored = write.events_of(aggregate).take(count);
    while let Some(raw) = stored.try_next().await? {
        if let Ok(recorded) = raw.decode() {
            sound = sound.evolve(&recorded);
        }
    }
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

/// How many events hold together, and why the one that follows them does not.
async fn sound_events(
    write: &mut Write<'_>,
    aggregate: &AggregateId,
) -> Result<(usize, Option<Break>), WriteError> {
    let (mut count, mut sound) = (0, Execution::NeverReceived);
    let mut stored = write.events_of(aggregate);
    while let Some(raw) = stored.try_next().await? {
        let due = sound.head().map_or(1, |head| head.version + 1);
        let followed = match raw.decode() {
            Ok(recorded) => next(sound, &recorded),
            Err(error) => (Tale::Broken, Some(Break::unreadable(due, &error))),
        };
        match followed {
            (Tale::Sound(state), _) => sound = state,
            (Tale::Broken, broken) => return Ok((count, broken)),
        }
        count += 1;
    }
    Ok((count, None))
}

/// The rows of a skill or of a workspace's policies, which are few and change rarely.
async fn other_rows(write: &mut Write<'_>, aggregate: &AggregateId) -> Result<(), WriteError> {
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
