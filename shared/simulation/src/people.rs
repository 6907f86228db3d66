//! Who asks: requests to an intake, and what comes back.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use contracts::{
    canonical::Digest,
    ids::{ExecutionId, RunId, SkillKey, SkillVersion, StepId},
    plan::Mode,
    subject::AggregateId,
};
use domain::execution::{Block, Execution, Known};
use host::aggregate;
use journal::memory::MemoryJournal;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::time::{Duration, sleep, timeout};
use tower::ServiceExt as _;

use crate::{
    audit::Answered,
    coverage::phase,
    processes::Processes,
    script::{Control, Name, Person, Plan, Shown, Skill, Submit, Vote},
    shop::{self, THE_SHOP},
    world::Seen,
};

/// How long a caller waits for an answer.
const PATIENCE: Duration = Duration::from_secs(12);

/// How often what has a key, or can be repeated, is sent again when nothing certain came back.
const TRIES: u8 = 4;

/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

pub struct People {
    pub processes: Arc<Processes>,
    pub memory: MemoryJournal,
    pub seen: Arc<Seen>,
}

/// What a worker reports of a call.
pub struct Report {
    pub execution: ExecutionId,
    pub step: StepId,
    /// The completion token of the call.
    pub token: String,
    /// Absent where it was not done.
    pub output: Option<Value>,
    pub retryable: bool,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
}

impl Answer {
    fn code(&self) -> String {
        if self.status.is_success() {
            return self.status.as_u16().to_string();
        }
        let code = self.body.get("code").and_then(Value::as_str);
        code.map_or_else(|| self.status.as_u16().to_string(), str::to_owned)
    }

    /// A member of the answer to what was done.
    fn says<T: DeserializeOwned>(&self, member: &str) -> Option<T> {
        let body = self.status.is_success().then_some(&self.body)?;
        serde_json::from_value(body.get(member)?.clone()).ok()
    }

    fn skill(&self) -> Option<(SkillKey, SkillVersion)> {
        Some((self.says("skillKey")?, self.says("version")?))
    }

    /// Whether nothing certain is known.
    fn is_uncertain(&self) -> bool {
        self.status.is_server_error()
    }
}

impl People {
    async fn ask(
        &self,
        by: Person,
        via: u8,
        operation: &str,
        body: &Map<String, Value>,
        key: Option<&str>,
    ) -> Option<Answer> {
        let routes = self.processes.routes(via)?;
        let mut request = Request::post(format!("/v1/{operation}"))
            .header("authorization", format!("Bearer {}", shop::token_of(by)))
            .header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let body = serde_json::to_vec(body).ok()?;
        let request = request.body(Body::from(body)).ok()?;
        let asking = async {
            let response = routes.oneshot(request).await.ok()?;
            let (parts, body) = response.into_parts();
            let bytes = axum::body::to_bytes(body, ANSWER_BYTES_MAX).await.ok()?;
            Some(Answer {
                status: parts.status,
                body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            })
        };
        timeout(PATIENCE, asking).await.ok()?
    }

    /// Asks, and asks again through the other intake while nothing certain comes back.
    async fn insist(
        &self,
        by: Person,
        via: u8,
        operation: &str,
        body: &Map<String, Value>,
        key: Option<&str>,
    ) -> Option<Answer> {
        let mut last = None;
        for attempt in 0..TRIES {
            let via = if attempt % 2 == 0 { via } else { 3 - via };
            last = self.ask(by, via, operation, body, key).await;
            match &last {
                Some(answer) if !answer.is_uncertain() => return last,
                Some(_) | None => sleep(Duration::from_millis(700)).await,
            }
        }
        last
    }

    /// What it asks of an execution, with what came of it noted.
    async fn command(
        &self,
        about: Option<(Name, ExecutionId)>,
        by: Person,
        via: u8,
        operation: &'static str,
        body: Map<String, Value>,
    ) -> Option<Answer> {
        let state = match about {
            Some((_, id)) => self.state(id).await,
            None => Execution::NeverReceived,
        };
        let path = operation.split(' ').next().unwrap_or(operation);
        let answer = self.insist(by, via, path, &body, None).await;
        let code = answer
            .as_ref()
            .map_or_else(|| "no answer".to_owned(), Answer::code);
        let phase = if about.is_some() { phase(&state) } else { "-" };
        self.seen.command(operation, phase, &code);
        let whom = about.map_or_else(String::new, |(name, _)| format!(" of {name}"));
        self.seen
            .tell(|| format!("{by} asks for {operation}{whom}: {code}"));
        answer
    }

