//! What a reader is shown of a history: one entry per event, without the personal data that its
//! payload may hold unless that is asked for.

use contracts::{
    event::{Event, EventName},
    facts::Actor,
    ids::StepId,
    operations::trace::{Stage, TraceEntry},
    plan::Status,
    record::Recorded,
};
use serde_json::{Map, Value};

use crate::execution::Execution;

mod cloud_event;

pub use cloud_event::cloud_event;

/// How much of a payload a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payloads {
    /// Only the members that never hold personal data.
    Masked,
    Whole,
}

/// The trace of a whole history.
pub fn entries(events: &[Recorded], payloads: Payloads) -> Vec<TraceEntry> {
    let mut state = Execution::NeverReceived;
    events
        .iter()
        .map(|recorded| {
            state = std::mem::replace(&mut state, Execution::NeverReceived).evolve(recorded);
            entry(
                recorded,
                state.status().unwrap_or(Status::Corrupt),
                payloads,
            )
        })
        .collect()
}

fn entry(recorded: &Recorded, status: Status, payloads: Payloads) -> TraceEntry {
    let name = recorded.event.name();
    let payload = payload(&recorded.event);
    let mut metadata = select(&payload, shown(name));
    if let Some(causation) = recorded.attributes.causation {
        metadata.insert("causationId".to_owned(), causation.to_string().into());
    }
    TraceEntry {
        timestamp: recorded.time(),
        stage: Stage::of(name),
        status,
        actor_id: actor(&recorded.event).map(|actor| actor.id.clone()),
        metadata: (!metadata.is_empty()).then_some(metadata),
        event: Some(name.as_str().to_owned()),
        event_id: Some(recorded.id()),
        version: Some(recorded.version()),
        service: Some(service(recorded).to_owned()),
        step_id: step(&recorded.event).cloned(),
        hash: Some(recorded.hash),
        payload: (payloads == Payloads::Whole).then_some(payload),
    }
}

fn service(recorded: &Recorded) -> &str {
    let source = recorded.attributes.source.as_str();
    source.strip_prefix("/control-plane/").unwrap_or(source)
}

fn payload(event: &Event) -> Map<String, Value> {
    match event.to_json() {
        Ok(Value::Object(members)) => members,
        // Payloads are structs; what was decoded from MessagePack also has a JSON form.
        Ok(_) | Err(_) => Map::new(),
    }
}

/// The payload as a reader without the grant for it sees it.
fn masked(event: &Event) -> Map<String, Value> {
    const ALWAYS: &[&str] = &["executionId", "stepId", "by", "actor", "rules"];
    let payload = payload(event);
    let mut masked = select(&payload, shown(event.name()));
    masked.extend(select(&payload, ALWAYS));
    masked
}

fn select(payload: &Map<String, Value>, members: &[&str]) -> Map<String, Value> {
    members
        .iter()
        .filter_map(|member| Some(((*member).to_owned(), payload.get(*member)?.clone())))
        .collect()
}

/// The members of each payload that tell one event from another and never hold what a person
/// wrote or a skill was given: no text, draft, input, output, note or free reason.
#[expect(clippy::too_many_lines, reason = "one table, a row per event")]
const fn shown(event: EventName) -> &'static [&'static str] {
    match event {
        EventName::IntentReceived => &[
            "intentId",
            "channelKey",
            "requestDigest",
            "start",
            "mode",
            "deadlineAt",
        ],
        EventName::PlanDrafted => &["draftId", "plannerModel"],
        EventName::PlanVerificationRequested => &["planId"],
        EventName::ExecutionStartRequested => &["planId", "mode"],
        EventName::ExecutionApproved | EventName::ExecutionRejected => {
            &["runId", "blockId", "planHash", "inputsDigest"]
        }
        EventName::StepReported => &["runId", "attempt", "outcome"],
        EventName::CancelRequested => &[],
        EventName::Paused | EventName::Resumed => &["runId"],
        EventName::RetryRequested => &["runId", "from"],
        EventName::SkillInstallRequested => {
            &["installationId", "skillKey", "version", "artifactDigest"]
        }
        EventName::SkillDisabled => &["skillKey", "version"],
        EventName::SkillInstalled | EventName::SkillRejected => &[
            "installationId",
            "skillKey",
            "version",
            "manifestDigest",
            "trustDigest",
            "catalogue",
        ],
        EventName::PolicyActivationRequested => &["hash"],
        EventName::PolicyActivated | EventName::PolicyRefused => &["hash", "engineVersion"],
        EventName::HoldPlaced | EventName::HoldLifted => &["scope"],
        EventName::IncidentRaised => &["code", "about", "eventId", "service"],
        EventName::IncidentResolved => &["code"],
        EventName::DraftRequested => &["attempt", "expiresAt"],
        EventName::PlanCompiled => &[
            "planId",
            "stepCount",
            "deterministicHash",
            "pins",
            "source",
            "compilerVersion",
            "catalogue",
            "factsdigest",
        ],
        EventName::PlanRejected => &["planId", "cause", "final", "catalogue", "factsdigest"],
        EventName::PlanVerified => &[
            "planId",
            "verdict",
            "requiresApproval",
            "riskTier",
            "policyVersion",
            "engineVersion",
            "catalogue",
            "factsdigest",
        ],
        EventName::StepJudged => &[
            "runId",
            "answers",
            "inputsDigest",
            "verdict",
            "tier",
            "reasons",
            "policyIds",
            "approval",
            "dynamic",
            "policyVersion",
            "engineVersion",
            "catalogue",
            "factsdigest",
        ],
        EventName::ExecutionStarted => &["runId", "planId", "mode"],
        EventName::StepProposed => &[
            "runId",
            "inputsDigest",
            "reason",
            "catalogue",
            "factsdigest",
        ],
        EventName::StepBlocked => &[
            "runId",
            "reason",
            "blockId",
            "planHash",
            "inputsDigest",
            "approval",
            "expiresAt",
            "catalogue",
            "factsdigest",
        ],
        EventName::StepStarted => &[
            "runId",
            "attempt",
            "takeover",
            "owner",
            "idempotencyKey",
            "pin",
            "inputsDigest",
            "timeoutAt",
            "catalogue",
            "factsdigest",
        ],
        EventName::StepAccepted => &["runId", "attempt", "expiresAt"],
        EventName::StepCompleted => &["runId", "attempt", "outputDigest"],
        EventName::StepFailed => &[
            "runId",
            "attempt",
            "errorCode",
            "retryable",
            "outcome",
            "nextAttemptAt",
        ],
        EventName::StepSkipped | EventName::StepCompensated => &["runId", "reason"],
        EventName::ExecutionStopping => &["runId", "code", "catalogue", "factsdigest"],
        EventName::ExecutionCompleted => &["runId", "outcome"],
        EventName::ExecutionFailed => &["runId", "errorCode", "stepId", "catalogue", "factsdigest"],
    }
}

