//! Durable consumption: one pull consumer per event and stream, each with a task that keeps one request
//! for messages open at the broker, for as many as there is room for here.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_nats::{Message as BrokerMessage, Subscriber};
use async_trait::async_trait;
use contracts::{
    event::Service,
    position::{Position, StreamId},
};
use futures::{FutureExt as _, Stream, StreamExt as _, future::try_join_all, stream};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    JetStreamJournal,
    direct::READ_PATIENCE,
    link::{CallError, Delivered, Link, Pause, header_pairs, nanoseconds, status},
};
use crate::{
    Unavailable,
    delivery::{
        Acknowledge, ConsumerSpec, Deliveries, Delivery, Message, Purpose, UNACKNOWLEDGED_MAX,
        Unanswered, name_for, on_executions,
    },
    inbox::inbox_filter,
    layout::{TIMERS, event_filter, inbox},
    stored::{Raw, Unreadable},
    timer::Timer,
};

/// How long one request for messages stays open.
const PULL_EXPIRES: Duration = Duration::from_secs(30);

/// How often the broker says that it is still there; where nothing happens this is all that does. Three
/// silences are a lost request, so what waits is heard of in time for a takeover. And two are a pause of
/// this process: whoever dispatches has to know of any that is much shorter than [`ACK_WAIT`], because
/// what it finds afterwards may be another's by now.
///
/// [`ACK_WAIT`]: crate::delivery::ACK_WAIT
fn heartbeat(service: Service) -> Duration {
    Duration::from_secs(match service {
        Service::Executor => 2,
        Service::Intake | Service::Planner | Service::Verifier | Service::Projector => 4,
    })
}

/// What the broker had sent before a stop comes at once.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);

/// How long a consumer may take to be made while a leader is elected.
const CREATE_PATIENCE: Duration = Duration::from_secs(20);

/// How long the tasks of a stopped consumption may take: others wait for what they hold.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// What a message is given back with while its payload cannot be had.
const PAYLOAD_RETRY: Duration = Duration::from_secs(1);

impl JetStreamJournal {
    pub(super) async fn consume_durably(
        &self,
        spec: ConsumerSpec,
    ) -> Result<Box<dyn Deliveries>, Unavailable> {
        let (stop, stopped) = watch::channel(false);
        let open = Open::default();
        let mut tasks = JoinSet::new();
        let mut queues = Vec::new();
        let sources = self.sources(&spec);
        let made = sources.iter().map(async |source| {
            let made = source.create(&self.link).await;
            made.map_err(|error| {
                let doing = format!("make the consumer `{}`", source.consumer);
                Unavailable::new(doing, error)
            })
        });
        try_join_all(made).await?;
        for source in sources {
            let (queue, messages) = mpsc::channel(spec.prefetch.max(1));
            let puller = Puller {
                journal: self.parts(),
                source,
                queue,
                open: open.clone(),
                stopped: stopped.clone(),
                seen_empty: Instant::now(),
            };
            tasks.spawn(puller.run());
            queues.push(messages);
        }
        let merged = stream::select_all(
            queues
                .into_iter()
                .map(|mut queue| stream::poll_fn(move |context| queue.poll_recv(context)).boxed()),
        );
        Ok(Box::new(Consumption {
            link: self.link.clone(),
            merged: Box::pin(merged),
            open,
            stop,
            tasks,
        }))
    }

    /// What no process has been given yet, of what makes a service start new work.
    pub(super) async fn pending(&self) -> Result<u64, Unavailable> {
        #[derive(Deserialize)]
        struct Info {
            num_pending: u64,
        }
        let driving = on_executions().filter(|(_, purpose, _)| *purpose == Purpose::Drive);
        let consumers = driving.flat_map(|(service, purpose, event)| {
            let streams = self.count.streams_of(event).into_iter();
            streams.map(move |stream| (stream.name(), name_for(service, purpose, event)))
        });
        let asked = consumers.map(async |(stream, consumer)| {
            let info = self.link.consumer(&stream, &consumer, READ_PATIENCE).await;
            let info: Option<Info> =
                info.map_err(|error| Unavailable::new("ask what waits to be begun", error))?;
            // Where there is none, no such service was ever started.
            Ok(info.map_or(0, |info| info.num_pending))
        });
        Ok(try_join_all(asked).await?.into_iter().sum())
    }

