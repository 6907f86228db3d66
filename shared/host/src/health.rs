//! `/healthz`: the process runs. `/readyz`: it can do its work, or why not.
//!
//! Whoever asks shows no credential, so what is answered names nothing of a workspace: a [`Why`]
//! can only be made of fixed words and places in the log. What it is about is for the log of the
//! process.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use contracts::position::{Position, Positions, StreamId};
use journal::Journal;
use serde_json::{Value, json};
use tokio::time::Instant;

/// How long a reason stands that is not given again: what is put off comes back sooner.
const STANDS: Duration = Duration::from_secs(10);

/// Why a service is not ready, by topic. Empty means ready.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, Reason>>>);

/// Why a service is not ready, in words that anyone may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    said: &'static str,
    place: Option<Place>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    At(Position),
    In(StreamId),
    Between(Positions, Positions),
}

impl Why {
    pub const fn of(said: &'static str) -> Self {
        Self { said, place: None }
    }

    #[must_use]
    pub fn at(self, position: Position) -> Self {
        let place = Some(Place::At(position));
        Self { place, ..self }
    }

    /// In this stream, where it is known.
    #[must_use]
    pub fn within(self, stream: Option<StreamId>) -> Self {
        let place = stream.map(Place::In);
        Self { place, ..self }
    }

    #[must_use]
    pub fn between(self, from: Positions, to: Positions) -> Self {
        let place = Some(Place::Between(from, to));
        Self { place, ..self }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.said)?;
        match &self.place {
            None => Ok(()),
            Some(Place::At(Position { stream, sequence })) => {
                write!(f, " (at {sequence} of `{}`)", stream.name())
            }
            Some(Place::In(stream)) => write!(f, " (in `{}`)", stream.name()),
            Some(Place::Between(from, to)) => write!(f, " (from `{from}` to `{to}`)"),
        }
    }
}

#[derive(Debug, Clone)]
struct Reason {
    why: Why,
    /// Until it is taken back, where this is absent.
    until: Option<Instant>,
}

impl Health {
    /// Not ready until [`Self::ready`] is said of the topic.
    pub fn unready(&self, topic: &'static str, why: Why) {
        self.reasons().insert(topic, Reason { why, until: None });
    }

    /// Not ready for as long as this is said again and again.
    /// Whether it was ready, as far as this goes.
    pub fn unready_for_now(&self, topic: &'static str, why: Why) -> bool {
        let now = Instant::now();
        let until = Some(now + STANDS);
        let before = self.reasons().insert(topic, Reason { why, until });
        before.is_none_or(|before| before.until.is_some_and(|until| until <= now))
    }

    pub fn ready(&self, topic: &'static str) {
        self.reasons().remove(topic);
    }

    /// The reasons that stand, by topic.
    pub fn standing(&self) -> BTreeMap<&'static str, Why> {
        let now = Instant::now();
        let mut reasons = self.reasons();
        reasons.retain(|_, reason| reason.until.is_none_or(|until| until > now));
        reasons
            .iter()
            .map(|(topic, reason)| (*topic, reason.why.clone()))
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
        reasons.insert("log", Why::of("the broker cannot be reached"));
    }
    if reasons.is_empty() {
        (StatusCode::OK, Json(json!({ "status": "ready" })))
    } else {
        let reasons: BTreeMap<_, _> = reasons
            .into_iter()
            .map(|(topic, why)| (topic, why.to_string()))
            .collect();
        let body = json!({ "status": "not_ready", "reasons": reasons });
        (StatusCode::SERVICE_UNAVAILABLE, Json(body))
    }
}