    pub async fn state(&self, id: ExecutionId) -> Execution {
        let aggregate = AggregateId::execution(THE_SHOP.workspace.clone(), id);
        let loaded = aggregate::confirmed::<Execution>(&self.memory, &aggregate).await;
        loaded.map_or(Execution::NeverReceived, |loaded| loaded.state)
    }

    pub async fn submit(&self, submit: &Submit) {
        let salt = submit.name.to_string();
        let mut body = shop::intent(&THE_SHOP.workspace, submit.plan, &salt);
        if submit.by_hand {
            body.insert("start".to_owned(), json!("manual"));
        }
        if submit.mode != Mode::Autonomous {
            body.insert("mode".to_owned(), json!(submit.mode));
        }
        if let Some(ms) = submit.deadline_ms {
            let deadline = self.seen.now().plus_ms(ms);
            body.insert("deadlineAt".to_owned(), json!(deadline));
        }
        let key = submit.keyed.then(|| format!("key-{}", submit.name));
        self.seen
            .ordered(submit.name, submit.by, body.clone(), key.clone());
        let operation = "intent.submit";
        let answer = if key.is_some() {
            let key = key.as_deref();
            self.insist(submit.by, submit.via, operation, &body, key)
                .await
        } else {
            // Sent once: without a key it would be another one.
            self.ask(submit.by, submit.via, operation, &body, None)
                .await
        };
        self.submitted(submit.name, "nothing", answer);
    }

    pub async fn repeat(&self, name: Name, other_body: bool, via: u8) {
        let Some(order) = self.seen.order(name) else {
            return;
        };
        let mut body = order.body;
        if other_body {
            body.insert("text".to_owned(), json!("something else"));
        }
        let state = match self.seen.id(name) {
            Some(id) => self.state(id).await,
            None => Execution::NeverReceived,
        };
        let key = order.key.as_deref();
        let operation = "intent.submit";
        if key.is_some() {
            let answer = self.insist(order.by, via, operation, &body, key).await;
            let first = if other_body {
                "another body"
            } else {
                phase(&state)
            };
            if other_body {
                let code = answer
                    .as_ref()
                    .map_or_else(|| "no answer".to_owned(), Answer::code);
                self.seen
                    .command("intent.submit (other body)", phase(&state), &code);
                self.seen
                    .tell(|| format!("{} submits {name} with another body: {code}", order.by));
                if answer.is_some_and(|answer| answer.status.is_success()) {
                    self.seen.took(name, true);
                }
            } else {
                self.submitted(name, first, answer);
            }
        }
    }

    fn submitted(&self, name: Name, phase: &str, answer: Option<Answer>) {
        let code = answer
            .as_ref()
            .map_or_else(|| "no answer".to_owned(), Answer::code);
        self.seen.command("intent.submit", phase, &code);
        self.seen.tell(|| format!("{name} is submitted: {code}"));
        let Some(answer) = answer.filter(|answer| answer.status.is_success()) else {
            return;
        };
        let id = answer.body.get("executionId").and_then(Value::as_str);
        if let Some(id) = id.and_then(|id| id.parse::<ExecutionId>().ok()) {
            self.seen.named(name, id);
            self.seen.took(name, false);
            self.seen.answered(&Answered::Submitted { execution: id });
        }
    }

    pub async fn offer_draft(&self, name: Name, plan: Plan, via: u8) {
        let Some(id) = self.seen.id(name) else { return };
        let intent = domain::execution::intake::intent_id(id);
        let draft = shop::draft(plan, &name.to_string());
        let mut body = object(json!({ "executionId": id, "intentId": intent }));
        body.insert(
            "draft".to_owned(),
            draft.unwrap_or_else(|| json!({ "steps": [] })),
        );
        self.command(
            Some((name, id)),
            Person::Pat,
            via,
            "plan.compile (draft)",
            body,
        )
        .await;
    }

    pub async fn ask_plan(&self, name: Name, via: u8) {
        let Some(id) = self.seen.id(name) else { return };
        let intent = domain::execution::intake::intent_id(id);
        let body = object(json!({ "executionId": id, "intentId": intent }));
        let answer = self
            .command(Some((name, id)), Person::Root, via, "plan.compile", body)
            .await;
        if let Some(plan) = answer.and_then(|answer| answer.says("planId")) {
            let execution = id;
            self.seen.answered(&Answered::Planned { execution, plan });
        }
    }

