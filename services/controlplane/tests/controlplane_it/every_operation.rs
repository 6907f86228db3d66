//! Every operation through every door: the same request has the same answer, and the same refusal.

use std::collections::BTreeSet;

use contracts::{
    problem::Code,
    registry::{Kind, OperationName, RESOURCES},
};
use serde_json::{Value, json};

use crate::{
    conforming::check_answer,
    doors::{Door, Said, TRACE_ID, WORKSPACE, shape},
    stage::{Blocked, Stage, assisted, bundle, echo, installation, intent, manifest},
};

/// What nobody has.
const NOBODY: &str = "0198f3b1-0000-7000-8000-000000000000";

/// One request, as programs send it and as a person types it.
struct Request {
    who: &'static str,
    input: Value,
    key: Option<&'static str>,
    /// Where there is a command of its own.
    words: Option<Vec<String>>,
}

impl Request {
    fn of(who: &'static str, input: Value) -> Self {
        Self {
            who,
            input,
            key: None,
            words: None,
        }
    }

    fn typed(self, words: &[&str]) -> Self {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            words: Some(words),
            ..self
        }
    }

    fn under(self, key: &'static str) -> Self {
        Self {
            key: Some(key),
            ..self
        }
    }

    async fn through(&self, stage: &Stage, door: Door, operation: OperationName) -> Said {
        let doors = &stage.doors;
        if let (Door::Command, Some(words)) = (door, &self.words) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            return doors.typed(WORKSPACE, self.who, operation, &words).await;
        }
        let (who, input, key) = (self.who, &self.input, self.key);
        doors
            .through(door, WORKSPACE, who, operation, input, key)
            .await
    }
}

/// What all doors are asked about.
struct Shown {
    /// Waits for a vote, so that nothing moves.
    blocked: Blocked,
    files: tempfile::TempDir,
    /// As recent as everything that was done before.
    position: String,
}

impl Shown {
    async fn set(stage: &Stage) -> Self {
        let blocked = stage.blocked(None).await;
        let get = OperationName::ExecutionGet;
        let asked = json!({ "executionId": blocked.execution });
        let said = stage.doors.ask("admin", get, &asked).await;
        let files = tempfile::tempdir().unwrap();
        let write = |name: &str, value: &Value| {
            std::fs::write(files.path().join(name), value.to_string()).unwrap();
        };
        write("manifest.json", &json!(manifest("1.0.0")));
        write("bundle.json", &json!(bundle()));
        Self {
            blocked,
            position: said.text("position"),
            files,
        }
    }

    fn file(&self, name: &str) -> String {
        self.files.path().join(name).to_str().unwrap().to_owned()
    }
}

