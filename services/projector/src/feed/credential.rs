//! What a feed was opened with. Nobody reads on with a credential that was taken back.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::http::{HeaderMap, header::AUTHORIZATION};
use host::{http::door::Door, principals::Principal};
use tokio::time::Instant;

use crate::api::Api;

/// How long a credential may have been taken back before a silent feed ends.
pub const CHECK_EVERY: Duration = Duration::from_secs(5);

/// How long what was looked at is not looked at again: as long as a change of the files of
/// principals may take to be seen. To look is to verify a signature, and events are many.
const STANDS_FOR: Duration = Duration::from_secs(1);

pub struct Credential {
    door: Arc<Door>,
    principal: Principal,
    headers: HeaderMap,
    stood_at: Mutex<Instant>,
}

impl Credential {
    pub fn of(api: &Api, principal: &Principal, headers: &HeaderMap) -> Self {
        let own = headers.get(AUTHORIZATION).cloned();
        Self {
            door: Arc::clone(&api.door),
            principal: principal.clone(),
            headers: own.map(|own| (AUTHORIZATION, own)).into_iter().collect(),
            stood_at: Mutex::new(Instant::now()),
        }
    }

    /// Whether it still is the same principal's, with the same grants.
    pub async fn stands(&self) -> bool {
        if self.stood_at().elapsed() < STANDS_FOR {
            return true;
        }
        let authenticated = self.door.authenticate(&self.headers).await;
        let stands = authenticated.as_ref() == Ok(&self.principal);
        if stands {
            *self.stood_at() = Instant::now();
        }
        stands
    }

    fn stood_at(&self) -> MutexGuard<'_, Instant> {
        // An instant is whole after any panic.
        self.stood_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
