//! Following live: one short-lived push consumer per stream, without acknowledgement, held back
//! by the broker's flow control. Whatever goes wrong, it is made again from the last sequence. Where
//! that is purged, or is purged before it is read, the archive has it.

use std::{
    collections::{BTreeSet, VecDeque},
    future::pending,
    sync::Arc,
    time::Duration,
};

use async_nats::Message;
use async_trait::async_trait;
use contracts::{
    position::{Positions, StreamId},
    subject::AggregateId,
    time::Timestamp,
};
use futures::{FutureExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};

use super::{
    Ends, JetStreamJournal,
    archived::is_archived,
    direct::BATCH_MAX,
    link::{CallError, Pause, header, status},
    load::version_of,
};
use crate::{
    Journal as _, Unavailable,
    layout::event_filter,
    stored::Entry,
    tail::{Scope, Tail, TailError},
};

/// As many of those that have arrived are decoded and handed on at once.
const RUN_MAX: usize = 256;

/// Runs that wait for the reader, all streams together, and KiB of them: hundreds of events that are
/// kept in the log may be large, and one that is kept apart is up to 32 MiB. What comes meanwhile is
/// one run the longer.
const QUEUE: usize = 16;
const QUEUE_KIB_MAX: u32 = 16 * 1024;

const HEARTBEAT: Duration = Duration::from_secs(4);

/// How many sequences a purge cannot go through while a consumer is made.
const PURGE_AHEAD: u64 = 65_536;

