//! What a feed was opened with. Nobody reads on with a credential that was taken back.

use std::{sync::Arc, time::Duration};

use axum::http::{HeaderMap, header::AUTHORIZATION};
use host::{http::door::Door, principals::Principal};

use crate::api::Api;

/// How long a credential may have been taken back before a silent feed ends.
pub const CHECK_EVERY: Duration = Duration::from_secs(5);

pub struct Credential {
    door: Arc<Door>,
    principal: Principal,
    headers: HeaderMap,
}

impl Credential {
    pub fn of(api: &Api, principal: &Principal, headers: &HeaderMap) -> Self {
        let own = headers.get(AUTHORIZATION).cloned();
        Self {
            door: Arc::clone(&api.door),
            principal: principal.clone(),
            headers: own.map(|own| (AUTHORIZATION, own)).into_iter().collect(),
        }
    }

    /// Whether it still is the same principal's, with the same grants.
    pub async fn stands(&self) -> bool {
        let authenticated = self.door.authenticate(&self.headers).await;
        authenticated.as_ref() == Ok(&self.principal)
    }
}
