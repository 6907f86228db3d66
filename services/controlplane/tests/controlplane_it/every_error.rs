//! Every code of the catalogue that a caller can cause, caused through each door: the same code,
//! its status, and a problem with nothing left out.

use std::collections::BTreeMap;

use contracts::{
    event::EventName,
    position::{Position, Positions},
    problem::Code,
    registry::OperationName,
};
use host::http::door::Limits;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    causes::{Cause, Request, cause, request},
    doors::{Door, PATIENCE, Said, TRACE_ID, TRACEPARENT, WORKSPACE},
    held_back::{OneTooMany, Stopped},
    stage::{Blocked, Stage, echo, intent},
};

/// What most requests are about.
pub struct Around {
    pub blocked: Blocked,
    /// What runs high: its vote must name the plan.
    pub high: Blocked,
    pub completed: String,
    /// Waits for a draft from outside.
    pub awaiting: Value,
    pub report: Value,
    /// What takes some waiting, or a process that stands still.
    pub slow: BTreeMap<Code, Vec<(Door, Said)>>,
}

impl Around {
    async fn set(stage: &Stage) -> Self {
        let awaiting = stage.awaiting_draft().await;
        let mut slow = while_services_stand_still(stage).await;
        slow.insert(Code::RateLimited, one_too_many(stage).await);
        slow.insert(Code::LogUnavailable, without_a_log(stage).await);
        Self {
            blocked: stage.blocked(None).await,
            high: stage.blocked(Some("delete")).await,
            completed: stage.completed().await,
            awaiting,
            report: stage.accepted().await,
            slow,
        }
    }
}

#[tokio::test]
async fn every_code_that_a_caller_can_cause_is_caused_through_each_door() {
    let stage = Stage::set().await;
    stage.is_gone("gone").await;
    let mut around = Around::set(&stage).await;
    let mut never = Vec::new();
    for code in Code::ALL {
        match cause(&stage, &mut around, code).await {
            Cause::Request(request) => {
                let http = request.through(&stage, Door::Http).await;
                complete(code, &http);
                let nats = request.through(&stage, Door::Nats).await;
                complete(code, &nats);
                assert_eq!(lasting(&http), lasting(&nats), "{code}");
                let typed = request.through(&stage, Door::Command).await;
                as_typed(code, &http, &typed);
            }
            Cause::Each(requests) => {
                for (door, request) in requests {
                    told(code, door, &request.through(&stage, door).await);
                }
            }
            Cause::Bytes(content_type, bytes) => {
                let headers = [("traceparent", TRACEPARENT), ("content-type", content_type)];
                let operation = OperationName::IntentSubmit;
                let (doors, who) = (&stage.doors, "submitter");
                let http = doors.over_http(WORKSPACE, who, operation, &headers, bytes.clone());
                let http = http.await;
                complete(code, &http);
                let nats = doors.over_nats(WORKSPACE, who, operation, &headers, bytes);
                let nats = nats.await;
                complete(code, &nats);
                assert_eq!(http.body, nats.body, "{code}");
            }
            Cause::Only(why, said) => {
                assert!(!why.is_empty() && !said.is_empty(), "{code}");
                for (door, said) in said {
                    told(code, door, &said);
                }
            }
            Cause::Never(why) => never.push((code, why)),
        }
    }
    let never: Vec<Code> = never.into_iter().map(|(code, _)| code).collect();
    assert_eq!(
        never,
        [
            Code::ExecutionCorrupt,
            Code::Internal,
            Code::ServiceUnavailable,
            Code::ContractsSpecVersionMissing,
            Code::ControlPlaneVersionMissing,
        ],
        "what no caller causes is few, and each has its reason"
    );
}

#[track_caller]
fn told(code: Code, door: Door, said: &Said) {
    match door {
        Door::Http | Door::Nats => complete(code, said),
        Door::Command => as_typed(code, said, said),
    }
}

/// What the catalogue says of the code, and all that a problem says beside it.
#[track_caller]
fn complete(code: Code, said: &Said) {
    let body = &said.body;
    assert_eq!(said.code(), code.as_str(), "{said:#?}");
    assert_eq!(said.status, code.http(), "{said:#?}");
    assert_eq!(body["status"], code.http(), "{said:#?}");
    assert_eq!(body["title"], code.title(), "{said:#?}");
    assert_eq!(body["type"], format!("urn:control-plane:problem:{code}"));
    let detail = body["detail"].as_str().unwrap_or_default();
    assert!(!detail.is_empty(), "{said:#?}");
    let instance = body["instance"].as_str().unwrap_or_default();
    assert!(instance.starts_with("/v1/"), "{code}: {said:#?}");
    assert_eq!(body["traceId"], TRACE_ID, "{code}: {said:#?}");
    let findings = body["findings"].as_array().cloned().unwrap_or_default();
    let needs_findings = matches!(
        code,
        Code::InvalidInput | Code::PlanRejected | Code::PolicyRefused | Code::BatchIncomplete
    );
    assert!(!needs_findings || !findings.is_empty(), "{said:#?}");
    for finding in &findings {
        let path = finding["path"].as_str().unwrap();
        assert!(path.is_empty() || path.starts_with('/'), "{said:#?}");
        assert!(!finding["code"].as_str().unwrap().is_empty(), "{said:#?}");
        assert!(!finding["message"].as_str().unwrap().is_empty());
    }
    if matches!(code.http(), 429 | 503) {
        let wait: u64 = said.headers["retry-after"].parse().unwrap();
        assert!(wait >= 1, "{said:#?}");
    }
}

