//! How many feeds are read at once: each holds a connection for as long as an execution takes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use contracts::{
    ids::{PrincipalId, WorkspaceId},
    problem::{Code, Problem},
};
use host::{
    metrics::{Metrics, requests::InFlight},
    principals::Principal,
};

/// Readers of all feeds together.
const READERS_MAX: usize = 512;

/// Readers of one principal: what many open windows need, and what leaves room for others.
const READERS_OF_ONE_MAX: usize = 64;

type Key = (WorkspaceId, PrincipalId);

#[derive(Default)]
pub struct Places(Mutex<BTreeMap<Key, usize>>);

/// Dropped, it is free again.
pub struct Place {
    places: Arc<Places>,
    key: Key,
    _counted: InFlight,
}

impl Places {
    pub fn take(
        self: &Arc<Self>,
        principal: &Principal,
        metrics: &Metrics,
    ) -> Result<Place, Problem> {
        let key = (principal.workspace.clone(), principal.actor.id.clone());
        let mut taken = self.taken();
        if taken.values().sum::<usize>() >= READERS_MAX {
            return Err(full(READERS_MAX, "of all callers"));
        }
        let own = taken.entry(key.clone()).or_default();
        if *own >= READERS_OF_ONE_MAX {
            return Err(full(READERS_OF_ONE_MAX, "of one principal"));
        }
        *own += 1;
        Ok(Place {
            places: Arc::clone(self),
            key,
            _counted: metrics.reading.reads(),
        })
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<Key, usize>> {
        // Counters are whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(own) = taken.get_mut(&self.key) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

fn full(limit: usize, whose: &str) -> Problem {
    let detail = format!("the limit is {limit} feeds at once, {whose}: close one, or try later");
    Problem::new(Code::RateLimited, detail)
}