/// Who caused an event, where a principal did.
pub fn actor(event: &Event) -> Option<&Actor> {
    match event {
        Event::IntentReceived(event) => Some(&event.actor),
        Event::PlanDrafted(event) => Some(&event.by),
        Event::PlanVerificationRequested(event) => Some(&event.by),
        Event::ExecutionStartRequested(event) => Some(&event.by),
        Event::ExecutionApproved(event) => Some(&event.by),
        Event::ExecutionRejected(event) => Some(&event.by),
        Event::CancelRequested(event) => Some(&event.by),
        Event::Paused(event) => Some(&event.by),
        Event::Resumed(event) => Some(&event.by),
        Event::RetryRequested(event) => Some(&event.by),
        Event::SkillInstallRequested(event) => Some(&event.by),
        Event::SkillDisabled(event) => Some(&event.by),
        Event::PolicyActivationRequested(event) => Some(&event.by),
        Event::HoldPlaced(event) => Some(&event.by),
        Event::HoldLifted(event) => Some(&event.by),
        Event::IncidentResolved(event) => Some(&event.by),
        // A worker reports by its token, not by its name.
        Event::StepReported(_)
        | Event::DraftRequested(_)
        | Event::PlanCompiled(_)
        | Event::PlanRejected(_)
        | Event::PlanVerified(_)
        | Event::StepJudged(_)
        | Event::SkillInstalled(_)
        | Event::SkillRejected(_)
        | Event::PolicyActivated(_)
        | Event::PolicyRefused(_)
        | Event::ExecutionStarted(_)
        | Event::StepProposed(_)
        | Event::StepBlocked(_)
        | Event::StepStarted(_)
        | Event::StepAccepted(_)
        | Event::StepCompleted(_)
        | Event::StepFailed(_)
        | Event::StepSkipped(_)
        | Event::StepCompensated(_)
        | Event::ExecutionStopping(_)
        | Event::ExecutionCompleted(_)
        | Event::ExecutionFailed(_)
        | Event::IncidentRaised(_) => None,
    }
}

/// The step an event is about.
fn step(event: &Event) -> Option<&StepId> {
    match event {
        Event::ExecutionApproved(event) => Some(&event.step_id),
        Event::ExecutionRejected(event) => Some(&event.step_id),
        Event::StepReported(event) => Some(&event.step_id),
        Event::StepJudged(event) => Some(&event.step_id),
        Event::StepProposed(event) => Some(&event.step_id),
        Event::StepBlocked(event) => Some(&event.step_id),
        Event::StepStarted(event) => Some(&event.step_id),
        Event::StepAccepted(event) => Some(&event.step_id),
        Event::StepCompleted(event) => Some(&event.step_id),
        Event::StepFailed(event) => Some(&event.step_id),
        Event::StepSkipped(event) => Some(&event.step_id),
        Event::StepCompensated(event) => Some(&event.step_id),
        Event::ExecutionStopping(event) => event.step_id.as_ref(),
        Event::RetryRequested(event) => event.from.as_ref(),
        Event::IntentReceived(_)
        | Event::PlanDrafted(_)
        | Event::PlanVerificationRequested(_)
        | Event::ExecutionStartRequested(_)
        | Event::CancelRequested(_)
        | Event::Paused(_)
        | Event::Resumed(_)
        | Event::SkillInstallRequested(_)
        | Event::SkillDisabled(_)
        | Event::PolicyActivationRequested(_)
        | Event::HoldPlaced(_)
        | Event::HoldLifted(_)
        | Event::IncidentResolved(_)
        | Event::DraftRequested(_)
        | Event::PlanCompiled(_)
        | Event::PlanRejected(_)
        | Event::PlanVerified(_)
        | Event::SkillInstalled(_)
        | Event::SkillRejected(_)
        | Event::PolicyActivated(_)
        | Event::PolicyRefused(_)
        | Event::ExecutionStarted(_)
        | Event::ExecutionCompleted(_)
        | Event::ExecutionFailed(_)
        | Event::IncidentRaised(_) => None,
    }
}