    /// The same journal for a task of its own.
    pub(super) fn parts(&self) -> Self {
        Self {
            link: self.link.clone(),
            count: self.count,
            window: self.window,
            append_deadline: self.append_deadline,
            groups: self.groups.clone(),
            time: Arc::clone(&self.time),
            outside: Arc::clone(&self.outside),
        }
    }

    fn sources(&self, spec: &ConsumerSpec) -> Vec<Source> {
        let events = spec.events.iter().flat_map(|event| {
            let streams = self.count.streams_of(*event).into_iter();
            streams.map(|id| Source {
                holds: Holds::Events(id),
                stream: id.name(),
                consumer: spec.name_for(*event),
                filter: event_filter(*event),
                ack_wait: spec.ack_wait,
                heartbeat: heartbeat(spec.service),
            })
        });
        let timers = spec.timers.then(|| Source {
            holds: Holds::Timers,
            stream: TIMERS.to_owned(),
            consumer: spec.name(),
            filter: format!("cp.timer.due.{}.>", spec.service),
            ack_wait: spec.ack_wait,
            heartbeat: heartbeat(spec.service),
        });
        let letters = spec.inbox.as_ref().map(|workspace| Source {
            holds: Holds::Letters,
            stream: inbox(workspace),
            consumer: spec.name(),
            filter: inbox_filter(workspace),
            ack_wait: spec.ack_wait,
            heartbeat: heartbeat(spec.service),
        });
        events.chain(timers).chain(letters).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Holds {
    Events(StreamId),
    Timers,
    Letters,
}

/// One durable consumer on one stream.
struct Source {
    holds: Holds,
    stream: String,
    consumer: String,
    filter: String,
    ack_wait: Duration,
    heartbeat: Duration,
}

impl Source {
    async fn create(&self, link: &Link) -> Result<(), CallError> {
        let request = json!({
            "stream_name": self.stream,
            "config": {
                "durable_name": self.consumer,
                "name": self.consumer,
                "deliver_policy": "all",
                "ack_policy": "explicit",
                "ack_wait": nanoseconds(self.ack_wait),
                "max_deliver": -1,
                "max_ack_pending": UNACKNOWLEDGED_MAX,
                "filter_subject": self.filter,
                "replay_policy": "instant",
            },
        });
        let operation = format!("CONSUMER.CREATE.{}.{}", self.stream, self.consumer);
        let made = link.api_patiently::<IgnoredAny>(&operation, &request, CREATE_PATIENCE);
        made.await.map(|_| ())
    }
}

struct Puller {
    journal: JetStreamJournal,
    source: Source,
    queue: mpsc::Sender<Delivery>,
    open: Open,
    stopped: watch::Receiver<bool>,
    /// When nothing was waiting here: what is found later came after that.
    seen_empty: Instant,
}

/// Why a request for messages came to its end.
enum End {
    Spent,
    /// Ask again, on a new subscription and after looking after the consumer.
    Broken,
    Stopped,
}

impl Puller {
    async fn run(mut self) {
        let mut pause = Pause::default();
        loop {
            let Ok((inbox, mut subscriber)) = self.journal.link.inbox().await else {
                return;
            };
            match self.pull(&inbox, &mut subscriber, &mut pause).await {
                End::Stopped => return self.drain(subscriber).await,
                End::Spent | End::Broken => {}
            }
            tokio::select! {
                () = pause.wait() => {}
                _ = self.stopped.wait_for(|stopped| *stopped) => return,
            }
            let created = tokio::select! {
                created = self.source.create(&self.journal.link) => created,
                _ = self.stopped.wait_for(|stopped| *stopped) => return,
            };
            if let Err(error) = created {
                let Source {
                    stream, consumer, ..
                } = &self.source;
                tracing::warn!(stream, consumer, %error, "cannot make the consumer again yet");
            }
        }
    }

    async fn pull(&mut self, inbox: &str, subscriber: &mut Subscriber, pause: &mut Pause) -> End {
        let subject = format!(
            "$JS.API.CONSUMER.MSG.NEXT.{}.{}",
            self.source.stream, self.source.consumer
        );
        loop {
            // This task alone fills the queue: room that is seen stays.
            let room = tokio::select! {
                slot = self.queue.reserve() => slot.is_ok(),
                _ = self.stopped.wait_for(|stopped| *stopped) => return End::Stopped,
            };
            if !room {
                return End::Stopped;
            }
            let batch = self.queue.capacity();
            let request = json!({
                "batch": batch,
                "expires": nanoseconds(PULL_EXPIRES),
                "idle_heartbeat": nanoseconds(self.source.heartbeat),
            });
            let sent = self.journal.link.send(
                subject.clone(),
                Some(inbox.to_owned()),
                request.to_string().into(),
            );
            if sent.await.is_err() {
                return End::Broken;
            }
            self.seen_empty = Instant::now();
            match self.receive(batch, subscriber, pause).await {
                End::Spent => {}
                end @ (End::Broken | End::Stopped) => return end,
            }
        }
    }

    async fn receive(&mut self, batch: usize, from: &mut Subscriber, pause: &mut Pause) -> End {
        let mut reconnections = self.journal.link.reconnections();
        let mut left = batch;
        while left > 0 {
            let began = Instant::now();
            let message = tokio::select! {
                message = next(from, self.source.heartbeat) => message,
                // The open request went with the old connection.
                () = reconnections.next() => return End::Spent,
                _ = self.stopped.wait_for(|stopped| *stopped) => return End::Stopped,
            };
            let Some((message, waited)) = message else {
                return End::Broken;
            };
            if waited {
                // The broker says more often that it is there: a longer silence was this
                // process's own, and what it finds now may have come any time in it.
                let paused = began.elapsed() > self.source.heartbeat * 2;
                self.seen_empty = if paused { began } else { Instant::now() };
            }
            match status(&message) {
                None => {
                    *pause = Pause::default();
                    left -= 1;
                    self.deliver(message).await;
                }
                Some(100) => {}
                // Expired, or nothing more for this request.
                Some(404 | 408) => return End::Spent,
                // Deleted, moved to another leader, or nobody there.
                Some(_) => return End::Broken,
            }
        }
        End::Spent
    }

    async fn deliver(&self, message: BrokerMessage) {
        let Some(about) = Delivered::of(&message) else {
            return;
        };
        let handle = self.handle(&message, about.sequence);
        let received = self.seen_empty;
        let raw = Raw {
            subject: message.subject.to_string(),
            headers: header_pairs(message.headers.as_ref()),
            payload: message.payload,
        };
        match self.message(raw, about.sequence).await {
            Ok(message) => {
                let delivery = Delivery {
                    message: Arc::new(message),
                    delivered: about.times,
                    pending: Some(about.pending),
                    received,
                    handle,
                };
                // Nobody is there to receive only when the whole consumption was dropped.
                let _ = self.queue.send(delivery).await;
            }
            Err(error) => {
                tracing::warn!(%error, "a payload that is stored apart cannot be had yet");
                let _ = handle.retry_later(PAYLOAD_RETRY).await;
            }
        }
    }

    async fn message(&self, raw: Raw, sequence: u64) -> Result<Message, Unavailable> {
        let stream = match self.source.holds {
            Holds::Events(stream) => stream,
            Holds::Letters => return Ok(Message::Letter { sequence, raw }),
            Holds::Timers => {
                return Ok(match Timer::from_bytes(&raw.payload) {
                    Ok(timer) => Message::Timer(timer),
                    Err(error) => Message::Unreadable {
                        position: None,
                        raw,
                        error: Unreadable::Timer(error),
                    },
                });
            }
        };
        let position = Position { stream, sequence };
        let entry = self.journal.entry(position, raw).await?;
        Ok(match entry.recorded {
            Ok(recorded) => Message::Event { position, recorded },
            Err(error) => Message::Unreadable {
                position: Some(position),
                raw: entry.raw,
                error,
            },
        })
    }

    fn handle(&self, message: &BrokerMessage, sequence: u64) -> Arc<OpenMessage> {
        let key = (self.source.holds, sequence);
        let reply = message.reply.as_ref().map(ToString::to_string);
        let reply = reply.unwrap_or_default();
        self.open.lock().insert(key, reply.clone());
        Arc::new(OpenMessage {
            link: self.journal.link.clone(),
            open: self.open.clone(),
            key,
            reply,
        })
    }

    /// What the broker had sent before it heard that no more is wanted.
    async fn drain(&self, mut subscriber: Subscriber) {
        if subscriber.drain().await.is_err() {
            return;
        }
        while let Ok(Some(message)) = timeout(DRAIN_WITHIN, subscriber.next()).await {
            if let Some(about) = Delivered::of(&message) {
                self.handle(&message, about.sequence);
            }
        }
    }
}

/// The next message, and whether it had to be waited for; nothing where none comes although the
/// broker says more often that it is there. Safe to cancel.
async fn next(from: &mut Subscriber, heartbeat: Duration) -> Option<(BrokerMessage, bool)> {
    if let Some(message) = from.next().now_or_never() {
        return Some((message?, false));
    }
    let message = timeout(heartbeat * 3, from.next()).await.ok()??;
    Some((message, true))
}

/// What was delivered to this process and is not answered: the newest way to answer it.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<HashMap<Key, String>>>);

type Key = (Holds, u64);

impl Open {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct OpenMessage {
    link: Link,
    open: Open,
    key: Key,
    reply: String,
}

impl OpenMessage {
    /// An answer that waited for the connection to come back could be taken for one about a later
    /// delivery; silence is always safe.
    async fn answer(&self, text: String) -> Result<(), Unavailable> {
        if !self.link.is_connected() {
            return Err(Unavailable::new(
                "answer a delivery",
                "the connection is lost",
            ));
        }
        let sent = self.link.send(self.reply.clone(), None, text.into()).await;
        sent.map_err(|error| Unavailable::new("answer a delivery", error))
    }

    /// False where it was answered before, or where a later delivery of the same message has come.
    fn close(&self) -> bool {
        let mut open = self.open.lock();
        let is_open = open.get(&self.key) == Some(&self.reply);
        if is_open {
            open.remove(&self.key);
        }
        is_open
    }
}

#[async_trait]
impl Acknowledge for OpenMessage {
    async fn ack(&self) -> Result<(), Unavailable> {
        if !self.close() {
            return Ok(());
        }
        self.answer("+ACK".to_owned()).await
    }

    async fn in_progress(&self) -> Result<(), Unavailable> {
        self.answer("+WPI".to_owned()).await
    }

    fn release(&self) {
        self.close();
    }

    async fn retry_later(&self, delay: Duration) -> Result<(), Unavailable> {
        if !self.close() {
            return Ok(());
        }
        self.answer(give_back(delay)).await
    }
}

fn give_back(delay: Duration) -> String {
    format!("-NAK {}", json!({ "delay": nanoseconds(delay) }))
}

struct Consumption {
    link: Link,
    merged: Pin<Box<dyn Stream<Item = Delivery> + Send>>,
    open: Open,
    stop: watch::Sender<bool>,
    /// Aborted when this is dropped.
    tasks: JoinSet<()>,
}

#[async_trait]
impl Deliveries for Consumption {
    async fn next(&mut self) -> Delivery {
        match self.merged.next().await {
            Some(delivery) => delivery,
            // All tasks have ended: the connection was closed on purpose.
            None => std::future::pending().await,
        }
    }

    fn unanswered(&self) -> Unanswered {
        let open = self.open.clone();
        Box::new(move || open.lock().len())
    }

    async fn stop(mut self: Box<Self>) -> Result<(), Unavailable> {
        self.stop.send_replace(true);
        // First no more is asked for: what is given back would come here again.
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(STOP_PATIENCE, ended).await;
        return_all(&self.link, &self.open).await?;
        let flushed = self.link.flush().await;
        flushed.map_err(|error| Unavailable::new("give messages back", error))
    }
}

/// Gives back everything that is not answered.
async fn return_all(link: &Link, open: &Open) -> Result<(), Unavailable> {
    let replies: Vec<_> = open.lock().drain().collect();
    for (_, reply) in replies {
        let given_back = link.send(reply, None, "-NAK".into()).await;
        given_back.map_err(|error| Unavailable::new("give a message back", error))?;
    }
    Ok(())
}