/// A request that is carried out, prepared for one door. Commands that end something are asked for
/// something of their own by each door; what may be repeated, and every query, is the same.
#[expect(clippy::too_many_lines, reason = "each operation has its row")]
async fn in_order(stage: &Stage, shown: &Shown, operation: OperationName, door: Door) -> Request {
    let (at_least, execution) = (shown.position.as_str(), shown.blocked.execution.as_str());
    match operation {
        OperationName::IntentSubmit => submission(door),
        OperationName::PlanCompile => {
            let mut input = stage.awaiting_draft().await;
            input["draft"] = echo();
            input["plannerModel"] = json!("a-model");
            Request::of("submitter", input)
        }
        OperationName::PlanVerify => Request::of("submitter", stage.judged(intent(&echo())).await),
        OperationName::ExecutionStart => {
            let input = stage.judged(assisted()).await;
            let execution = input["executionId"].as_str().unwrap().to_owned();
            Request::of("submitter", input).typed(&["execution", "start", &execution])
        }
        OperationName::ExecutionApprove => {
            let blocked = stage.blocked(None).await;
            let mut input = blocked.approval("approver");
            input["note"] = json!("fine");
            let id = &blocked.execution;
            let words = ["execution", "approve", id, "--yes", "--note", "fine"];
            Request::of("approver", input).typed(&words)
        }
        OperationName::ExecutionReject => {
            let blocked = stage.blocked(None).await;
            let mut input = blocked.approval("approver");
            let vote = input.as_object_mut().unwrap();
            let by = vote.remove("approvedBy").unwrap();
            vote.insert("rejectedBy".to_owned(), by);
            vote.insert("reason".to_owned(), json!("no"));
            let id = &blocked.execution;
            let words = ["execution", "reject", id, "--yes", "--reason", "no"];
            Request::of("approver", input).typed(&words)
        }
        OperationName::ExecutionCancel => {
            let id = stage.blocked(None).await.execution;
            let input = json!({ "executionId": id, "cancelledBy": "admin", "reason": "enough" });
            let words = ["execution", "cancel", &id, "--reason", "enough"];
            Request::of("admin", input).typed(&words)
        }
        OperationName::ExecutionPause => {
            let blocked = stage.blocked(None).await;
            let input = json!({ "runId": blocked.run, "pausedBy": "admin", "reason": "later" });
            let words = [
                "execution",
                "pause",
                &blocked.execution,
                "--reason",
                "later",
            ];
            Request::of("admin", input).typed(&words)
        }
        OperationName::ExecutionResume => {
            let blocked = stage.blocked(None).await;
            let pause = json!({ "runId": blocked.run, "pausedBy": "admin" });
            let paused = OperationName::ExecutionPause;
            stage.doors.ask("admin", paused, &pause).await.ok();
            let input = json!({ "runId": blocked.run, "resumedBy": "admin" });
            let words = ["execution", "resume", &blocked.execution];
            Request::of("admin", input).typed(&words)
        }
        OperationName::ExecutionRetry => {
            let run = stage.failed().await;
            let execution = run.split(':').next().unwrap().to_owned();
            let input = json!({ "runId": run, "retriedBy": "admin", "reason": "it is open" });
            let words = ["execution", "retry", &execution, "--reason", "it is open"];
            Request::of("admin", input).typed(&words)
        }
        OperationName::ExecutionAbort => {
            let run = stage.blocked(None).await.run;
            let input = json!({ "runId": run, "abortedBy": "admin", "reason": "enough" });
            Request::of("admin", input)
        }
        OperationName::ExecutionShutdown => {
            let run = stage.blocked(None).await.run;
            let input = json!({ "runId": run, "shutdownBy": "admin", "reason": "enough" });
            Request::of("admin", input)
        }
        OperationName::StepReport => Request::of("reporter", stage.accepted().await),
        OperationName::SkillInstall => {
            let file = shown.file("manifest.json");
            let words = ["skill", "install", &file];
            Request::of("admin", installation(&manifest("1.0.0"))).typed(&words)
        }
        OperationName::SkillDisable => {
            let input = json!({
                "skillKey": "test.desk", "disabledBy": "admin", "version": "1.0.0",
                "reason": "old",
            });
            let words = [
                "skill",
                "disable",
                "test.desk",
                "--only",
                "1.0.0",
                "--reason",
                "old",
            ];
            Request::of("admin", input).typed(&words)
        }
        OperationName::PolicyActivate => {
            let file = shown.file("bundle.json");
            let input = json!({ "bundle": bundle() });
            Request::of("admin", input).typed(&["policy", "activate", &file])
        }
        OperationName::ExecutionGet => {
            let input = json!({ "executionId": execution });
            Request::of("admin", input).typed(&["execution", "get", execution])
        }
        OperationName::ExecutionList => {
            let input = json!({ "atLeast": at_least, "limit": 3, "statuses": ["blocked"] });
            let words = [
                "execution",
                "list",
                "--at-least",
                at_least,
                "--limit",
                "3",
                "--status",
                "blocked",
            ];
            Request::of("admin", input).typed(&words)
        }
        OperationName::TraceGet => {
            let input = json!({ "executionId": execution, "includePayloads": true });
            let words = ["trace", "get", execution, "--payloads"];
            Request::of("admin", input).typed(&words)
        }
        OperationName::PolicyExplain => {
            let input = json!({ "executionId": execution, "stepId": "only" });
            let words = ["policy", "explain", execution, "only"];
            Request::of("admin", input).typed(&words)
        }
        OperationName::SkillList => {
            let input = json!({ "atLeast": at_least, "limit": 100, "includeDisabled": true });
            let words = ["skill", "list", "--all", "--at-least", at_least];
            Request::of("admin", input).typed(&words)
        }
        OperationName::SkillVerify => {
            let file = shown.file("manifest.json");
            let words = ["skill", "verify", &file];
            Request::of("admin", installation(&manifest("1.0.0"))).typed(&words)
        }
        OperationName::ApprovalList => {
            let input = json!({
                "atLeast": at_least, "limit": 500, "all": false, "executionId": execution,
            });
            let words = [
                "approvals",
                "--execution",
                execution,
                "--at-least",
                at_least,
            ];
            Request::of("approver", input).typed(&words)
        }
    }
}