    pub async fn vote(&self, vote: &Vote) {
        let Some(id) = self.seen.id(vote.of) else {
            return;
        };
        let seen = self.state(id).await;
        let block = open_block(&seen);
        sleep(Duration::from_millis(vote.thinks_ms)).await;
        let who = vote.by.as_str();
        let step = block.as_ref().map_or("note", |(step, _)| step.as_str());
        let mut body = object(json!({ "executionId": id, "stepId": step }));
        let (operation, name) = if vote.approves {
            ("execution.approve", "approvedBy")
        } else {
            body.insert("reason".to_owned(), json!("not like this"));
            ("execution.reject", "rejectedBy")
        };
        body.insert(name.to_owned(), json!(who));
        if let Some((_, block)) = &block {
            let other = Digest::of(b"something else");
            let opened = &block.opened;
            let (plan, inputs, id) = match vote.shows {
                Shown::Everything => (opened.plan_hash, opened.inputs_digest, true),
                Shown::OtherPlan => (other, opened.inputs_digest, true),
                Shown::OtherInputs => (opened.plan_hash, other, true),
                Shown::OtherBlock | Shown::Nothing => {
                    (opened.plan_hash, opened.inputs_digest, false)
                }
            };
            if vote.shows != Shown::Nothing {
                body.insert("planHash".to_owned(), json!(plan));
                body.insert("inputsDigest".to_owned(), json!(inputs));
            }
            if vote.shows == Shown::OtherBlock {
                let other = contracts::ids::BlockId::of(uuid::Uuid::from_u128(1));
                body.insert("blockId".to_owned(), json!(other));
            } else if id {
                body.insert("blockId".to_owned(), json!(opened.block_id));
            }
        }
        let answer = self
            .command(Some((vote.of, id)), vote.by, vote.via, operation, body)
            .await;
        if answer.is_some_and(|answer| answer.status.is_success()) {
            let Ok(step) = step.parse() else { return };
            let answered = if vote.approves {
                Answered::Approved {
                    execution: id,
                    step,
                    voter: shop::principal(vote.by),
                }
            } else {
                Answered::Rejected {
                    execution: id,
                    step,
                }
            };
            self.seen.answered(&answered);
        }
    }

    pub async fn cancel(&self, name: Name, by: Person, via: u8) {
        let Some(id) = self.seen.id(name) else { return };
        let body = object(json!({ "executionId": id, "cancelledBy": by.as_str() }));
        let answer = self
            .command(Some((name, id)), by, via, "execution.cancel", body)
            .await;
        if answer.is_some_and(|answer| answer.status.is_success()) {
            self.seen.answered(&Answered::Cancelled { execution: id });
        }
    }

    pub async fn start(&self, name: Name, mode: Option<Mode>, via: u8) {
        let Some(id) = self.seen.id(name) else { return };
        let Some(plan) = self.plan_of(id).await else {
            return;
        };
        let mut body = object(json!({ "executionId": id, "planId": plan }));
        if let Some(mode) = mode {
            body.insert("mode".to_owned(), json!(mode));
        }
        let answer = self
            .command(Some((name, id)), Person::Root, via, "execution.start", body)
            .await;
        if answer.is_some_and(|answer| answer.status.is_success()) {
            self.seen.answered(&Answered::Started { execution: id });
        }
    }

    pub async fn verify(&self, name: Name, via: u8) {
        let Some(id) = self.seen.id(name) else { return };
        let Some(plan) = self.plan_of(id).await else {
            return;
        };
        let body = object(json!({ "executionId": id, "planId": plan }));
        let answer = self
            .command(Some((name, id)), Person::Root, via, "plan.verify", body)
            .await;
        if let Some(plan) = answer.and_then(|answer| answer.says("planId")) {
            let execution = id;
            self.seen.answered(&Answered::Judged { execution, plan });
        }
    }

