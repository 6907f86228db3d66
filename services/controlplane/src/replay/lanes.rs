//! Several walks side by side, each along the aggregates of some shards.
//!
//! Nothing in the log depends on the order of two aggregates, beside the catalogue: that is walked
//! along first, and every lane has it whole.
//!
//! What is in memory is bounded: a lane holds up its sender once it has [`BATCHES_MAX`] before it.

use std::{collections::BTreeMap, hash::Hasher as _, panic::resume_unwind};

use contracts::position::{Position, StreamId};
use journal::stored::Entry;
use tokio::{
    sync::mpsc::{Sender, channel},
    task::{JoinHandle, spawn_blocking},
};

use super::{
    findings::Findings,
    report::{Place, What},
    walk::Walk,
};

/// How many batches wait before each lane: the next one, and one for while that is handed over.
const BATCHES_MAX: usize = 2;

/// A message, and the how manieth of the log it is.
type Numbered = (u64, Entry);

pub(super) struct Lanes {
    /// Walks along the catalogue, and along everything where there are no lanes.
    first: Walk,
    /// Whether every message of every stream is taken, and not only those of one execution.
    whole: bool,
    reached: BTreeMap<StreamId, u64>,
    taken: u64,
    beside_max: usize,
    beside: Vec<Lane>,
}

struct Lane {
    sender: Sender<Vec<Numbered>>,
    filling: Vec<Numbered>,
    walk: JoinHandle<Findings>,
}

impl Lanes {
    /// `lanes_max` may be 0: then nothing leaves the thread of who calls.
    pub fn new(first: Walk, whole: bool, lanes_max: usize) -> Self {
        Self {
            first,
            whole,
            reached: BTreeMap::new(),
            taken: 0,
            beside_max: lanes_max,
            beside: Vec::new(),
        }
    }

    pub fn lanes_max(&self) -> usize {
        self.beside_max
    }

    /// Takes the next messages of a stream; all of the catalogue comes before anything else.
    pub async fn take(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            self.taken += 1;
            self.no_gap(entry.position);
            if entry.position.stream == StreamId::Catalogue || self.beside_max == 0 {
                self.first.take(self.taken, &entry);
                continue;
            }
            if self.beside.is_empty() {
                self.beside = (0..self.beside_max)
                    .map(|_| Lane::along(self.first.beside()))
                    .collect();
            }
            let lane = lane_of(&entry.raw.subject, self.beside.len());
            if let Some(lane) = self.beside.get_mut(lane) {
                lane.filling.push((self.taken, entry));
            }
        }
        for lane in &mut self.beside {
            if !lane.filling.is_empty() {
                let batch = std::mem::take(&mut lane.filling);
                // It takes no more only where it panicked, which is told when it ends.
                let _ = lane.sender.send(batch).await;
            }
        }
    }

    /// Nothing is ever deleted from a stream, so its sequences count on.
    fn no_gap(&mut self, position: Position) {
        let Position { stream, sequence } = position;
        if !self.whole && stream != StreamId::Catalogue {
            return;
        }
        let due = self.reached.insert(stream, sequence).unwrap_or(0) + 1;
        if sequence > due {
            let first = Position {
                stream,
                sequence: due,
            };
            let last = sequence - 1;
            let why = format!("`{}` lacks {due} to {last}", stream.name());
            let findings = &mut self.first.findings;
            findings.at(self.taken);
            findings.differs(Place::nowhere(first, ""), What::Missing, why, Vec::new());
        }
    }

    /// What all of them found, what the log as a whole lacks first.
    pub async fn finish(self) -> Vec<Findings> {
        let mut found = vec![self.first.finish()];
        for Lane { sender, walk, .. } in self.beside {
            drop(sender);
            match walk.await {
                Ok(findings) => found.push(findings),
                Err(panicked) => resume_unwind(panicked.into_panic()),
            }
        }
        found
    }
}

impl Lane {
    fn along(mut walk: Walk) -> Self {
        let (sender, mut receiver) = channel::<Vec<Numbered>>(BATCHES_MAX);
        let walk = spawn_blocking(move || {
            while let Some(batch) = receiver.blocking_recv() {
                for (number, entry) in batch {
                    walk.take(number, &entry);
                }
            }
            walk.finish()
        });
        Self {
            sender,
            filling: Vec::new(),
            walk,
        }
    }
}

/// All messages of an aggregate come to one lane, also those whose subjects are not understood.
fn lane_of(subject: &str, lanes: usize) -> usize {
    let shard = subject.split('.').nth(3).unwrap_or_default();
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(shard.as_bytes());
    let lanes = u64::try_from(lanes).unwrap_or(1).max(1);
    usize::try_from(hasher.finish() % lanes).unwrap_or(0)
}
