//! The loop of planner and verifier: consume, fold, decide, append, again until the decider
//! yields nothing, acknowledge.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use contracts::{
    event::{Event, Service},
    ids::Incarnation,
    planted::{self, Bug},
    record::{Cause, Recorded},
    subject::AggregateId,
    time::Timestamp,
};
use domain::catalogue::Catalogue;
use futures::future::try_join_all;
pub use journal::chain;
use journal::{
    Journal,
    archive::LiveWindow,
    delivery::{ConsumerSpec, Deliveries, Delivery, Purpose},
    timer::Timer,
};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    aggregate::{self, Aggregate},
    catalogue::Follower,
    clock::Ambient,
    failpoint,
    health::Health,
    metrics::{Metrics, consumption::Consumer, decisions::Outcome},
    telemetry,
    trace::export::Tracer,
    trouble::{Trouble, settle_delivery, unreadable},
    wake::Wake,
    write::{WriteError, Writer},
};

/// How many messages of one consumer are worked on at once: each mostly waits for the broker.
const CONCURRENT_MAX: usize = 64;

/// What a running service has.
pub struct Host {
    pub service: Service,
    pub incarnation: Incarnation,
    pub ambient: Arc<dyn Ambient>,
    pub journal: Arc<dyn Journal>,
    pub catalogue: Follower,
    pub health: Health,
    pub ack_wait: Duration,
    /// Nothing is appended on a fold that is older.
    pub fold_age_max: Duration,
    pub shutdown: CancellationToken,
    /// Why the process ends, where it was not told to.
    pub failure: OnceLock<String>,
    pub metrics: Arc<Metrics>,
    /// Where spans are exported.
    pub tracer: Option<Tracer>,
}

impl Host {
    /// A process as it begins. Its spans go nowhere.
    pub fn new(
        service: Service,
        journal: Arc<dyn Journal>,
        ambient: Arc<dyn Ambient>,
        ack_wait: Duration,
        shutdown: CancellationToken,
    ) -> Self {
        let metrics = Metrics::new(service, ambient.now());
        Self {
            service,
            incarnation: ambient.incarnation(),
            ambient,
            catalogue: Follower::new(Arc::clone(&journal)),
            journal,
            health: Health::default(),
            ack_wait,
            fold_age_max: FOLD_AGE_MAX,
            shutdown,
            failure: OnceLock::new(),
            metrics: Arc::new(metrics),
            tracer: None,
        }
    }

    pub fn now(&self) -> Timestamp {
        self.ambient.now()
    }

