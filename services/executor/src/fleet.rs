//! One driver for each execution that is awake. A wake-up goes to the driver of its execution, or
//! starts one.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use contracts::{
    ids::WorkspaceId,
    subject::{AggregateId, AggregateKind},
};
use futures::FutureExt as _;
use host::{
    engine::{self, Host},
    metrics::consumption::Consumer,
    telemetry,
    trouble::{self, Trouble},
    wake::Wake,
};
use journal::{
    Unavailable,
    delivery::{ConsumerSpec, Delivery, Handle, Message, Purpose},
};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::Instant,
};
use tracing::Instrument as _;

use crate::{
    driver,
    held::{Deliveries, is_too_old},
};

/// How many executions one process drives at once. Each holds its fold and its steps' inputs in
/// memory, so this bounds it.
const DRIVERS_MAX: usize = 2048;

/// Votes, cancels and timers of executions that rest are heard beyond that, up to here.
const DRIVERS_MAX_AT_ALL: usize = 2 * DRIVERS_MAX;

/// How many wake-ups wait for one driver: more come again later.
const WAKES_MAX: usize = 64;

/// How soon a wake-up that finds no room comes again.
const NO_ROOM_RETRY_AFTER: Duration = Duration::from_millis(250);

/// A wake-up and the delivery that brought it.
pub struct Woken {
    pub wake: Wake,
    /// Counts from 1.
    pub delivered: u64,
    pub received: Instant,
    pub handle: Handle,
}

/// A driver that runs.
struct Awake {
    wakes: mpsc::Sender<Woken>,
    held: Deliveries,
}

/// The drivers that run, by execution.
pub struct Fleet {
    host: Arc<Host>,
    drivers: Mutex<BTreeMap<AggregateId, Awake>>,
    /// A driver has ended.
    room: Notify,
}

pub async fn run(host: Arc<Host>, specs: [ConsumerSpec; 5]) -> Result<(), Unavailable> {
    let fleet = Arc::new(Fleet {
        host: Arc::clone(&host),
        drivers: Mutex::new(BTreeMap::new()),
        room: Notify::new(),
    });
    let mut tasks = JoinSet::new();
    for (purpose, deliveries) in engine::consume_all(&host, specs).await? {
        let consumption = &host.metrics.consumption;
        let counted = consumption.consumer(purpose, deliveries.unanswered());
        let fleet = Arc::clone(&fleet);
        tasks.spawn(consume(fleet, deliveries, counted, purpose));
    }
    tasks.spawn(keep_alive(fleet));
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(result) => result?,
            Err(error) => return Err(Unavailable::new("consume", error)),
        }
    }
    Ok(())
}

/// Tells the broker every quarter of `ack_wait` what is worked on, whatever drivers wait for.
async fn keep_alive(fleet: Arc<Fleet>) -> Result<(), Unavailable> {
    let every = fleet.host.ack_wait / 4;
    let mut tick = tokio::time::interval_at(Instant::now() + every, every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = fleet.host.shutdown.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        let all: Vec<Deliveries> = {
            let drivers = fleet.drivers();
            drivers.values().map(|awake| awake.held.clone()).collect()
        };
        for held in all {
            held.keep_alive(fleet.host.ack_wait).await;
        }
    }
}

async fn consume(
    fleet: Arc<Fleet>,
    mut deliveries: Box<dyn journal::delivery::Deliveries>,
    counted: Consumer,
    purpose: Purpose,
) -> Result<(), Unavailable> {
    let shutdown = fleet.host.shutdown.clone();
    loop {
        // Only new work waits for room: what else comes is for executions that are on their way.
        let next = async {
            if matches!(purpose, Purpose::Drive | Purpose::Asked) {
                fleet.has_room().await;
            }
            deliveries.next().await
        };
        let delivery = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            delivery = next => delivery,
        };
        counted.delivered(&delivery);
        fleet.dispatch(delivery, purpose);
    }
    // Drivers stop by the same signal; what they hold is given back here.
    deliveries.stop().await
}

impl Fleet {
    async fn has_room(&self) {
        loop {
            let ended = self.room.notified();
            if self.drivers().len() < DRIVERS_MAX {
                return;
            }
            ended.await;
        }
    }

