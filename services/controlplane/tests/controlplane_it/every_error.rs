//! Every code of the catalogue that a caller can cause, caused through each door: the same code,
//! its status, and a problem with nothing left out.

use std::collections::BTreeMap;

use contracts::{
    event::EventName,
    position::{Position, Positions},
    problem::Code,
    registry::OperationName,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    doors::{Door, PATIENCE, Said, TRACE_ID, TRACEPARENT, WORKSPACE},
    held_back::{OneTooMany, Stopped},
    stage::{Blocked, Stage, assisted, desk, echo, foreign, installation, intent, manifest},
};

const NOBODY: &str = "0198f3b1-0000-7000-8000-000000000000";

/// How a code is caused.
enum Cause {
    /// By this request, through all doors in the same words.
    Request(Request),
    /// By these requests, each through its door in its own words.
    Each(Vec<(Door, Request)>),
    /// By these bytes, which no command sends.
    Bytes(&'static str, Vec<u8>),
    /// Through these doors alone, for this reason.
    Only(&'static str, Vec<(Door, Said)>),
    /// By no caller, for this reason.
    Never(&'static str),
}

struct Request {
    who: &'static str,
    operation: OperationName,
    input: Value,
    key: Option<String>,
}

fn request(who: &'static str, operation: OperationName, input: Value) -> Request {
    Request {
        who,
        operation,
        input,
        key: None,
    }
}

fn caused(who: &'static str, operation: OperationName, input: Value) -> Cause {
    Cause::Request(request(who, operation, input))
}

impl Request {
    async fn through(&self, stage: &Stage, door: Door) -> Said {
        let key = self.key.as_deref();
        let (who, operation, input) = (self.who, self.operation, &self.input);
        let doors = &stage.doors;
        doors
            .through(door, WORKSPACE, who, operation, input, key)
            .await
    }

    /// Through all doors at once, because it takes long.
    async fn through_all(&self, stage: &Stage) -> Vec<(Door, Said)> {
        let (http, nats, command) = tokio::join!(
            self.through(stage, Door::Http),
            self.through(stage, Door::Nats),
            self.through(stage, Door::Command),
        );
        vec![
            (Door::Http, http),
            (Door::Nats, nats),
            (Door::Command, command),
        ]
    }
}

/// What most requests are about.
struct Around {
    blocked: Blocked,
    /// What runs high: its vote must name the plan.
    high: Blocked,
    completed: String,
    /// Its run may be tried again.
    awaiting: Value,
    report: Value,
    /// What takes some waiting, or a process that stands still.
    slow: BTreeMap<Code, Vec<(Door, Said)>>,
}

impl Around {
    async fn set(stage: &Stage) -> Self {
        let awaiting = stage.awaiting_draft().await;
        let mut slow = beside_an_executor_that_stands_still(stage).await;
        slow.extend(what_does_not_come(stage).await);
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

async fn cause(stage: &Stage, around: &mut Around, code: Code) -> Cause {
    if let Some(said) = around.slow.remove(&code) {
        return Cause::Only(
            "it takes some waiting, or a process that stands still",
            said,
        );
    }
    match code {
        Code::InvalidInput
        | Code::InvalidJson
        | Code::TooDeep
        | Code::InvalidIdempotencyKey
        | Code::BodyTooLarge
        | Code::UnsupportedMediaType
        | Code::NotFound
        | Code::MethodNotAllowed
        | Code::AnswerTooLarge
        | Code::BatchIncomplete => of_the_wire(stage, code).await,
        Code::Unauthenticated
        | Code::Forbidden
        | Code::ActorMismatch
        | Code::WorkspaceMismatch
        | Code::IntentNotFound
        | Code::ExecutionNotFound
        | Code::StepNotFound
        | Code::PlanNotFound
        | Code::RunNotFound
        | Code::SkillNotFound => of_who_and_what(around, code),
        Code::IdempotencyConflict
        | Code::AlreadyStarted
        | Code::ExecutionEnded
        | Code::NotAwaitingDraft
        | Code::DraftRequired
        | Code::NotVerified
        | Code::ModeNotPermitted
        | Code::PlanRejected
        | Code::NotSupportedYet
        | Code::PolicyNotActive
        | Code::PolicyRefused => of_plans(stage, around, code).await,
        Code::RunEnded
        | Code::NotPaused
        | Code::NotFailed
        | Code::RetryNotPermitted
        | Code::StepNotInFlight
        | Code::TokenInvalid => of_runs(stage, around, code).await,
        Code::NotEligible
        | Code::RequesterCannotApprove
        | Code::NoOpenBlock
        | Code::PlanHashRequired
        | Code::PlanHashMismatch
        | Code::InputsDigestMismatch => of_votes(stage, around, code).await,
        Code::SkillVersionConflict
        | Code::SignatureInvalid
        | Code::SignatureMissing
        | Code::SignatureExpired
        | Code::ManifestInvalid
        | Code::SchemaVersionInvalid
        | Code::PublisherUntrusted
        | Code::KeyUntrusted
        | Code::ProvenanceUntrusted
        | Code::ArtifactDigestMismatch
        | Code::ContractsSpecTooOld
        | Code::ContractsSpecTooNew
        | Code::ControlPlaneTooOld
        | Code::ControlPlaneTooNew
        | Code::CapabilityMissing => of_skills(code),
        Code::ContractsSpecVersionMissing | Code::ControlPlaneVersionMissing => {
            Cause::Never("this build states its versions, whoever asks")
        }
        Code::ExecutionCorrupt => {
            Cause::Never("no caller writes events: intake's own tests forge a history")
        }
        Code::Internal => Cause::Never("it is a fault of the control plane itself"),
        Code::ServiceUnavailable => {
            Cause::Never("it takes a service that is gone: the gateway's own tests take one away")
        }
        Code::NotRunning
        | Code::AlreadyReported
        | Code::ApprovalExpired
        | Code::PositionNotReached
        | Code::OutcomePending
        | Code::RateLimited
        | Code::LogUnavailable => panic!("{code} was not caused, or twice"),
    }
}

async fn of_the_wire(stage: &Stage, code: Code) -> Cause {
    let json = "application/json";
    match code {
        Code::InvalidInput => caused(
            "submitter",
            OperationName::IntentSubmit,
            json!({ "workspaceId": WORKSPACE, "txt": 7, "mode": "reckless" }),
        ),
        Code::InvalidJson => Cause::Bytes(json, b"nonsense".to_vec()),
        Code::TooDeep => {
            let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
            Cause::Bytes(json, format!("{{\"text\":{deep}}}").into_bytes())
        }
        Code::InvalidIdempotencyKey => {
            let submit = OperationName::IntentSubmit;
            Cause::Request(Request {
                key: Some("x".repeat(256)),
                ..request("submitter", submit, intent(&echo()))
            })
        }
        Code::BodyTooLarge => {
            let many = format!("{{\"metadata\":{{\"x\":[{}1]}}}}", "1,".repeat(20_000));
            Cause::Bytes(json, many.into_bytes())
        }
        Code::UnsupportedMediaType => Cause::Bytes("text/xml", b"<text/>".to_vec()),
        Code::NotFound => {
            // On NATS nobody hears it, and no command asks for it.
            let admin = stage.doors.person(WORKSPACE, "admin");
            let subject = format!("cp.api.{WORKSPACE}.admin.weather.get");
            let answer = admin.guest.request(&subject, &[], b"{}".to_vec()).await;
            assert!(answer.is_none(), "{answer:?}");
            let said = stage.doors.get(WORKSPACE, "admin", "/v1/weather.get").await;
            Cause::Only("on NATS there is nobody", vec![(Door::Http, said)])
        }
        Code::MethodNotAllowed => {
            let path = "/v1/intent.submit";
            let said = stage.doors.get(WORKSPACE, "submitter", path).await;
            assert_eq!(said.headers["allow"], "POST");
            Cause::Only("only HTTP has methods", vec![(Door::Http, said)])
        }
        Code::AnswerTooLarge => {
            let mut input = intent(&echo());
            input["metadata"] = json!({ "x": "x".repeat(1_042_000) });
            let ids = stage.submitted(&input).await;
            let asked = json!({ "executionId": ids["executionId"], "includePayloads": true });
            let asked = request("admin", OperationName::TraceGet, asked);
            asked.through(stage, Door::Http).await.ok();
            asked.through(stage, Door::Command).await.ok();
            let said = asked.through(stage, Door::Nats).await;
            Cause::Only("only a message has a size", vec![(Door::Nats, said)])
        }
        _ => {
            let batch = "application/cloudevents-batch+json";
            let said = stage
                .doors
                .post(
                    WORKSPACE,
                    "submitter",
                    "/v1/events",
                    batch,
                    b"[{}]".to_vec(),
                )
                .await;
            Cause::Only("only HTTP takes batches", vec![(Door::Http, said)])
        }
    }
}

fn of_who_and_what(around: &Around, code: Code) -> Cause {
    let execution = around.blocked.execution.as_str();
    match code {
        Code::Unauthenticated => {
            // What is wrong with a token is no fault of a subject, and the other way round.
            let each = Door::ALL.map(|door| {
                let asked = request("gone", OperationName::ExecutionList, json!({}));
                (door, asked)
            });
            Cause::Each(each.into())
        }
        Code::Forbidden => caused("viewer", OperationName::IntentSubmit, intent(&echo())),
        Code::ActorMismatch => {
            let mut input = intent(&echo());
            input["actorId"] = json!("ada");
            caused("submitter", OperationName::IntentSubmit, input)
        }
        Code::WorkspaceMismatch => {
            let mut input = intent(&echo());
            input["workspaceId"] = json!("elsewhere");
            caused("submitter", OperationName::IntentSubmit, input)
        }
        Code::IntentNotFound => {
            let input = json!({ "executionId": execution, "intentId": NOBODY });
            caused("submitter", OperationName::PlanCompile, input)
        }
        Code::ExecutionNotFound => {
            let input = json!({ "executionId": NOBODY });
            caused("admin", OperationName::TraceGet, input)
        }
        Code::StepNotFound => {
            let mut vote = around.blocked.approval("approver");
            vote["stepId"] = json!("another");
            caused("approver", OperationName::ExecutionApprove, vote)
        }
        Code::PlanNotFound => {
            let input = json!({ "executionId": execution, "planId": NOBODY });
            caused("submitter", OperationName::ExecutionStart, input)
        }
        Code::RunNotFound => {
            let input = json!({ "runId": format!("{execution}:2"), "abortedBy": "admin" });
            caused("admin", OperationName::ExecutionAbort, input)
        }
        _ => {
            let input = json!({ "skillKey": "test.nothing", "disabledBy": "admin" });
            caused("admin", OperationName::SkillDisable, input)
        }
    }
}

async fn of_plans(stage: &Stage, around: &Around, code: Code) -> Cause {
    match code {
        Code::IdempotencyConflict => {
            let submit = OperationName::IntentSubmit;
            let asked = Request {
                key: Some("once".to_owned()),
                ..request("submitter", submit, intent(&echo()))
            };
            asked.through(stage, Door::Http).await.ok();
            let input = json!({ "workspaceId": WORKSPACE, "text": "something else" });
            Cause::Request(Request { input, ..asked })
        }
        Code::AlreadyStarted | Code::ModeNotPermitted => {
            let mut input = stage.judged(assisted()).await;
            let start = OperationName::ExecutionStart;
            if code == Code::AlreadyStarted {
                stage.doors.ask("submitter", start, &input).await.ok();
                input["mode"] = json!("observe");
            } else {
                input["mode"] = json!("autonomous");
            }
            caused("submitter", start, input)
        }
        Code::ExecutionEnded => {
            let input = json!({ "executionId": around.completed, "cancelledBy": "admin" });
            caused("admin", OperationName::ExecutionCancel, input)
        }
        Code::NotAwaitingDraft => {
            let mut input = stage.submitted(&assisted()).await;
            let execution = input["executionId"].as_str().unwrap();
            let verified = EventName::PlanVerified;
            stage.doors.until(WORKSPACE, execution, verified).await;
            input["draft"] = echo();
            caused("submitter", OperationName::PlanCompile, input)
        }
        Code::DraftRequired => {
            let input = around.awaiting.clone();
            caused("submitter", OperationName::PlanCompile, input)
        }
        Code::NotVerified => {
            let input = json!({ "executionId": around.awaiting["executionId"] });
            caused("admin", OperationName::PolicyExplain, input)
        }
        Code::PlanRejected | Code::NotSupportedYet => {
            let mut draft = echo();
            if code == Code::PlanRejected {
                draft["steps"][0]["needs"] = json!(["nothing"]);
            } else {
                draft["steps"][0]["when"] = json!("later");
            }
            let input = stage.submitted(&intent(&draft)).await;
            caused("submitter", OperationName::PlanCompile, input)
        }
        Code::PolicyNotActive => {
            let mut input = stage.judged(intent(&echo())).await;
            input["policyVersion"] = json!("0".repeat(64));
            caused("submitter", OperationName::PlanVerify, input)
        }
        _ => {
            let input = json!({ "bundle": { "policies": { "a.cedar": "permit (" } } });
            caused("admin", OperationName::PolicyActivate, input)
        }
    }
}

async fn of_runs(stage: &Stage, around: &Around, code: Code) -> Cause {
    match code {
        Code::RunEnded => {
            let run = format!("{}:1", around.completed);
            let input = json!({ "runId": run, "pausedBy": "admin" });
            caused("admin", OperationName::ExecutionPause, input)
        }
        Code::NotPaused => {
            let input = json!({ "runId": around.blocked.run, "resumedBy": "admin" });
            caused("admin", OperationName::ExecutionResume, input)
        }
        Code::NotFailed => {
            let input = json!({ "runId": around.blocked.run, "retriedBy": "admin" });
            caused("admin", OperationName::ExecutionRetry, input)
        }
        Code::RetryNotPermitted => {
            let blocked = stage.blocked(None).await;
            let cancel = json!({ "executionId": blocked.execution, "cancelledBy": "admin" });
            let operation = OperationName::ExecutionCancel;
            stage.doors.ask("admin", operation, &cancel).await.ok();
            let failed = EventName::ExecutionFailed;
            stage
                .doors
                .until(WORKSPACE, &blocked.execution, failed)
                .await;
            let input = json!({ "runId": blocked.run, "retriedBy": "admin" });
            caused("admin", OperationName::ExecutionRetry, input)
        }
        Code::StepNotInFlight => {
            let mut draft = desk("briefly");
            let retry = json!({ "maxAttempts": 3, "backoffMs": 600_000, "backoffMsMax": 600_000 });
            draft["steps"][0]["retry"] = retry;
            let ids = stage.submitted(&intent(&draft)).await;
            let execution = ids["executionId"].as_str().unwrap();
            let failed = EventName::StepFailed;
            stage.doors.until(WORKSPACE, execution, failed).await;
            let mut report = stage.report(execution);
            report["outcome"] = json!("failed");
            report.as_object_mut().unwrap().remove("output");
            caused("reporter", OperationName::StepReport, report)
        }
        _ => {
            let mut report = around.report.clone();
            report["token"] = json!("0".repeat(64));
            caused("reporter", OperationName::StepReport, report)
        }
    }
}

async fn of_votes(stage: &Stage, around: &Around, code: Code) -> Cause {
    let approve = OperationName::ExecutionApprove;
    let mut vote = around.blocked.approval("approver");
    match code {
        Code::NotEligible => {
            let vote = stage.blocked(Some("named")).await.approval("approver");
            return caused("approver", approve, vote);
        }
        Code::RequesterCannotApprove => {
            let blocked = stage.blocked_for("both", None).await;
            return caused("both", approve, blocked.approval("both"));
        }
        Code::PlanHashRequired => {
            vote = around.high.approval("approver");
            vote.as_object_mut().unwrap().remove("planHash");
        }
        Code::NoOpenBlock => vote["blockId"] = json!(NOBODY),
        Code::PlanHashMismatch => vote["planHash"] = json!("0".repeat(64)),
        _ => vote["inputsDigest"] = json!("0".repeat(64)),
    }
    caused("approver", approve, vote)
}

/// As Node.js signed them: each with the one fault that it is refused for.
fn of_skills(code: Code) -> Cause {
    let name = match code {
        Code::SkillVersionConflict => {
            let mut other = installation(&manifest("1.0.0"));
            other["manifest"]["skill"]["entryPoint"] = json!("nats:other");
            return caused("admin", OperationName::SkillInstall, other);
        }
        Code::SignatureInvalid => "signature: zeros (rsa2048)",
        Code::SignatureMissing => "unsigned",
        Code::SignatureExpired => "expired long ago",
        Code::ManifestInvalid => "entry point \"weather\"",
        Code::SchemaVersionInvalid => "schema version 2.0.0",
        Code::PublisherUntrusted => "another publisher",
        Code::KeyUntrusted => "a stranger's RSA key under a trusted name",
        Code::ProvenanceUntrusted => "another provenance",
        Code::ArtifactDigestMismatch => "another artifact",
        Code::ContractsSpecTooOld => "contracts too old",
        Code::ContractsSpecTooNew => "contracts too new",
        Code::ControlPlaneTooOld => "control plane too old",
        Code::ControlPlaneTooNew => "control plane too new",
        _ => "no such capability",
    };
    caused("admin", OperationName::SkillInstall, foreign(name))
}

/// What is only seen while nobody drives: a retry that has not begun, a report that nobody has
/// taken, a vote that comes too late.
async fn beside_an_executor_that_stands_still(stage: &Stage) -> BTreeMap<Code, Vec<(Door, Said)>> {
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

/// What is waited for in vain: a position that the log has not reached, and a plan that nobody
/// makes.
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
    let places = OneTooMany::of(&stage.doors, "busy").await;
    let said = list.through_all(stage).await;
    for (_, said) in &said {
        let detail = said.body["detail"].as_str().unwrap();
        assert!(
            detail.contains("128 requests at once, of one principal"),
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