/// Each door has a key of its own, which the others know too.
fn submission(door: Door) -> Request {
    let key = match door {
        Door::Http => "http",
        Door::Nats => "nats",
        Door::Command => "command",
    };
    let draft = echo().to_string();
    let words = [
        "intent",
        "submit",
        "look after it",
        "--draft",
        &draft,
        "--key",
        key,
    ];
    Request::of("submitter", intent(&echo()))
        .under(key)
        .typed(&words)
}

/// A request that is refused, and leaves everything as it is.
#[expect(clippy::too_many_lines, reason = "each operation has its row")]
fn refused(shown: &Shown, operation: OperationName) -> (Request, Code) {
    let run = format!("{NOBODY}:1");
    let execution = shown.blocked.execution.as_str();
    match operation {
        OperationName::IntentSubmit => {
            let input = json!({ "workspaceId": WORKSPACE, "text": "something else" });
            let words = ["intent", "submit", "something else", "--key", "http"];
            let request = Request::of("submitter", input).under("http").typed(&words);
            (request, Code::IdempotencyConflict)
        }
        OperationName::PlanCompile => {
            let input = json!({ "executionId": NOBODY, "intentId": NOBODY });
            (Request::of("submitter", input), Code::IntentNotFound)
        }
        OperationName::PlanVerify => {
            let input = json!({ "executionId": execution, "planId": NOBODY });
            (Request::of("submitter", input), Code::PlanNotFound)
        }
        OperationName::ExecutionStart => {
            let input = json!({ "executionId": NOBODY, "planId": NOBODY });
            (Request::of("submitter", input), Code::ExecutionNotFound)
        }
        OperationName::ExecutionApprove => {
            let mut input = shown.blocked.approval("approver");
            input["planHash"] = json!("0".repeat(64));
            (Request::of("approver", input), Code::PlanHashMismatch)
        }
        OperationName::ExecutionReject => {
            let input = json!({
                "executionId": execution, "stepId": "another", "rejectedBy": "approver",
                "reason": "no",
            });
            (Request::of("approver", input), Code::StepNotFound)
        }
        OperationName::ExecutionCancel => {
            let input = json!({ "executionId": NOBODY, "cancelledBy": "admin" });
            let words = ["execution", "cancel", NOBODY];
            let request = Request::of("admin", input).typed(&words);
            (request, Code::ExecutionNotFound)
        }
        OperationName::ExecutionPause => {
            let input = json!({ "runId": run, "pausedBy": "admin" });
            (Request::of("admin", input), Code::RunNotFound)
        }
        OperationName::ExecutionResume => {
            let input = json!({ "runId": shown.blocked.run, "resumedBy": "admin" });
            let words = ["execution", "resume", execution];
            (Request::of("admin", input).typed(&words), Code::NotPaused)
        }
        OperationName::ExecutionRetry => {
            let input = json!({ "runId": shown.blocked.run, "retriedBy": "admin" });
            let words = ["execution", "retry", execution];
            (Request::of("admin", input).typed(&words), Code::NotFailed)
        }
        OperationName::ExecutionAbort => {
            let input = json!({ "runId": shown.blocked.run, "abortedBy": "somebody" });
            (Request::of("admin", input), Code::ActorMismatch)
        }
        OperationName::ExecutionShutdown => {
            let input = json!({ "runId": run, "shutdownBy": "admin" });
            (Request::of("admin", input), Code::RunNotFound)
        }
        OperationName::StepReport => {
            let input = json!({
                "executionId": execution, "stepId": "only", "token": "0".repeat(64),
                "outcome": "completed", "output": {},
            });
            (Request::of("reporter", input), Code::TokenInvalid)
        }
        OperationName::SkillInstall => {
            let mut input = installation(&manifest("7.0.0"));
            input["artifactDigest"] = json!("sha256:cd");
            (Request::of("admin", input), Code::ArtifactDigestMismatch)
        }
        OperationName::SkillDisable => {
            let input = json!({ "skillKey": "test.nothing", "disabledBy": "admin" });
            let words = ["skill", "disable", "test.nothing"];
            let request = Request::of("admin", input).typed(&words);
            (request, Code::SkillNotFound)
        }
        OperationName::PolicyActivate => {
            let input = json!({ "bundle": { "policies": { "a.cedar": "permit (" } } });
            (Request::of("admin", input), Code::PolicyRefused)
        }
        OperationName::ExecutionGet => {
            let input = json!({ "executionId": NOBODY });
            let words = ["execution", "get", NOBODY];
            let request = Request::of("admin", input).typed(&words);
            (request, Code::ExecutionNotFound)
        }
        OperationName::ExecutionList => {
            let words = ["execution", "list", "--limit", "100000"];
            let request = Request::of("admin", json!({ "limit": 100_000 })).typed(&words);
            (request, Code::InvalidInput)
        }
        OperationName::TraceGet => {
            let input = json!({ "executionId": execution, "includePayloads": true });
            let words = ["trace", "get", execution, "--payloads"];
            let request = Request::of("submitter", input).typed(&words);
            (request, Code::Forbidden)
        }
        OperationName::PolicyExplain => {
            let input = json!({ "executionId": execution, "stepId": "another" });
            let words = ["policy", "explain", execution, "another"];
            let request = Request::of("admin", input).typed(&words);
            (request, Code::StepNotFound)
        }
        OperationName::SkillList => {
            let input = json!({ "limit": 100, "offset": 7, "cursor": "nonsense" });
            (Request::of("admin", input), Code::InvalidInput)
        }
        OperationName::SkillVerify => {
            let request = Request::of("reporter", installation(&manifest("1.0.0")));
            (request, Code::Forbidden)
        }
        OperationName::ApprovalList => {
            let request = Request::of("reporter", json!({}));
            (request.typed(&["approvals"]), Code::Forbidden)
        }
    }
}

