//! The catalogue as it stood at any sequence.
//!
//! A decision is said to be made on the wrong one only where both clocks say so, the services' and
//! the broker's (see [`super::moment`]): a service's clock may be wrong by any amount, and how
//! long a service was paused no clock tells.

use std::{collections::VecDeque, sync::Arc};

use contracts::{record::Recorded, time::Timestamp};
use domain::catalogue::Catalogue;

use super::moment::Moment;

/// One fold is kept for so many events; any other is made from the one before it.
const CHECKPOINT_EVERY: usize = 64;

/// Folds that were asked for last: executions that ran together were decided on the same ones.
const RECENT_MAX: usize = 16;

/// How far around the time of a decision the catalogue is looked at that the decision does not
/// name. Few events are stored while it is made.
const AROUND: usize = 16;

/// How far the times of two services may lie apart: their clocks differ, and facts may be a second
/// old.
const SERVICES_APART_MS: u64 = 60_000;

/// How far the times may lie apart that the broker stores two messages with. One server has one
/// clock; the leaders of two streams may run on two servers, whose clocks are kept within seconds
/// of each other, and a leader sets the time a little before the others have stored the message.
const LEADERS_APART_MS: u64 = 10_000;

/// Every event of the catalogue, in memory: each service holds their fold as well.
#[derive(Clone)]
pub(super) struct Past {
    events: Vec<Happened>,
    /// The fold of the first `n * CHECKPOINT_EVERY` events.
    checkpoints: Vec<Arc<Catalogue>>,
    /// By how many events are in them.
    recent: VecDeque<(usize, Arc<Catalogue>)>,
    end: u64,
    /// From here on it holds an event that this binary cannot read.
    unknown_from: Option<u64>,
}

#[derive(Clone)]
struct Happened {
    sequence: u64,
    stored_at: Option<Timestamp>,
    /// The latest times so far, so that they can be searched by time.
    latest: Timestamp,
    latest_stored: Option<Timestamp>,
    recorded: Arc<Recorded>,
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
    #[error("it was decided on catalogue {sequence}, and an event before it on catalogue {least}")]
    Backwards { sequence: u64, least: u64 },
    #[error("it was decided on catalogue {sequence}, which was not stored until long after")]
    Later { sequence: u64 },
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

    pub fn push(&mut self, sequence: u64, recorded: Recorded, stored_at: Option<Timestamp>) {
        let time = recorded.time();
        let last = self.events.last();
        let latest = last.map_or(time, |last| last.latest.max(time));
        let latest_stored = last.and_then(|last| last.latest_stored).max(stored_at);
        self.end = sequence;
        self.events.push(Happened {
            sequence,
            stored_at,
            latest,
            latest_stored,
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
            .partition_point(|event| event.sequence <= sequence);
        Ok(self.of(count))
    }

    /// Whether the catalogue that a decision names may have been the one at that time.
    pub fn fits(&self, sequence: u64, moment: Moment) -> Result<(), NoCatalogue> {
        let Moment {
            decided_at,
            stored_at,
            facts_after,
        } = moment;
        let count = self
            .events
            .partition_point(|event| event.sequence <= sequence);
        let last = count.checked_sub(1).and_then(|last| self.events.get(last));
        if last.is_some_and(|last| {
            last.recorded.time().since_ms(decided_at) > SERVICES_APART_MS
                && long_after(last.stored_at, stored_at)
        }) {
            return Err(NoCatalogue::Later { sequence });
        }
        match self.events.get(count) {
            Some(next)
                if decided_at.since_ms(next.recorded.time()) > SERVICES_APART_MS
                    && long_after(facts_after, next.stored_at) =>
            {
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

    /// How many events there may have been at that time, the likeliest number first. It mostly is
    /// the one, so the others are only worked out once they are asked for.
    pub fn around(&self, moment: Moment) -> impl Iterator<Item = usize> + use<> {
        let decided = self
            .events
            .partition_point(|event| event.latest <= moment.decided_at);
        // Where it is known it tells more than a clock that may be wrong by any amount.
        let stored = moment.stored_at.map(|at| {
            self.events
                .partition_point(|event| event.latest_stored <= Some(at))
        });
        let end = self.events.len();
        let likeliest = stored.unwrap_or(decided);
        let others = move |()| {
            let mut counts = nearest(likeliest, end);
            for count in nearest(decided, end) {
                if !counts.contains(&count) {
                    counts.push(count);
                }
            }
            counts.into_iter().skip(1)
        };
        std::iter::once(likeliest).chain(std::iter::once(()).flat_map(others))
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
            for event in self.events.iter().take(count).skip(reached) {
                catalogue.apply(event.sequence, &event.recorded);
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

/// The numbers of events up to `end` that are near the likely one, that one first.
fn nearest(likely: usize, end: usize) -> Vec<usize> {
    let range = likely.saturating_sub(AROUND)..=(likely + AROUND).min(end);
    let mut near: Vec<usize> = range.collect();
    near.sort_by_key(|count| count.abs_diff(likely));
    near
}

/// By the broker's clock; yes where it is not known, as in exports that do not hold it.
fn long_after(later: Option<Timestamp>, earlier: Option<Timestamp>) -> bool {
    match (later, earlier) {
        (Some(later), Some(earlier)) => later.since_ms(earlier) > LEADERS_APART_MS,
        (Some(_) | None, _) => true,
    }
}
