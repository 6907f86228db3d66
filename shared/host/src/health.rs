//! `/healthz`: the process runs. `/readyz`: it can do its work, or why not.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use journal::Journal;
use serde_json::{Value, json};

/// Why a service is not ready, by topic. Empty means ready.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Health {
    pub fn unready(&self, topic: &'static str, reason: impl Into<String>) {
        self.reasons().insert(topic, reason.into());
    }

    pub fn ready(&self, topic: &'static str) {
        self.reasons().remove(topic);
    }

    fn reasons(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, String>> {
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
    let mut reasons = watched.health.reasons().clone();
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
