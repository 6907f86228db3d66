//! Following live: one short-lived push consumer per stream, without acknowledgement, held back
//! by the broker's flow control. Whatever goes wrong, it is made again from the last sequence.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_nats::Message;
use async_trait::async_trait;
use contracts::{
    position::{Position, Positions, StreamId},
    time::Timestamp,
};
use futures::StreamExt as _;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};

use super::{
    JetStreamJournal,
    link::{CallError, Pause, header, header_pairs, status},
};
use crate::{
    Journal as _,
    layout::event_filter,
    stored::{Entry, Raw},
    tail::{Scope, Tail, TailError},
};

/// Entries that wait for the reader, all streams together, and KiB of them: hundreds of those that
/// are kept in the log may be large, and one that is kept apart is up to 32 MiB.
const QUEUE: usize = 256;
const QUEUE_KIB_MAX: u32 = 32 * 1024;

const HEARTBEAT: Duration = Duration::from_secs(2);

/// How long the broker keeps a consumer whose reader has gone. Short, because a user who may not
/// touch durable consumers cannot remove its own either; a reader that comes back makes another.
const INACTIVE: Duration = Duration::from_secs(2);

impl JetStreamJournal {
    pub(super) async fn follow(
        &self,
        after: &Positions,
        scope: Scope,
    ) -> Result<Box<dyn Tail>, TailError> {
        let (streams, filters) = match scope {
            Scope::Everything => (self.streams(), Vec::new()),
            Scope::Catalogue => (vec![StreamId::Catalogue], Vec::new()),
            Scope::Aggregate(aggregate) => (
                vec![self.count.stream_of(&aggregate)],
                vec![aggregate.filter()],
            ),
            Scope::Events(names) => {
                let streams = names.iter().flat_map(|name| self.count.streams_of(*name));
                let streams: BTreeSet<StreamId> = streams.collect();
                let filters = names.into_iter().map(event_filter);
                (streams.into_iter().collect(), filters.collect())
            }
        };
        for stream in &streams {
            let end = self.last_sequence(*stream).await?;
            let after = after.get(*stream);
            if after > end {
                return Err(TailError::BeyondEnd {
                    stream: stream.name(),
                    after,
                    end,
                });
            }
        }
        let (queue, entries) = mpsc::channel(QUEUE);
        let room = Arc::new(Semaphore::new(QUEUE_KIB_MAX as usize));
        let mut tasks = JoinSet::new();
        for stream in streams {
            let follower = Follower {
                journal: self.parts(),
                stream,
                filters: filters.clone(),
                reached: after.get(stream),
                queue: queue.clone(),
                room: Arc::clone(&room),
            };
            tasks.spawn(follower.run());
        }
        Ok(Box::new(Following {
            entries,
            _tasks: tasks,
        }))
    }
}

struct Follower {
    journal: JetStreamJournal,
    stream: StreamId,
    filters: Vec<String>,
    /// The last sequence that was handed on.
    reached: u64,
    queue: mpsc::Sender<Waiting>,
    /// For what waits, in KiB.
    room: Arc<Semaphore>,
}

