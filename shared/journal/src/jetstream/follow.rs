//! Following live: one short-lived push consumer per stream. Where what it is to begin with is purged,
//! or is purged before it is read, the archive has it.

use std::{
    collections::{BTreeSet, VecDeque},
    future::pending,
    sync::Arc,
};

use async_trait::async_trait;
use contracts::{
    position::{Positions, StreamId},
    subject::AggregateId,
};
use futures::FutureExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
};

use super::{
    Ends, JetStreamJournal,
    archived::is_archived,
    direct::Decoding,
    link::{CallError, Pause},
    load::version_of,
    pushed::{Arrived, Came, Control, Pushed},
};
use crate::{
    Journal as _, Unavailable,
    layout::event_filter,
    stored::Entry,
    tail::{Scope, Tail, TailError},
};

/// As many of those that have arrived are decoded and handed on at once, or bytes of them after
/// which no more is added. One whose payload is kept apart is the last.
const RUN_MAX: usize = 256;
const RUN_BYTES: usize = 1024 * 1024;

/// Runs that wait for the reader, all streams together, and KiB of them: hundreds of events that are
/// kept in the log may be large, and one that is kept apart is up to 32 MiB. What comes meanwhile is
/// one run the longer.
const QUEUE: usize = 16;
const QUEUE_KIB_MAX: u32 = 16 * 1024;

/// How many sequences a purge cannot go through while a consumer is made.
const PURGE_AHEAD: u64 = 65_536;

impl JetStreamJournal {
    pub(super) async fn follow(
        &self,
        after: &Positions,
        scope: Scope,
    ) -> Result<Box<dyn Tail>, TailError> {
        let (streams, aggregate, filters) = match scope {
            Scope::Everything => (self.streams(), None, Vec::new()),
            Scope::Stream(stream) => (vec![stream], None, Vec::new()),
            Scope::Aggregate(aggregate) => {
                let filters = vec![aggregate.filter()];
                let stream = self.count.stream_of(&aggregate);
                (vec![stream], Some(aggregate), filters)
            }
            Scope::Live(names) => {
                let streams = names.iter().flat_map(|name| self.count.streams_of(*name));
                let streams: BTreeSet<StreamId> = streams.collect();
                let filters = names.into_iter().map(event_filter);
                (streams.into_iter().collect(), None, filters.collect())
            }
        };
        let mut firsts = Vec::with_capacity(streams.len());
        for stream in &streams {
            let Ends {
                first_seq,
                last_seq: end,
            } = self.ends_of(*stream).await?;
            let after = after.get(*stream);
            if after > end {
                return Err(TailError::BeyondEnd {
                    stream: stream.name(),
                    after,
                    end,
                });
            }
            firsts.push(first_seq);
        }
        let (queue, runs) = mpsc::channel(QUEUE);
        let room = Arc::new(Semaphore::new(QUEUE_KIB_MAX as usize));
        let mut tasks = JoinSet::new();
        for (stream, live_from) in streams.into_iter().zip(firsts) {
            let follower = Follower {
                journal: self.parts(),
                stream,
                aggregate: aggregate.clone(),
                filters: filters.clone(),
                reached: after.get(stream),
                live_from,
                is_first: true,
                version: None,
                queue: queue.clone(),
                room: Arc::clone(&room),
            };
            tasks.spawn(follower.run());
        }
        Ok(Box::new(Following {
            runs,
            coming: None,
            taken: VecDeque::new(),
            _tasks: tasks,
        }))
    }
}

struct Follower {
    journal: JetStreamJournal,
    stream: StreamId,
    aggregate: Option<AggregateId>,
    /// Nothing where all is wanted.
    filters: Vec<String>,
    /// The last sequence that was handed on.
    reached: u64,
    /// The first that was live when that was last asked.
    live_from: u64,
    /// Whether that was a moment ago.
    is_first: bool,
    /// Of the last event of the aggregate that was handed on.
    version: Option<u64>,
    queue: mpsc::Sender<Waiting>,
    /// For what waits, in KiB.
    room: Arc<Semaphore>,
}

/// Entries, and their room until they are taken.
struct Waiting {
    entries: Decoding,
    _room: OwnedSemaphorePermit,
}

impl Follower {
    async fn run(mut self) {
        let mut pause = Pause::default();
        while !self.queue.is_closed() {
            let reached = self.reached;
            if let Err(error) = self.follow().await {
                tracing::debug!(stream = self.stream.name(), %error, "following begins again");
            }
            self.is_first = false;
            if self.reached > reached {
                pause = Pause::default();
            }
            pause.wait().await;
        }
    }