    fn dispatch(self: &Arc<Self>, delivery: Delivery, purpose: Purpose) {
        if is_too_old(delivery.received, self.host.ack_wait) {
            // It waited here for so long that another process has it.
            delivery.handle.release();
            return;
        }
        let Some(wake) = Wake::of(&delivery.message) else {
            let trouble = trouble::unreadable(&delivery.message);
            self.answer(delivery, Err(trouble));
            return;
        };
        if wake.aggregate.kind() != AggregateKind::Execution {
            self.answer(delivery, Ok(()));
            return;
        }
        let may_wait = match purpose {
            Purpose::Drive | Purpose::Asked => true,
            Purpose::Steps | Purpose::Control | Purpose::Inbox => false,
            // A timer of its own is as urgent as a vote; one that stands for new work is not.
            Purpose::Timers => is_put_off(&delivery),
        };
        if may_wait && self.is_over_share(&wake) {
            let host = Arc::clone(&self.host);
            tokio::spawn(async move { trouble::put_off(&host, &delivery).await });
            return;
        }
        let woken = Woken {
            wake,
            delivered: delivery.delivered,
            received: delivery.received,
            handle: Arc::clone(&delivery.handle),
        };
        if self.hand_over(woken).is_err() {
            tokio::spawn(async move { delivery.handle.retry_later(NO_ROOM_RETRY_AFTER).await });
        }
    }

    /// Apart from the consumption, which others wait for.
    fn answer(&self, delivery: Delivery, outcome: Result<(), Trouble>) {
        let host = Arc::clone(&self.host);
        let span = telemetry::woken(&delivery.message);
        let settled = async move { trouble::settle_delivery(&host, &delivery, outcome).await };
        tokio::spawn(settled.instrument(span));
    }

    /// To the driver of its execution, which is started where there is none.
    fn hand_over(self: &Arc<Self>, woken: Woken) -> Result<(), NoRoom> {
        let mut drivers = self.drivers();
        let aggregate = woken.wake.aggregate.clone();
        if let Some(awake) = drivers.get(&aggregate) {
            return awake.wakes.try_send(woken).map_err(|_| NoRoom);
        }
        if drivers.len() >= DRIVERS_MAX_AT_ALL {
            return Err(NoRoom);
        }
        let (wakes, receiver) = mpsc::channel(WAKES_MAX);
        // The channel is new and empty.
        let _ = wakes.try_send(woken);
        let held = Deliveries::default();
        let awake = Awake {
            wakes,
            held: held.clone(),
        };
        drivers.insert(aggregate.clone(), awake);
        let fleet = Arc::clone(self);
        let span = telemetry::about(&aggregate, None);
        let driven = async move {
            let driving = driver::run(Arc::clone(&fleet), aggregate, receiver, held);
            if AssertUnwindSafe(driving).catch_unwind().await.is_err() {
                fleet.host.fail("a driver panicked".to_owned());
            }
        };
        tokio::spawn(driven.instrument(span));
        Ok(())
    }

    /// Ends a driver unless a wake-up has come meanwhile: decided under the lock that wake-ups
    /// are handed over under.
    pub fn leave(&self, aggregate: &AggregateId, wakes: &mpsc::Receiver<Woken>) -> bool {
        let mut drivers = self.drivers();
        if !wakes.is_empty() {
            return false;
        }
        drivers.remove(aggregate);
        drop(drivers);
        self.room.notify_waiters();
        true
    }

    pub fn host(&self) -> &Host {
        &self.host
    }

    fn drivers(&self) -> MutexGuard<'_, BTreeMap<AggregateId, Awake>> {
        self.drivers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No workspace holds more than half of what one process drives.
    fn is_over_share(&self, wake: &Wake) -> bool {
        let drivers = self.drivers();
        if drivers.len() < DRIVERS_MAX / 2 || drivers.contains_key(&wake.aggregate) {
            return false;
        }
        let workspace: &WorkspaceId = wake.aggregate.workspace();
        let held = drivers
            .keys()
            .filter(|id| id.workspace() == workspace)
            .count();
        // With nobody else awake it waits for room like everybody.
        held >= DRIVERS_MAX / 2 && held < drivers.len()
    }
}

fn is_put_off(delivery: &Delivery) -> bool {
    matches!(&*delivery.message, Message::Timer(timer) if timer.wake.is_some())
}

/// A driver has more wake-ups waiting than it takes, or there are more drivers than there may be:
/// the message comes again.
struct NoRoom;
