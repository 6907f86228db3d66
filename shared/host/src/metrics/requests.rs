//! Operations as they are asked for, over HTTP and over NATS.

use std::time::Duration;

use axum::http::StatusCode;
use contracts::registry::{FeedName, OperationName};
use prometheus_client::metrics::{family::Family, gauge::Gauge, histogram::Histogram};

use super::described::{Counts, Described, Times, labels};

labels!(OfRequest {
    operation: &'static str,
    interface: &'static str,
    status: &'static str
});
labels!(OfInterface { interface: &'static str });
labels!(OfTurnedAway {
    interface: &'static str,
    reason: &'static str
});

/// From what is answered out of memory to a command that waits for another service's outcome.
const REQUEST_SECONDS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Operation(OperationName),
    Feed(FeedName),
    /// Anything else: what is published, health, and what is not there.
    Other,
}

/// Which way it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    Http,
    Nats,
}

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnedAway {
    /// It has no credential, or none that is good.
    Unauthenticated,
    /// More was asked than is served at once.
    Limited,
    /// Nothing is served there, or not by that method.
    NotServed,
    /// It could not be told who asks.
    Failed,
    /// Anything else.
    Other,
}

#[derive(Debug)]
pub struct Requests {
    times: Times<OfRequest>,
    in_flight: Family<OfInterface, Gauge>,
    turned_away: Counts<OfTurnedAway>,
}

impl Default for Requests {
    /// All reasons are there from the start, at zero.
    fn default() -> Self {
        let turned_away = Counts::<OfTurnedAway>::default();
        for interface in [Interface::Http, Interface::Nats] {
            for why in TurnedAway::ALL {
                drop(turned_away.get_or_create(&OfTurnedAway {
                    interface: interface.as_str(),
                    reason: why.as_str(),
                }));
            }
        }
        Self {
            turned_away,
            times: Times::new_with_constructor(
                (|| Histogram::new(REQUEST_SECONDS)) as fn() -> Histogram,
            ),
            in_flight: Family::default(),
        }
    }
}

impl Requests {
    pub(super) fn describe(&self, described: &mut Described) {
        described.times(
            "request",
            "How long it took to answer an operation, by the way it came (`http`, `nats`) and the \
             HTTP status of the answer; of a feed, to open it",
            &self.times,
        );
        described.family(
            "requests_in_flight",
            "Requests that are not answered yet",
            &self.in_flight,
        );
        described.family(
            "requests_turned_away",
            "Requests that were not let in, by the way they came: `unauthenticated`, `limited` (more \
             than is served at once), `not_served` (nothing is there, or not by that method), \
             `failed` (it could not be told who asks), `other`; they are in no other metric and in no trace",
            &self.turned_away,
        );
    }

    pub fn turned_away(&self, interface: Interface, why: TurnedAway) {
        let label = OfTurnedAway {
            interface: interface.as_str(),
            reason: why.as_str(),
        };
        self.turned_away.get_or_create(&label).inc();
    }

    /// One that has come; it counts until it is dropped.
    pub fn came(&self, interface: Interface) -> InFlight {
        let interface = interface.as_str();
        let gauge = self
            .in_flight
            .get_or_create_owned(&OfInterface { interface });
        InFlight::of(&gauge)
    }

    pub fn answered(&self, asked: Asked, interface: Interface, status: StatusCode, took: Duration) {
        let label = OfRequest {
            operation: asked.as_str(),
            interface: interface.as_str(),
            status: known(status),
        };
        self.times.get_or_create(&label).observe(took.as_secs_f64());
    }
}

impl TurnedAway {
    const ALL: [Self; 5] = [
        Self::Unauthenticated,
        Self::Limited,
        Self::NotServed,
        Self::Failed,
        Self::Other,
    ];

    /// Nothing of an answer that is no refusal.
    pub fn of(status: StatusCode) -> Option<Self> {
        if !status.is_client_error() && !status.is_server_error() {
            return None;
        }
        match status.as_u16() {
            401 => Some(Self::Unauthenticated),
            429 => Some(Self::Limited),
            404 | 405 => Some(Self::NotServed),
            500.. => Some(Self::Failed),
            _ => Some(Self::Other),
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::Limited => "limited",
            Self::NotServed => "not_served",
            Self::Failed => "failed",
            Self::Other => "other",
        }
    }
}

/// Counts for as long as it is there.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl InFlight {
    pub fn of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Asked {
    /// One of a few words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operation(name) => name.entry().key,
            Self::Feed(name) => name.entry().key,
            Self::Other => "other",
        }
    }
}

impl Interface {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Nats => "nats",
        }
    }
}

/// A status that the services answer with; a closed set, as every label is.
fn known(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200 => "200",
        201 => "201",
        204 => "204",
        304 => "304",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        405 => "405",
        409 => "409",
        413 => "413",
        415 => "415",
        422 => "422",
        429 => "429",
        500 => "500",
        503 => "503",
        504 => "504",
        other if other < 300 => "2xx",
        other if other < 400 => "3xx",
        other if other < 500 => "4xx",
        _ => "5xx",
    }
}