    async fn follow(&mut self) -> Result<(), CallError> {
        if is_archived(self.stream) && !self.is_of_live() && self.reached + 1 < self.live_from {
            let read = self.read_archive().await;
            read.inspect_err(|error| {
                let (stream, after) = (self.stream.name(), self.reached);
                tracing::warn!(stream, after, %error, "what is purged cannot be read yet");
            })?;
        }
        let (link, after) = (&self.journal.link, self.reached);
        let mut pushed = Pushed::begin(link, self.stream, after, &self.filters).await?;
        if self.has_lost(pushed.begins_at).await? {
            return Ok(());
        }
        // All that the broker has yet to send of an aggregate may be purged meanwhile, and then
        // nothing comes that would show it.
        let was_pending = pushed.pending;
        let mut held_back = false;
        loop {
            let mut came = pushed.next().await?;
            let mut run = Run::after(self.reached, self.version);
            let then = loop {
                let arrived = match came {
                    Came::Message(arrived) => arrived,
                    Came::Control(control) => break Then::Control(control),
                };
                if !self.is_next(&arrived, &run, was_pending) {
                    break Then::Gap(arrived);
                }
                run.push(arrived);
                if run.is_full() {
                    break Then::Wait;
                }
                match pushed.try_next() {
                    Some(next) => came = next?,
                    None => break Then::Wait,
                }
            };
            self.hand_on(run).await?;
            match then {
                Then::Wait => {}
                Then::Gap(arrived) => {
                    if self.has_lost(arrived.delivered.sequence).await? {
                        return Ok(());
                    }
                    let mut run = Run::after(self.reached, self.version);
                    run.push(arrived);
                    self.hand_on(run).await?;
                }
                Then::Control(control) => {
                    let is_idle = pushed.answer(control).await?;
                    held_back |= !is_idle;
                    if is_idle && self.aggregate.is_some() && (held_back || pushed.pending > 0) {
                        if self.has_lost(u64::MAX).await? {
                            return Ok(());
                        }
                        (held_back, pushed.pending) = (false, 0);
                    }
                }
            }
        }
    }

    /// Whether nothing can be missing between what came and what comes.
    fn is_next(&self, arrived: &Arrived, run: &Run, was_pending: u64) -> bool {
        match (&self.aggregate, run.version) {
            (None, _) => arrived.delivered.sequence == run.reached + 1,
            (Some(_), Some(before)) => arrived.version == Some(before + 1),
            (Some(_), None) if arrived.version == Some(1) => true,
            // What stood before it was there when the consumer was made, and the purge was far
            // from it.
            (Some(_), None) => {
                let is_far = self.live_from == 1 || self.live_from + PURGE_AHEAD < run.reached;
                was_pending == 0 || (self.is_first && is_far)
            }
        }
    }

    /// Whether only what is live is wanted.
    fn is_of_live(&self) -> bool {
        self.aggregate.is_none() && !self.filters.is_empty()
    }

    /// Whether something between what was reached and `sequence`, which comes next, is purged: then
    /// the archive has it.
    async fn has_lost(&mut self, sequence: u64) -> Result<bool, CallError> {
        if !is_archived(self.stream) || self.is_of_live() || sequence <= self.reached + 1 {
            return Ok(false);
        }
        let ends = self.journal.ends_of(self.stream).await;
        self.live_from = ends.map_err(|error| client(&error))?.first_seq;
        Ok(self.reached + 1 < self.live_from)
    }

    /// Hands on what is purged, from the archive.
    async fn read_archive(&mut self) -> Result<(), CallError> {
        if let Some(aggregate) = self.aggregate.clone() {
            let entries = self.journal.archived_after(&aggregate, self.reached).await;
            for entry in entries.map_err(|error| client(&error))? {
                let version = version_of(&entry.raw.subject);
                self.hand_on_entries(vec![entry]).await?;
                self.version = version;
            }
            // Nothing else that is purged is of the aggregate.
            self.reached = self.reached.max(self.live_from - 1);
            return Ok(());
        }
        while self.reached + 1 < self.live_from {
            let window = self.journal.archived_window(self.stream, self.reached);
            let mut window = window.await.map_err(|error| client(&error))?;
            while !window.is_at_end() {
                let entries = window.next(&self.journal, RUN_MAX).await;
                self.hand_on_entries(entries.map_err(|error| client(&error))?)
                    .await?;
            }
        }
        Ok(())
    }

