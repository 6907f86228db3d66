//! The deliveries that a driver holds: kept alive while it drives, acknowledged at rest, let go of
//! when another process drives instead.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use contracts::ids::EventId;
use host::{engine::chain, trace::told::Parent, wake::Wake};
use journal::{Unavailable, delivery::Handle};
use tokio::time::Instant;

/// What led to what is decided now.
#[derive(Debug, Clone, Copy)]
pub struct Lead {
    pub wake: EventId,
    pub parent: Parent,
}

struct Held {
    wake: EventId,
    /// What the spans of its consequences hang from.
    parent: Parent,
    /// What a fold must have reached before it may be acknowledged.
    version: u64,
    handle: Handle,
    /// When the broker was last told that it is worked on.
    touched: Instant,
    /// Not yet decided on: what others left under it may be taken over.
    fresh: bool,
}

/// Shared with the fleet, which keeps them alive while the driver waits for the broker.
#[derive(Clone, Default)]
pub struct Deliveries(Arc<Mutex<Vec<Held>>>);

/// Whether the broker may have given a delivery to another process: it has not heard of it for so
/// long. This one was paused, or cut off, or has not come to it.
pub fn is_lost(touched: Instant, ack_wait: Duration) -> bool {
    touched.elapsed() >= ack_wait * 3 / 4
}

/// Whether a delivery has waited here for so long that it may be lost before the broker is next
/// told of it, a quarter of `ack_wait` from now: it is left to come again.
pub fn is_too_old(received: Instant, ack_wait: Duration) -> bool {
    received.elapsed() >= ack_wait / 2
}

impl Deliveries {
    fn lock(&self) -> MutexGuard<'_, Vec<Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A second delivery of a wake-up that is held replaces the handle, nothing else.
    pub fn take(&self, wake: &Wake, handle: Handle, received: Instant) {
        let mut all = self.lock();
        if let Some(held) = all.iter_mut().find(|held| held.wake == wake.id) {
            held.handle.release();
            held.handle = handle;
            held.touched = received;
        } else {
            all.push(Held {
                wake: wake.id,
                parent: wake.parent(),
                version: wake.version,
                handle,
                touched: received,
                fresh: true,
            });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Whether a wake-up is held, and nobody else can have been given it by now.
    pub fn holds(&self, wake: EventId, ack_wait: Duration) -> bool {
        let all = self.lock();
        all.iter()
            .any(|held| held.wake == wake && !is_lost(held.touched, ack_wait))
    }

    /// The version that contains every held wake-up's own event.
    pub fn version(&self) -> u64 {
        self.lock()
            .iter()
            .map(|held| held.version)
            .max()
            .unwrap_or(0)
    }

    /// What new events name as their cause: any wake-up will do that is held until rest. Another
    /// process that was given one too may have acknowledged it at an earlier rest, so it is the
    /// newest, and of such the one that the broker heard of last.
    pub fn cause(&self) -> Option<Lead> {
        let all = self.lock();
        all.iter()
            .max_by_key(|held| (held.version, held.touched))
            .map(|held| Lead {
                wake: held.wake,
                parent: held.parent,
            })
    }

    /// Each wake-up that is held, with its version.
    pub fn wakes(&self) -> Vec<(EventId, u64)> {
        self.lock()
            .iter()
            .map(|held| (held.wake, held.version))
            .collect()
    }

    /// The wake-ups that are not yet decided on.
    pub fn fresh(&self) -> BTreeSet<EventId> {
        let all = self.lock();
        all.iter()
            .filter(|held| held.fresh)
            .map(|held| held.wake)
            .collect()
    }

    /// All of them are decided on.
    pub fn decided(&self) {
        for held in self.lock().iter_mut() {
            held.fresh = false;
        }
    }

    /// Lets go of wake-ups that another process drives now: theirs to acknowledge.
    pub fn forget(&self, wakes: &BTreeSet<EventId>) {
        self.let_go(|held| wakes.contains(&held.wake));
    }

    /// Lets go of what the broker has given to another process by now. Acknowledging it would
    /// take it from who drives it.
    pub fn expire(&self, ack_wait: Duration) {
        self.let_go(|held| is_lost(held.touched, ack_wait));
    }

    fn let_go(&self, which: impl Fn(&Held) -> bool) {
        self.lock().retain(|held| {
            let goes = which(held);
            if goes {
                held.handle.release();
            }
            !goes
        });
    }

    /// Tells the broker that they are worked on.
    pub async fn keep_alive(&self, ack_wait: Duration) {
        // A pause ends here: what was lost in it is not claimed again.
        self.expire(ack_wait);
        let handles: Vec<(EventId, Handle)> = {
            let all = self.lock();
            all.iter()
                .map(|held| (held.wake, Arc::clone(&held.handle)))
                .collect()
        };
        for (wake, handle) in handles {
            let now = Instant::now();
            match handle.in_progress().await {
                Ok(()) => {
                    let mut all = self.lock();
                    let held = all.iter_mut().find(|held| held.wake == wake);
                    // It may have been sent only now, after a pause, and so too late.
                    if let Some(held) = held.filter(|held| !is_lost(held.touched, ack_wait)) {
                        held.touched = now;
                    }
                }
                error @ Err(_) => said(error),
            }
        }
    }

    pub async fn acknowledge(&self) {
        let all: Vec<Held> = self.lock().drain(..).collect();
        for held in all {
            said(held.handle.ack().await);
        }
    }

    pub async fn give_back(&self, after: Duration, ack_wait: Duration) {
        self.expire(ack_wait);
        let all: Vec<Held> = self.lock().drain(..).collect();
        for held in all {
            said(held.handle.retry_later(after).await);
        }
    }
}

fn said(result: Result<(), Unavailable>) {
    if let Err(error) = result {
        // The message comes again, which is harmless.
        tracing::debug!(reason = chain(&error), "an acknowledgement was not sent");
    }
}