    /// Ends the process: whoever started it starts it again, whole.
    pub fn fail(&self, reason: String) {
        tracing::error!(reason, "cannot go on");
        let _ = self.failure.set(reason);
        self.shutdown.cancel();
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
    for (purpose, deliveries) in consume_all(&host, specs).await? {
        let consumption = &host.metrics.consumption;
        let counted = consumption.consumer(purpose, deliveries.unanswered());
        let handler = Arc::clone(&handler);
        consumers.spawn(consume(Arc::clone(&host), deliveries, counted, handler));
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

/// Nothing is worked on before all of them are made: whatever stops this process then finds it whole.
pub async fn consume_all(
    host: &Host,
    specs: impl IntoIterator<Item = ConsumerSpec>,
) -> Result<Vec<(Purpose, Box<dyn Deliveries>)>, journal::Unavailable> {
    let made = specs.into_iter().map(async |spec| {
        let purpose = spec.purpose;
        let deliveries = host.journal.consume(spec.ack_wait(host.ack_wait)).await?;
        Ok((purpose, deliveries))
    });
    try_join_all(made).await
}

async fn consume(
    host: Arc<Host>,
    mut deliveries: Box<dyn Deliveries>,
    counted: Consumer,
    handler: Arc<dyn Handle>,
) -> Result<(), journal::Unavailable> {
    let mut working: JoinSet<()> = JoinSet::new();
    loop {
        let full = working.len() >= CONCURRENT_MAX;
        // In a fixed order, so that a simulated run can be run again.
        let delivery = tokio::select! {
            biased;
            () = host.shutdown.cancelled() => break,
            Some(ended) = working.join_next() => match ended {
                Ok(()) => continue,
                // A panic ends the service, so that it is started again whole.
                Err(error) => return Err(journal::Unavailable::new("go on", error)),
            },
            delivery = deliveries.next(), if !full => delivery,
        };
        counted.delivered(&delivery);
        let span = telemetry::woken(&delivery.message);
        let work = work(Arc::clone(&host), delivery, Arc::clone(&handler));
        working.spawn(work.instrument(span));
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
                biased;
                outcome = &mut handling => break outcome,
                _ = progress.tick() => drop(delivery.handle.in_progress().await),
            }
        }
    };
    settle_delivery(&host, &delivery, outcome).await;
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
    let mut loaded = Fold::<A>::of_wake(host, wake, received).await?;
    if wake.event.is_none() {
        telemetry::belongs_to(loaded.state.traceparent());
    }
    let mut since = facts_since(&loaded, wake, received);
    let mut appended = false;
    'decide: loop {
        let state = &loaded.state;
        if let Some(cause) = state.corruption() {
            return Err(Trouble::Poison {
                code: "AGGREGATE_CORRUPT",
                cause,
            });
        }
        let followed = host.catalogue.confirm_since(since, state.catalogue());
        let catalogue = followed.await?.catalogue;
        let now = instant(host.now(), state, wake);
        let events = decide(state, &catalogue, now);
        if events.is_empty() {
            break;
        }
        let cause = Cause {
            id: Some(wake.id),
            traceparent: traceparent(state, wake),
        };
        let writer = Writer {
            host,
            aggregate: &wake.aggregate,
            cause: &cause,
            parent: wake.parent(),
            now,
            known_at: loaded.begun,
        };
        for event in events {
            if loaded.is_stale(host) {
                loaded = Fold::confirmed(host, &wake.aggregate).await?;
                since = facts_since(&loaded, wake, received);
                continue 'decide;
            }
            match writer.append(&loaded.state, event).await {
                Ok((_, recorded)) => {
                    failpoint::reach("appended");
                    appended = true;
                    loaded.state = loaded.state.evolve(&recorded);
                }
                Err(WriteError::Conflict { .. }) => {
                    loaded = Fold::confirmed(host, &wake.aggregate).await?;
                    since = facts_since(&loaded, wake, received);
                    continue 'decide;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    let outcome = if appended {
        Outcome::Appended
    } else {
        Outcome::Nothing
    };
    host.metrics.decisions.made(wake.input(), outcome);
    if planted::is(Bug::LostTimer) && !appended && loaded.state.version() > wake.version {
        // Who appended what stands after the wake-up has armed what it waits for.
        return Ok(());
    }
    let now = instant(host.now(), &loaded.state, wake);
    for mut timer in waits(&loaded.state) {
        timer.after_ms = timer.due.since_ms(now);
        host.journal.arm(&timer).await?;
    }
    failpoint::reach("before-acknowledge");
    Ok(())
}

/// Facts are confirmed after the message was received, whatever else shares the answer; and where
/// the fold holds something newer, which may be what asks, after that was stored.
fn facts_since<A: Aggregate>(loaded: &Fold<A>, wake: &Wake, received: Instant) -> Instant {
    if loaded.state.version() > wake.version {
        Instant::now()
    } else {
        received
    }
}

/// The trace of the aggregate, or of the request that wakes it.
fn traceparent<A: Aggregate>(state: &A, wake: &Wake) -> Option<String> {
    let asked = || wake.event.as_ref()?.attributes.traceparent.as_deref();
    state.traceparent().or_else(asked).map(str::to_owned)
}

/// Nothing is appended on a fold that is older: its versions could have been archived and purged
/// meanwhile, and a purged version's guard passes again. What is appended may take its time too.
pub const FOLD_AGE_MAX: Duration = Duration::from_mins(4);

/// The same for a live window that is shorter than any in use: half of it at most, and never so little
/// that a fold is too old as soon as it is there.
pub fn fold_age_max(live: LiveWindow) -> Duration {
    const LEAST: Duration = Duration::from_secs(1);
    FOLD_AGE_MAX.min(live.age() / 2).max(LEAST)
}

/// A fold, and since when it is known to be the leader's.
struct Fold<A> {
    state: A,
    begun: Instant,
    epoch: u64,
}

impl<A: Aggregate> Fold<A> {
    /// The first event of an aggregate is its whole history; anything else is loaded.
    async fn of_wake(host: &Host, wake: &Wake, received: Instant) -> Result<Self, Trouble> {
        let (mut begun, epoch) = (Instant::now(), host.journal.epoch());
        let first = wake.event.as_ref().filter(|event| event.version() == 1);
        // One that is old may have waited in this process, or before it, while others went on and
        // what they wrote was purged; of the catalogue nothing ever is.
        let is_young = |event: &&Recorded| {
            if wake.aggregate.kind().in_catalogue() {
                return true;
            }
            let (now, at) = (host.now(), event.time());
            let age = now.since_ms(at).max(at.since_ms(now));
            Duration::from_millis(age) < host.fold_age_max
        };
        let state = if let Some(event) = first.filter(is_young) {
            aggregate::known(event)?;
            begun = received;
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
        self.epoch != host.journal.epoch() || self.begun.elapsed() > host.fold_age_max
    }
}

/// The instant of a decision: not before the last event, nor before the timer that led to it.
pub fn instant<A: Aggregate>(clock: Timestamp, state: &A, wake: &Wake) -> Timestamp {
    let after = state.head().map_or(clock, |head| head.time.max(clock));
    wake.due().map_or(after, |due| due.max(after))
}
