//! How many feeds are read at once: each holds a connection for as long as an execution takes. And
//! how many of them read what was, which costs more than to hear of what comes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use contracts::{
    ids::{PrincipalId, WorkspaceId},
    problem::{Code, Problem},
};
use host::{
    metrics::{Metrics, requests::InFlight},
    principals::Principal,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Readers of all feeds together.
const READERS_MAX: usize = 512;

/// Readers of one principal: what many open windows need, and what leaves room for others.
const READERS_OF_ONE_MAX: usize = 64;

/// Readers that read what was, of all feeds together: each holds a page of it and waits for one of
/// a few connections to the read model, or asks the broker.
const CATCHING_UP_MAX: usize = 64;

/// Of one principal: several can do so at once, and none can keep all others out.
const CATCHING_UP_OF_ONE_MAX: usize = 16;

/// How long a reader waits for others to have read what was. After a restart all come at once, and
/// most have little to read.
const PATIENCE: Duration = Duration::from_secs(2);

type Key = (WorkspaceId, PrincipalId);

pub struct Places {
    taken: Mutex<BTreeMap<Key, Own>>,
    catching_up: Arc<Semaphore>,
}

struct Own {
    readers: usize,
    catching_up: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            taken: Mutex::default(),
            catching_up: Arc::new(Semaphore::new(CATCHING_UP_MAX)),
        }
    }
}

impl Default for Own {
    fn default() -> Self {
        Self {
            readers: 0,
            catching_up: Arc::new(Semaphore::new(CATCHING_UP_OF_ONE_MAX)),
        }
    }
}

/// Dropped, it is free again.
pub struct Place {
    places: Arc<Places>,
    key: Key,
    catching_up: Arc<Semaphore>,
    _counted: InFlight,
}

/// Held while what was is read.
pub struct CatchingUp {
    _of_one: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Places {
    pub fn take(
        self: &Arc<Self>,
        principal: &Principal,
        metrics: &Metrics,
    ) -> Result<Place, Problem> {
        let key = (principal.workspace.clone(), principal.actor.id.clone());
        let mut taken = self.taken();
        let readers = taken.values().map(|own| own.readers).sum::<usize>();
        if readers >= READERS_MAX {
            return Err(full(READERS_MAX, "of all callers"));
        }
        let own = taken.entry(key.clone()).or_default();
        if own.readers >= READERS_OF_ONE_MAX {
            return Err(full(READERS_OF_ONE_MAX, "of one principal"));
        }
        own.readers += 1;
        Ok(Place {
            places: Arc::clone(self),
            catching_up: Arc::clone(&own.catching_up),
            key,
            _counted: metrics.reading.reads(),
        })
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<Key, Own>> {
        // Counters are whole after any panic.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits a moment for others to have read what was.
    pub async fn catch_up(&self) -> Result<CatchingUp, Problem> {
        let of_one = permit(&self.catching_up).await;
        let of_one = of_one.ok_or_else(|| behind(CATCHING_UP_OF_ONE_MAX, "of one principal"))?;
        let of_all = permit(&self.places.catching_up).await;
        let of_all = of_all.ok_or_else(|| behind(CATCHING_UP_MAX, "of all callers"))?;
        Ok(CatchingUp {
            _of_one: of_one,
            _of_all: of_all,
        })
    }
}

async fn permit(of: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    let permit = timeout(PATIENCE, Arc::clone(of).acquire_owned()).await;
    permit.ok()?.ok()
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(own) = taken.get_mut(&self.key) {
            own.readers = own.readers.saturating_sub(1);
            if own.readers == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

fn full(limit: usize, whose: &str) -> Problem {
    let detail = format!("the limit is {limit} feeds at once, {whose}: close one, or try later");
    Problem::new(Code::RateLimited, detail)
}

fn behind(limit: usize, whose: &str) -> Problem {
    let detail = format!(
        "the limit is {limit} feeds at once that read what was, {whose}: read them to their ends, \
         or wait as long as `Retry-After` says"
    );
    Problem::new(Code::RateLimited, detail)
}
