//! One batch: what follows from its events, and the transaction that stores it.

use std::{
    collections::{BTreeSet, HashMap},
    mem,
    sync::Arc,
};

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
        rows::{EventRow, ExecutionRow, PolicyRow, Requester, SkillRow, Standing},
        write::{self, Write, WriteError},
    },
    feed::asked::OF_APPROVALS,
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
        let begun = write.begun(first_events(entries, &self.folds)).await?;
        let mut batch = Batch {
            write,
            folds: &mut self.folds,
            begun,
            events: Vec::with_capacity(entries.len()),
            executions: Vec::new(),
            places: HashMap::new(),
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
struct Batch<'w, 'e> {
    write: Write<'w>,
    folds: &'w mut Folds,
    /// Executions of which nothing is stored before this batch.
    begun: BTreeSet<&'e AggregateId>,
    events: Vec<EventRow<'e>>,
    executions: Vec<(AggregateId, Fold)>,
    /// Where each of them stands.
    places: HashMap<AggregateId, usize>,
    /// Folded from what is stored, once the events of this batch are.
    others: BTreeSet<AggregateId>,
    /// Versions of aggregates that are not folded here, to find those that are written twice.
    versions: BTreeSet<(AggregateId, u64)>,
    incidents: Vec<Incident>,
}

impl<'e> Batch<'_, 'e> {
    async fn take(&mut self, entry: &'e Entry, ordinal: i64) -> Result<(), WriteError> {
        let row = EventRow::of(entry, ordinal);
        let recorded = match &entry.recorded {
            Ok(recorded) => recorded,
            Err(error) => {
                self.incidents
                    .push(incidents::unreadable(&entry.raw.subject, error));
                if let Some(subject) = &row.subject {
                    self.take_unreadable(&subject.aggregate).await?;
                }
                self.events.push(row);
                return Ok(());
            }
        };
        self.events.push(row);
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
        let Some(fold) = self.fold_of(&recorded.subject.aggregate).await? else {
            return Ok(());
        };
        fold.bytes += bytes;
        let (tale, broken) = match mem::replace(&mut fold.tale, Tale::Broken) {
            Tale::Sound(state) => next(state, recorded),
            Tale::Broken => (Tale::Broken, None),
        };
        fold.tale = tale;
        let standing = standing(fold)?;
        let asks = OF_APPROVALS.contains(&recorded.event.name());
        let requester = fold.requester.as_ref().filter(|_| asks);
        let requester = requester.map(|requester| Arc::clone(&requester.json));
        if let Some(row) = self.events.last_mut() {
            row.requester = requester.filter(|_| standing.as_ref().is_some_and(is_asked_for));
            row.standing = standing;
        }
        if let Some(broken) = broken {
            self.incidents.push(incidents::broken(recorded, &broken));
        }
        Ok(())
    }

    async fn take_unreadable(&mut self, aggregate: &AggregateId) -> Result<(), WriteError> {
        match aggregate.kind() {
            AggregateKind::Execution => {
                if let Some(fold) = self.fold_of(aggregate).await? {
                    fold.tale = Tale::Broken;
                }
            }
            AggregateKind::Skill | AggregateKind::Policy => {
                self.others.insert(aggregate.clone());
            }
            AggregateKind::Incident | AggregateKind::Hold | AggregateKind::Schedule => {}
        }
        Ok(())
    }

    /// As of the events before this one: from this batch, from memory, or from what is stored.
    async fn fold_of(&mut self, aggregate: &AggregateId) -> Result<Option<&mut Fold>, WriteError> {
        let place = if let Some(place) = self.places.get(aggregate) {
            *place
        } else {
            let fold = match self.folds.take(aggregate) {
                Some(fold) => fold,
                None if self.begun.remove(aggregate) => Fold::of_nothing(),
                None => self.stored_fold(aggregate).await?,
            };
            let place = self.executions.len();
            self.places.insert(aggregate.clone(), place);
            self.executions.push((aggregate.clone(), fold));
            place
        };
        Ok(self.executions.get_mut(place).map(|(_, fold)| fold))
    }

    async fn stored_fold(&mut self, aggregate: &AggregateId) -> Result<Fold, WriteError> {
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
            requester: None,
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
        // Neighbours in the database are written one after the other.
        executions.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
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

fn standing(fold: &mut Fold) -> Result<Option<Standing>, WriteError> {
    let known = match &fold.tale {
        Tale::Sound(Execution::Known(known)) => known,
        Tale::Sound(Execution::NeverReceived) => return Ok(None),
        Tale::Sound(Execution::Corrupt(_)) | Tale::Broken => return Ok(Some(Standing::broken())),
    };
    let requester = match &mut fold.requester {
        Some(requester) => requester,
        none @ None => none.insert(Requester::of(known)?),
    };
    Ok(Some(Standing {
        status: known.status(),
        requester: Some(Arc::clone(&requester.actor)),
    }))
}

fn is_asked_for(standing: &Standing) -> bool {
    standing.requester.is_some()
}

/// The executions that begin in a batch.
fn first_events<'e>(entries: &'e [Entry], folds: &Folds) -> BTreeSet<&'e AggregateId> {
    let recorded = entries.iter().filter_map(|it| it.recorded.as_ref().ok());
    let first = recorded.filter(|it| it.version() == 1);
    let aggregates = first.map(|it| &it.subject.aggregate);
    aggregates
        .filter(|it| it.kind() == AggregateKind::Execution && !folds.has(it))
        .collect()
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
    touched: &mut [(AggregateId, Fold)],
) -> Result<(), WriteError> {
    let mut rows = Vec::with_capacity(touched.len());
    let mut votes_changed = Vec::new();
    let mut skills = Vec::new();
    for (aggregate, fold) in touched {
        let (row, is_sound) = match &fold.tale {
            Tale::Sound(_) => (row(&fold.tale), true),
            Tale::Broken => (broken(write, aggregate).await?, false),
        };
        let Some(row) = row else {
            continue;
        };
        let waiting = !row.approvals.is_empty();
        if waiting || fold.waiting {
            votes_changed.push(rows.len());
        }
        fold.waiting = waiting;
        let used = row.skills();
        if used != fold.skills {
            // Of one whose history is broken it is not known what is stored.
            if !fold.skills.is_empty() || !is_sound {
                write.no_execution_skills(aggregate).await?;
            }
            skills.extend(used.iter().map(|skill| (&*aggregate, skill.clone())));
        }
        fold.skills = used;
        rows.push(row);
    }
    write.executions(&rows).await?;
    write.execution_skills(&skills).await?;
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
