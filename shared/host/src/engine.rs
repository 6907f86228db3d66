//! The loop of planner and verifier: consume, fold, decide, append, again until the decider
//! yields nothing, acknowledge.
//!
//! Transient, newer and poison messages are told apart here and nowhere else.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use contracts::{
    canonical::Digest,
    event::{Event, Service},
    ids::{EventId, Incarnation, WorkspaceId},
    record::{Cause, Recorded},
    subject::{AggregateId, AggregateKind},
    time::Timestamp,
};
use domain::catalogue::Catalogue;
use journal::{
    Journal,
    append::AppendError,
    delivery::{ConsumerSpec, Deliveries, Delivery, Message},
    history::LoadError,
    timer::Timer,
};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    aggregate::{self, Aggregate},
    catalogue::{FollowError, Follower},
    clock, failpoint,
    health::Health,
    incident::{self, Incident, RaiseError},
    write::{WriteError, Writer},
};

/// How many messages of one consumer are worked on at once: each mostly waits for the broker.
const CONCURRENT_MAX: usize = 64;

/// How soon a message is tried again after a passing fault.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// When a message that is put off comes again: so far apart that many of them cost little, and
/// spread so that they do not come together.
const PUT_OFF_MS_MIN: u64 = 1000;
const PUT_OFF_MS_SPREAD: u64 = 4000;

/// What a running service has.
pub struct Host {
    pub service: Service,
    pub incarnation: Incarnation,
    pub journal: Arc<dyn Journal>,
    pub catalogue: Follower,
    pub health: Health,
    pub ack_wait: Duration,
    pub shutdown: CancellationToken,
    /// Why the process ends, where it was not told to.
    pub failure: OnceLock<String>,
}

impl Host {
    /// Ends the process: whoever started it starts it again, whole.
    pub fn fail(&self, reason: String) {
        tracing::error!(reason, "cannot go on");
        let _ = self.failure.set(reason);
        self.shutdown.cancel();
    }
}

/// Why a message is not done with.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// It will pass: the message comes again.
    #[error("{0}")]
    Transient(String),
    /// Only a newer binary can go on.
    #[error("newer event: upgrade ({0})")]
    Newer(String),
    /// An operator has to act; the message is put off until then.
    #[error("{0}")]
    Stuck(String),
    /// It will never pass: an incident is raised, and then the message is done with.
    #[error("{cause}")]
    Poison { code: &'static str, cause: String },
    /// This process cannot go on: it ends, and another one begins anew.
    #[error("{0}")]
    Fatal(String),
}

impl From<LoadError> for Trouble {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Corrupt { .. } => Self::Poison {
                code: "AGGREGATE_CORRUPT",
                cause: error.to_string(),
            },
            LoadError::Unreadable { .. } => Self::Poison {
                code: "POISON_MESSAGE",
                cause: chain(&error),
            },
            LoadError::Newer { subject } => Self::Newer(subject),
            LoadError::Unavailable(_) => Self::Transient(chain(&error)),
        }
    }
}

impl From<FollowError> for Trouble {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Newer(subject) => Self::Newer(subject),
            FollowError::Unavailable(_) => Self::Transient(chain(&error)),
            FollowError::Unreadable { .. } => Self::Stuck(chain(&error)),
            FollowError::CutBack { .. } => Self::Fatal(chain(&error)),
        }
    }
}

impl From<WriteError> for Trouble {
    fn from(error: WriteError) -> Self {
        match &error {
            WriteError::Append(AppendError::Refused { .. }) => Self::Stuck(chain(&error)),
            WriteError::Encode(_) => Self::Poison {
                code: "EVENT_NOT_ENCODABLE",
                cause: chain(&error),
            },
            WriteError::Conflict { .. } | WriteError::Append(_) => Self::Transient(chain(&error)),
        }
    }
}

impl From<RaiseError> for Trouble {
    fn from(error: RaiseError) -> Self {
        Self::Transient(chain(&error))
    }
}

impl From<journal::Unavailable> for Trouble {
    fn from(error: journal::Unavailable) -> Self {
        Self::Transient(chain(&error))
    }
}

