//! What a process counts and times, in the `OpenMetrics` text format at `GET /metrics`.
//!
//! Nothing here is global: a [`Metrics`] is made with its [`Host`](crate::engine::Host) and passed
//! on. A label has a value from a closed set, `&'static str` or the id of a stream, so nothing that
//! a caller sends can become a series; ids of executions and people are in traces and logs.
//!
//! * [`described`]: names, and the table of all of them that is committed
//! * [`log`], [`decisions`], [`consumption`]: what every service does with the log
//! * [`requests`]: operations, over HTTP and NATS
//! * [`driving`], [`reading`], [`archiving`]: what the executor and the projector do beside
//! * [`spans`]: what became of traces
//!
//! Deliberately absent: what the machine knows better, such as memory and CPU of a process.

pub mod archiving;
pub mod consumption;
pub mod decisions;
pub mod described;
pub mod driving;
pub mod log;
pub mod reading;
pub mod requests;
pub mod spans;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{
        HeaderValue,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use contracts::{
    event::{Event, Service},
    time::Timestamp,
};
use journal::Journal;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::Gauge, info::Info},
    registry::Registry,
};

use self::{
    archiving::Archiving,
    consumption::Consumption,
    decisions::Decisions,
    described::{Described, Description},
    driving::Driving,
    log::Log,
    reading::Reading,
    requests::Requests,
    spans::Spans,
};
use crate::health::Health;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All that one process counts. What its service does not do is not shown.
pub struct Metrics {
    pub log: Log,
    pub decisions: Decisions,
    pub consumption: Consumption,
    pub requests: Requests,
    pub driving: Driving,
    pub reading: Reading,
    pub archiving: Archiving,
    pub spans: Spans,
    process: Process,
    registry: Registry,
    descriptions: Vec<Description>,
}

/// What is looked up when somebody asks.
#[derive(Default)]
struct Process {
    ready: Gauge,
    connected: Gauge,
    reconnections: Counter,
    started: Gauge<f64, AtomicU64>,
}

impl Metrics {
    pub fn new(service: Service, started: Timestamp) -> Self {
        Self::of(&[service], Some(service), started)
    }

    /// What any service has, each described once; nothing is counted in it.
    pub fn of_all() -> Vec<Description> {
        Self::of(&Service::ALL, None, Timestamp::from_millis(0)).descriptions
    }

    /// `one` is the service whose name each series has.
    fn of(services: &[Service], one: Option<Service>, started: Timestamp) -> Self {
        let mut described = Described::new(one);
        let has = |wanted: &[Service]| services.iter().any(|service| wanted.contains(service));

        let process = Process::default();
        process.describe(&mut described);
        process.started.set(seconds(started));
        let log = Log::new(services);
        log.describe(&mut described);
        let decisions = Decisions::default();
        let consumption = Consumption::default();
        if has(&[
            Service::Intake,
            Service::Planner,
            Service::Verifier,
            Service::Executor,
        ]) {
            consumption.describe(&mut described);
            decisions.describe(&mut described);
        }
        let requests = Requests::default();
        if has(&[Service::Intake, Service::Projector]) {
            requests.describe(&mut described);
        }
        let driving = Driving::default();
        if has(&[Service::Executor]) {
            driving.describe(&mut described);
        }
        let reading = Reading::default();
        if has(&[Service::Projector]) {
            reading.describe(&mut described);
        }
        let archiving = Archiving::default();
        if has(&[Service::Projector]) {
            archiving.describe(&mut described);
        }
        let spans = Spans::default();
        spans.describe(&mut described);
        let (registry, descriptions) = described.into_parts();
        Self {
            log,
            decisions,
            consumption,
            requests,
            driving,
            reading,
            archiving,
            spans,
            process,
            registry,
            descriptions,
        }
    }

    /// An event was stored.
    pub fn stored(&self, event: &Event, took: Duration) {
        self.log.stored(event.name(), took);
        self.driving.stored(event);
    }

    /// The text that is served, as of now.
    pub fn text(&self, health: &Health, journal: &dyn Journal) -> String {
        self.process.look(health, journal);
        self.consumption.look();
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Process {
    fn describe(&self, described: &mut Described) {
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        described.info(
            "build",
            &["version"],
            "Always 1; the version of the binary that runs",
            build,
        );
        described.usual(
            "process_start_time_seconds",
            "When the process began, in seconds since the Unix epoch",
            self.started.clone(),
        );
        described.plain(
            "ready",
            "1 where the process can do its work, as `/readyz` says; the reasons are there",
            &self.ready,
        );
        described.plain(
            "broker_connected",
            "1 where the broker can be reached, as far as is known",
            &self.connected,
        );
        described.plain(
            "broker_reconnections",
            "How often the connection to the broker was lost and is back",
            &self.reconnections,
        );
    }

    fn look(&self, health: &Health, journal: &dyn Journal) {
        let connected = journal.is_connected();
        let ready = connected && health.standing().is_empty();
        self.connected.set(i64::from(connected));
        self.ready.set(i64::from(ready));
        let before = self.reconnections.get();
        self.reconnections
            .inc_by(journal.epoch().saturating_sub(before));
    }
}

#[derive(Clone)]
struct Watched {
    metrics: Arc<Metrics>,
    health: Health,
    journal: Arc<dyn Journal>,
}

/// `GET /metrics`, without a credential, as health: there are numbers in it and no names but our
/// own.
pub fn routes(metrics: Arc<Metrics>, health: Health, journal: Arc<dyn Journal>) -> Router {
    Router::new()
        .route("/metrics", get(serve))
        .with_state(Watched {
            metrics,
            health,
            journal,
        })
}

async fn serve(State(watched): State<Watched>) -> Response {
    let Watched {
        metrics,
        health,
        journal,
    } = watched;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, metrics.text(&health, journal.as_ref())).into_response()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of this age are exact in a float"
)]
fn seconds(at: Timestamp) -> f64 {
    at.as_millis() as f64 / 1000.0
}
