//! The closed set of events. Each has one payload type, one name, and one writer (two of them
//! have more, see `design` §3): the name is the last token of the subject and the tail of
//! `ce-type`.

use std::fmt;

use schemars::Schema;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    events::{executor, host, intake, planner, verifier},
    subject::AggregateKind,
};

/// A service of the control plane, as a writer of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    Intake,
    Planner,
    Verifier,
    Executor,
    Projector,
}

impl Service {
    pub const ALL: [Self; 5] = [
        Self::Intake,
        Self::Planner,
        Self::Verifier,
        Self::Executor,
        Self::Projector,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Planner => "planner",
            Self::Verifier => "verifier",
            Self::Executor => "executor",
            Self::Projector => "projector",
        }
    }

    /// The `ce-source` of what it writes.
    pub fn source(self) -> String {
        format!("/control-plane/{}", self.as_str())
    }

    /// The events it may write: what its broker user may publish.
    pub fn writes(self) -> impl Iterator<Item = EventName> {
        EventName::ALL
            .into_iter()
            .filter(move |event| event.writers().contains(&self))
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A payload that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    #[error("cannot encode `{event}`")]
    Encode {
        event: EventName,
        #[source]
        source: rmp_serde::encode::Error,
    },
    #[error("cannot decode `{event}`")]
    Decode {
        event: EventName,
        #[source]
        source: rmp_serde::decode::Error,
    },
}

fn encode<T: Serialize>(event: EventName, payload: &T) -> Result<Vec<u8>, CodecError> {
    rmp_serde::to_vec_named(payload).map_err(|source| CodecError::Encode { event, source })
}

fn decode<T: DeserializeOwned>(event: EventName, bytes: &[u8]) -> Result<T, CodecError> {
    payload(bytes).map_err(|source| CodecError::Decode { event, source })
}

/// How many arrays and maps of a payload may stand in each other. Twice what readers of JSON take,
/// which is where everything deep in an event has come from; and as the reader calls itself, a
/// payload without a bound would end the process each time it is delivered.
const PAYLOAD_DEPTH_MAX: usize = 256;

/// Reads a payload, or a part of what it says.
pub(crate) fn payload<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    deserializer.set_max_depth(PAYLOAD_DEPTH_MAX);
    T::deserialize(&mut deserializer)
}

macro_rules! events {
    ($($name:ident ( $payload:path ) = $text:literal, $aggregate:ident, [$($writer:ident),+];)+) => {
        /// The name of an event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventName { $($name),+ }

        impl EventName {
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$name),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)+ _ => None }
            }

            pub const fn aggregate(self) -> AggregateKind {
                match self { $(Self::$name => AggregateKind::$aggregate),+ }
            }

            pub const fn writers(self) -> &'static [Service] {
                match self { $(Self::$name => &[$(Service::$writer),+]),+ }
            }

            /// The JSON Schema of its payload.
            pub fn schema(self) -> Schema {
                match self { $(Self::$name => schemars::schema_for!($payload)),+ }
            }
        }

        /// One event: what happened, as it is stored.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(
            clippy::large_enum_variant,
            reason = "an event is moved a few times in its life; a box would be an allocation for each"
        )]
        pub enum Event { $($name($payload)),+ }

        impl Event {
            pub const fn name(&self) -> EventName {
                match self { $(Self::$name(_) => EventName::$name),+ }
            }

            /// `MessagePack` with field names.
            pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
                match self { $(Self::$name(payload) => encode(EventName::$name, payload)),+ }
            }

            pub fn decode(name: EventName, bytes: &[u8]) -> Result<Self, CodecError> {
                match name { $(EventName::$name => decode(name, bytes).map(Self::$name)),+ }
            }

            /// The payload as JSON, as it is shown at every edge.
            pub fn to_json(&self) -> serde_json::Result<serde_json::Value> {
                match self { $(Self::$name(payload) => serde_json::to_value(payload)),+ }
            }

            /// From the JSON that [`Self::to_json`] gave.
            pub fn from_json(name: EventName, value: serde_json::Value) -> serde_json::Result<Self> {
                match name { $(EventName::$name => serde_json::from_value(value).map(Self::$name)),+ }
            }

            /// The version of the decider that wrote it.
            pub const fn rules(&self) -> u32 {
                match self { $(Self::$name(payload) => payload.rules),+ }
            }
        }

        $(impl From<$payload> for Event {
            fn from(payload: $payload) -> Self {
                Self::$name(payload)
            }
        })+
    };
}

