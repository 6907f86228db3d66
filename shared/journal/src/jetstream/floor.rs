//! The bare traffic of an execution: what the broker and its client take for the same messages
//! between as many processes, with nothing of ours on top. What the services take is read as a ratio
//! to it.
//!
//! Each part is a process of its own. The first appends the first event of each execution, which
//! wakes the next, as the services wake each other; appends carry the guards of the log, and
//! deliveries are acknowledged. Nothing is encoded, hashed, folded, decided, or looked at.
//!
//! Deliberately absent: users, retries, and everything else that makes this right.

use std::{collections::BTreeMap, error::Error, sync::Arc, time::Duration};

use async_nats::{
    Client, ConnectOptions as BrokerOptions, HeaderMap, RequestErrorKind,
    jetstream::{
        self, Context,
        consumer::{self, AckPolicy, DeliverPolicy, pull, push},
    },
};
use bytes::Bytes;
use contracts::{
    event::EventName,
    ids::{ExecutionId, WorkspaceId},
    position::StreamId,
    subject::AggregateId,
};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    ConnectOptions,
    group::{Groups, Guarded, Outcome},
    link::{Link, Pause, SUBSCRIPTION_MESSAGES, header_map},
};
use crate::{
    layout::{StreamCount, event_filter},
    stored::Raw,
};

type Failure = Box<dyn Error + Send + Sync>;

/// Appends that wait for their acknowledgement, in one process.
const IN_FLIGHT_MAX: usize = 4096;

/// Deliveries that planner and verifier work on at once, and executions that the executor does.
const ANSWERED_AT_ONCE: usize = 64;
const DRIVEN_AT_ONCE: usize = 2048;

/// How long the next end may take: after it, something is lost.
const END_WITHIN: Duration = Duration::from_mins(1);

const CALLED: &str = "floor.call";

/// Who does what the service of that name does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Intake,
    Planner,
    Verifier,
    Executor,
    Projector,
    /// Answers calls.
    Worker,
}

impl Part {
    pub const ALL: [Self; 6] = [
        Self::Intake,
        Self::Planner,
        Self::Verifier,
        Self::Executor,
        Self::Projector,
        Self::Worker,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Planner => "planner",
            Self::Verifier => "verifier",
            Self::Executor => "executor",
            Self::Projector => "projector",
            Self::Worker => "worker",
        }
    }
}

/// The events of one execution as they are stored: those of the others are as large.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pattern {
    pub streams: u8,
    /// Whether a call is made between the start of a step and its end.
    pub calls: bool,
    /// Whether appends are gathered for one commit, as where each is fsynced.
    pub grouped: bool,
    /// Whether what was acknowledged is kept in the memory of one server only.
    pub state_in_memory: bool,
    pub events: Vec<PatternEvent>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PatternEvent {
    #[serde(with = "as_text")]
    pub name: EventName,
    pub headers: Vec<(String, String)>,
    pub payload: Vec<u8>,
}

impl PatternEvent {
    pub fn of(name: EventName, raw: &Raw) -> Self {
        Self {
            name,
            headers: raw.headers.clone(),
            payload: raw.payload.to_vec(),
        }
    }
}

mod as_text {
    use contracts::event::EventName;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature that serde calls"
    )]
    pub fn serialize<S: Serializer>(name: &EventName, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(name)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<EventName, D::Error> {
        let text = String::deserialize(from)?;
        EventName::parse(&text).ok_or_else(|| D::Error::custom("an event that is not known"))
    }
}

/// One process of the floor.
pub struct Floor {
    client: Client,
    jetstream: Context,
    groups: Option<Groups>,
    pattern: Pattern,
    payloads: Vec<Bytes>,
    count: StreamCount,
    workspace: WorkspaceId,
}

/// What was generated, each from its first append to its end.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Generated {
    pub took: Duration,
    pub latencies: Vec<Duration>,
}

