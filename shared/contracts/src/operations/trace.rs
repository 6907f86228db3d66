//! `controlPlane.trace.*`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    canonical::Digest,
    event::EventName,
    ids::{EventId, ExecutionId, PrincipalId, StepId},
    plan::Status,
    position::Positions,
    time::Timestamp,
};

message! {
    /// `controlPlane.trace.get`: everything that happened to an execution, in order.
    input GetInput {
        execution_id: ExecutionId,
    }, optional {
        /// Needs the grant `trace.payloads` as well.
        include_payloads: bool,
        /// Answer with nothing older than this position.
        at_least: Positions,
    }

    output GetOutput {
        execution_id: ExecutionId,
        entries: Vec<TraceEntry>,
    }, optional {
        position: Positions,
    }

    /// One event.
    output TraceEntry {
        timestamp: Timestamp,
        stage: Stage,
        /// How the execution stood after it.
        status: Status,
    }, optional {
        /// Who caused it, where a principal did.
        actor_id: PrincipalId,
        /// What tells this event from others of its kind, without personal data.
        metadata: Map<String, Value>,
        /// The event's name, such as `execution.step.started`.
        event: String,
        event_id: EventId,
        /// Counts from 1 within the execution.
        version: u64,
        /// The service that wrote it.
        service: String,
        step_id: StepId,
        /// Of the stored bytes; the next entry is chained to it.
        hash: Digest,
        #[schemars(extend("x-pii" = true))]
        payload: Map<String, Value>,
    }
}

/// The part of an execution's life that an event belongs to.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Intent,
    Plan,
    Policy,
    Approval,
    Execution,
    Step,
    /// Skills, policies and holds, which no execution's trace holds.
    Catalogue,
    Incident,
}

impl Stage {
    pub const fn of(event: EventName) -> Self {
        match event {
            EventName::IntentReceived => Self::Intent,
            EventName::DraftRequested
            | EventName::PlanDrafted
            | EventName::PlanCompiled
            | EventName::PlanRejected => Self::Plan,
            EventName::PlanVerificationRequested
            | EventName::PlanVerified
            | EventName::StepProposed
            | EventName::StepJudged => Self::Policy,
            EventName::StepBlocked
            | EventName::ExecutionApproved
            | EventName::ExecutionRejected => Self::Approval,
            EventName::ExecutionStartRequested
            | EventName::CancelRequested
            | EventName::Paused
            | EventName::Resumed
            | EventName::RetryRequested
            | EventName::ExecutionStarted
            | EventName::ExecutionStopping
            | EventName::ExecutionCompleted
            | EventName::ExecutionFailed => Self::Execution,
            EventName::StepReported
            | EventName::StepStarted
            | EventName::StepAccepted
            | EventName::StepCompleted
            | EventName::StepFailed
            | EventName::StepSkipped
            | EventName::StepCompensated => Self::Step,
            EventName::SkillInstallRequested
            | EventName::SkillInstalled
            | EventName::SkillRejected
            | EventName::SkillDisabled
            | EventName::PolicyActivationRequested
            | EventName::PolicyActivated
            | EventName::PolicyRefused
            | EventName::HoldPlaced
            | EventName::HoldLifted => Self::Catalogue,
            EventName::IncidentRaised | EventName::IncidentResolved => Self::Incident,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Plan => "plan",
            Self::Policy => "policy",
            Self::Approval => "approval",
            Self::Execution => "execution",
            Self::Step => "step",
            Self::Catalogue => "catalogue",
            Self::Incident => "incident",
        }
    }
}
