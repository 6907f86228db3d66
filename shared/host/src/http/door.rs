//! Who is let in, and how much of it: a credential first, then bounds for each principal and for
//! all together, so that one caller cannot crowd out the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Body,
    extract::FromRequestParts,
    http::{Extensions, HeaderMap, request::Parts},
};
use contracts::{
    facts::Actor,
    ids::{PrincipalId, WorkspaceId},
    problem::{Code, Problem},
};
use serde_json::{Map, Value};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{Refused, body};
use crate::{
    clock::Ambient,
    principals::{Principal, Principals, Unauthenticated},
};

/// How much is served.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests at once, of all callers together.
    pub in_flight_max: usize,
    /// Of the bodies of all requests together, in KiB.
    pub bodies_kib_max: u32,
    /// Requests at once of one principal.
    pub in_flight_of_one_max: usize,
    /// Requests a second of one principal, in the long run.
    pub per_second_max: u32,
    /// Requests of one principal that may come together after a pause.
    pub burst_max: u32,
}

impl Default for Limits {
    /// Far above what one log takes, so that only what runs wild is refused.
    fn default() -> Self {
        Self {
            in_flight_max: 512,
            bodies_kib_max: 32 * 1024,
            in_flight_of_one_max: 128,
            per_second_max: 1000,
            burst_max: 2000,
        }
    }
}

/// The door of a service.
pub struct Door {
    principals: Principals,
    limits: Limits,
    ambient: Arc<dyn Ambient>,
    taken: Mutex<Taken>,
    /// For bodies, in KiB.
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct Taken {
    in_flight: usize,
    by_one: BTreeMap<Key, Use>,
    /// How many there may be before those are forgotten that use nothing.
    swept_at: usize,
}

type Key = (WorkspaceId, PrincipalId);

/// Principals that are kept in mind without a look at which of them are idle: identity providers
/// may have any number.
const KNOWN_MIN: usize = 1024;

impl Taken {
    /// Whoever uses nothing and has its whole allowance is as one that never came.
    fn sweep(&mut self, now: Instant) {
        if self.by_one.len() >= self.swept_at.max(KNOWN_MIN) {
            let is_used = |used: &Use| used.in_flight > 0 || used.whole_at > now;
            self.by_one.retain(|_, used| is_used(used));
            self.swept_at = self.by_one.len() * 2;
        }
    }
}

struct Use {
    in_flight: usize,
    /// When the allowance that was used is whole again.
    whole_at: Instant,
}

/// Who asks, as a request says it.
pub struct Caller {
    pub headers: HeaderMap,
    vouched: Option<Principal>,
    let_in: LetIn,
}

/// Whether a request was let in, for whoever sees it from outside: an extension of the request.
#[derive(Debug, Clone, Default)]
pub struct LetIn(Arc<AtomicBool>);

impl LetIn {
    pub fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Someone whom another door than HTTP has let in. Nothing that comes over HTTP can hold it: it is
/// an extension of a request that this process made.
#[derive(Clone)]
pub struct Vouched(pub Principal);

/// Whether it came over another door than HTTP.
pub fn is_vouched(extensions: &Extensions) -> bool {
    extensions.get::<Vouched>().is_some()
}

impl Caller {
    pub fn of(parts: &Parts) -> Self {
        let vouched = parts.extensions.get::<Vouched>();
        Self {
            headers: parts.headers.clone(),
            vouched: vouched.map(|Vouched(principal)| principal.clone()),
            let_in: parts.extensions.get().cloned().unwrap_or_default(),
        }
    }

    /// Someone who needs no credential here, because another door has let them in.
    pub fn vouched(Vouched(principal): Vouched) -> Self {
        Self {
            headers: HeaderMap::new(),
            vouched: Some(principal),
            let_in: LetIn::default(),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts))
    }
}

/// A caller that was let in. Dropped, its place is free.
pub struct Admitted {
    pub principal: Principal,
    door: Arc<Door>,
    body: Option<OwnedSemaphorePermit>,
}

impl Door {
    pub fn new(principals: Principals, limits: Limits, ambient: Arc<dyn Ambient>) -> Arc<Self> {
        Arc::new(Self {
            principals,
            room: Arc::new(Semaphore::new(limits.bodies_kib_max as usize)),
            limits,
            ambient,
            taken: Mutex::new(Taken::default()),
        })
    }