impl Floor {
    pub async fn connect(url: &str, part: Part, pattern: Pattern) -> Result<Arc<Self>, Failure> {
        let options = BrokerOptions::new().name(format!("floor-{}", part.as_str()));
        let addresses: Vec<&str> = url.split(',').collect();
        let client = options
            .subscription_capacity(SUBSCRIPTION_MESSAGES)
            .connect(addresses)
            .await?;
        let jetstream = jetstream::context::ContextBuilder::new()
            .max_ack_inflight(IN_FLIGHT_MAX)
            .backpressure_on_inflight(true)
            .build(client.clone());
        let count = StreamCount::try_new(pattern.streams)?;
        let groups = if pattern.grouped {
            let link = Link::open(&ConnectOptions::new(url, part.as_str())).await?;
            Some(Groups::start(&link, count.streams()))
        } else {
            None
        };
        Ok(Arc::new(Self {
            client,
            jetstream,
            groups,
            count,
            payloads: pattern
                .events
                .iter()
                .map(|event| Bytes::from(event.payload.clone()))
                .collect(),
            pattern,
            workspace: "floor".parse()?,
        }))
    }

    /// Takes what wakes this part for as long as there is a broker; `ready` is told once it does.
    pub async fn serve(self: Arc<Self>, part: Part, ready: impl Fn()) -> Result<(), Failure> {
        match part {
            // It is asked to generate instead.
            Part::Intake => Ok(()),
            Part::Planner => self.answer(0, ANSWERED_AT_ONCE, part, ready).await,
            Part::Verifier => self.answer(1, ANSWERED_AT_ONCE, part, ready).await,
            Part::Executor => self.answer(2, DRIVEN_AT_ONCE, part, ready).await,
            Part::Projector => self.follow(ready).await,
            Part::Worker => self.work(ready).await,
        }
    }

    /// Begins so many executions, so many at once, and waits for the end of each.
    pub async fn generate(
        self: &Arc<Self>,
        number: usize,
        at_once: usize,
        new_id: fn() -> ExecutionId,
    ) -> Result<Generated, Failure> {
        let mut ended = self.ended().await?;
        let room = Arc::new(Semaphore::new(at_once));
        let (begun, mut beginnings) = mpsc::unbounded_channel();
        let start = Instant::now();
        let beginning = {
            let (floor, room) = (Arc::clone(self), Arc::clone(&room));
            tokio::spawn(async move {
                for _ in 0..number {
                    room.acquire().await?.forget();
                    let (floor, begun) = (Arc::clone(&floor), begun.clone());
                    tokio::spawn(async move {
                        let id = new_id();
                        // Nobody waits any more where this fails.
                        let _ = begun.send((id.to_string(), Instant::now()));
                        if let Err(error) = floor.append(&id, 0).await {
                            tracing::error!(%error, "an execution does not begin");
                        }
                    });
                }
                Ok::<_, Failure>(())
            })
        };
        let mut open = BTreeMap::new();
        let mut latencies = Vec::with_capacity(number);
        while latencies.len() < number {
            let id = timeout(END_WITHIN, ended.recv()).await?.ok_or("it ended")?;
            while let Ok((id, at)) = beginnings.try_recv() {
                open.insert(id, at);
            }
            if let Some(at) = open.remove(&id) {
                latencies.push(at.elapsed());
                room.add_permits(1);
            }
        }
        beginning.await??;
        Ok(Generated {
            took: start.elapsed(),
            latencies,
        })
    }

