//! What a state waits for: a durable timer for each, or a nap for what is near.

use std::time::Duration;

use contracts::{event::Service, time::Timestamp};
use domain::execution::waits::{self, Left, Wait};
use host::{catalogue::Confirmed, failpoint, trouble::Trouble};
use journal::timer::Timer;

use super::Driver;

/// A wait shorter than this has no durable timer: the process sleeps and keeps its wake-up.
const SLEEP_MS_MAX: u64 = 2000;

impl Driver<'_> {
    /// Arms a timer for everything that is waited for; what is near is slept for instead.
    pub(super) async fn arm(&mut self) -> Result<Option<Nap>, Trouble> {
        let Confirmed { catalogue, .. } = self.facts().await?;
        let now = self.execution.instant(self.due);
        let mut nap: Option<Timestamp> = None;
        for Wait { due, kind } in waits::of_executor(&self.execution.state, &catalogue) {
            let remaining = due.since_ms(now);
            if remaining < SLEEP_MS_MAX {
                nap = Some(nap.map_or(due, |nap| nap.min(due)));
                continue;
            }
            self.arm_once(self.timer(kind.key(), due, remaining))
                .await?;
        }
        for left in waits::left_to_others(&self.execution.state, self.host.incarnation) {
            let key = Left::key(&left.step, left.attempt);
            let timer = self.timer(key, left.due, left.after_ms);
            self.arm_once(Timer {
                // However often others come by.
                stays: true,
                ..timer
            })
            .await?;
        }
        Ok(nap.map(|due| Nap {
            // At least a millisecond, so that there is a pause in any case.
            length: Duration::from_millis(due.since_ms(now).max(1)),
            due,
        }))
    }

    pub(super) fn timer(&self, key: String, due: Timestamp, after_ms: u64) -> Timer {
        Timer {
            service: Service::Executor,
            aggregate: self.execution.aggregate.clone(),
            key,
            version: self.execution.state.version(),
            due,
            after_ms,
            wake: None,
            stays: false,
        }
    }

    async fn arm_once(&mut self, timer: Timer) -> Result<(), Trouble> {
        let armed = self.armed.get(&timer.key);
        if armed.is_some_and(|armed| armed.due == timer.due) {
            return Ok(());
        }
        failpoint::reach("before-timer-armed");
        self.host.journal.arm(&timer).await?;
        failpoint::reach("after-timer-armed");
        let Timer {
            key, due, stays, ..
        } = timer;
        tracing::debug!(timer = key, %due, "armed");
        self.armed.insert(key, Armed { due, stays });
        Ok(())
    }
}

/// A timer that is armed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Armed {
    pub due: Timestamp,
    /// Whether nobody replaces it.
    pub stays: bool,
}

/// A sleep instead of a durable timer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Nap {
    length: Duration,
    /// What is decided afterwards is decided no earlier, wherever the clock was set meanwhile: as
    /// with a timer, what was to pass has passed.
    due: Timestamp,
}

/// Until what was waited for is due; for ever where there is nothing to sleep for.
pub(super) async fn sleep(nap: Option<Nap>) -> Timestamp {
    match nap {
        Some(nap) => {
            tokio::time::sleep(nap.length).await;
            nap.due
        }
        None => std::future::pending().await,
    }
}
