//! The broker's time: scheduled messages fire by it, whatever this machine's clock says.

use std::sync::{Mutex, PoisonError};

use contracts::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Duration, Instant};

use super::link::{CallError, Link};
use crate::layout::TIMERS;

/// How long an answer is gone on from. The steady clock of this machine and the broker's do not
/// drift apart by much meanwhile, and a new leader's clock is soon known.
const BELIEVED_FOR: Duration = Duration::from_mins(1);

/// How long it is asked for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the broker said last, and when.
#[derive(Default)]
pub(super) struct BrokerTime(Mutex<Option<(Instant, Timestamp)>>);

impl BrokerTime {
    /// The time that it is for the leader of the timers, within a round trip.
    pub async fn now(&self, link: &Link) -> Result<Timestamp, CallError> {
        #[derive(Deserialize)]
        struct Info {
            ts: Timestamp,
        }
        let believed = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, said)) = believed
            && asked.elapsed() < BELIEVED_FOR
        {
            let passed = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
            return Ok(said.plus_ms(passed));
        }
        let asked = Instant::now();
        let operation = format!("STREAM.INFO.{TIMERS}");
        let Info { ts } = link
            .api_patiently::<Info>(&operation, &Value::Null, PATIENCE)
            .await?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((asked, ts));
        Ok(ts)
    }
}
