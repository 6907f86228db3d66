//! How far the read model is, for those who wait for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use contracts::{
    position::{Positions, StreamId},
    problem::{Code, Problem},
};
use host::http::input::{INVALID_VALUE, one_finding};
use tokio::sync::{Notify, watch};

/// How long a query waits for what its caller has seen. The projection is milliseconds behind;
/// one that is further behind is being rebuilt.
const PATIENCE: Duration = Duration::from_secs(10);

/// Told after each batch that is stored.
#[derive(Clone)]
pub struct Reached {
    positions: watch::Receiver<Positions>,
    streams: Vec<StreamId>,
    waits: Arc<Waits>,
}

/// Those who wait for a position, so that the projection puts nothing off meanwhile.
#[derive(Debug, Default)]
pub struct Waits {
    waiting: AtomicUsize,
    come: Notify,
}

/// One who waits, until it is dropped.
struct Wait<'a>(&'a Waits);

impl Waits {
    pub fn is_any(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Until one more waits.
    pub async fn changed(&self) {
        self.come.notified().await;
    }

    fn wait(&self) -> Wait<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.come.notify_one();
        Wait(self)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Reached {
    pub fn new(
        positions: watch::Receiver<Positions>,
        streams: Vec<StreamId>,
        waits: Arc<Waits>,
    ) -> Self {
        Self {
            positions,
            streams,
            waits,
        }
    }

    /// Waits until the read model is as recent as `wanted`.
    pub async fn at_least(&self, wanted: Option<&Positions>) -> Result<(), Problem> {
        let Some(wanted) = wanted else {
            return Ok(());
        };
        self.check(wanted)?;
        if self.covers(wanted) {
            return Ok(());
        }
        let mut positions = self.positions.clone();
        let _wait = self.waits.wait();
        let covered = positions.wait_for(|reached| reached.covers(wanted));
        if let Ok(Ok(_)) = tokio::time::timeout(PATIENCE, covered).await {
            return Ok(());
        }
        // Too far behind, or the projection has ended.
        let reached = self.positions.borrow().clone();
        Err(Problem::of(Code::PositionNotReached).with_position(reached))
    }

    /// Whether the read model is as recent as `wanted` now.
    pub fn covers(&self, wanted: &Positions) -> bool {
        self.positions.borrow().covers(wanted)
    }

    /// A token that names a stream this log does not have would never be reached.
    pub fn check(&self, wanted: &Positions) -> Result<(), Problem> {
        let known = wanted.iter().all(|it| self.streams.contains(&it.stream));
        if known {
            Ok(())
        } else {
            let message = "it is a position in another log: take it from an answer of this one";
            Err(one_finding("/atLeast", INVALID_VALUE, message.to_owned()))
        }
    }
}