/// An error and what led to it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// A message that wakes an aggregate.
#[derive(Debug, Clone)]
pub struct Wake {
    pub aggregate: AggregateId,
    pub id: EventId,
    /// A fold must have reached it.
    pub version: u64,
    /// Not decided before this instant: a timer's.
    pub due: Option<Timestamp>,
    /// The event itself, where the message is one.
    pub event: Option<Recorded>,
}

impl Wake {
    /// Nothing for a message that cannot be read.
    pub fn of(message: &Message) -> Option<Self> {
        match message {
            Message::Event { recorded, .. } => Some(Self::of_event(recorded)),
            Message::Timer(timer) => Some(Self {
                aggregate: timer.aggregate.clone(),
                id: timer.id(),
                version: timer.version,
                due: Some(timer.due),
                event: None,
            }),
            Message::Unreadable { .. } => None,
        }
    }
}

impl Wake {
    fn of_event(recorded: &Recorded) -> Self {
        let aggregate = &recorded.subject.aggregate;
        let about = match aggregate.kind() {
            AggregateKind::Incident => aggregate.execution_id(),
            AggregateKind::Execution
            | AggregateKind::Skill
            | AggregateKind::Policy
            | AggregateKind::Hold
            | AggregateKind::Schedule => None,
        };
        match about {
            // What is resolved wakes the execution it was about, whatever its version.
            Some(id) => Self {
                aggregate: AggregateId::execution(aggregate.workspace().clone(), id),
                id: recorded.id(),
                version: 0,
                due: None,
                event: None,
            },
            None => Self {
                aggregate: aggregate.clone(),
                id: recorded.id(),
                version: recorded.version(),
                due: None,
                event: Some(recorded.clone()),
            },
        }
    }
}

/// What a service does about a message.
#[async_trait]
pub trait Handle: Send + Sync + 'static {
    async fn handle(&self, host: &Host, wake: Wake, received: Instant) -> Result<(), Trouble>;
}

/// Works on the messages of all `specs` until shutdown, then gives back what is not done.
pub async fn run(
    host: Arc<Host>,
    specs: Vec<ConsumerSpec>,
    handler: Arc<dyn Handle>,
) -> Result<(), journal::Unavailable> {
    let mut consumers = JoinSet::new();
    for spec in specs {
        let deliveries = host.journal.consume(spec.ack_wait(host.ack_wait)).await?;
        consumers.spawn(consume(Arc::clone(&host), deliveries, Arc::clone(&handler)));
    }
    while let Some(ended) = consumers.join_next().await {
        // A panic of one consumer ends the service, so that it is started again whole.
        match ended {
            Ok(result) => result?,
            Err(error) => return Err(journal::Unavailable::new("consume", error)),
        }
    }
    Ok(())
}

async fn consume(
    host: Arc<Host>,
    mut deliveries: Box<dyn Deliveries>,
    handler: Arc<dyn Handle>,
) -> Result<(), journal::Unavailable> {
    let mut working: JoinSet<()> = JoinSet::new();
    loop {
        let full = working.len() >= CONCURRENT_MAX;
        let delivery = tokio::select! {
            () = host.shutdown.cancelled() => break,
            Some(ended) = working.join_next() => match ended {
                Ok(()) => continue,
                // A panic ends the service, so that it is started again whole.
                Err(error) => return Err(journal::Unavailable::new("go on", error)),
            },
            delivery = deliveries.next(), if !full => delivery,
        };
        working.spawn(work(Arc::clone(&host), delivery, Arc::clone(&handler)));
    }
    working.shutdown().await;
    deliveries.stop().await
}

async fn work(host: Arc<Host>, delivery: Delivery, handler: Arc<dyn Handle>) {
    let received = Instant::now();
    tracing::debug!(
        wake = ?delivery.message.id(),
        delivered = delivery.delivered,
        "woken"
    );
    let outcome = {
        let handling = handle(&host, &delivery, handler.as_ref(), received);
        tokio::pin!(handling);
        let mut progress =
            tokio::time::interval_at(received + host.ack_wait / 4, host.ack_wait / 4);
        loop {
            tokio::select! {
                outcome = &mut handling => break outcome,
                _ = progress.tick() => drop(delivery.handle.in_progress().await),
            }
        }
    };
    settle_delivery(&host, &delivery, outcome).await;
}

