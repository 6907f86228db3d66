//! Logs, to standard error: one line per decision at `debug`, what an operator has to know at
//! `info` and above.
//!
//! A line that is about an execution carries its id as `execution` and its trace's as `trace`, in
//! every service: so one execution can be found in all logs at once. In JSON both are members of
//! the line itself. What says so is there at every level, as a warning needs it most.
//!
//! * [`json`]: one object per line

mod json;

use std::io::{IsTerminal, stderr};

use contracts::subject::{AggregateId, AggregateKind};
use journal::delivery::Message;
use tracing::{Span, error_span, field::Empty};
use tracing_subscriber::{EnvFilter, fmt, fmt::format::JsonFields};

use crate::{
    config::{LogFormat, traces::Traces},
    engine::Host,
    trace::{
        otlp::{self, Resource},
        trace_id,
    },
};

/// Starts logging. A filter that cannot be read is replaced by `info`, and that is said.
pub fn start(filter: &str, format: LogFormat) {
    let parsed = EnvFilter::try_new(filter);
    let unreadable = parsed.is_err();
    let filter = parsed.unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        // It would be told on standard error too, and a full disk there is a panic.
        .log_internal_errors(false)
        .with_ansi(stderr().is_terminal());
    // A second start in one process keeps the first.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder
            .fmt_fields(JsonFields::new())
            .event_format(json::Lines)
            .try_init(),
    };
    if unreadable {
        tracing::warn!("the log filter cannot be read; using `info`");
    }
}

/// What is said while a message is worked on belongs to its aggregate.
pub fn woken(message: &Message) -> Span {
    match message {
        Message::Event { recorded, .. } => {
            let traceparent = recorded.attributes.traceparent.as_deref();
            about(&recorded.subject.aggregate, traceparent)
        }
        Message::Timer(timer) => about(&timer.aggregate, None),
        Message::Letter { .. } | Message::Unreadable { .. } => Span::none(),
    }
}

/// What is said within belongs to an aggregate, and to a trace if there is one.
pub fn about(aggregate: &AggregateId, traceparent: Option<&str>) -> Span {
    let trace = traceparent.and_then(trace_id);
    match aggregate.kind() {
        // An incident about an execution has its id.
        AggregateKind::Execution | AggregateKind::Incident => {
            error_span!("on", execution = aggregate.id(), trace)
        }
        AggregateKind::Skill
        | AggregateKind::Policy
        | AggregateKind::Hold
        | AggregateKind::Schedule => error_span!("on", %aggregate, trace),
    }
}

/// What is said while an operation is carried out.
pub fn asked(operation: &'static str) -> Span {
    error_span!("asked", operation, execution = Empty, trace = Empty)
}

/// From here on, what is said belongs to an execution.
pub fn is_about(execution: &str) {
    Span::current().record("execution", execution);
}

/// From here on, what is said belongs to this trace. Once per span: it is not replaced.
pub fn belongs_to(traceparent: Option<&str>) {
    if let Some(trace) = traceparent.and_then(trace_id) {
        Span::current().record("trace", trace);
    }
}

/// This process, as a collector knows it.
pub fn resource(host: &Host, traces: &Traces) -> Resource {
    let name = format!("control-plane-{}", host.service);
    let own = [
        ("service.name", traces.service_name.clone().unwrap_or(name)),
        ("service.namespace", "control-plane".to_owned()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id", host.incarnation.to_string()),
    ];
    let own = own.map(|(key, value)| (key.to_owned(), value));
    otlp::resource(own.into_iter().chain(traces.resource.iter().cloned()))
}
