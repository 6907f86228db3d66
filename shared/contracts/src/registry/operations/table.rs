//! The table of operations. A row says what is its own; the rest is as [`Operation::of`] has it.

use schemars::Schema;

use super::{Grant, Kind, Operation, Section, Variation, errors};
use crate::{
    event::EventName,
    operations::{approval, execution, intent, plan, policy, skill, step, trace},
    problem::Code,
    registry::schema,
};

/// Operations by name: their keys, the types of their inputs and outputs, and their grants.
macro_rules! operations {
    ($($name:ident = $key:literal, $input:ty => $output:ty,
        $kind:ident($grant:expr) { $($row:tt)* })+) => {
        /// The name of an operation that is served.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum OperationName { $($name),+ }

        impl OperationName {
            pub const ALL: [Self; [$($key),+].len()] = [$(Self::$name),+];

            pub fn parse(key: &str) -> Option<Self> {
                match key { $($key => Some(Self::$name),)+ _ => None }
            }

            pub fn entry(self) -> &'static Operation {
                match self {
                    $(Self::$name => {
                        static ENTRY: Operation = Operation {
                            $($row)*
                            ..$kind(
                                $key,
                                $grant,
                                || schema::of::<$input>($key, "input"),
                                || schema::of::<$output>($key, "output"),
                            )
                        };
                        &ENTRY
                    })+
                }
            }
        }
    };
}

const fn command(
    key: &'static str,
    grant: Grant,
    input: fn() -> Schema,
    output: fn() -> Schema,
) -> Operation {
    Operation::of(key, Kind::Command, grant, input, output)
}

const fn query(
    key: &'static str,
    grant: Grant,
    input: fn() -> Schema,
    output: fn() -> Schema,
) -> Operation {
    Operation::of(key, Kind::Query, grant, input, output)
}

const CORE: Option<&str> = Some("control-plane.core");
const APPROVAL: Option<&str> = Some("control-plane.approval");
const AUDIT: Option<&str> = Some("control-plane.audit");
const SKILL_REGISTRY: Option<&str> = Some("control-plane.skill-registry");