    /// The ids of executions as their last events are stored, from now on.
    async fn ended(&self) -> Result<mpsc::Receiver<String>, Failure> {
        let last = self.pattern.events.last().ok_or("the pattern is empty")?;
        let filter = event_filter(last.name);
        let (sender, ended) = mpsc::channel(IN_FLIGHT_MAX);
        for stream in self.log() {
            let mut messages = self.pushed(stream, filter.clone()).await?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Some(Ok(message)) = messages.next().await {
                    let id = message.subject.split('.').nth(4).unwrap_or_default();
                    if sender.send(id.to_owned()).await.is_err() {
                        return;
                    }
                }
            });
        }
        Ok(ended)
    }

    async fn pushed(&self, stream: StreamId, filter: String) -> Result<push::Messages, Failure> {
        let inbox = self.client.new_inbox();
        let config = push::Config {
            deliver_subject: inbox,
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::None,
            filter_subject: filter,
            memory_storage: true,
            ..push::Config::default()
        };
        let stream = self.jetstream.get_stream(stream.name()).await?;
        Ok(stream.create_consumer(config).await?.messages().await?)
    }

    async fn answer(
        self: Arc<Self>,
        waking: usize,
        at_once: usize,
        part: Part,
        ready: impl Fn(),
    ) -> Result<(), Failure> {
        let woken_by = self.pattern.events.get(waking).ok_or("the pattern ends")?;
        let mut consumers = JoinSet::new();
        for stream in self.log() {
            let config = pull::Config {
                durable_name: Some(part.as_str().to_owned()),
                ack_policy: AckPolicy::Explicit,
                filter_subject: event_filter(woken_by.name),
                max_ack_pending: 10_000,
                memory_storage: self.pattern.state_in_memory,
                // As many as the stream has, where none is said.
                num_replicas: usize::from(self.pattern.state_in_memory),
                ..pull::Config::default()
            };
            let stream = self.jetstream.get_stream(stream.name()).await?;
            let consumer: consumer::Consumer<pull::Config> = stream.create_consumer(config).await?;
            self.reached(&consumer).await?;
            let mut messages = consumer
                .stream()
                .max_messages_per_batch(64)
                .messages()
                .await?;
            let floor = Arc::clone(&self);
            consumers.spawn(async move {
                let room = Arc::new(Semaphore::new(at_once));
                while let Some(message) = messages.next().await {
                    let message = message?;
                    let place = Arc::clone(&room).acquire_owned().await?;
                    let floor = Arc::clone(&floor);
                    tokio::spawn(async move {
                        if let Err(error) = floor.go_on(&message, waking, part).await {
                            tracing::error!(%error, "an execution does not go on");
                        }
                        drop(place);
                    });
                }
                Ok::<_, Failure>(())
            });
        }
        ready();
        while let Some(ended) = consumers.join_next().await {
            ended??;
        }
        Ok(())
    }

    /// Of several servers, the one that this is connected to may not have heard yet where a new consumer
    /// is: until then nobody answers. Nothing is there to be delivered so early.
    async fn reached(&self, consumer: &consumer::Consumer<pull::Config>) -> Result<(), Failure> {
        let info = consumer.cached_info();
        let (stream, name) = (&info.stream_name, &info.name);
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}");
        let asked = Bytes::from_static(br#"{"batch":1,"no_wait":true}"#);
        let asking = async {
            let mut pause = Pause::default();
            loop {
                match self.client.request(subject.clone(), asked.clone()).await {
                    Ok(_) => return Ok(()),
                    Err(error) if error.kind() == RequestErrorKind::NoResponders => {
                        pause.wait().await;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        };
        timeout(END_WITHIN, asking).await?
    }

    async fn go_on(
        &self,
        message: &jetstream::Message,
        waking: usize,
        part: Part,
    ) -> Result<(), Failure> {
        let id = message.subject.split('.').nth(4).unwrap_or_default();
        let id: ExecutionId = id.parse()?;
        let to = if part == Part::Executor {
            self.pattern.events.len()
        } else {
            waking + 2
        };
        for index in waking + 1..to {
            self.append(&id, index).await?;
            self.call_after(index).await?;
        }
        message.ack().await
    }

    async fn append(&self, id: &ExecutionId, index: usize) -> Result<(), Failure> {
        let event = self.pattern.events.get(index).ok_or("the pattern ends")?;
        let aggregate = AggregateId::execution(self.workspace.clone(), *id);
        let version = index as u64 + 1;
        let guard = if version == 1 {
            aggregate.filter()
        } else {
            aggregate.version_filter(version)
        };
        // The subject of the event is the guard with its name in the place of the wildcard.
        let subject = format!(
            "{}{}",
            aggregate.version_filter(version).trim_end_matches('>'),
            event.name
        );
        let own = event.headers.iter();
        let own = own.map(|(name, value)| (name.as_str(), value.as_str()));
        let guards = [
            ("Nats-Expected-Last-Subject-Sequence", "0"),
            ("Nats-Expected-Last-Subject-Sequence-Subject", &*guard),
        ];
        let headers: HeaderMap = header_map(guards.into_iter().chain(own)).ok_or("a header")?;
        let payload = self.payloads.get(index).cloned().unwrap_or_default();
        let mut turn = None;
        if let Some(groups) = &self.groups {
            let event = Guarded {
                subject: subject.clone(),
                headers: headers.clone(),
                bytes: payload.len(),
                payload: payload.clone(),
                aggregate: aggregate.clone(),
            };
            let stream = self.count.stream_of(&aggregate);
            match groups.join(stream, event, Instant::now()).await {
                Outcome::Stored(_) => return Ok(()),
                Outcome::Alone(alone) => turn = alone,
            }
        }
        let publishing = self
            .jetstream
            .publish_with_headers(subject, headers, payload);
        publishing.await?.await?;
        drop(turn);
        Ok(())
    }

    /// Where the event that was appended is the start of a step that calls.
    async fn call_after(&self, index: usize) -> Result<(), Failure> {
        let event = self.pattern.events.get(index);
        if self.pattern.calls && event.is_some_and(|event| event.name == EventName::StepStarted) {
            let asked = self.payloads.get(index).cloned().unwrap_or_default();
            self.client.request(CALLED, asked).await?;
        }
        Ok(())
    }

    async fn follow(self: Arc<Self>, ready: impl Fn()) -> Result<(), Failure> {
        let mut readers = JoinSet::new();
        for stream in self.log() {
            let mut messages = self.pushed(stream, String::new()).await?;
            readers.spawn(async move { while let Some(Ok(_)) = messages.next().await {} });
        }
        ready();
        while readers.join_next().await.is_some() {}
        Ok(())
    }

    async fn work(self: Arc<Self>, ready: impl Fn()) -> Result<(), Failure> {
        let mut calls = self
            .client
            .queue_subscribe(CALLED, "worker".to_owned())
            .await?;
        self.client.flush().await?;
        ready();
        while let Some(call) = calls.next().await {
            if let Some(reply) = call.reply {
                self.client.publish(reply, call.payload).await?;
            }
        }
        Ok(())
    }

    fn log(&self) -> impl Iterator<Item = StreamId> {
        let streams = self.count.streams().into_iter();
        streams.filter(|stream| *stream != StreamId::Catalogue)
    }

    /// So many appends of the last event, which wakes nobody, each of an execution of its own, so many
    /// in flight: the most that the streams take.
    pub async fn append_only(
        self: &Arc<Self>,
        number: usize,
        in_flight: usize,
        new_id: fn() -> ExecutionId,
    ) -> Result<Duration, Failure> {
        let room = Arc::new(Semaphore::new(in_flight));
        let last = self.pattern.events.len().saturating_sub(1);
        let start = Instant::now();
        let mut appends = JoinSet::new();
        for _ in 0..number {
            let place = Arc::clone(&room).acquire_owned().await?;
            let floor = Arc::clone(self);
            while let Some(ended) = appends.try_join_next() {
                ended??;
            }
            appends.spawn(async move {
                let stored = floor.append(&new_id(), last).await;
                drop(place);
                stored
            });
        }
        while let Some(ended) = appends.join_next().await {
            ended??;
        }
        Ok(start.elapsed())
    }
}
