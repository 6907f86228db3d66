//! What was read of the log and is not stored yet: the next batch is read while one is stored.

use std::{convert::Infallible, future::pending, mem, time::Duration};

use futures::FutureExt as _;
use journal::{stored::Entry, tail::Tail};
use tokio::time::{Instant, sleep_until};

use crate::reached::Waits;

/// Events that wait to be stored, which is also the most of one transaction: each costs less in a
/// larger one, up to about here.
const EVENTS_MAX: usize = 2048;

/// Of what waits, as it is stored. No more is read beyond it, and one read brings no more than what
/// the journal keeps for its reader.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// As many come at once where the log is read faster than it is stored: then what comes next is there.
const READ_ON_AT: usize = 128;

/// How often what has come is taken while a transaction is put off: the journal keeps some
/// hundreds of events for its reader, and taking them one by one costs more than taking many.
const READ_EVERY: Duration = Duration::from_millis(5);

/// When the next transaction begins.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Where nobody waits for what it stores.
    pub due: Instant,
    /// Where somebody does.
    pub due_if_awaited: Instant,
}

pub struct Ahead {
    tail: Box<dyn Tail>,
    read: Vec<Entry>,
    bytes: usize,
}

impl Ahead {
    pub fn new(tail: Box<dyn Tail>) -> Self {
        Self {
            tail,
            read: Vec::new(),
            bytes: 0,
        }
    }

    /// Reads until there is as much as may wait, and then rests. Safe to cancel.
    pub async fn read_on(&mut self) -> Infallible {
        while !self.is_full() {
            self.read().await;
        }
        pending().await
    }

    /// Reads until a transaction is due, which stores something. Safe to cancel.
    pub async fn until_due(&mut self, pace: Pace, waits: &Waits, is_watched: impl Fn() -> bool) {
        if self.read.is_empty() {
            self.read().await;
        }
        let mut came = self.read_what_is_there();
        loop {
            let is_awaited = is_watched() || waits.is_any();
            let due = if is_awaited {
                pace.due_if_awaited
            } else {
                pace.due
            };
            let now = Instant::now();
            let is_much = is_awaited && self.read.len() >= READ_ON_AT;
            if now >= due || is_much || self.is_full() {
                return;
            }
            if came >= READ_ON_AT {
                tokio::select! {
                    read = self.read() => came = read,
                    () = sleep_until(due) => {}
                }
            } else {
                tokio::select! {
                    () = sleep_until(due.min(now + READ_EVERY)) => {}
                    () = waits.changed(), if !is_awaited => {}
                }
                came = self.read_what_is_there();
            }
        }
    }

    /// The next batch, of at most so many.
    pub fn take(&mut self, max: usize) -> Vec<Entry> {
        // Room for as much again: entries are large to move.
        let mut next = Vec::with_capacity(self.read.len());
        next.extend(self.read.drain(max.min(self.read.len())..));
        let batch = mem::replace(&mut self.read, next);
        self.bytes = self.read.iter().map(|entry| entry.raw.bytes()).sum();
        batch
    }

    fn is_full(&self) -> bool {
        self.read.len() >= EVENTS_MAX || self.bytes >= BYTES_MAX
    }

    /// At least one.
    async fn read(&mut self) -> usize {
        let entries = self.tail.next_batch(self.room()).await;
        self.add(entries)
    }

    fn read_what_is_there(&mut self) -> usize {
        if self.is_full() {
            return 0;
        }
        let entries = self.tail.next_batch(self.room()).now_or_never();
        self.add(entries.unwrap_or_default())
    }

    fn room(&self) -> usize {
        EVENTS_MAX - self.read.len().min(EVENTS_MAX)
    }

    fn add(&mut self, entries: Vec<Entry>) -> usize {
        let count = entries.len();
        let bytes = entries.iter().map(|entry| entry.raw.bytes());
        self.bytes += bytes.sum::<usize>();
        self.read.extend(entries);
        count
    }
}