    /// Of the run under way or the last one, or one that there is not.
    pub async fn control(&self, name: Name, what: Control, via: u8) {
        let Some(id) = self.seen.id(name) else { return };
        let state = self.state(id).await;
        let run = state.known().and_then(Known::run_id);
        let run = run.unwrap_or(RunId {
            execution: id,
            number: 1,
        });
        let (operation, by) = match what {
            Control::Pause => ("execution.pause", "pausedBy"),
            Control::Resume => ("execution.resume", "resumedBy"),
            Control::Retry => ("execution.retry", "retriedBy"),
            Control::Abort => ("execution.abort", "abortedBy"),
        };
        let mut body = object(json!({ "runId": run }));
        body.insert(by.to_owned(), json!(Person::Root.as_str()));
        let before = self.seen.pauses(run);
        let answer = self
            .command(Some((name, id)), Person::Root, via, operation, body)
            .await;
        if answer.is_some_and(|answer| answer.status.is_success()) {
            self.seen.answered(&match what {
                Control::Pause => Answered::Paused { run, before },
                Control::Resume => Answered::Resumed { run, before },
                Control::Retry => Answered::Retried { run },
                Control::Abort => Answered::Cancelled { execution: id },
            });
        }
    }

    /// What came of a call that a worker accepted. False where it was not taken.
    pub async fn report(&self, report: &Report, via: u8) -> bool {
        let (id, step) = (report.execution, &report.step);
        let Some(name) = self.seen.name(id) else {
            return false;
        };
        let mut body = object(json!({
            "executionId": id, "stepId": step, "token": report.token,
        }));
        if let Some(output) = &report.output {
            body.insert("outcome".to_owned(), json!("completed"));
            body.insert("output".to_owned(), output.clone());
        } else {
            body.insert("outcome".to_owned(), json!("failed"));
            body.insert("errorCode".to_owned(), json!("NOT_DONE"));
            body.insert("retryable".to_owned(), json!(report.retryable));
        }
        let operation = "execution.step.report";
        let answer = self
            .command(Some((name, id)), Person::Walt, via, operation, body)
            .await;
        let taken = answer.is_some_and(|answer| answer.status.is_success());
        if taken {
            let step = step.clone();
            let execution = id;
            self.seen.answered(&Answered::Reported { execution, step });
        }
        taken
    }

    /// Of the plan there is, or one that there is not.
    async fn plan_of(&self, id: ExecutionId) -> Option<Value> {
        let state = self.state(id).await;
        let known = state.known()?;
        let plan = known.compiled().map(|compiled| json!(compiled.plan_id));
        Some(plan.unwrap_or_else(|| json!(uuid::Uuid::from_u128(2))))
    }

    pub async fn activate(&self, bundle: crate::script::Bundle, via: u8) {
        let body = object(json!({ "bundle": THE_SHOP.bundle(bundle) }));
        let answer = self
            .command(None, Person::Root, via, "policy.activate", body)
            .await;
        if let Some(hash) = answer.and_then(|answer| answer.says("hash")) {
            let workspace = THE_SHOP.workspace.clone();
            self.seen.answered(&Answered::Activated { workspace, hash });
        }
    }

    pub async fn install(&self, skill: Skill, via: u8) {
        let manifest = THE_SHOP.manifest(skill);
        let mut body = skill_version(manifest);
        let digest = manifest.pointer("/artifact/digest").cloned();
        body.insert("artifactDigest".to_owned(), digest.unwrap_or_default());
        body.insert("manifest".to_owned(), manifest.clone());
        let answer = self
            .command(None, Person::Root, via, "skill.install", body)
            .await;
        if let Some((key, version)) = answer.and_then(|answer| answer.skill()) {
            let workspace = THE_SHOP.workspace.clone();
            self.seen.answered(&Answered::Installed {
                workspace,
                key,
                version,
            });
        }
    }

    pub async fn disable(&self, skill: Skill, via: u8) {
        let mut body = skill_version(THE_SHOP.manifest(skill));
        body.insert("disabledBy".to_owned(), json!(Person::Root.as_str()));
        let answer = self
            .command(None, Person::Root, via, "skill.disable", body)
            .await;
        if let Some((key, version)) = answer.and_then(|answer| answer.skill()) {
            let workspace = THE_SHOP.workspace.clone();
            self.seen.answered(&Answered::Disabled {
                workspace,
                key,
                version,
            });
        }
    }
}

/// What names a version of a skill in a body.
fn skill_version(manifest: &Value) -> Map<String, Value> {
    let part = |pointer: &str| manifest.pointer(pointer).cloned().unwrap_or_default();
    object(json!({ "skillKey": part("/skill/key"), "version": part("/skill/version") }))
}

/// The first block that waits for votes.
pub fn open_block(state: &Execution) -> Option<(String, Block)> {
    let run = state.known()?.run()?;
    run.steps.iter().find_map(|(id, step)| {
        let block = step.open_block()?;
        Some((id.to_string(), block.clone()))
    })
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}