/// An answer without what depends on when it was asked.
fn lasting(body: &Value) -> Value {
    let mut lasting = body.clone();
    lasting.as_object_mut().unwrap().remove("position");
    lasting
}

#[tokio::test]
async fn every_operation_is_answered_alike_through_every_door() {
    let stage = Stage::set().await;
    let shown = Shown::set(&stage).await;
    for operation in OperationName::ALL {
        let mut first: Option<Said> = None;
        for door in Door::ALL {
            let request = in_order(&stage, &shown, operation, door).await;
            let said = request.through(&stage, door, operation).await;
            let members = said.ok().as_object().unwrap();
            assert!(!members.is_empty(), "{operation:?} through {door:?}");
            let Some(first) = &first else {
                first = Some(said);
                continue;
            };
            let (one, other) = (shape(&lasting(&first.body)), shape(&lasting(&said.body)));
            assert_eq!(one, other, "{operation:?} through {door:?}");
            if door == Door::Nats {
                assert_eq!(first.status, said.status, "{operation:?}");
            }
            // A signature is judged anew, now.
            let is_judged = operation == OperationName::SkillVerify;
            if operation.entry().kind == Kind::Query && !is_judged {
                assert_eq!(lasting(&first.body), lasting(&said.body), "{operation:?}");
            }
        }
    }
    for operation in OperationName::ALL {
        let (request, code) = refused(&shown, operation);
        refused_alike(&stage, operation, &request, code).await;
        // What is wrong with an input is named at its place.
        let nonsense = Request::of(request.who, json!({ "nonsense": 7 }));
        if code != Code::Forbidden {
            let said = refused_alike(&stage, operation, &nonsense, Code::InvalidInput).await;
            let findings = said.body["findings"].as_array().unwrap();
            let at = |path: &str| findings.iter().any(|finding| finding["path"] == path);
            assert!(at("/nonsense"), "{operation:?}: {said:#?}");
        }
    }
    one_key_is_one_execution(&stage).await;
    let events = stage.doors.check_events().await;
    assert!(events.len() > 25, "{events:#?}");
}