events! {
    IntentReceived(intake::IntentReceived) = "intent.received", Execution, [Intake];
    PlanDrafted(intake::PlanDrafted) = "plan.drafted", Execution, [Intake];
    PlanVerificationRequested(intake::PlanVerificationRequested) = "plan.verification.requested", Execution, [Intake];
    ExecutionStartRequested(intake::ExecutionStartRequested) = "execution.start.requested", Execution, [Intake];
    ExecutionApproved(intake::ExecutionApproved) = "execution.approved", Execution, [Intake];
    ExecutionRejected(intake::ExecutionRejected) = "execution.rejected", Execution, [Intake];
    StepReported(intake::StepReported) = "execution.step.reported", Execution, [Intake];
    CancelRequested(intake::CancelRequested) = "execution.cancel.requested", Execution, [Intake];
    Paused(intake::Paused) = "execution.paused", Execution, [Intake];
    Resumed(intake::Resumed) = "execution.resumed", Execution, [Intake];
    RetryRequested(intake::RetryRequested) = "execution.retry.requested", Execution, [Intake];
    SkillInstallRequested(intake::SkillInstallRequested) = "skill.install.requested", Skill, [Intake];
    SkillDisabled(intake::SkillDisabled) = "skill.disabled", Skill, [Intake];
    PolicyActivationRequested(intake::PolicyActivationRequested) = "policy.activation.requested", Policy, [Intake];
    HoldPlaced(intake::HoldPlaced) = "hold.placed", Hold, [Intake];
    HoldLifted(intake::HoldLifted) = "hold.lifted", Hold, [Intake];
    IncidentResolved(intake::IncidentResolved) = "incident.resolved", Incident, [Intake];

    DraftRequested(planner::DraftRequested) = "plan.draft.requested", Execution, [Planner];
    PlanCompiled(planner::PlanCompiled) = "plan.compiled", Execution, [Planner];
    PlanRejected(planner::PlanRejected) = "plan.rejected", Execution, [Planner, Verifier];

    PlanVerified(verifier::PlanVerified) = "plan.verified", Execution, [Verifier];
    StepJudged(verifier::StepJudged) = "execution.step.judged", Execution, [Verifier];
    SkillInstalled(verifier::SkillInstalled) = "skill.installed", Skill, [Verifier];
    SkillRejected(verifier::SkillRejected) = "skill.rejected", Skill, [Verifier];
    PolicyActivated(verifier::PolicyActivated) = "policy.activated", Policy, [Verifier];
    PolicyRefused(verifier::PolicyRefused) = "policy.refused", Policy, [Verifier];

    ExecutionStarted(executor::ExecutionStarted) = "execution.started", Execution, [Executor];
    StepProposed(executor::StepProposed) = "execution.step.proposed", Execution, [Executor];
    StepBlocked(executor::StepBlocked) = "execution.step.blocked", Execution, [Executor];
    StepStarted(executor::StepStarted) = "execution.step.started", Execution, [Executor];
    StepAccepted(executor::StepAccepted) = "execution.step.accepted", Execution, [Executor];
    StepCompleted(executor::StepCompleted) = "execution.step.completed", Execution, [Executor];
    StepFailed(executor::StepFailed) = "execution.step.failed", Execution, [Executor];
    StepSkipped(executor::StepSkipped) = "execution.step.skipped", Execution, [Executor];
    StepCompensated(executor::StepCompensated) = "execution.step.compensated", Execution, [Executor];
    ExecutionStopping(executor::ExecutionStopping) = "execution.stopping", Execution, [Executor];
    ExecutionCompleted(executor::ExecutionCompleted) = "execution.completed", Execution, [Executor];
    ExecutionFailed(executor::ExecutionFailed) = "execution.failed", Execution, [Executor];

    IncidentRaised(host::IncidentRaised) = "incident.raised", Incident, [Intake, Planner, Verifier, Executor, Projector];
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Event {
    /// The position of the catalogue that it was decided on, where it was.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others come from outside, or look at their own aggregate only"
    )]
    pub const fn catalogue(&self) -> Option<u64> {
        match self {
            Self::PlanCompiled(event) => Some(event.catalogue),
            Self::PlanRejected(event) => event.catalogue,
            Self::PlanVerified(event) => Some(event.catalogue),
            Self::StepProposed(event) => Some(event.catalogue),
            Self::StepJudged(event) => Some(event.catalogue),
            Self::StepBlocked(event) => Some(event.catalogue),
            Self::StepStarted(event) => Some(event.catalogue),
            Self::ExecutionStopping(event) => event.catalogue,
            Self::ExecutionFailed(event) => event.catalogue,
            Self::SkillInstalled(event) => Some(event.catalogue),
            Self::SkillRejected(event) => Some(event.catalogue),
            _ => None,
        }
    }
}
