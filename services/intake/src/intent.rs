//! `controlPlane.intent.submit`: an intent becomes an execution.

use contracts::{
    ids::ExecutionId,
    operations::intent::{SubmitInput, SubmitOutput},
    problem::{Code, Problem},
    subject::AggregateId,
};
use domain::execution::{
    Execution,
    intake::{self, Door, Submission},
};
use host::{
    http::{
        self,
        input::{INVALID_VALUE, one_finding},
    },
    telemetry, trace,
};
use journal::history::Read;
use serde_json::Value;

use crate::{api::Call, commit::History, refusal::Rejected};

/// The longest text: some ten thousand words, more than anybody reads before approving.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// The longest key: two UUIDs and a name fit, and a body does not.
const KEY_CHARS_MAX: usize = 255;

pub(crate) struct Submitted {
    pub output: SubmitOutput,
    /// Otherwise the same was submitted before, under the same key.
    pub is_new: bool,
    /// The trace that this request has begun, where its caller sent none: the span that its first
    /// event hangs from is the request.
    pub began: Option<String>,
}

/// What makes a repetition the same submission.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Once<'a> {
    pub door: Door,
    /// Whose keys they are.
    pub sender: &'a str,
    pub key: &'a str,
}

pub(crate) async fn submit(
    call: &Call<'_>,
    input: SubmitInput,
    once: Option<Once<'_>>,
) -> Result<Submitted, Problem> {
    let workspace = &call.principal.workspace;
    if input.workspace_id != *workspace {
        return Err(Problem::new(
            Code::WorkspaceMismatch,
            format!("the credential is for workspace `{workspace}`: name that one"),
        ));
    }
    let actor = call.acting(input.actor_id.as_ref())?;
    if input.text.len() > TEXT_BYTES_MAX {
        let message = format!("at most {TEXT_BYTES_MAX} bytes");
        return Err(one_finding("/text", INVALID_VALUE, message));
    }
    let id = match once {
        Some(once) => intake::keyed_id(workspace, once.door, once.sender, once.key),
        None => call.intake.host.ambient.execution_id(),
    };
    telemetry::is_about(&id.to_string());
    let traceparent = traceparent(call, input.trace_id.as_deref(), id);
    if call.traceparent().is_none() {
        telemetry::belongs_to(Some(&traceparent));
    }
    let submission = Submission {
        actor,
        channel_key: input.channel_key,
        text: input.text,
        metadata: input.metadata,
        draft: input.draft.map(Value::Object),
        start: input.start.unwrap_or_default(),
        mode: input.mode.unwrap_or_default(),
        deadline_at: input.deadline_at,
    };
    call.intake
        .backlog
        .admit(call.intake.host.journal.as_ref())
        .await?;
    let aggregate = AggregateId::execution(workspace.clone(), id);
    // Almost always it is the first event: nothing is read, and the append says if it is not. Only
    // where what a key named before has left the live window, nothing would say so.
    let mut guess = History::<Execution>::empty();
    if once.is_some() && call.intake.is_archived(&aggregate).await? {
        guess = call.intake.load(&aggregate, Read::Confirmed).await?;
    }
    let done = call
        .carry_out_on(guess, &aggregate, Some(&traceparent), |history, now| {
            let events =
                intake::submit(&history.state, id, &submission, now).map_err(Rejected::problem)?;
            match submission.deadline_at {
                // What was accepted in time stays so when it is sent again later.
                Some(deadline) if !events.is_empty() && deadline <= now => Err(one_finding(
                    "/deadlineAt",
                    INVALID_VALUE,
                    "this instant has passed".to_owned(),
                )),
                Some(_) | None => Ok(events),
            }
        })
        .await?;
    let known = intake::existing(&done.history.state, id).map_err(Rejected::problem)?;
    Ok(Submitted {
        output: SubmitOutput {
            execution_id: id,
            intent_id: known.intent.intent_id,
            status: known.status(),
            received_at: known.intent.received_at,
            position: Some(done.history.position()),
        },
        is_new: done.appended,
        began: (done.appended && call.traceparent().is_none()).then_some(traceparent),
    })
}

/// The key that the caller sent beside the request.
pub(crate) fn once<'a>(call: &Call<'a>) -> Result<Option<Once<'a>>, Problem> {
    const HEADER: &str = "idempotency-key";
    if !call.headers.contains_key(HEADER) {
        return Ok(None);
    }
    http::single(call.headers, HEADER)
        .and_then(|value| value.to_str().ok())
        .filter(|key| (1..=KEY_CHARS_MAX).contains(&key.len()))
        .filter(|key| key.bytes().all(|byte| matches!(byte, b' '..=b'~')))
        .map(|key| {
            Some(Once {
                door: Door::Http,
                sender: call.principal.actor.id.as_str(),
                key,
            })
        })
        .ok_or_else(|| Problem::of(Code::InvalidIdempotencyKey))
}

/// The caller's `traceparent`, else one with the trace id of the body, else one that follows from
/// the execution's id. Only ids that others can read are taken over; anything else is no fault.
fn traceparent(call: &Call<'_>, trace_id: Option<&str>, id: ExecutionId) -> String {
    let derived = trace::traceparent(call.traceparent(), id);
    if call.traceparent().is_some() {
        return derived;
    }
    let span = derived.split('-').nth(2).unwrap_or_default();
    let named = trace_id.map(|trace_id| format!("00-{trace_id}-{span}-01"));
    match named.filter(|named| trace::is_well_formed(named)) {
        Some(named) => named,
        None => derived,
    }
}