/// Whichever door it was first sent through.
async fn one_key_is_one_execution(stage: &Stage) {
    for first in Door::ALL {
        let mut ids = BTreeSet::new();
        for door in Door::ALL {
            let mut request = submission(first);
            // A command of its own sends no other body than the one that was typed.
            request.words = None;
            let said = request
                .through(stage, door, OperationName::IntentSubmit)
                .await;
            assert_eq!(
                said.status, 200,
                "{first:?}, again through {door:?}: {said:#?}"
            );
            ids.insert(said.text("executionId"));
        }
        assert_eq!(ids.len(), 1, "{first:?}: {ids:?}");
    }
}

/// Refused by all doors in the same words.
async fn refused_alike(
    stage: &Stage,
    operation: OperationName,
    request: &Request,
    code: Code,
) -> Said {
    let http = request.through(stage, Door::Http, operation).await;
    assert_eq!(http.code(), code.as_str(), "{operation:?}: {http:#?}");
    assert_eq!(http.status, code.http(), "{http:#?}");
    let nats = request.through(stage, Door::Nats, operation).await;
    assert_eq!(lasting(&http.body), lasting(&nats.body), "{operation:?}");
    assert_eq!(http.status, nats.status);
    assert_eq!(http.body["traceId"], TRACE_ID, "{operation:?}: {http:#?}");
    let typed = request.through(stage, Door::Command, operation).await;
    for member in ["title", "status", "detail", "code", "findings"] {
        assert_eq!(
            http.body.get(member),
            typed.body.get(member),
            "{operation:?}: `{member}` of {http:#?} and {typed:#?}"
        );
    }
    http
}

/// What people look for as a resource is the same query.
#[tokio::test]
async fn every_resource_is_answered_as_its_query() {
    let stage = Stage::set().await;
    let shown = Shown::set(&stage).await;
    let queries = RESOURCES
        .iter()
        .filter(|resource| resource.operation.entry().kind == Kind::Query);
    let mut asked = 0;
    for resource in queries {
        let execution = shown.blocked.execution.as_str();
        let path = resource.path.replace("{executionId}", execution);
        let mut input = json!({ "atLeast": shown.position });
        if path != resource.path {
            input["executionId"] = json!(execution);
        }
        let operation = resource.operation;
        let named = stage.doors.ask("admin", operation, &input).await;
        let path = format!("{path}?atLeast={}", shown.position);
        let at_path = stage.doors.get(WORKSPACE, "admin", &path).await;
        assert_eq!(lasting(named.ok()), lasting(at_path.ok()), "{path}");
        check_answer(operation, &at_path.body);
        asked += 1;
    }
    assert!(asked > 5, "{asked}");
}

/// Not an operation: who one is needs no grant, and on NATS the subject says it.
#[tokio::test]
async fn who_one_is_is_told_over_http_alone() {
    let stage = Stage::set().await;
    for (who, grant) in [
        ("approver", "execution.approve"),
        ("reporter", "step.report"),
    ] {
        let me = stage.doors.get(WORKSPACE, who, "/v1/me").await;
        assert_eq!(me.ok()["id"], who);
        assert_eq!(me.body["workspace"], WORKSPACE);
        let grants = me.body["grants"].as_array().unwrap();
        assert!(grants.contains(&json!(grant)), "{me:#?}");
    }
    assert!(contracts::registry::routing::operation("me").is_none());
    assert!(contracts::registry::routing::operation("inbox.refused").is_none());
}
