//! `/healthz`: the process runs. `/readyz`: it can do its work, or why not.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use journal::Journal;
use serde_json::{Value, json};
use tokio::time::Instant;

/// How long a reason stands that is not given again: what is put off comes back sooner.
const STANDS: Duration = Duration::from_secs(10);

/// Why a service is not ready, by topic. Empty means ready.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, Reason>>>);

#[derive(Debug, Clone)]
struct Reason {
    text: String,
    /// Until it is taken back, where this is absent.
    until: Option<Instant>,
}

impl Health {
    /// Not ready until [`Self::ready`] is said of the topic.
    pub fn unready(&self, topic: &'static str, reason: impl Into<String>) {
        let text = reason.into();
        self.reasons().insert(topic, Reason { text, until: None });
    }

    /// Not ready for as long as this is said again and again.
    pub fn unready_for_now(&self, topic: &'static str, reason: impl Into<String>) {
        let text = reason.into();
        let until = Some(Instant::now() + STANDS);
        self.reasons().insert(topic, Reason { text, until });
    }

    pub fn ready(&self, topic: &'static str) {
        self.reasons().remove(topic);
    }

    /// The reasons that stand, by topic.
    pub fn standing(&self) -> BTreeMap<&'static str, String> {
        let now = Instant::now();
        let mut reasons = self.reasons();
        reasons.retain(|_, reason| reason.until.is_none_or(|until| until > now));
        reasons
            .iter()
            .map(|(topic, reason)| (*topic, reason.text.clone()))
            .collect()
    }

    fn reasons(&self) -> MutexGuard<'_, BTreeMap<&'static str, Reason>> {
        // A map of texts is whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
struct Watched {
    health: Health,
    journal: Arc<dyn Journal>,
}

/// The two endpoints.
pub fn routes(health: Health, journal: Arc<dyn Journal>) -> Router {
    Router::new()
        .route(
            "/healthz",
            get(|| async { Json(json!({ "status": "alive" })) }),
        )
        .route("/readyz", get(ready))
        .with_state(Watched { health, journal })
}

async fn ready(State(watched): State<Watched>) -> (StatusCode, Json<Value>) {
    let mut reasons = watched.health.standing();
    if !watched.journal.is_connected() {
        reasons.insert("log", "the broker cannot be reached".to_owned());
    }
    if reasons.is_empty() {
        (StatusCode::OK, Json(json!({ "status": "ready" })))
    } else {
        let body = json!({ "status": "not_ready", "reasons": reasons });
        (StatusCode::SERVICE_UNAVAILABLE, Json(body))
    }
}
