//! What the executor drives.

use std::time::Duration;

use contracts::{event::Event, events::executor::FailureCode};
use prometheus_client::metrics::{counter::Counter, gauge::Gauge, histogram::Histogram};

use super::{
    described::{Counts, Described, Times, labels},
    requests::InFlight,
};

labels!(
    OfCall {
        outcome: &'static str
    }
);
labels!(OfCode { code: &'static str });

/// From a worker beside the broker to the longest time-outs of steps.
const CALL_SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0,
];

/// Why runs fail: there from the start, at zero, so that the first one is a rise.
const FAILURES: [FailureCode; 7] = [
    FailureCode::Cancelled,
    FailureCode::ApprovalRejected,
    FailureCode::ApprovalExpired,
    FailureCode::PolicyBlocked,
    FailureCode::StepFailed,
    FailureCode::SkillUnavailable,
    FailureCode::DeadlineExceeded,
];

/// How a call of a skill ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brought {
    Completed,
    /// The worker will complete it later.
    Accepted,
    /// It is certain that the effect has not happened.
    NotDone,
    /// It may have happened.
    Unknown,
}

#[derive(Debug)]
pub struct Driving {
    drivers: Gauge,
    in_flight: Gauge,
    calls: Times<OfCall>,
    failures: Counts<OfCode>,
    takeovers: Counter,
}

impl Default for Driving {
    fn default() -> Self {
        let failures = Counts::<OfCode>::default();
        for code in FAILURES.map(FailureCode::as_str) {
            drop(failures.get_or_create(&OfCode { code }));
        }
        Self {
            failures,
            takeovers: Counter::default(),
            drivers: Gauge::default(),
            in_flight: Gauge::default(),
            calls: Times::new_with_constructor(
                (|| Histogram::new(CALL_SECONDS)) as fn() -> Histogram,
            ),
        }
    }
}

impl Driving {
    pub(super) fn describe(&self, described: &mut Described) {
        described.plain(
            "drivers",
            "Executions that this process drives now",
            &self.drivers,
        );
        described.plain(
            "calls_in_flight",
            "Steps whose skill was called and has not answered",
            &self.in_flight,
        );
        described.times(
            "call",
            "How long the call of a skill took: `completed`, `accepted` (to be completed later), \
             `not_done` (certainly no effect), `unknown` (perhaps an effect)",
            &self.calls,
        );
        described.family(
            "executions_failed",
            "Runs and executions that ended in failure, by why",
            &self.failures,
        );
        described.plain(
            "takeovers",
            "Attempts that were taken over from a process that died or stood still",
            &self.takeovers,
        );
    }

    pub(super) fn stored(&self, event: &Event) {
        if let Event::StepStarted(started) = event
            && started.takeover
        {
            self.takeovers.inc();
        }
        if let Event::ExecutionFailed(failed) = event {
            let code = failed.error_code.as_str();
            self.failures.get_or_create(&OfCode { code }).inc();
        }
    }

    /// An execution is driven until this is dropped.
    pub fn drives(&self) -> InFlight {
        InFlight::of(&self.drivers)
    }

    /// A skill is called until this is dropped.
    pub fn calls(&self) -> InFlight {
        InFlight::of(&self.in_flight)
    }

    pub fn called(&self, brought: Brought, took: Duration) {
        let outcome = match brought {
            Brought::Completed => "completed",
            Brought::Accepted => "accepted",
            Brought::NotDone => "not_done",
            Brought::Unknown => "unknown",
        };
        let calls = self.calls.get_or_create(&OfCall { outcome });
        calls.observe(took.as_secs_f64());
    }
}