/// How long the broker keeps a consumer whose reader has gone. Short, because a user who may not
/// touch durable consumers cannot remove its own either; a reader that comes back makes another.
const INACTIVE: Duration = Duration::from_secs(2);

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
    entries: Vec<Entry>,
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
        let link = self.journal.link.clone();
        let mut reconnections = link.reconnections();
        let (inbox, mut subscriber) = link.inbox().await?;
        let made = self.create(&inbox).await?;
        if self.has_lost(made.delivered.stream_seq + 1).await? {
            return Ok(());
        }
        let mut received = 0;
        // All that the broker has yet to send of an aggregate may be purged meanwhile, and then
        // nothing comes that would show it.
        let (mut pending, mut held_back) = (made.num_pending, false);
        loop {
            let message = tokio::select! {
                message = timeout(HEARTBEAT * 3, subscriber.next()) => message,
                () = reconnections.next() => return Err(CallError::Reconnected),
            };
            let Ok(Some(mut message)) = message else {
                return Err(CallError::Timeout);
            };
            let mut run = Run::after(self.reached, self.version);
            let then = loop {
                if status(&message).is_some() {
                    break Then::Control(message);
                }
                let arrived = Arrived::of(message)
                    .ok_or_else(|| CallError::Answer("a message without position".to_owned()))?;
                if arrived.consumed != received + 1 {
                    return Err(lost_on_the_way());
                }
                (received, pending) = (arrived.consumed, arrived.pending);
                if !self.is_next(&arrived, &run, &made) {
                    break Then::Gap(arrived);
                }
                run.push(arrived);
                if run.arrived.len() >= RUN_MAX {
                    break Then::Wait;
                }
                // That there is no more to come is seen by who waits.
                match subscriber.next().now_or_never() {
                    Some(Some(next)) => message = next,
                    Some(None) | None => break Then::Wait,
                }
            };
            self.hand_on(run).await?;
            match then {
                Then::Wait => {}
                Then::Gap(arrived) => {
                    if self.has_lost(arrived.sequence).await? {
                        return Ok(());
                    }
                    let mut run = Run::after(self.reached, self.version);
                    run.push(arrived);
                    self.hand_on(run).await?;
                }
                Then::Control(message) => {
                    let is_idle = self.control(&message, received).await?;
                    held_back |= !is_idle;
                    if is_idle && self.aggregate.is_some() && (held_back || pending > 0) {
                        if self.has_lost(u64::MAX).await? {
                            return Ok(());
                        }
                        (held_back, pending) = (false, 0);
                    }
                }
            }
        }
    }

    /// Whether nothing can be missing between what came and what comes.
    fn is_next(&self, arrived: &Arrived, run: &Run, made: &Made) -> bool {
        match (&self.aggregate, run.version) {
            (None, _) => arrived.sequence == run.reached + 1,
            (Some(_), Some(before)) => arrived.version == Some(before + 1),
            (Some(_), None) if arrived.version == Some(1) => true,
            // What stood before it was there when the consumer was made, and the purge was far
            // from it.
            (Some(_), None) => {
                let is_far = self.live_from == 1 || self.live_from + PURGE_AHEAD < run.reached;
                made.num_pending == 0 || (self.is_first && is_far)
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
            let entries = self
                .journal
                .read_archived(self.stream, self.reached, BATCH_MAX);
            let mut entries = entries.await.map_err(|error| client(&error))?;
            while !entries.is_empty() {
                let rest = entries.split_off(entries.len().min(RUN_MAX));
                self.hand_on_entries(entries).await?;
                entries = rest;
            }
        }
        Ok(())
    }

    async fn create(&self, inbox: &str) -> Result<Made, CallError> {
        let mut config = json!({
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self.reached + 1,
            "deliver_subject": inbox,
            "ack_policy": "none",
            "replay_policy": "instant",
            "flow_control": true,
            "idle_heartbeat": nanoseconds(HEARTBEAT),
            "inactive_threshold": nanoseconds(INACTIVE),
            "mem_storage": true,
            "num_replicas": 1,
        });
        if !self.filters.is_empty()
            && let Some(config) = config.as_object_mut()
        {
            config.insert("filter_subjects".to_owned(), json!(self.filters));
        }
        let name = self.stream.name();
        let request = json!({ "stream_name": name, "config": config });
        // The form that names no consumer: a user who may do this cannot touch a durable one.
        let operation = format!("CONSUMER.CREATE.{name}");
        self.journal.link.api(&operation, &request).await
    }

    /// A heartbeat, or the question whether all so far has been read; whether the broker has no
    /// more to send.
    async fn control(&self, message: &Message, received: u64) -> Result<bool, CallError> {
        if status(message) != Some(100) {
            let text = message.description.clone().unwrap_or_default();
            return Err(CallError::Answer(text));
        }
        let answer_to = match &message.reply {
            Some(reply) => Some(reply.to_string()),
            None => header(message, "Nats-Consumer-Stalled").map(str::to_owned),
        };
        let is_idle = answer_to.is_none();
        if let Some(subject) = answer_to {
            self.journal
                .link
                .send(subject, None, bytes::Bytes::new())
                .await?;
        }
        let last = header(message, "Nats-Last-Consumer").and_then(|text| text.parse().ok());
        if last.is_some_and(|last: u64| last > received) {
            return Err(lost_on_the_way());
        }
        Ok(is_idle)
    }

    async fn hand_on(&mut self, run: Run) -> Result<(), CallError> {
        let version = run.version;
        let entries = self.journal.arrived(self.stream, run.arrived).await;
        self.hand_on_entries(entries.map_err(|error| client(&error))?)
            .await?;
        self.version = version;
        Ok(())
    }

    async fn hand_on_entries(&mut self, entries: Vec<Entry>) -> Result<(), CallError> {
        let Some(last) = entries.last() else {
            return Ok(());
        };
        let sequence = last.position.sequence;
        let bytes: usize = entries.iter().map(|entry| entry.raw.bytes()).sum();
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
            self.reached = sequence;
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
}

impl Run {
    fn after(reached: u64, version: Option<u64>) -> Self {
        Self {
            arrived: Vec::new(),
            reached,
            version,
        }
    }

    fn push(&mut self, arrived: Arrived) {
        (self.reached, self.version) = (arrived.sequence, arrived.version);
        self.arrived.push(arrived);
    }
}

/// What ends a run.
enum Then {
    /// Nothing more has arrived.
    Wait,
    /// What comes next does not follow.
    Gap(Arrived),
    Control(Message),
}

/// What the broker says of a new consumer.
#[derive(Deserialize)]
struct Made {
    delivered: Before,
    num_pending: u64,
}

/// It begins after this, which is not before what is live.
#[derive(Deserialize)]
struct Before {
    stream_seq: u64,
}

fn client(error: &Unavailable) -> CallError {
    CallError::Client(crate::chain(&error))
}

/// A message, and what the subject for an answer says of it:
/// `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<stream sequence>.<consumer
/// sequence>.<nanoseconds since 1970>.<pending>…`.
pub(super) struct Arrived {
    pub message: Message,
    /// The sequence in the consumer.
    consumed: u64,
    /// The one in the stream.
    pub sequence: u64,
    pub stored_at: Timestamp,
    /// How many the consumer had yet to send then.
    pending: u64,
    version: Option<u64>,
}

impl Arrived {
    fn of(message: Message) -> Option<Self> {
        const NANOSECONDS_PER_MS: i64 = 1_000_000;
        let reply = message.reply.as_ref()?.strip_prefix("$JS.ACK.")?;
        let with_domain = 2;
        let skipped = if reply.split('.').count() >= 9 {
            with_domain
        } else {
            0
        };
        let mut tokens = reply.split('.').skip(skipped + 3);
        let sequence = tokens.next()?.parse().ok()?;
        let consumed = tokens.next()?.parse().ok()?;
        let nanoseconds: i64 = tokens.next()?.parse().ok()?;
        let pending = tokens.next()?.parse().ok()?;
        Some(Self {
            consumed,
            sequence,
            stored_at: Timestamp::from_millis(nanoseconds.div_euclid(NANOSECONDS_PER_MS)),
            pending,
            version: version_of(message.subject.as_str()),
            message,
        })
    }
}

fn lost_on_the_way() -> CallError {
    CallError::Answer("messages were lost on the way".to_owned())
}

struct Following {
    runs: mpsc::Receiver<Waiting>,
    /// Of those that were taken, what is not read yet.
    taken: VecDeque<Entry>,
    /// Aborted when this is dropped.
    _tasks: JoinSet<()>,
}

impl Following {
    /// Waits until something is taken. Safe to cancel.
    async fn take(&mut self) {
        while self.taken.is_empty() {
            match self.runs.recv().await {
                Some(waiting) => self.taken = waiting.entries.into(),
                // All tasks have ended: the connection was closed on purpose.
                None => pending().await,
            }
        }
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
            && let Ok(mut waiting) = self.runs.try_recv()
        {
            batch.append(&mut waiting.entries);
        }
        if batch.len() > max {
            self.taken = batch.split_off(max).into();
        }
        batch
    }
}

fn nanoseconds(duration: Duration) -> Value {
    json!(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}
