//! One attempt: the call of its skill, and what came of it.

use std::{sync::Arc, time::Duration};

use contracts::{
    events::executor::{EffectOutcome, StepStarted},
    ids::{EventId, WorkspaceId},
    plan::PlanStep,
    time::Timestamp,
};
use domain::{
    catalogue::{Builtin, Catalogue, EntryPoint},
    execution::ending::{ACCEPTED_MS_DEFAULT, CODE_CHARS_MAX, Failure, MESSAGE_CHARS_MAX, Outcome},
};
use host::{
    clock::Ambient,
    failpoint,
    metrics::{Metrics, driving::Brought},
    trace::{
        export::Tracer,
        span::{Context, Kind, Span, SpanId},
        told::{self, Parent},
    },
};
use journal::{
    Journal,
    request::{Request, RequestError, skill_subject},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};
use tokio::time::Instant;

/// The largest answer of a skill, in bytes: outputs are stored in the log.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// How soon a worker that is still at it is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Everything an attempt needs, decided and stored before.
pub struct Call {
    pub journal: Arc<dyn Journal>,
    pub ambient: Arc<dyn Ambient>,
    pub workspace: WorkspaceId,
    pub started: StepStarted,
    pub step: PlanStep,
    pub inputs: Value,
    /// The completion token, whose hash is in the start.
    pub token: String,
    pub traceparent: Option<String>,
    pub catalogue: Arc<Catalogue>,
    /// The event that is its start.
    pub stored: EventId,
    pub metrics: Arc<Metrics>,
    pub tracer: Option<Tracer>,
}

/// What a call came to, and its span.
pub struct Ran {
    pub outcome: Outcome,
    pub span: Parent,
}

impl Call {
    /// Runs the effect. Called only after its start is stored.
    pub async fn run(self) -> Ran {
        let (began_at, began) = (self.ambient.now(), Instant::now());
        let in_flight = self.metrics.driving.calls();
        let outcome = self.outcome().await;
        drop(in_flight);
        failpoint::reach("after-dispatch");
        let brought = match &outcome {
            Outcome::Completed(_) => Brought::Completed,
            Outcome::Accepted { .. } => Brought::Accepted,
            Outcome::Failed(failure) => match failure.outcome {
                EffectOutcome::NotDone => Brought::NotDone,
                EffectOutcome::Unknown => Brought::Unknown,
            },
        };
        self.metrics.driving.called(brought, began.elapsed());
        let ended = self.ambient.now().max(began_at);
        self.tell(&outcome, began_at, ended);
        let id = SpanId::of_call(self.stored);
        Ran {
            outcome,
            span: Parent::Span { id, ended },
        }
    }

    /// Its own span, which a worker's hang from; nothing where nobody wants to see it.
    fn context(&self) -> Option<Context> {
        let context = Context::parse(self.traceparent.as_deref()?)?;
        let told = self.tracer.is_some() && context.is_sampled;
        told.then(|| context.with(SpanId::of_call(self.stored)))
    }

    fn tell(&self, outcome: &Outcome, began: Timestamp, ended: Timestamp) {
        let (Some(tracer), Some(context)) = (&self.tracer, self.context()) else {
            return;
        };
        let pin = &self.started.pin;
        let error = match outcome {
            Outcome::Completed(_) | Outcome::Accepted { .. } => None,
            Outcome::Failed(failure) => Some(failure.code.clone()),
        };
        let mut attributes = vec![
            (told::SKILL, told::pinned(pin).into()),
            (
                told::EXECUTION,
                self.started.execution_id.to_string().into(),
            ),
            (told::WORKSPACE, self.workspace.as_str().into()),
            (told::STEP, self.started.step_id.as_str().into()),
            (told::ATTEMPT, self.started.attempt.into()),
        ];
        if let Some(code) = &error {
            attributes.push((told::CODE, code.as_str().into()));
        }
        tracer.tell(Span {
            context,
            parent: Some(SpanId::of_event(self.stored)),
            name: format!("call {}/{}", pin.key, self.step.action).into(),
            kind: Kind::Client,
            began,
            ended,
            attributes,
            error,
        });
    }

