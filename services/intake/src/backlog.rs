//! How much may wait to be begun before no more is taken in: what is refused here leaves nothing behind,
//! and whoever sent it has it still.
//!
//! It is looked how much waits at most once a second, and only while something comes.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use contracts::problem::{Code, Problem};
use host::engine::chain;
use journal::Journal;
use tokio::time::{Instant, timeout};

/// What was seen counts for so long, together with what was taken in since.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a look may take: an append will say what is wrong with the broker.
const LOOK_WITHIN: Duration = Duration::from_secs(1);

pub(crate) struct Backlog {
    max: u64,
    seen: Mutex<Seen>,
    /// Held by whoever looks.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Seen {
    waiting: u64,
    /// Taken in since then, begun or not.
    since: u64,
    at: Option<Instant>,
}

impl Backlog {
    pub fn new(max: u64) -> Self {
        Self {
            max,
            seen: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        }
    }

    /// Lets one more execution in, or says that too many wait.
    pub async fn admit(&self, journal: &dyn Journal) -> Result<(), Problem> {
        self.look(journal).await;
        let mut seen = self.seen();
        let waiting = seen.waiting + seen.since;
        if waiting >= self.max {
            let detail = format!(
                "{waiting} executions wait to be begun, and {} may: send it again, not sooner than \
                 `Retry-After` says",
                self.max
            );
            return Err(Problem::new(Code::RateLimited, detail));
        }
        seen.since += 1;
        Ok(())
    }

    /// Who finds somebody else at it goes by what was seen before.
    async fn look(&self, journal: &dyn Journal) {
        let is_due = |seen: &Seen| seen.at.is_none_or(|at| at.elapsed() >= LOOK_EVERY);
        if !is_due(&self.seen()) {
            return;
        }
        let Ok(_looking) = self.looking.try_lock() else {
            return;
        };
        let looked = timeout(LOOK_WITHIN, journal.waiting()).await;
        let waiting = match looked {
            Ok(Ok(waiting)) => waiting,
            // What is not known refuses nobody: if the broker takes no more, it says so itself.
            Ok(Err(error)) => {
                tracing::warn!(reason = chain(&error), "how much waits is not known");
                0
            }
            Err(_) => {
                tracing::warn!("how much waits is not known in time");
                0
            }
        };
        *self.seen() = Seen {
            waiting,
            since: 0,
            at: Some(Instant::now()),
        };
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Numbers are whole after any panic.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