    /// Whose token the request carries, now.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, Unauthenticated> {
        let now = self.ambient.now();
        self.principals.authenticate(headers, now).await
    }

    /// Who acts when `principal` names `named`, now: see [`Principals::acting`].
    pub fn acting(
        &self,
        principal: &Principal,
        named: Option<&PrincipalId>,
    ) -> Result<Actor, Problem> {
        self.principals.acting(principal, named, self.ambient.now())
    }

    /// Whom the broker knows by this name, now: see [`Principals::named`].
    pub fn named(&self, workspace: &WorkspaceId, id: &PrincipalId) -> Option<Principal> {
        self.principals.named(workspace, id, self.ambient.now())
    }

    /// Of which workspaces there are principals that the broker may know, now.
    pub fn workspaces(&self) -> BTreeSet<WorkspaceId> {
        self.principals.workspaces()
    }

    pub async fn admit(self: &Arc<Self>, caller: &Caller) -> Result<Admitted, Refused> {
        let principal = match &caller.vouched {
            Some(principal) => principal.clone(),
            None => self
                .authenticate(&caller.headers)
                .await
                .map_err(Refused::from)?,
        };
        self.take_place(&key(&principal))?;
        caller.let_in.0.store(true, Ordering::Relaxed);
        Ok(Admitted {
            principal,
            door: Arc::clone(self),
            body: None,
        })
    }

    fn take_place(&self, key: &Key) -> Result<(), Refused> {
        let Limits {
            in_flight_max,
            in_flight_of_one_max,
            per_second_max,
            burst_max,
            // Taken where bodies are read.
            bodies_kib_max: _,
        } = self.limits;
        let now = Instant::now();
        let mut taken = self.taken();
        if taken.in_flight >= in_flight_max {
            return Err(busy(&format!(
                "{in_flight_max} requests at once, of all callers"
            )));
        }
        taken.sweep(now);
        let used = taken.by_one.entry(key.clone()).or_insert(Use {
            in_flight: 0,
            whole_at: now,
        });
        if used.in_flight >= in_flight_of_one_max {
            return Err(busy(&format!(
                "{in_flight_of_one_max} requests at once, of one principal"
            )));
        }
        let each = Duration::from_secs(1) / per_second_max.max(1);
        let whole_at = used.whole_at.max(now) + each;
        let ahead = whole_at
            .duration_since(now)
            .saturating_sub(each * burst_max.max(1));
        if !ahead.is_zero() {
            let limit = format!("{per_second_max} requests a second, of one principal");
            return Err(busy(&limit).retry_after(ahead));
        }
        used.whole_at = whole_at;
        used.in_flight += 1;
        taken.in_flight += 1;
        Ok(())
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Counters are whole after any panic.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admitted {
    /// Reads the JSON object that was sent, if there is room for it until this is dropped.
    pub async fn object(
        &mut self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Map<String, Value>, Refused> {
        let (_, value) = self.json(headers, body, &[body::JSON]).await?;
        Ok(body::object(value)?)
    }

    /// As [`Self::object`], any JSON of one of these media types; says which.
    pub async fn json(
        &mut self,
        headers: &HeaderMap,
        body: Body,
        kinds: &[&'static str],
    ) -> Result<(&'static str, Value), Refused> {
        let kib = body::bytes_at_most(headers).div_ceil(1024);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.door.room).try_acquire_many_owned(kib) else {
            let limit = self.door.limits.bodies_kib_max;
            return Err(busy(&format!(
                "{limit} KiB of bodies at once, of all callers"
            )));
        };
        self.body = Some(room);
        Ok(body::json(headers, body, kinds).await?)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut taken = self.door.taken();
        taken.in_flight = taken.in_flight.saturating_sub(1);
        if let Some(used) = taken.by_one.get_mut(&key(&self.principal)) {
            used.in_flight = used.in_flight.saturating_sub(1);
        }
    }
}

fn key(principal: &Principal) -> Key {
    (principal.workspace.clone(), principal.actor.id.clone())
}

fn busy(limit: &str) -> Refused {
    let detail = format!("the limit is {limit}: wait as long as `Retry-After` says");
    Refused::from(Problem::new(Code::RateLimited, detail)).retry_after(Duration::from_secs(1))
}
