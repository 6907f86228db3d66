//! How each code is caused: by a request, by bytes that are none, or by what stands still.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "codes are sorted where every one of them is named, and told apart beside their like"
)]

use contracts::{event::EventName, problem::Code, registry::OperationName};
use serde_json::{Value, json};

use crate::{
    doors::{Door, Said, WORKSPACE},
    every_error::Around,
    stage::{Stage, assisted, desk, echo, foreign, installation, intent, manifest},
};

const NOBODY: &str = "0198f3b1-0000-7000-8000-000000000000";

/// How a code is caused.
pub enum Cause {
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

pub struct Request {
    pub who: &'static str,
    pub operation: OperationName,
    pub input: Value,
    pub key: Option<String>,
}

pub fn request(who: &'static str, operation: OperationName, input: Value) -> Request {
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
    pub async fn through(&self, stage: &Stage, door: Door) -> Said {
        let key = self.key.as_deref();
        let (who, operation, input) = (self.who, self.operation, &self.input);
        let doors = &stage.doors;
        doors
            .through(door, WORKSPACE, who, operation, input, key)
            .await
    }

    /// Through all doors at once, because it takes long.
    pub async fn through_all(&self, stage: &Stage) -> Vec<(Door, Said)> {
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

/// Of each code one.
pub async fn cause(stage: &Stage, around: &mut Around, code: Code) -> Cause {
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
            let blocked = EventName::StepBlocked;
            stage.doors.until(WORKSPACE, execution, blocked).await;
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