    async fn outcome(&self) -> Outcome {
        let Some(skill) = self.catalogue.skill(&self.workspace, &self.step.uses) else {
            // The start was decided on a catalogue that had it.
            return failed(
                "SKILL_MISSING",
                "the skill is not in the catalogue",
                false,
                EffectOutcome::NotDone,
            );
        };
        let answered = match &skill.entry_point {
            EntryPoint::Builtin(Builtin::Echo) => Ok(Done::With(self.inputs.clone())),
            // Time passes by itself: its end is decided, not brought.
            EntryPoint::Builtin(Builtin::Wait) => std::future::pending().await,
            EntryPoint::Nats(name) => self.call(name).await,
        };
        match answered {
            Ok(Done::With(output)) => Outcome::of_output(Some(skill), &self.step, output),
            Ok(Done::Later { within_ms }) => Outcome::Accepted { within_ms },
            Err(failure) => Outcome::Failed(failure),
        }
    }

    /// Asks until there is an answer, at most until the time of the attempt is over. A worker that
    /// is still at it, for a call that another process made, is asked again under the same key:
    /// that is no failure, and no try.
    async fn call(&self, name: &str) -> Result<Done, Failure> {
        // However the clock is set meanwhile, it takes no longer than the step may.
        let left = self.started.timeout_at.since_ms(self.ambient.now());
        let left = Duration::from_millis(left.min(self.step.timeout_ms));
        let until = Instant::now() + left;
        let mut apart = false;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::timed_out());
            }
            match self.ask(name, left, apart).await? {
                Answered::Done(done) => return Ok(done),
                Answered::InProgress => tokio::time::sleep(ASK_AGAIN_AFTER.min(left)).await,
                // It may have been the answer to somebody else's call.
                Answered::Ended if !apart => apart = true,
                Answered::Ended => return Err(unreadable()),
            }
        }
    }

    async fn ask(&self, name: &str, timeout: Duration, apart: bool) -> Result<Answered, Failure> {
        let body = json!({
            "workspace": self.workspace,
            "executionId": self.started.execution_id,
            "runId": self.started.run_id,
            "stepId": self.started.step_id,
            "skill": self.step.uses.key,
            "version": self.step.uses.version,
            "action": self.step.action,
            "attempt": self.started.attempt,
            "idempotencyKey": self.started.idempotency_key,
            "deadline": self.started.timeout_at,
            "inputs": self.inputs,
        });
        let mut headers = vec![
            (
                "Idempotency-Key".to_owned(),
                self.started.idempotency_key.to_string(),
            ),
            ("Cp-Attempt".to_owned(), self.started.attempt.to_string()),
            (
                "Cp-Execution".to_owned(),
                self.started.execution_id.to_string(),
            ),
            ("Cp-Step".to_owned(), self.started.step_id.to_string()),
            ("Cp-Token".to_owned(), self.token.clone()),
        ];
        let own = self.context().map(|context| context.to_string());
        let traceparent = own.or_else(|| self.traceparent.clone());
        headers.extend(traceparent.map(|value| ("traceparent".to_owned(), value)));
        let request = Request {
            subject: skill_subject(&self.workspace, name),
            headers,
            payload: body.to_string().into_bytes().into(),
            timeout,
            apart,
        };
        match self.journal.request(request).await {
            Ok(reply) => read(&reply.payload),
            Err(RequestError::NoResponders { subject }) => Err(Failure {
                code: "NO_WORKER".to_owned(),
                message: Some(format!("no worker serves `{subject}`")),
                retryable: true,
                outcome: EffectOutcome::NotDone,
            }),
            Err(RequestError::Timeout { .. }) => Err(Failure::timed_out()),
            Err(RequestError::Ended { .. }) => Ok(Answered::Ended),
            Err(error @ RequestError::Unavailable(_)) => Err(Failure {
                code: "BROKER_UNAVAILABLE".to_owned(),
                message: Some(host::engine::chain(&error)),
                retryable: true,
                outcome: EffectOutcome::Unknown,
            }),
        }
    }
}