/// Acknowledges what is done, and gives back what is not.
pub async fn settle_delivery(host: &Host, delivery: &Delivery, outcome: Result<(), Trouble>) {
    let answered = match outcome {
        Ok(()) => delivery.handle.ack().await,
        Err(Trouble::Transient(reason)) => {
            tracing::warn!(reason, delivered = delivery.delivered, "will try again");
            delivery.handle.retry_later(RETRY_AFTER).await
        }
        Err(Trouble::Newer(subject)) => {
            let reason = format!("newer event: upgrade ({subject})");
            host.health.unready_for_now("upgrade", reason);
            put_off(host, delivery).await
        }
        Err(Trouble::Stuck(reason)) => {
            tracing::error!(reason, "an operator has to act");
            host.health.unready_for_now("stuck", reason);
            put_off(host, delivery).await
        }
        Err(Trouble::Fatal(reason)) => {
            host.fail(reason);
            delivery.handle.retry_later(Duration::ZERO).await
        }
        Err(Trouble::Poison { code, cause }) => {
            let incident = about(&delivery.message, code, cause);
            let journal = host.journal.as_ref();
            let raised = incident::raise(journal, host.service, &incident, clock::now()).await;
            match raised {
                Ok(()) => delivery.handle.ack().await,
                Err(error) => {
                    tracing::warn!(reason = chain(&error), "cannot raise an incident");
                    delivery.handle.retry_later(RETRY_AFTER).await
                }
            }
        }
    };
    if let Err(error) = answered {
        // The message comes again, which is harmless.
        tracing::debug!(reason = chain(&error), "an acknowledgement was not sent");
    }
}

/// Puts a timer in the place of a message that cannot be worked on now, and acknowledges it: one
/// that is only delayed would still count as pending, and a few thousand stop the consumer.
pub async fn put_off(host: &Host, delivery: &Delivery) -> Result<(), journal::Unavailable> {
    let Some(wake) = Wake::of(&delivery.message) else {
        return delivery.handle.retry_later(RETRY_AFTER * 10).await;
    };
    let timer = later(host.service, &wake.aggregate, wake.id, wake.version);
    match host.journal.arm(&timer).await {
        Ok(()) => delivery.handle.ack().await,
        Err(_) => delivery.handle.retry_later(RETRY_AFTER).await,
    }
}

/// The timer that stands for a wake-up that is put off: it comes with the same id, so that what
/// was left under it may still be taken over.
pub fn later(service: Service, aggregate: &AggregateId, wake: EventId, version: u64) -> Timer {
    let [high, low, ..] = *Digest::of(wake.to_string().as_bytes()).bytes();
    let spread = u64::from(u16::from_be_bytes([high, low])) % PUT_OFF_MS_SPREAD;
    Timer {
        service,
        aggregate: aggregate.clone(),
        key: format!("put-off-{wake}"),
        version,
        due: clock::now().plus_ms(PUT_OFF_MS_MIN + spread),
        wake: Some(wake),
    }
}

/// What an incident about a message says.
fn about(message: &Message, code: &'static str, cause: String) -> Incident {
    let (aggregate, event) = match message {
        Message::Event { recorded, .. } => (&recorded.subject.aggregate, recorded.id()),
        Message::Timer(timer) => (&timer.aggregate, timer.id()),
        Message::Unreadable { raw, .. } => {
            let workspace = raw
                .subject
                .split('.')
                .nth(1)
                .and_then(|token| token.parse().ok());
            return Incident {
                workspace: workspace.unwrap_or_else(WorkspaceId::global),
                subject_id: Digest::of(raw.subject.as_bytes()).to_string(),
                code,
                cause,
                about: raw.subject.clone(),
                event: None,
            };
        }
    };
    Incident {
        workspace: aggregate.workspace().clone(),
        subject_id: aggregate.id().to_owned(),
        code,
        cause,
        about: aggregate.to_string(),
        event: Some(event),
    }
}

async fn handle(
    host: &Host,
    delivery: &Delivery,
    handler: &dyn Handle,
    received: Instant,
) -> Result<(), Trouble> {
    match Wake::of(&delivery.message) {
        Some(wake) => handler.handle(host, wake, received).await,
        None => Err(unreadable(&delivery.message)),
    }
}

