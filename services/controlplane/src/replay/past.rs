//! The catalogue as it stood at any sequence.

use std::{collections::VecDeque, sync::Arc};

use contracts::{record::Recorded, time::Timestamp};
use domain::catalogue::Catalogue;

/// One fold is kept for so many events; any other is made from the one before it.
const CHECKPOINT_EVERY: usize = 64;

/// Folds that were asked for last: executions that ran together were decided on the same ones.
const RECENT_MAX: usize = 16;

/// How far around the time of a decision the catalogue is looked at that the decision does not
/// name. Clocks of two processes differ by little, and few events are stored meanwhile.
const AROUND: usize = 16;

/// How far the time of a decision and of the catalogue that it names may lie apart: the clocks of
/// services differ, and facts may be a second old.
const SKEW_MS: u64 = 60_000;

/// Every event of the catalogue, in memory: each service holds their fold as well.
pub(super) struct Past {
    events: Vec<Stored>,
    /// The fold of the first `n * CHECKPOINT_EVERY` events.
    checkpoints: Vec<Arc<Catalogue>>,
    /// By how many events are in them.
    recent: VecDeque<(usize, Arc<Catalogue>)>,
    end: u64,
    /// From here on it holds an event that this binary cannot read.
    unknown_from: Option<u64>,
}

struct Stored {
    sequence: u64,
    /// The latest time so far, so that it can be searched by time.
    latest: Timestamp,
    recorded: Arc<Recorded>,
}

/// A catalogue that a decision names, and when it was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    pub sequence: u64,
    pub at: Timestamp,
}

/// Why there is no fold for a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoCatalogue {
    #[error("it was decided on catalogue {sequence}, and the catalogue ends at {end}")]
    BeyondEnd { sequence: u64, end: u64 },
    #[error("it was decided on a catalogue with an event that this binary cannot read, at {0}")]
    Unknown(u64),
    #[error("it was decided on catalogue {sequence}, and the event at {next} had long been stored")]
    Outdated { sequence: u64, next: u64 },
    #[error("it was decided on catalogue {sequence}, which was not stored until long after")]
    Later { sequence: u64 },
    #[error("it was decided on catalogue {sequence}, long after one on catalogue {before}")]
    Back { sequence: u64, before: u64 },
}

impl Past {
    pub fn new() -> Self {
        Self {
            events: Vec::new(),
            checkpoints: vec![Arc::new(Catalogue::empty())],
            recent: VecDeque::new(),
            end: 0,
            unknown_from: None,
        }
    }

    pub fn push(&mut self, sequence: u64, recorded: Recorded) {
        let time = recorded.time();
        let latest = self
            .events
            .last()
            .map_or(time, |last| last.latest.max(time));
        self.end = sequence;
        self.events.push(Stored {
            sequence,
            latest,
            recorded: Arc::new(recorded),
        });
        if self.events.len().is_multiple_of(CHECKPOINT_EVERY) {
            let fold = self.of(self.events.len());
            self.checkpoints.push(fold);
        }
    }

    /// An event of which nothing is known stands at `sequence`.
    pub fn unknown(&mut self, sequence: u64) {
        self.end = sequence;
        self.unknown_from.get_or_insert(sequence);
    }

    /// The fold of everything up to `sequence`.
    pub fn at(&mut self, sequence: u64) -> Result<Arc<Catalogue>, NoCatalogue> {
        if sequence > self.end {
            let end = self.end;
            return Err(NoCatalogue::BeyondEnd { sequence, end });
        }
        if let Some(unknown) = self.unknown_from.filter(|unknown| *unknown <= sequence) {
            return Err(NoCatalogue::Unknown(unknown));
        }
        let count = self
            .events
            .partition_point(|stored| stored.sequence <= sequence);
        Ok(self.of(count))
    }

    /// Whether the catalogue that is named was the one at that time. Services confirm it each on
    /// their own, so one may go back behind another's for a moment, but for no longer.
    pub fn fits(&self, named: Named, greatest: Option<Named>) -> Result<(), NoCatalogue> {
        let Named { sequence, at } = named;
        if let Some(before) = greatest
            && sequence < before.sequence
            && at.since_ms(before.at) > SKEW_MS
        {
            let before = before.sequence;
            return Err(NoCatalogue::Back { sequence, before });
        }
        let count = self
            .events
            .partition_point(|stored| stored.sequence <= sequence);
        let last = count.checked_sub(1).and_then(|last| self.events.get(last));
        if last.is_some_and(|last| last.recorded.time().since_ms(at) > SKEW_MS) {
            return Err(NoCatalogue::Later { sequence });
        }
        match self.events.get(count) {
            Some(next) if at.since_ms(next.recorded.time()) > SKEW_MS => {
                let next = next.sequence;
                Err(NoCatalogue::Outdated { sequence, next })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Everything there is.
    pub fn latest(&mut self) -> Arc<Catalogue> {
        self.of(self.events.len())
    }

    /// How many events there were around `time`, the likeliest number first.
    pub fn around(&self, time: Timestamp) -> impl Iterator<Item = usize> + use<> {
        let likely = self.events.partition_point(|stored| stored.latest <= time);
        let (first, last) = (likely.saturating_sub(AROUND), likely + AROUND);
        let last = last.min(self.events.len());
        let mut near: Vec<usize> = (first..=last).collect();
        near.sort_by_key(|count| count.abs_diff(likely));
        near.into_iter()
    }

    /// The fold of the first `count` events.
    pub fn of(&mut self, count: usize) -> Arc<Catalogue> {
        if let Some((_, fold)) = self.recent.iter().find(|(known, _)| *known == count) {
            return Arc::clone(fold);
        }
        let before = self.recent.iter().filter(|(known, _)| *known < count);
        let (mut reached, mut fold) = match before.max_by_key(|(known, _)| *known) {
            Some((known, fold)) if *known >= self.checkpointed(count) => (*known, Arc::clone(fold)),
            Some(_) | None => {
                let checkpoint = self.checkpointed(count);
                let fold = self.checkpoints.get(checkpoint / CHECKPOINT_EVERY);
                match fold {
                    Some(fold) => (checkpoint, Arc::clone(fold)),
                    None => (0, Arc::new(Catalogue::empty())),
                }
            }
        };
        if reached < count {
            let catalogue = Arc::make_mut(&mut fold);
            for stored in self.events.iter().take(count).skip(reached) {
                catalogue.apply(stored.sequence, &stored.recorded);
            }
            reached = count;
        }
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((reached, Arc::clone(&fold)));
        fold
    }

    /// How many events are in the last checkpoint that has at most `count`.
    fn checkpointed(&self, count: usize) -> usize {
        let index = (count / CHECKPOINT_EVERY).min(self.checkpoints.len() - 1);
        index * CHECKPOINT_EVERY
    }
}