/// The end of an attempt whose answer, and no other, ends the connection on which it comes.
fn unreadable() -> Failure {
    Failure {
        code: "INVALID_REPLY".to_owned(),
        message: Some("the worker answers with headers that cannot be read".to_owned()),
        retryable: false,
        outcome: EffectOutcome::Unknown,
    }
}

/// The end of an attempt whose call is gone, done or not.
pub fn lost(message: &str) -> Outcome {
    failed("CALL_LOST", message, true, EffectOutcome::Unknown)
}

/// The end of an attempt that was not dispatched, because skill or policy changed while its start
/// was being stored: it is decided again.
pub fn outdated() -> Outcome {
    let message = "the skill or the policy changed before it was dispatched";
    failed("FACTS_CHANGED", message, true, EffectOutcome::NotDone)
}

/// The end of an attempt that was not dispatched, because its run was stopped while its start was
/// being stored. What was taken over may have been done before.
pub fn called_off(takeover: bool) -> Outcome {
    let message = "the run was stopped before it was dispatched";
    let outcome = if takeover {
        EffectOutcome::Unknown
    } else {
        EffectOutcome::NotDone
    };
    failed("CALLED_OFF", message, false, outcome)
}

/// The end of an attempt that could not be dispatched.
pub fn impossible(message: &str) -> Outcome {
    failed("NOT_DISPATCHED", message, false, EffectOutcome::NotDone)
}

/// What a call came to.
enum Done {
    With(Value),
    /// It will be reported.
    Later {
        within_ms: u64,
    },
}

/// What an answer means.
enum Answered {
    Done(Done),
    InProgress,
    /// Nobody knows what the worker said.
    Ended,
}

/// What a worker answers: exactly one of these.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Answer {
    Output(Value),
    Error(WorkerError),
    InProgress(IgnoredAny),
    Accepted(Accepted),
}

/// To be completed later, by who has the token.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    #[serde(default)]
    expires_after_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkerError {
    code: String,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    retryable: bool,
}

fn read(payload: &[u8]) -> Result<Answered, Failure> {
    let invalid = |message: String| Failure {
        code: "INVALID_REPLY".to_owned(),
        message: Some(message),
        retryable: false,
        outcome: EffectOutcome::Unknown,
    };
    if payload.len() > ANSWER_BYTES_MAX {
        return Err(invalid(format!(
            "the answer has {} bytes; at most {ANSWER_BYTES_MAX} are taken",
            payload.len()
        )));
    }
    match serde_json::from_slice(payload) {
        Ok(Answer::Output(output)) => match contracts::canonical::check(&output) {
            Ok(()) => Ok(Answered::Done(Done::With(output))),
            Err(error) => Err(invalid(error.to_string())),
        },
        Ok(Answer::Error(error)) => Err(Failure {
            code: error.code.chars().take(CODE_CHARS_MAX).collect(),
            message: error
                .message
                .map(|text| text.chars().take(MESSAGE_CHARS_MAX).collect()),
            retryable: error.retryable,
            // A worker that answers says whether it has done it: an error means it has not.
            outcome: EffectOutcome::NotDone,
        }),
        Ok(Answer::InProgress(_)) => Ok(Answered::InProgress),
        Ok(Answer::Accepted(accepted)) => Ok(Answered::Done(Done::Later {
            within_ms: accepted.expires_after_ms.unwrap_or(ACCEPTED_MS_DEFAULT),
        })),
        Err(error) => Err(invalid(format!(
            "the answer is not `output`, `error`, `inProgress` or `accepted`: {error}"
        ))),
    }
}

fn failed(code: &str, message: &str, retryable: bool, outcome: EffectOutcome) -> Outcome {
    Outcome::Failed(Failure {
        code: code.to_owned(),
        message: Some(message.chars().take(MESSAGE_CHARS_MAX).collect()),
        retryable,
        outcome,
    })
}
