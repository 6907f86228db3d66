//! How many feeds are read at once: each holds a connection for as long as an execution takes. And
//! how many of them read what was, which costs more than to hear of what comes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
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

/// Pages of what was that are read or told now, of all feeds together: each waits for one of a few
/// connections to the read model, or asks the broker, and is then held until its reader has taken
/// it. A turn is for one page and not for all of a history, so that who has much to read waits
/// between its pages as others do; it is kept until the page is told and not only until it is read,
/// because otherwise every feed could hold one. Who does not read keeps it for
/// [`super::page`]'s patience at most. What is live needs none.
const CATCHING_UP_MAX: usize = 64;

/// Of one workspace: all its principals together leave more than half to others, however slowly
/// they read.
const CATCHING_UP_OF_WORKSPACE_MAX: usize = 24;

/// Of one principal: several can be read at once, and none can keep all others of its workspace
/// out.
const CATCHING_UP_OF_ONE_MAX: usize = 16;

/// How long a reader that comes waits for others to have read what was. After a restart all come at
/// once, and most have little to read.
const PATIENCE: Duration = Duration::from_secs(2);

type Key = (WorkspaceId, PrincipalId);

pub struct Places {
    taken: Mutex<Taken>,
    catching_up: Arc<Semaphore>,
}

#[derive(Default)]
struct Taken {
    of_one: BTreeMap<Key, Own>,
    /// The turns of each workspace that someone reads.
    of_workspaces: BTreeMap<WorkspaceId, Weak<Semaphore>>,
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
    of_one: Arc<Semaphore>,
    of_workspace: Arc<Semaphore>,
    _counted: InFlight,
}

/// Held while a page of what was is read and told.
pub struct Turn {
    _principal: OwnedSemaphorePermit,
    _workspace: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Places {
    pub fn take(
        self: &Arc<Self>,
        principal: &Principal,
        metrics: &Metrics,
    ) -> Result<Place, Problem> {
        let key = (principal.workspace.clone(), principal.actor.id.clone());
        let mut taken = self.taken();
        let taken = &mut *taken;
        let readers = taken.of_one.values().map(|own| own.readers);
        let readers = readers.sum::<usize>();
        if readers >= READERS_MAX {
            return Err(full(READERS_MAX, "of all callers"));
        }
        let own = taken.of_one.entry(key.clone()).or_default();
        if own.readers >= READERS_OF_ONE_MAX {
            return Err(full(READERS_OF_ONE_MAX, "of one principal"));
        }
        own.readers += 1;
        let of_one = Arc::clone(&own.catching_up);
        Ok(Place {
            places: Arc::clone(self),
            of_one,
            of_workspace: taken.of_workspace(&principal.workspace),
            key,
            _counted: metrics.reading.reads(),
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Counters are whole after any panic.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn of_workspace(&mut self, workspace: &WorkspaceId) -> Arc<Semaphore> {
        self.of_workspaces
            .retain(|_, turns| turns.strong_count() > 0);
        let known = self.of_workspaces.get(workspace);
        known.and_then(Weak::upgrade).unwrap_or_else(|| {
            let turns = Arc::new(Semaphore::new(CATCHING_UP_OF_WORKSPACE_MAX));
            let kept = Arc::downgrade(&turns);
            self.of_workspaces.insert(workspace.clone(), kept);
            turns
        })
    }
}

impl Place {
    /// For the first page: waits a moment for others.
    pub async fn first_turn(&self) -> Result<Turn, Problem> {
        let of_one = permit(&self.of_one).await;
        let of_one = of_one.ok_or_else(|| behind(CATCHING_UP_OF_ONE_MAX, "of one principal"))?;
        let of_workspace = permit(&self.of_workspace).await;
        let of_workspace =
            of_workspace.ok_or_else(|| behind(CATCHING_UP_OF_WORKSPACE_MAX, "of one workspace"))?;
        let of_all = permit(&self.places.catching_up).await;
        let of_all = of_all.ok_or_else(|| behind(CATCHING_UP_MAX, "of all callers"))?;
        Ok(Turn {
            _principal: of_one,
            _workspace: of_workspace,
            _all: of_all,
        })
    }

    /// For what follows: waits for as long as it takes, in the order of those who wait. Nothing
    /// where there are no more turns.
    pub async fn next_turn(&self) -> Option<Turn> {
        let turn = async |of: &Arc<Semaphore>| Arc::clone(of).acquire_owned().await.ok();
        Some(Turn {
            _principal: turn(&self.of_one).await?,
            _workspace: turn(&self.of_workspace).await?,
            _all: turn(&self.places.catching_up).await?,
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
        if let Some(own) = taken.of_one.get_mut(&self.key) {
            own.readers = own.readers.saturating_sub(1);
            if own.readers == 0 {
                taken.of_one.remove(&self.key);
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