operations! {
    IntentSubmit = "controlPlane.intent.submit", intent::SubmitInput => intent::SubmitOutput,
        command(Grant::IntentSubmit) {
            capability: CORE,
            pii: &["text"],
            errors: &[
                Code::ActorMismatch,
                Code::InvalidIdempotencyKey,
                Code::IdempotencyConflict,
                Code::ExecutionCorrupt,
            ],
            emits: &[EventName::IntentReceived],
        }
    PlanCompile = "controlPlane.plan.compile", plan::CompileInput => plan::CompileOutput,
        command(Grant::PlanCompile) {
            capability: CORE,
            variations: &[Variation::Suffices { member: "draft", grant: Grant::PlanDraft }],
            errors: &[
                Code::IntentNotFound,
                Code::NotAwaitingDraft,
                Code::DraftRequired,
                Code::PlanRejected,
                Code::NotSupportedYet,
                Code::ExecutionEnded,
                Code::ExecutionCorrupt,
                Code::OutcomePending,
            ],
            emits: &[EventName::PlanDrafted, EventName::PlanCompiled, EventName::PlanRejected],
        }
    PlanVerify = "controlPlane.plan.verify", plan::VerifyInput => plan::VerifyOutput,
        command(Grant::PlanVerify) {
            capability: AUDIT,
            errors: &[
                Code::ExecutionNotFound,
                Code::PlanNotFound,
                Code::PolicyNotActive,
                Code::AlreadyStarted,
                Code::ExecutionEnded,
                Code::ExecutionCorrupt,
                Code::OutcomePending,
            ],
            emits: &[
                EventName::PlanVerificationRequested,
                EventName::PlanVerified,
                EventName::PlanRejected,
            ],
        }
    ExecutionStart = "controlPlane.execution.start",
        execution::StartInput => execution::StartOutput,
        command(Grant::ExecutionStart) {
            capability: CORE,
            errors: &[
                Code::ExecutionNotFound,
                Code::PlanNotFound,
                Code::NotVerified,
                Code::ModeNotPermitted,
                Code::AlreadyStarted,
                Code::ExecutionEnded,
                Code::ExecutionCorrupt,
                Code::OutcomePending,
            ],
            emits: &[EventName::ExecutionStartRequested, EventName::ExecutionStarted],
        }
    ExecutionApprove = "controlPlane.execution.approve",
        execution::ApproveInput => execution::ApproveOutput,
        command(Grant::ExecutionApprove) {
            capability: APPROVAL,
            errors: errors::APPROVE,
            emits: &[EventName::ExecutionApproved],
        }
    ExecutionReject = "controlPlane.execution.reject",
        execution::RejectInput => execution::RejectOutput,
        command(Grant::ExecutionApprove) {
            capability: APPROVAL,
            errors: errors::REJECT,
            emits: &[EventName::ExecutionRejected],
        }
    ExecutionCancel = "controlPlane.execution.cancel",
        execution::CancelInput => execution::CancelOutput,
        command(Grant::ExecutionCancel) {
            capability: CORE,
            errors: &[
                Code::ExecutionNotFound,
                Code::ActorMismatch,
                Code::ExecutionEnded,
                Code::ExecutionCorrupt,
            ],
            emits: &[EventName::CancelRequested],
        }
    ExecutionPause = "controlPlane.execution.pause",
        execution::PauseInput => execution::PauseOutput,
        command(Grant::ExecutionPause) {
            capability: CORE,
            errors: errors::PAUSE,
            emits: &[EventName::Paused],
        }
    ExecutionResume = "controlPlane.execution.resume",
        execution::ResumeInput => execution::ResumeOutput,
        command(Grant::ExecutionPause) {
            capability: CORE,
            errors: errors::RESUME,
            emits: &[EventName::Resumed],
        }
    ExecutionRetry = "controlPlane.execution.retry",
        execution::RetryInput => execution::RetryOutput,
        command(Grant::ExecutionRetry) {
            capability: CORE,
            errors: &[
                Code::RunNotFound,
                Code::ActorMismatch,
                Code::NotFailed,
                Code::RetryNotPermitted,
                Code::ExecutionCorrupt,
            ],
            emits: &[EventName::RetryRequested],
        }
    ExecutionAbort = "controlPlane.execution.abort",
        execution::AbortInput => execution::AbortOutput,
        command(Grant::ExecutionCancel) {
            capability: CORE,
            errors: errors::ABORT,
            emits: &[EventName::CancelRequested],
        }
    ExecutionShutdown = "controlPlane.execution.shutdown",
        execution::ShutdownInput => execution::ShutdownOutput,
        command(Grant::ExecutionCancel) {
            capability: CORE,
            errors: errors::ABORT,
            emits: &[EventName::CancelRequested],
        }
    StepReport = "controlPlane.execution.step.report", step::ReportInput => step::ReportOutput,
        command(Grant::StepReport) {
            section: Section::Ours,
            errors: &[
                Code::ExecutionNotFound,
                Code::StepNotFound,
                Code::TokenInvalid,
                Code::StepNotInFlight,
                Code::AlreadyReported,
                Code::ExecutionEnded,
                Code::ExecutionCorrupt,
            ],
            emits: &[EventName::StepReported],
        }
    SkillInstall = "controlPlane.skill.install", skill::InstallInput => skill::InstallOutput,
        command(Grant::SkillInstall) {
            capability: SKILL_REGISTRY,
            errors: &[
                Code::SignatureInvalid,
                Code::SignatureMissing,
                Code::ManifestInvalid,
                Code::SchemaVersionInvalid,
                Code::PublisherUntrusted,
                Code::KeyUntrusted,
                Code::ProvenanceUntrusted,
                Code::ArtifactDigestMismatch,
                Code::SignatureExpired,
                Code::ContractsSpecVersionMissing,
                Code::ContractsSpecTooOld,
                Code::ContractsSpecTooNew,
                Code::ControlPlaneVersionMissing,
                Code::ControlPlaneTooOld,
                Code::ControlPlaneTooNew,
                Code::CapabilityMissing,
                Code::SkillVersionConflict,
                Code::OutcomePending,
            ],
            emits: &[
                EventName::SkillInstallRequested,
                EventName::SkillInstalled,
                EventName::SkillRejected,
            ],
        }
    SkillDisable = "controlPlane.skill.disable", skill::DisableInput => skill::DisableOutput,
        command(Grant::SkillDisable) {
            capability: SKILL_REGISTRY,
            errors: &[Code::SkillNotFound, Code::ActorMismatch],
            emits: &[EventName::SkillDisabled],
        }
    ExecutionGet = "controlPlane.execution.get", execution::GetInput => execution::GetOutput,
        query(Grant::ExecutionRead) {
            capability: CORE,
            output_pii: &["execution/text"],
            errors: &[
                Code::ExecutionNotFound,
                Code::ExecutionCorrupt,
                Code::PositionNotReached,
            ],
        }
    ExecutionList = "controlPlane.execution.list", execution::ListInput => execution::ListOutput,
        query(Grant::ExecutionRead) {
            capability: CORE,
            output_pii: &["items/*/text"],
            errors: &[Code::PositionNotReached],
        }
    TraceGet = "controlPlane.trace.get", trace::GetInput => trace::GetOutput,
        query(Grant::TraceRead) {
            capability: AUDIT,
            variations: &[Variation::NeededToo {
                member: "includePayloads",
                grant: Grant::TracePayloads,
            }],
            output_pii: &["entries/*/payload"],
            errors: &[
                Code::ExecutionNotFound,
                Code::ExecutionCorrupt,
                Code::PositionNotReached,
            ],
        }
    PolicyExplain = "controlPlane.policy.explain", policy::ExplainInput => policy::ExplainOutput,
        query(Grant::PolicyRead) {
            capability: AUDIT,
            errors: &[
                Code::ExecutionNotFound,
                Code::StepNotFound,
                Code::NotVerified,
                Code::ExecutionCorrupt,
                Code::PositionNotReached,
            ],
        }
    SkillList = "controlPlane.skill.list", skill::ListInput => skill::ListOutput,
        query(Grant::SkillRead) {
            capability: SKILL_REGISTRY,
            errors: &[Code::PositionNotReached],
        }
    SkillVerify = "controlPlane.skill.verify", skill::VerifyInput => skill::VerifyOutput,
        query(Grant::SkillRead) {
            capability: SKILL_REGISTRY,
        }
    ApprovalList = "controlPlane.approval.list", approval::ListInput => approval::ListOutput,
        query(Grant::ExecutionRead) {
            section: Section::Ours,
            output_pii: &["items/*/text"],
            errors: &[Code::PositionNotReached],
        }
    PolicyActivate = "controlPlane.policy.activate",
        policy::ActivateInput => policy::ActivateOutput,
        command(Grant::PolicyActivate) {
            section: Section::Ours,
            errors: &[Code::ActorMismatch, Code::PolicyRefused, Code::OutcomePending],
            emits: &[
                EventName::PolicyActivationRequested,
                EventName::PolicyActivated,
                EventName::PolicyRefused,
            ],
        }
}