    async fn hand_on(&mut self, run: Run) -> Result<(), CallError> {
        let Run {
            arrived,
            reached,
            version,
            mut bytes,
        } = run;
        if arrived.is_empty() {
            return Ok(());
        }
        let entries = self.journal.arrived(self.stream, arrived).await;
        let entries = entries.map_err(|error| client(&error))?;
        if let Decoding::Done(entries) = &entries {
            // What was kept apart is in it.
            bytes = bytes_of(entries);
        }
        self.wait(entries, reached, bytes).await?;
        self.version = version;
        Ok(())
    }

    async fn hand_on_entries(&mut self, entries: Vec<Entry>) -> Result<(), CallError> {
        let Some(last) = entries.last() else {
            return Ok(());
        };
        let (reached, bytes) = (last.position.sequence, bytes_of(&entries));
        self.wait(Decoding::Done(entries), reached, bytes).await
    }

    async fn wait(
        &mut self,
        entries: Decoding,
        reached: u64,
        bytes: usize,
    ) -> Result<(), CallError> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        // What is larger than all the room waits alone.
        let room = Arc::clone(&self.room).acquire_many_owned(kib.clamp(1, QUEUE_KIB_MAX));
        let room = tokio::select! {
            room = room => room.map_err(|error| CallError::Client(error.to_string()))?,
            () = self.queue.closed() => return Err(CallError::Client("nobody reads".to_owned())),
        };
        let waiting = Waiting {
            entries,
            _room: room,
        };
        if self.queue.send(waiting).await.is_ok() {
            self.reached = reached;
            Ok(())
        } else {
            Err(CallError::Client("nobody reads".to_owned()))
        }
    }
}

/// Messages that have arrived one after the other, of which none is missing.
struct Run {
    arrived: Vec<Arrived>,
    /// The last sequence that was handed on, or is among these.
    reached: u64,
    /// Of its event, where one aggregate is followed.
    version: Option<u64>,
    bytes: usize,
}

impl Run {
    fn after(reached: u64, version: Option<u64>) -> Self {
        Self {
            arrived: Vec::new(),
            reached,
            version,
            bytes: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.arrived.len() >= RUN_MAX
            || self.bytes >= RUN_BYTES
            || self.arrived.last().is_some_and(Arrived::is_apart)
    }

    fn push(&mut self, arrived: Arrived) {
        (self.reached, self.version) = (arrived.delivered.sequence, arrived.version);
        self.bytes += arrived.message.length;
        self.arrived.push(arrived);
    }
}

/// What ends a run.
enum Then {
    /// Nothing more has arrived.
    Wait,
    /// What comes next does not follow.
    Gap(Arrived),
    Control(Control),
}

fn bytes_of(entries: &[Entry]) -> usize {
    entries.iter().map(|entry| entry.raw.bytes()).sum()
}

fn client(error: &Unavailable) -> CallError {
    CallError::Client(crate::chain(&error))
}

struct Following {
    runs: mpsc::Receiver<Waiting>,
    /// The run that was taken last, until it is decoded.
    coming: Option<Waiting>,
    /// Of the one before, what is not read yet.
    taken: VecDeque<Entry>,
    /// Aborted when this is dropped.
    _tasks: JoinSet<()>,
}

impl Following {
    /// Waits until something is taken. Safe to cancel.
    async fn take(&mut self) {
        while self.taken.is_empty() {
            if self.coming.is_none() {
                self.coming = self.runs.recv().await;
            }
            match &mut self.coming {
                Some(coming) => self.taken = coming.entries.entries().await.into(),
                // All tasks have ended: the connection was closed on purpose.
                None => pending().await,
            }
            self.coming = None;
        }
    }

    /// What has come already of the next run.
    fn take_more(&mut self) -> Option<Vec<Entry>> {
        if self.coming.is_none() {
            self.coming = self.runs.try_recv().ok();
        }
        let entries = self.coming.as_mut()?.entries.entries().now_or_never()?;
        self.coming = None;
        Some(entries)
    }
}

#[async_trait]
impl Tail for Following {
    async fn next(&mut self) -> Entry {
        loop {
            self.take().await;
            if let Some(entry) = self.taken.pop_front() {
                return entry;
            }
        }
    }

    async fn next_batch(&mut self, max: usize) -> Vec<Entry> {
        self.take().await;
        let max = max.max(1);
        let mut batch = Vec::from(std::mem::take(&mut self.taken));
        while batch.len() < max
            && let Some(mut more) = self.take_more()
        {
            batch.append(&mut more);
        }
        if batch.len() > max {
            self.taken = batch.split_off(max).into();
        }
        batch
    }
}