/// Why a message that cannot be read is set aside, or kept for a newer binary.
pub fn unreadable(message: &Message) -> Trouble {
    match message {
        Message::Unreadable { raw, error, .. } if error.is_newer() => {
            Trouble::Newer(raw.subject.clone())
        }
        Message::Unreadable { error, .. } => Trouble::Poison {
            code: "POISON_MESSAGE",
            cause: chain(error),
        },
        Message::Event { .. } | Message::Timer(_) => Trouble::Transient("try again".to_owned()),
    }
}

/// Drives one aggregate until its decider yields nothing, then arms what it waits for.
pub async fn settle<A, D, W>(
    host: &Host,
    wake: &Wake,
    received: Instant,
    decide: D,
    waits: W,
) -> Result<(), Trouble>
where
    A: Aggregate + Sync,
    D: Fn(&A, &Catalogue, Timestamp) -> Vec<Event> + Send + Sync,
    W: Fn(&A) -> Vec<Timer> + Send + Sync,
{
    let mut loaded = Fold::<A>::of_wake(host, wake).await?;
    'decide: loop {
        let state = &loaded.state;
        if let Some(cause) = state.corruption() {
            return Err(Trouble::Poison {
                code: "AGGREGATE_CORRUPT",
                cause,
            });
        }
        // Facts are confirmed after the message was received, whatever else shares the answer.
        let catalogue = host.catalogue.confirmed_since(received).await?;
        let now = instant(clock::now(), state, wake);
        let events = decide(state, &catalogue, now);
        if events.is_empty() {
            break;
        }
        let cause = Cause {
            id: Some(wake.id),
            traceparent: state.traceparent().map(str::to_owned),
        };
        let writer = Writer {
            journal: host.journal.as_ref(),
            service: host.service,
            aggregate: &wake.aggregate,
            cause: &cause,
            now,
        };
        for event in events {
            if loaded.is_stale(host) {
                loaded = Fold::confirmed(host, &wake.aggregate).await?;
                continue 'decide;
            }
            match writer.append(&loaded.state, event).await {
                Ok((_, recorded)) => {
                    failpoint::reach("appended");
                    loaded.state = loaded.state.evolve(&recorded);
                }
                Err(WriteError::Conflict { .. }) => {
                    loaded = Fold::confirmed(host, &wake.aggregate).await?;
                    continue 'decide;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    for timer in waits(&loaded.state) {
        host.journal.arm(&timer).await?;
    }
    failpoint::reach("before-acknowledge");
    Ok(())
}

/// Nothing is appended on a fold that is older: its versions could have been archived and purged
/// after five minutes, and a purged version's guard passes again.
pub const FOLD_AGE_MAX: Duration = Duration::from_mins(4);

/// A fold, and since when it is known to be the leader's.
struct Fold<A> {
    state: A,
    begun: Instant,
    epoch: u64,
}

impl<A: Aggregate> Fold<A> {
    /// The first event of an aggregate is its whole history; anything else is loaded.
    async fn of_wake(host: &Host, wake: &Wake) -> Result<Self, Trouble> {
        let (begun, epoch) = (Instant::now(), host.journal.epoch());
        let state = if let Some(event) = wake.event.as_ref().filter(|event| event.version() == 1) {
            aggregate::known(event)?;
            A::empty().evolve(event)
        } else {
            let journal = host.journal.as_ref();
            aggregate::load(journal, &wake.aggregate, wake.version)
                .await?
                .state
        };
        Ok(Self {
            state,
            begun,
            epoch,
        })
    }

    async fn confirmed(host: &Host, aggregate: &AggregateId) -> Result<Self, Trouble> {
        let (begun, epoch) = (Instant::now(), host.journal.epoch());
        let loaded = aggregate::confirmed(host.journal.as_ref(), aggregate).await?;
        let state = loaded.state;
        Ok(Self {
            state,
            begun,
            epoch,
        })
    }

    /// Whether it must be confirmed before anything is appended on it: after a reconnection the
    /// tail that it ends with may be gone.
    fn is_stale(&self, host: &Host) -> bool {
        self.epoch != host.journal.epoch() || self.begun.elapsed() > FOLD_AGE_MAX
    }
}

/// The instant of a decision: not before the last event, nor before the timer that led to it.
pub fn instant<A: Aggregate>(clock: Timestamp, state: &A, wake: &Wake) -> Timestamp {
    let after = state.head().map_or(clock, |head| head.time.max(clock));
    wake.due.map_or(after, |due| due.max(after))
}
