//! One driver for each execution that is awake. A wake-up goes to the driver of its execution, or
//! starts one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use contracts::{
    ids::WorkspaceId,
    subject::{AggregateId, AggregateKind},
};
use host::engine::{self, Host, Wake};
use journal::{
    Unavailable,
    delivery::{ConsumerSpec, Deliveries, Delivery, Handle},
};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};

use crate::driver;

/// How many executions one process drives at once. Each holds its fold and its steps' inputs in
/// memory, so this bounds it.
const DRIVERS_MAX: usize = 2048;

/// How many wake-ups wait for one driver: more come again later.
const WAKES_MAX: usize = 64;

/// How soon a wake-up that finds no room comes again.
const NO_ROOM_RETRY_AFTER: Duration = Duration::from_millis(250);

/// A wake-up and the delivery that brought it.
pub struct Woken {
    pub wake: Wake,
    /// Counts from 1.
    pub delivered: u64,
    pub handle: Handle,
}

/// The drivers that run, by execution.
pub struct Fleet {
    host: Arc<Host>,
    drivers: Mutex<HashMap<AggregateId, mpsc::Sender<Woken>>>,
    /// A driver has ended.
    room: Notify,
}

pub async fn run(host: Arc<Host>, specs: [ConsumerSpec; 3]) -> Result<(), Unavailable> {
    let fleet = Arc::new(Fleet {
        host: Arc::clone(&host),
        drivers: Mutex::new(HashMap::new()),
        room: Notify::new(),
    });
    let mut consumers = JoinSet::new();
    for spec in specs {
        let drives = spec.purpose == journal::delivery::Purpose::Drive;
        let deliveries = host.journal.consume(spec.ack_wait(host.ack_wait)).await?;
        consumers.spawn(consume(Arc::clone(&fleet), deliveries, drives));
    }
    while let Some(ended) = consumers.join_next().await {
        match ended {
            Ok(result) => result?,
            Err(error) => return Err(Unavailable::new("consume", error)),
        }
    }
    Ok(())
}

async fn consume(
    fleet: Arc<Fleet>,
    mut deliveries: Box<dyn Deliveries>,
    drives: bool,
) -> Result<(), Unavailable> {
    let shutdown = fleet.host.shutdown.clone();
    loop {
        // Only new work waits for room: votes, cancels and timers are always heard.
        if drives {
            tokio::select! {
                () = fleet.has_room() => {}
                () = shutdown.cancelled() => break,
            }
        }
        let delivery = tokio::select! {
            delivery = deliveries.next() => delivery,
            () = shutdown.cancelled() => break,
        };
        fleet.dispatch(delivery, drives).await;
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

    async fn dispatch(self: &Arc<Self>, delivery: Delivery, drives: bool) {
        let Some(wake) = Wake::of(&delivery.message) else {
            let trouble = engine::unreadable(&delivery.message);
            engine::settle_delivery(&self.host, &delivery, Err(trouble)).await;
            return;
        };
        if wake.aggregate.kind() != AggregateKind::Execution {
            engine::settle_delivery(&self.host, &delivery, Ok(())).await;
            return;
        }
        if drives && self.is_over_share(&wake) {
            if let Err(error) = engine::put_off(&self.host, &wake, &delivery).await {
                tracing::debug!(reason = engine::chain(&error), "a message was not put off");
            }
            return;
        }
        let handle = Arc::clone(&delivery.handle);
        let woken = Woken {
            wake,
            delivered: delivery.delivered,
            handle,
        };
        if self.hand_over(woken).is_err() {
            // Its driver has its hands full; the message comes again.
            let _ = delivery.handle.retry_later(NO_ROOM_RETRY_AFTER).await;
        }
    }

    /// To the driver of its execution, which is started where there is none.
    fn hand_over(self: &Arc<Self>, woken: Woken) -> Result<(), Full> {
        let mut drivers = self.drivers();
        let aggregate = woken.wake.aggregate.clone();
        let woken = match drivers.get(&aggregate) {
            Some(driver) => match driver.try_send(woken) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::TrySendError::Full(_)) => return Err(Full),
                Err(mpsc::error::TrySendError::Closed(woken)) => woken,
            },
            None => woken,
        };
        let (sender, receiver) = mpsc::channel(WAKES_MAX);
        // The channel is new and empty.
        let _ = sender.try_send(woken);
        drivers.insert(aggregate.clone(), sender);
        let fleet = Arc::clone(self);
        tokio::spawn(driver::run(fleet, aggregate, receiver));
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

    fn drivers(&self) -> std::sync::MutexGuard<'_, HashMap<AggregateId, mpsc::Sender<Woken>>> {
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
        held >= DRIVERS_MAX / 2
    }
}

/// A driver has more wake-ups waiting than it takes.
struct Full;
