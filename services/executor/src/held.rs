//! The deliveries that a driver holds: kept alive while it drives, acknowledged at rest, given up
//! when another process has taken over.

use std::{collections::BTreeSet, time::Duration};

use contracts::ids::EventId;
use host::engine::chain;
use journal::{Unavailable, delivery::Handle};
use tokio::time::Instant;

struct Held {
    wake: EventId,
    /// What a fold must have reached before it may be acknowledged.
    version: u64,
    handle: Handle,
    /// When the broker was last told that it is worked on.
    touched: Instant,
}

#[derive(Default)]
pub struct Deliveries(Vec<Held>);

impl Deliveries {
    /// A second delivery of a wake-up that is held replaces the handle, nothing else.
    pub fn take(&mut self, wake: EventId, version: u64, handle: Handle) {
        match self.0.iter_mut().find(|held| held.wake == wake) {
            Some(held) => {
                held.handle = handle;
                held.touched = Instant::now();
            }
            None => self.0.push(Held {
                wake,
                version,
                handle,
                touched: Instant::now(),
            }),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn holds(&self, wake: EventId) -> bool {
        self.0.iter().any(|held| held.wake == wake)
    }

    /// The version that contains every held wake-up's own event.
    pub fn version(&self) -> u64 {
        self.0.iter().map(|held| held.version).max().unwrap_or(0)
    }

    /// What new events name as their cause: the wake-up that came last is the likeliest reason,
    /// and any of them is held until rest.
    pub fn cause(&self) -> Option<EventId> {
        self.0.last().map(|held| held.wake)
    }

    /// Forgets wake-ups that another process drives now: theirs to acknowledge.
    pub fn forget(&mut self, wakes: &BTreeSet<EventId>) {
        self.0.retain(|held| !wakes.contains(&held.wake));
    }

    /// Forgets what the broker was not told of for so long that it gives it to another process:
    /// this one was paused, or cut off. Acknowledging it now would take it from who drives it.
    pub fn expire(&mut self, ack_wait: Duration) {
        self.0
            .retain(|held| held.touched.elapsed() < ack_wait * 3 / 4);
    }

    pub async fn in_progress(&mut self) {
        for held in &mut self.0 {
            match held.handle.in_progress().await {
                Ok(()) => held.touched = Instant::now(),
                error @ Err(_) => said(error),
            }
        }
    }

    pub async fn acknowledge(&mut self) {
        for held in self.0.drain(..) {
            said(held.handle.ack().await);
        }
    }

    pub async fn give_back(&mut self, after: Duration) {
        for held in self.0.drain(..) {
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
