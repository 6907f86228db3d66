//! The folds of executions that are under way, so that an event costs one fold and not a history.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{ids::SkillKey, subject::AggregateId};
use domain::execution::Execution;

use crate::database::rows::Requester;

/// How many are kept.
const FOLDS_MAX: usize = 10_000;

/// The most bytes of payloads that the kept ones were folded from: what they hold is no more.
const FOLDED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What the events of an execution tell.
#[derive(Debug)]
pub enum Tale {
    /// Of the events so far. Never `Corrupt`.
    Sound(Execution),
    /// The history does not hold together: nothing more is folded.
    Broken,
}

/// A fold and what it was folded from.
#[derive(Debug)]
pub struct Fold {
    pub tale: Tale,
    pub bytes: usize,
    /// Whether a block waits for votes, in the row that is stored.
    pub waiting: bool,
    /// The skills that are stored as its plan's.
    pub skills: BTreeSet<SkillKey>,
    /// Once its events tell.
    pub requester: Option<Requester>,
}

impl Fold {
    /// Of an execution of which nothing is stored.
    pub fn of_nothing() -> Self {
        Self {
            tale: Tale::Sound(Execution::NeverReceived),
            bytes: 0,
            waiting: false,
            skills: BTreeSet::new(),
            requester: None,
        }
    }
}

/// The folds that were used last.
#[derive(Debug, Default)]
pub struct Folds {
    kept: BTreeMap<AggregateId, (u64, Fold)>,
    by_use: BTreeMap<u64, AggregateId>,
    uses: u64,
    bytes: usize,
}

impl Folds {
    pub fn has(&self, aggregate: &AggregateId) -> bool {
        self.kept.contains_key(aggregate)
    }

    pub fn take(&mut self, aggregate: &AggregateId) -> Option<Fold> {
        let (used, fold) = self.kept.remove(aggregate)?;
        self.by_use.remove(&used);
        self.bytes -= fold.bytes;
        Some(fold)
    }

    /// Keeps a fold, and lets go of those that have not been used for the longest time.
    pub fn keep(&mut self, aggregate: AggregateId, fold: Fold) {
        let _ = self.take(&aggregate);
        self.uses += 1;
        self.bytes += fold.bytes;
        self.by_use.insert(self.uses, aggregate.clone());
        self.kept.insert(aggregate, (self.uses, fold));
        while self.kept.len() > FOLDS_MAX || self.bytes > FOLDED_BYTES_MAX {
            let Some((_, oldest)) = self.by_use.pop_first() else {
                break;
            };
            if let Some((_, fold)) = self.kept.remove(&oldest) {
                self.bytes -= fold.bytes;
            }
        }
    }

    /// After a transaction that failed: they are ahead of what is stored.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}
