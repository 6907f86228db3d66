//! The log as the projection is given it: in portions and in an order among the streams that
//! follow from a seed, over a connection that is lost now and then. Everything else is the log's.

use std::collections::{BTreeMap, VecDeque};

use async_trait::async_trait;
use bytes::Bytes;
use contracts::{
    canonical::Digest,
    envelope::Envelope,
    position::{Position, Positions, StreamId},
    record::{Head, Recorded},
    subject::AggregateId,
};
use journal::{
    Journal, Unavailable,
    append::AppendError,
    delivery::{ConsumerSpec, Deliveries},
    history::{LoadError, Page, Read},
    layout::StreamCount,
    memory::MemoryJournal,
    object::ObjectError,
    request::{Reply, Request, RequestError, Requests},
    stored::{Entry, Raw},
    tail::{Scope, Tail, TailError},
    timer::Timer,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;

/// How many events a portion has: as a quiet log gives them, and as a long one does.
const PORTIONS: [u64; 6] = [1, 2, 5, 20, 100, 512];

/// Portions of a hundred before which the connection was lost.
const LOST_PERCENT: u64 = 10;

pub struct Portions {
    journal: MemoryJournal,
    stored: Vec<(Position, Raw)>,
    chance: Chance,
    epoch: watch::Sender<u64>,
    /// A process that stops reads nothing more.
    shutdown: CancellationToken,
}

impl Portions {
    pub fn new(
        journal: &MemoryJournal,
        entries: &[Entry],
        chance: Chance,
        shutdown: CancellationToken,
    ) -> Self {
        let stored = entries
            .iter()
            .map(|entry| (entry.position, entry.raw.clone()));
        Self {
            journal: journal.clone(),
            stored: stored.collect(),
            chance,
            epoch: watch::Sender::new(0),
            shutdown,
        }
    }
}

struct Cut {
    /// What was stored before the projection began, by stream.
    unread: BTreeMap<StreamId, VecDeque<(Position, Raw)>>,
    /// What is stored meanwhile.
    after: Box<dyn Tail>,
    chance: Chance,
    epoch: watch::Sender<u64>,
    shutdown: CancellationToken,
}

impl Cut {
    /// A few events of one stream at a time: order is total within a stream only.
    fn portion(&mut self, size: usize) -> Vec<Entry> {
        let mut portion = Vec::new();
        while portion.len() < size && !self.unread.is_empty() {
            let streams: Vec<StreamId> = self.unread.keys().copied().collect();
            let stream = self.chance.pick(&streams, StreamId::Catalogue);
            let run = usize::try_from(self.chance.between(1, 8)).unwrap_or(1);
            let run = run.min(size - portion.len());
            if let Some(unread) = self.unread.get_mut(&stream) {
                let taken = unread.drain(..run.min(unread.len()));
                portion.extend(taken.map(|(position, raw)| Entry::new(position, raw)));
            }
            self.unread.retain(|_, unread| !unread.is_empty());
        }
        portion
    }
}

#[async_trait]
impl Tail for Cut {
    async fn next(&mut self) -> Entry {
        match self.portion(1).pop() {
            Some(entry) => entry,
            None => self.after.next().await,
        }
    }

    async fn next_batch(&mut self, max: usize) -> Vec<Entry> {
        if self.shutdown.is_cancelled() {
            std::future::pending::<()>().await;
        }
        if self.unread.is_empty() {
            return self.after.next_batch(max).await;
        }
        if self.chance.percent(LOST_PERCENT) {
            self.epoch.send_modify(|epoch| *epoch += 1);
        }
        let size = usize::try_from(self.chance.pick(&PORTIONS, 1)).unwrap_or(max);
        self.portion(size.min(max))
    }
}

#[async_trait]
impl Journal for Portions {
    async fn tail(&self, after: &Positions, scope: Scope) -> Result<Box<dyn Tail>, TailError> {
        let mut known = after.clone();
        let mut unread: BTreeMap<StreamId, VecDeque<(Position, Raw)>> = BTreeMap::new();
        for (position, raw) in &self.stored {
            if after.get(position.stream) < position.sequence {
                known.advance(*position);
                let unread = unread.entry(position.stream).or_default();
                unread.push_back((*position, raw.clone()));
            }
        }
        Ok(Box::new(Cut {
            unread,
            after: self.journal.tail(&known, scope).await?,
            chance: self.chance.clone(),
            epoch: self.epoch.clone(),
            shutdown: self.shutdown.clone(),
        }))
    }

    fn epoch(&self) -> u64 {
        *self.epoch.borrow()
    }

    async fn reconnected(&self, epoch: u64) {
        let mut now = self.epoch.subscribe();
        // It ends only with this.
        let _ = now.wait_for(|now| *now != epoch).await;
    }

    fn stream_count(&self) -> StreamCount {
        self.journal.stream_count()
    }

    fn is_connected(&self) -> bool {
        self.journal.is_connected()
    }

    async fn append(&self, envelope: &Envelope) -> Result<Position, AppendError> {
        self.journal.append(envelope).await
    }

    async fn load(
        &self,
        aggregate: &AggregateId,
        read: Read,
    ) -> Result<Vec<(Position, Recorded)>, LoadError> {
        self.journal.load(aggregate, read).await
    }

    async fn page(&self, aggregate: &AggregateId, after: Option<&Head>) -> Result<Page, LoadError> {
        self.journal.page(aggregate, after).await
    }

    async fn head(&self, aggregate: &AggregateId) -> Result<Option<(Position, Head)>, LoadError> {
        self.journal.head(aggregate).await
    }

    async fn is_archived(&self, aggregate: &AggregateId) -> Result<bool, Unavailable> {
        self.journal.is_archived(aggregate).await
    }

    async fn waiting(&self) -> Result<u64, Unavailable> {
        self.journal.waiting().await
    }

    async fn last_sequence(&self, stream: StreamId) -> Result<u64, Unavailable> {
        self.journal.last_sequence(stream).await
    }

    async fn read(
        &self,
        stream: StreamId,
        after: u64,
        max_events: usize,
    ) -> Result<Vec<Entry>, Unavailable> {
        self.journal.read(stream, after, max_events).await
    }

    async fn consume(&self, spec: ConsumerSpec) -> Result<Box<dyn Deliveries>, Unavailable> {
        self.journal.consume(spec).await
    }

    async fn arm(&self, timer: &Timer) -> Result<(), Unavailable> {
        self.journal.arm(timer).await
    }

    async fn put_object(&self, bytes: Bytes) -> Result<Digest, ObjectError> {
        self.journal.put_object(bytes).await
    }

    async fn get_object(&self, digest: &Digest) -> Result<Bytes, ObjectError> {
        self.journal.get_object(digest).await
    }

    async fn request(&self, request: Request) -> Result<Reply, RequestError> {
        self.journal.request(request).await
    }

    async fn serve(&self, subject: &str, queue: &str) -> Result<Box<dyn Requests>, Unavailable> {
        self.journal.serve(subject, queue).await
    }

    async fn close(&self) {
        self.journal.close().await;
    }
}
