//! `POST /v1/events`: intents that come as `CloudEvents`, one at a time in structured or binary
//! mode, or as a batch. What an event asks for is stored before it is answered, and the same event
//! again is the same execution.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, Method},
    response::{IntoResponse as _, Response},
};
use contracts::{
    operations::intent::SubmitOutput,
    plan::Finding,
    problem::{Code, Problem},
    registry::cloud_events::{BATCH, BATCH_MAX, OPERATION, STRUCTURED},
};
use domain::execution::intake::Door;
use futures::{StreamExt as _, stream};
use host::{
    http::{
        Refused,
        body::JSON,
        door::Caller,
        input::{finding, invalid},
        seen,
    },
    principals::Principal,
    telemetry,
    trace::is_well_formed,
};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::{
    Intake,
    api::{Call, created, parse},
    cloud_event::{self, CloudEvent},
    intent::{self, Once, Submitted},
};

/// Events of one batch that are stored at once.
const AT_ONCE: usize = 16;

/// The request that brings an event, as a trace sees it.
pub(crate) struct Asked {
    pub traceparent: Option<String>,
    /// Whether it has a span itself, and brings this event only.
    pub is_seen: bool,
}

pub(crate) async fn take(
    State(intake): State<Arc<Intake>>,
    request: Request,
) -> Result<Response, Refused> {
    if request.method() != Method::POST {
        return Err(Refused::method_not_allowed("POST"));
    }
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    let mut admitted = intake.door.admit(&Caller::of(&parts)).await?;
    let kinds = [STRUCTURED, BATCH, JSON];
    let (kind, sent) = admitted.json(headers, body, &kinds).await?;
    let (intake, principal) = (&intake, &admitted.principal);
    let asked = Asked {
        traceparent: seen::passed_on(&parts.extensions, headers),
        is_seen: kind != BATCH,
    };
    if kind == BATCH {
        return Ok(batch(intake, principal, &asked, sent).await?);
    }
    let event = if kind == STRUCTURED {
        one(sent)
    } else {
        let pairs = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        cloud_event::binary(pairs, sent).map_err(invalid)
    };
    let submitted = submit(intake, principal, &asked, event?).await?;
    Ok(created(&submitted))
}

/// What is sent as one event is an object.
pub(crate) fn one(sent: Value) -> Result<CloudEvent, Problem> {
    let Value::Object(event) = sent else {
        return Err(Problem::of(Code::InvalidJson));
    };
    cloud_event::structured(event).map_err(invalid)
}

/// What the event asks for, as `intent.submit` would be asked for it.
pub(crate) async fn submit(
    intake: &Intake,
    principal: &Principal,
    asked: &Asked,
    event: CloudEvent,
) -> Result<Submitted, Problem> {
    principal.authorise(OPERATION.entry(), &event.data)?;
    // The event's own trace, where it has one.
    let traceparent = match &event.traceparent {
        Some(own) => is_well_formed(own).then(|| own.clone()),
        None => asked.traceparent.clone(),
    };
    let call = Call {
        intake,
        operation: OPERATION,
        principal,
        headers: &HeaderMap::new(),
        traceparent,
        is_seen: asked.is_seen,
        received: Instant::now(),
    };
    let once = Once {
        door: Door::CloudEvents,
        sender: &event.source,
        key: &event.id,
    };
    let input = parse(OPERATION, event.data).map_err(|problem| within("/data", problem))?;
    let submitting = async {
        telemetry::belongs_to(call.traceparent());
        intent::submit(&call, input, Some(once)).await
    };
    let submitted = submitting.instrument(telemetry::asked(OPERATION.entry().key));
    let submitted = submitted.await;
    submitted.map_err(|problem| within("/data", problem))
}

/// One event of a batch that was taken.
#[derive(Serialize)]
struct Taken {
    source: String,
    id: String,
    #[serde(flatten)]
    submitted: SubmitOutput,
}

async fn batch(
    intake: &Intake,
    principal: &Principal,
    asked: &Asked,
    sent: Value,
) -> Result<Response, Problem> {
    let Value::Array(events) = sent else {
        return Err(Problem::new(
            Code::InvalidJson,
            "a batch is an array of events",
        ));
    };
    if events.len() > BATCH_MAX {
        let detail = format!("a batch has at most {BATCH_MAX} events; send several");
        return Err(Problem::new(Code::BodyTooLarge, detail));
    }
    let taking = events.into_iter().map(async |sent| {
        let event = one(sent)?;
        let (source, id) = (event.source.clone(), event.id.clone());
        let submitted = submit(intake, principal, asked, event).await?.output;
        Ok(Taken {
            source,
            id,
            submitted,
        })
    });
    let outcomes: Vec<Result<Taken, Problem>> =
        stream::iter(taking).buffered(AT_ONCE).collect().await;
    let mut items = Vec::new();
    let mut findings = Vec::new();
    for (index, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(taken) => items.push(taken),
            // It passes: the whole batch may be sent again.
            Err(problem) if is_passing(&problem) => return Err(problem),
            Err(problem) => findings.extend(within(&format!("/{index}"), found(problem)).findings),
        }
    }
    if findings.is_empty() {
        Ok(Json(serde_json::json!({ "items": items })).into_response())
    } else {
        Err(Problem::of(Code::BatchIncomplete).with_findings(findings))
    }
}

/// Whether the same request may do better a little later.
pub(crate) fn is_passing(problem: &Problem) -> bool {
    matches!(problem.status, 429 | 500..)
}

/// A problem as findings, of which it has at least one.
fn found(problem: Problem) -> Problem {
    if problem.findings.is_empty() {
        let one = finding(String::new(), problem.code.as_str(), problem.detail.clone());
        return problem.with_findings(vec![one]);
    }
    problem
}

/// The same problem, about a part of what was sent.
fn within(path: &str, problem: Problem) -> Problem {
    let findings = problem.findings.iter().map(|found| Finding {
        path: format!("{path}{}", found.path),
        ..found.clone()
    });
    let findings: Vec<Finding> = findings.collect();
    if findings.is_empty() {
        return problem;
    }
    // What it says of them names their paths.
    let detail = if problem.code == Code::InvalidInput {
        invalid(findings.clone()).detail
    } else {
        problem.detail.clone()
    };
    Problem { detail, ..problem }.with_findings(findings)
}
