//! How far the read model is, for those who wait for it.

use std::time::Duration;

use contracts::{
    position::{Positions, StreamId},
    problem::{Code, Problem},
};
use host::http::input::{INVALID_VALUE, one_finding};
use tokio::sync::watch;

/// How long a query waits for what its caller has seen. The projection is milliseconds behind;
/// one that is further behind is being rebuilt.
const PATIENCE: Duration = Duration::from_secs(10);

/// Told after each batch that is stored.
#[derive(Clone)]
pub struct Reached {
    positions: watch::Receiver<Positions>,
    streams: Vec<StreamId>,
}

impl Reached {
    pub fn new(positions: watch::Receiver<Positions>, streams: Vec<StreamId>) -> Self {
        Self { positions, streams }
    }

    /// Waits until the read model is as recent as `wanted`.
    pub async fn at_least(&self, wanted: Option<&Positions>) -> Result<(), Problem> {
        let Some(wanted) = wanted else {
            return Ok(());
        };
        self.check(wanted)?;
        let mut positions = self.positions.clone();
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