/// An entry, and its room until it is taken.
struct Waiting {
    entry: Entry,
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
            if self.reached > reached {
                pause = Pause::default();
            }
            pause.wait().await;
        }
    }

    async fn follow(&mut self) -> Result<(), CallError> {
        let link = self.journal.link.clone();
        let mut reconnections = link.reconnections();
        let (inbox, mut subscriber) = link.inbox().await?;
        self.create(&inbox).await?;
        let mut received = 0;
        loop {
            let message = tokio::select! {
                message = timeout(HEARTBEAT * 3, subscriber.next()) => message,
                () = reconnections.next() => return Err(CallError::Reconnected),
            };
            let Ok(Some(message)) = message else {
                return Err(CallError::Timeout);
            };
            if status(&message).is_some() {
                self.control(&message, received).await?;
                continue;
            }
            let Delivered {
                consumed,
                sequence,
                stored_at,
            } = Delivered::of(&message)
                .ok_or_else(|| CallError::Answer("a message without position".to_owned()))?;
            if consumed != received + 1 {
                return Err(CallError::Answer(
                    "messages were lost on the way".to_owned(),
                ));
            }
            received = consumed;
            self.hand_on(message, sequence, stored_at).await?;
        }
    }

    async fn create(&self, inbox: &str) -> Result<(), CallError> {
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
        self.journal
            .link
            .api::<IgnoredAny>(&operation, &request)
            .await?;
        Ok(())
    }

    /// A heartbeat, or the question whether all so far has been read.
    async fn control(&self, message: &Message, received: u64) -> Result<(), CallError> {
        if status(message) != Some(100) {
            let text = message.description.clone().unwrap_or_default();
            return Err(CallError::Answer(text));
        }
        let answer_to = match &message.reply {
            Some(reply) => Some(reply.to_string()),
            None => header(message, "Nats-Consumer-Stalled").map(str::to_owned),
        };
        if let Some(subject) = answer_to {
            self.journal
                .link
                .send(subject, None, bytes::Bytes::new())
                .await?;
        }
        let last = header(message, "Nats-Last-Consumer").and_then(|text| text.parse().ok());
        if last.is_some_and(|last: u64| last > received) {
            return Err(CallError::Answer(
                "messages were lost on the way".to_owned(),
            ));
        }
        Ok(())
    }

    async fn hand_on(
        &mut self,
        message: Message,
        sequence: u64,
        stored_at: Timestamp,
    ) -> Result<(), CallError> {
        let position = Position {
            stream: self.stream,
            sequence,
        };
        let raw = Raw {
            subject: message.subject.to_string(),
            headers: header_pairs(message.headers.as_ref()),
            payload: message.payload,
        };
        let entry = self.journal.entry(position, raw).await;
        let entry = entry.map_err(|error| CallError::Client(error.to_string()))?;
        let entry = entry.stored_at(Some(stored_at));
        let kib = u32::try_from(entry.raw.bytes().div_ceil(1024)).unwrap_or(u32::MAX);
        // One that is larger than all the room waits alone.
        let room = Arc::clone(&self.room).acquire_many_owned(kib.clamp(1, QUEUE_KIB_MAX));
        let room = tokio::select! {
            room = room => room.map_err(|error| CallError::Client(error.to_string()))?,
            () = self.queue.closed() => return Err(CallError::Client("nobody reads".to_owned())),
        };
        let waiting = Waiting { entry, _room: room };
        if self.queue.send(waiting).await.is_ok() {
            self.reached = sequence;
            Ok(())
        } else {
            Err(CallError::Client("nobody reads".to_owned()))
        }
    }
}

/// What the subject for an answer says of a message:
/// `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<stream sequence>.<consumer
/// sequence>.<nanoseconds since 1970>.<pending>…`.
struct Delivered {
    /// The sequence in the consumer.
    consumed: u64,
    /// The one in the stream.
    sequence: u64,
    stored_at: Timestamp,
}

impl Delivered {
    fn of(message: &Message) -> Option<Self> {
        const NANOSECONDS_PER_MS: i64 = 1_000_000;
        let reply = message.reply.as_ref()?;
        let tokens: Vec<_> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let first = if tokens.len() >= 9 { 2 } else { 0 };
        let token = |index: usize| tokens.get(first + index);
        let nanoseconds: i64 = token(5)?.parse().ok()?;
        Some(Self {
            consumed: token(4)?.parse().ok()?,
            sequence: token(3)?.parse().ok()?,
            stored_at: Timestamp::from_millis(nanoseconds.div_euclid(NANOSECONDS_PER_MS)),
        })
    }
}

struct Following {
    entries: mpsc::Receiver<Waiting>,
    /// Aborted when this is dropped.
    _tasks: JoinSet<()>,
}

#[async_trait]
impl Tail for Following {
    async fn next(&mut self) -> Entry {
        match self.entries.recv().await {
            Some(waiting) => waiting.entry,
            // All tasks have ended: the connection was closed on purpose.
            None => std::future::pending().await,
        }
    }

    async fn next_batch(&mut self, max: usize) -> Vec<Entry> {
        let mut batch = Vec::new();
        if self.entries.recv_many(&mut batch, max.max(1)).await == 0 {
            std::future::pending::<()>().await;
        }
        batch.into_iter().map(|waiting| waiting.entry).collect()
    }
}

fn nanoseconds(duration: Duration) -> Value {
    json!(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}