/// The command says the same of it.
#[track_caller]
fn as_typed(code: Code, http: &Said, typed: &Said) {
    assert_eq!(typed.code(), code.as_str(), "{typed:#?}");
    assert_eq!(typed.status, code.http(), "{typed:#?}");
    assert_eq!(typed.body["title"], code.title(), "{typed:#?}");
    for member in ["detail", "findings"] {
        assert_eq!(http.body.get(member), typed.body.get(member), "{code}");
    }
}

/// Each request that is recorded is at another position.
fn lasting(said: &Said) -> Value {
    let mut lasting = said.body.clone();
    lasting.as_object_mut().unwrap().remove("position");
    lasting
}

/// What is only seen while nobody drives: a retry that has not begun, a report that nobody has
/// taken, a vote that comes too late; and what is waited for in vain.
async fn while_services_stand_still(stage: &Stage) -> BTreeMap<Code, Vec<(Door, Said)>> {
    let failed = stage.failed().await;
    let report = stage.accepted().await;
    let late = stage.blocked(Some("soon")).await;
    let executor = Stopped::the(&stage.doors.world, "executor");
    let mut caused = BTreeMap::new();

    let retry = json!({ "runId": failed, "retriedBy": "admin" });
    let operation = OperationName::ExecutionRetry;
    let next = stage.doors.ask("admin", operation, &retry).await;
    let pause = json!({ "runId": next.text("runId"), "pausedBy": "admin" });
    let pause = request("admin", OperationName::ExecutionPause, pause);
    caused.insert(Code::NotRunning, pause.through_all(stage).await);

    let operation = OperationName::StepReport;
    stage.doors.ask("reporter", operation, &report).await.ok();
    let mut other = report;
    other["output"] = json!({ "done": false });
    let other = request("reporter", operation, other);
    caused.insert(Code::AlreadyReported, other.through_all(stage).await);

    caused.extend(what_does_not_come(stage).await);

    // A vote that would not count in any case tells when its time is over.
    let mut vote = late.approval("approver");
    vote["planHash"] = json!("0".repeat(64));
    let vote = request("approver", OperationName::ExecutionApprove, vote);
    let until = Instant::now() + PATIENCE;
    while vote.through(stage, Door::Http).await.code() == Code::PlanHashMismatch.as_str() {
        assert!(Instant::now() < until, "the vote stays open");
    }
    caused.insert(Code::ApprovalExpired, vote.through_all(stage).await);
    executor.goes_on();
    caused
}

/// A position that the log has not reached, and a plan that nobody makes.
async fn what_does_not_come(stage: &Stage) -> BTreeMap<Code, Vec<(Door, Said)>> {
    let planner = Stopped::the(&stage.doors.world, "planner");
    let ids = stage.submitted(&intent(&echo())).await;
    let compile = request("submitter", OperationName::PlanCompile, ids);
    let mut ahead = Positions::beginning();
    for stream in stage.doors.journal.streams() {
        let sequence = stage.doors.journal.last_sequence(stream).await.unwrap() + 1_000_000;
        ahead.advance(Position { stream, sequence });
    }
    let list = json!({ "atLeast": ahead.to_string() });
    let list = request("admin", OperationName::ExecutionList, list);
    let (pending, behind) = tokio::join!(compile.through_all(stage), list.through_all(stage));
    planner.goes_on();
    BTreeMap::from([
        (Code::OutcomePending, pending),
        (Code::PositionNotReached, behind),
    ])
}

/// All places of one principal are taken, so nothing more of it is let in by any door.
async fn one_too_many(stage: &Stage) -> Vec<(Door, Said)> {
    let list = request("busy", OperationName::ExecutionList, json!({}));
    let limit = Limits::default().in_flight_of_one_max;
    let places = OneTooMany::of(&stage.doors, "busy", limit).await;
    let said = list.through_all(stage).await;
    for (_, said) in &said {
        let detail = said.body["detail"].as_str().unwrap();
        assert!(
            detail.contains(&format!("{limit} requests at once, of one principal")),
            "{said:#?}"
        );
    }
    places.are_free().await;
    let until = Instant::now() + PATIENCE;
    while !list.through(stage, Door::Http).await.is_answer() {
        assert!(Instant::now() < until, "the places are not given back");
    }
    said
}

/// The broker stands still: what is not stored is not answered, and under its key it is carried
/// out once when the broker goes on.
async fn without_a_log(stage: &Stage) -> Vec<(Door, Said)> {
    let submit = Request {
        key: Some("while nobody stores".to_owned()),
        ..request("submitter", OperationName::IntentSubmit, intent(&echo()))
    };
    let before = stage.completed().await;
    let broker = Stopped::the(&stage.doors.world, "nats-server");
    let (http, typed) = tokio::join!(
        submit.through(stage, Door::Http),
        submit.through(stage, Door::Command)
    );
    broker.goes_on();
    let until = Instant::now() + PATIENCE;
    let again = loop {
        let again = submit.through(stage, Door::Http).await;
        if again.is_answer() {
            break again;
        }
        assert_eq!(again.code(), Code::LogUnavailable.as_str(), "{again:#?}");
        assert!(Instant::now() < until, "{again:#?}");
    };
    let execution = again.text("executionId");
    let over_nats = submit.through(stage, Door::Nats).await;
    assert_eq!(over_nats.text("executionId"), execution);
    let completed = EventName::ExecutionCompleted;
    stage.doors.until(WORKSPACE, &execution, completed).await;
    for execution in [&execution, &before] {
        let names = stage.doors.names(WORKSPACE, execution).await;
        let received = names
            .iter()
            .filter(|name| **name == EventName::IntentReceived);
        assert_eq!(received.count(), 1, "{names:?}");
    }
    // Over NATS nobody is asked through a broker that stands still.
    vec![(Door::Http, http), (Door::Command, typed)]
}
