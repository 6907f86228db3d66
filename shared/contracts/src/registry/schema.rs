//! The published JSON Schemas of operations and events.

use schemars::{JsonSchema, Schema};
use serde_json::Value;

use super::{Section, VERSION};
use crate::{event::EventName, subject::ROOT};

/// `controlPlane.plan.compiled`: an event's key in the contract, and its `ce-type`.
pub fn event_key(event: EventName) -> String {
    format!("{ROOT}.{event}")
}

/// What the `dataschema` of a complete `CloudEvent` says.
pub fn event_schema_id(event: EventName) -> String {
    format!("urn:control-plane:schema:{}:{VERSION}", event_key(event))
}

/// The JSON Schema of an event's payload, as published.
pub fn event_schema(event: EventName) -> Schema {
    let mut schema = event.schema();
    schema.insert("$id".to_owned(), event_schema_id(event).into());
    schema.insert("title".to_owned(), event_key(event).into());
    if let Some(required) = required_by_reference(event) {
        // What is added to an event of the reference contract is optional to its readers, although
        // this control plane always writes it.
        schema.insert("required".to_owned(), required.to_vec().into());
    }
    schema
}

/// The JSON Schema of an operation's input or output, as published.
pub(super) fn of<T: JsonSchema>(key: &str, side: &str) -> Schema {
    let mut schema = schemars::schema_for!(T);
    let id = format!("urn:control-plane:schema:{key}.{side}:{VERSION}");
    schema.insert("$id".to_owned(), Value::String(id));
    schema.insert("title".to_owned(), format!("{key}.{side}").into());
    schema
}

impl EventName {
    pub fn section(self) -> Section {
        match required_by_reference(self) {
            Some(_) => Section::Reference,
            None => Section::Ours,
        }
    }
}

/// The members that the reference contract requires, of the events that it has.
fn required_by_reference(event: EventName) -> Option<&'static [&'static str]> {
    Some(match event {
        EventName::IntentReceived => &["executionId", "intentId", "receivedAt"],
        EventName::PlanCompiled => &["compiledAt", "executionId", "planId", "stepCount"],
        EventName::PlanRejected => &["executionId", "rejectedAt"],
        EventName::StepStarted => &["executionId", "runId", "startedAt", "stepId"],
        EventName::StepBlocked => &["blockedAt", "executionId", "reason"],
        EventName::StepCompleted => &["completedAt", "executionId", "runId", "stepId"],
        EventName::ExecutionCompleted => &["completedAt", "executionId", "runId"],
        EventName::ExecutionFailed => &["errorCode", "executionId", "failedAt"],
        EventName::SkillInstalled => &["installationId", "installedAt", "skillKey", "version"],
        EventName::SkillRejected => &["reason", "rejectedAt", "skillKey"],
        EventName::PlanDrafted
        | EventName::PlanVerificationRequested
        | EventName::ExecutionStartRequested
        | EventName::ExecutionApproved
        | EventName::ExecutionRejected
        | EventName::StepReported
        | EventName::CancelRequested
        | EventName::Paused
        | EventName::Resumed
        | EventName::RetryRequested
        | EventName::SkillInstallRequested
        | EventName::SkillDisabled
        | EventName::PolicyActivationRequested
        | EventName::HoldPlaced
        | EventName::HoldLifted
        | EventName::IncidentResolved
        | EventName::DraftRequested
        | EventName::PlanVerified
        | EventName::StepJudged
        | EventName::PolicyActivated
        | EventName::PolicyRefused
        | EventName::ExecutionStarted
        | EventName::StepProposed
        | EventName::StepAccepted
        | EventName::StepFailed
        | EventName::StepSkipped
        | EventName::StepCompensated
        | EventName::ExecutionStopping
        | EventName::IncidentRaised => return None,
    })
}
