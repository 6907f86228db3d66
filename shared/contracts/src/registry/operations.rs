//! The table of operations.

use schemars::Schema;
use serde_json::{Map, Value};

use super::{Grant, Section, VERSION, schema};
use crate::{
    event::EventName,
    facts::Actor,
    operations::{approval, execution, intent, plan, policy, skill, step, trace},
    problem::Code,
    subject::ROOT,
};

/// One command or query.
#[derive(Debug)]
pub struct Operation {
    pub key: &'static str,
    pub version: &'static str,
    pub kind: Kind,
    pub section: Section,
    /// Nothing for what is not in the reference contract.
    pub capability: Option<&'static str>,
    pub grant: Grant,
    /// What the input changes about the grant.
    pub variations: &'static [Variation],
    /// Members of the input that hold personal data.
    pub pii: &'static [&'static str],
    /// Paths into the output that hold personal data; `*` stands for each item.
    pub output_pii: &'static [&'static str],
    pub idempotent: bool,
    /// Besides [`COMMON_ERRORS`].
    pub errors: &'static [Code],
    /// What is appended for it, by whichever service.
    pub emits: &'static [EventName],
    input: fn() -> Schema,
    output: fn() -> Schema,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Command,
    Query,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Query => "query",
        }
    }
}

/// How a member of the input changes the grant that is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variation {
    /// Where the member is given, this grant is enough.
    Suffices { member: &'static str, grant: Grant },
    /// Where the member is true, this grant is needed as well.
    NeededToo { member: &'static str, grant: Grant },
}

/// A row of the reference contract that this build knows and does not serve.
#[derive(Debug)]
pub struct NotServed {
    pub key: &'static str,
    pub version: &'static str,
    pub kind: Kind,
}

/// What any operation may answer.
pub const COMMON_ERRORS: [Code; 15] = [
    Code::InvalidInput,
    Code::InvalidJson,
    Code::TooDeep,
    Code::Unauthenticated,
    Code::Forbidden,
    Code::NotFound,
    Code::MethodNotAllowed,
    Code::AnswerTooLarge,
    Code::BodyTooLarge,
    Code::UnsupportedMediaType,
    Code::RateLimited,
    Code::Internal,
    Code::LogUnavailable,
    Code::ServiceUnavailable,
    Code::WorkspaceMismatch,
];

impl OperationName {
    /// As paths and subjects have it: without `controlPlane.` before it.
    pub fn short(self) -> &'static str {
        let key = self.entry().key;
        key.strip_prefix(ROOT)
            .and_then(|rest| rest.strip_prefix('.'))
            .unwrap_or(key)
    }
}

impl Operation {
    /// The JSON Schema of its input.
    pub fn input(&self) -> Schema {
        (self.input)()
    }

    /// The JSON Schema of its output.
    pub fn output(&self) -> Schema {
        (self.output)()
    }

    /// Everything it may answer that is not its output.
    pub fn all_errors(&self) -> impl Iterator<Item = Code> {
        COMMON_ERRORS.into_iter().chain(self.errors.iter().copied())
    }

    /// Whether `actor` may ask for this with `input`; otherwise the grant that is missing.
    pub fn authorise(&self, actor: &Actor, input: &Map<String, Value>) -> Result<(), Grant> {
        let given = |member: &str| input.get(member).is_some_and(|value| !value.is_null());
        let is_true = |member: &str| input.get(member) == Some(&Value::Bool(true));
        let mut enough = self.grant.is_held_by(actor);
        for variation in self.variations {
            match *variation {
                Variation::Suffices { member, grant } => {
                    enough |= given(member) && grant.is_held_by(actor);
                }
                Variation::NeededToo { member, grant } => {
                    if is_true(member) && !grant.is_held_by(actor) {
                        return Err(grant);
                    }
                }
            }
        }
        if enough { Ok(()) } else { Err(self.grant) }
    }
}

/// Operations by name: their keys, and the types of their inputs and outputs.
macro_rules! operations {
    ($($name:ident = $key:literal, $input:ty => $output:ty { $($row:tt)* })+) => {
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
                            key: $key,
                            version: VERSION,
                            input: || schema::of::<$input>($key, "input"),
                            output: || schema::of::<$output>($key, "output"),
                            $($row)*
                        };
                        &ENTRY
                    })+
                }
            }
        }
    };
}

const CORE: Option<&str> = Some("control-plane.core");
const APPROVAL: Option<&str> = Some("control-plane.approval");
const AUDIT: Option<&str> = Some("control-plane.audit");
const SKILL_REGISTRY: Option<&str> = Some("control-plane.skill-registry");

const APPROVE_ERRORS: &[Code] = &[
    Code::ExecutionNotFound,
    Code::StepNotFound,
    Code::ActorMismatch,
    Code::NotEligible,
    Code::RequesterCannotApprove,
    Code::NoOpenBlock,
    Code::ApprovalExpired,
    Code::PlanHashRequired,
    Code::PlanHashMismatch,
    Code::InputsDigestMismatch,
    Code::ExecutionEnded,
    Code::ExecutionCorrupt,
];

/// A rejection need not name the plan: it lets nothing run.
const REJECT_ERRORS: &[Code] = &[
    Code::ExecutionNotFound,
    Code::StepNotFound,
    Code::ActorMismatch,
    Code::NotEligible,
    Code::RequesterCannotApprove,
    Code::NoOpenBlock,
    Code::ApprovalExpired,
    Code::PlanHashMismatch,
    Code::InputsDigestMismatch,
    Code::ExecutionEnded,
    Code::ExecutionCorrupt,
];

const PAUSE_ERRORS: &[Code] = &[
    Code::RunNotFound,
    Code::ActorMismatch,
    Code::NotRunning,
    Code::RunEnded,
    Code::ExecutionEnded,
    Code::ExecutionCorrupt,
];

const RESUME_ERRORS: &[Code] = &[
    Code::RunNotFound,
    Code::ActorMismatch,
    Code::NotRunning,
    Code::NotPaused,
    Code::RunEnded,
    Code::ExecutionEnded,
    Code::ExecutionCorrupt,
];

const ABORT_ERRORS: &[Code] = &[
    Code::RunNotFound,
    Code::ActorMismatch,
    Code::RunEnded,
    Code::ExecutionEnded,
    Code::ExecutionCorrupt,
];

operations! {
    IntentSubmit = "controlPlane.intent.submit", intent::SubmitInput => intent::SubmitOutput {
        kind: Kind::Command,
        section: Section::Reference,
        capability: CORE,
        grant: Grant::IntentSubmit,
        variations: &[],
        pii: &["text"],
        output_pii: &[],
        idempotent: false,
        errors: &[
            Code::ActorMismatch,
            Code::InvalidIdempotencyKey,
            Code::IdempotencyConflict,
            Code::ExecutionCorrupt,
        ],
        emits: &[EventName::IntentReceived],
    }
    PlanCompile = "controlPlane.plan.compile", plan::CompileInput => plan::CompileOutput {
        kind: Kind::Command,
        section: Section::Reference,
        capability: CORE,
        grant: Grant::PlanCompile,
        variations: &[Variation::Suffices { member: "draft", grant: Grant::PlanDraft }],
        pii: &[],
        output_pii: &[],
        idempotent: false,
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
    PlanVerify = "controlPlane.plan.verify", plan::VerifyInput => plan::VerifyOutput {
        kind: Kind::Command,
        section: Section::Reference,
        capability: AUDIT,
        grant: Grant::PlanVerify,
        variations: &[],
        pii: &[],
        output_pii: &[],
        idempotent: false,
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
        execution::StartInput => execution::StartOutput {
        kind: Kind::Command,
        section: Section::Reference,
        capability: CORE,
        grant: Grant::ExecutionStart,
        variations: &[],
        pii: &[],
        output_pii: &[],
        idempotent: false,
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
        execution::ApproveInput => execution::ApproveOutput {
        kind: Kind::Command,
        section: Section::Reference,
        capability: APPROVAL,
        grant: Grant::ExecutionApprove,
        variations: &[],
        pii: &[],
        output_pii: &[],
        idempotent: false,
        errors: APPROVE_ERRORS,
        emits: &[EventName::ExecutionApproved],
    }
    ExecutionReject = "controlPlane.execution.reject",
        execution::RejectInput => execution::RejectOutput {
        kind: Kind::Command,
        section: Section::Reference,
        capability: APPROVAL,
        grant: Grant::ExecutionApprove,
        variations: &[],
        pii: &[],
        output_pii: &[],
        idempotent: false,
        errors: REJECT_ERRORS,
        emits: &[EventName::ExecutionRejected],
    }
    ExecutionCancel = "controlPlane.execution.cancel",
        execution::CancelInput => execution::CancelOutput {
        kind: Kind::Command,
        section: Section::Reference,
        capability: CORE,
        grant: Grant::ExecutionCancel,
        variations: &[],
        pii: &[],
        output_pii: &[],
        idempotent: false,
        errors: &[
            Code::ExecutionNotFound,
            Code::ActorMismatch,
            Code::ExecutionEnded,
            Code::ExecutionCorrupt,
        ],
        emits: &[EventName::CancelRequested],
    }
    ExecutionPause = "controlPlane.execution.pause",
        execution::PauseInput => execution::PauseOutput {
        kind: Kind::Command,
        section: Section::Reference,
        capability: CORE,
        grant: Grant::ExecutionPause,
        variations: &[],
        pii: &[],
        output_pii: &[],
        idempotent: false,
        errors: PAUSE_ERRORS,
        emits: &[EventName::Paused],
    }
    ExecutionResume = "controlPlane.execution.resume",
        execution::ResumeInput => execution::ResumeOutput {
        kind: Kind::Command,
        section: Section::Reference,
        capability: CORE,
        grant: Grant::ExecutionPause,
        variations: &[],
        pii: &[],
        output_pii: &[],
        idempotent: false,
        errors: RESUME_ERRORS,
        emits: &[EventName::Resumed],
    }
    ExecutionRetry = "controlPlane.execution.retry",
        execution::RetryInput => execution::RetryOutput {
        kind: Kind::Command,
        section: Section::Reference,
        capability: CORE,
        grant: Grant::ExecutionRetry,
        variations: &[],
        pii: &[],
        output_pii: &[],
        idempotent: false,
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
        execution::AbortInput => execution::AbortOutput {
        kind: Kind::Command,
        section: Section::Reference,
        capability: CORE,
        grant: Grant::ExecutionCancel,
        variations: &[],
        pii: &[],
        output_pii: &[],
        idempotent: false,
        errors: ABORT_ERRORS,
        emits: &[EventName::CancelRequested],
    }
    ExecutionShutdown = "controlPlane.execution.shutdown",
        execution::ShutdownInput => execution::ShutdownOutput {
        kind: Kind::Command,
        section: Section::Reference,
        capability: CORE,
        grant: Grant::ExecutionCancel,
        variations: &[],
        pii: &[],
        output_pii: &[],
        idempotent: false,
        errors: ABORT_ERRORS,
        emits: &[EventName::CancelRequested],
    }
    StepReport = "controlPlane.execution.step.report", step::ReportInput => step::ReportOutput {
        kind: Kind::Command,
        section: Section::Ours,
        capability: None,
        grant: Grant::StepReport,
        variations: &[],
        pii: &[],
        output_pii: &[],
        idempotent: false,
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
    SkillInstall = "controlPlane.skill.install", skill::InstallInput => skill::InstallOutput {
        kind: Kind::Command,
        section: Section::Reference,
        capability: SKILL_REGISTRY,
        grant: Grant::SkillInstall,
        variations: &[],
        pii: &[],
        output_pii: &[],
        idempotent: false,
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
    SkillDisable = "controlPlane.skill.disable", skill::DisableInput => skill::DisableOutput {
        kind: Kind::Command,
        section: Section::Reference,
        capability: SKILL_REGISTRY,
        grant: Grant::SkillDisable,
        variations: &[],
        pii: &[],
        output_pii: &[],
        idempotent: false,
        errors: &[Code::SkillNotFound, Code::ActorMismatch],
        emits: &[EventName::SkillDisabled],
    }
    ExecutionGet = "controlPlane.execution.get", execution::GetInput => execution::GetOutput {
        kind: Kind::Query,
        section: Section::Reference,
        capability: CORE,
        grant: Grant::ExecutionRead,
        variations: &[],
        pii: &[],
        output_pii: &["execution/text"],
        idempotent: true,
        errors: &[
            Code::ExecutionNotFound,
            Code::ExecutionCorrupt,
            Code::PositionNotReached,
        ],
        emits: &[],
    }
    ExecutionList = "controlPlane.execution.list", execution::ListInput => execution::ListOutput {
        kind: Kind::Query,
        section: Section::Reference,
        capability: CORE,
        grant: Grant::ExecutionRead,
        variations: &[],
        pii: &[],
        output_pii: &["items/*/text"],
        idempotent: true,
        errors: &[Code::PositionNotReached],
        emits: &[],
    }
    TraceGet = "controlPlane.trace.get", trace::GetInput => trace::GetOutput {
        kind: Kind::Query,
        section: Section::Reference,
        capability: AUDIT,
        grant: Grant::TraceRead,
        variations: &[Variation::NeededToo {
            member: "includePayloads",
            grant: Grant::TracePayloads,
        }],
        pii: &[],
        output_pii: &["entries/*/payload"],
        idempotent: true,
        errors: &[
            Code::ExecutionNotFound,
            Code::ExecutionCorrupt,
            Code::PositionNotReached,
        ],
        emits: &[],
    }
    PolicyExplain = "controlPlane.policy.explain", policy::ExplainInput => policy::ExplainOutput {
        kind: Kind::Query,
        section: Section::Reference,
        capability: AUDIT,
        grant: Grant::PolicyRead,
        variations: &[],
        pii: &[],
        output_pii: &[],
        idempotent: true,
        errors: &[
            Code::ExecutionNotFound,
            Code::StepNotFound,
            Code::NotVerified,
            Code::ExecutionCorrupt,
            Code::PositionNotReached,
        ],
        emits: &[],
    }
    SkillList = "controlPlane.skill.list", skill::ListInput => skill::ListOutput {
        kind: Kind::Query,
        section: Section::Reference,
        capability: SKILL_REGISTRY,
        grant: Grant::SkillRead,
        variations: &[],
        pii: &[],
        output_pii: &[],
        idempotent: true,
        errors: &[Code::PositionNotReached],
        emits: &[],
    }
    SkillVerify = "controlPlane.skill.verify", skill::VerifyInput => skill::VerifyOutput {
        kind: Kind::Query,
        section: Section::Reference,
        capability: SKILL_REGISTRY,
        grant: Grant::SkillRead,
        variations: &[],
        pii: &[],
        output_pii: &[],
        idempotent: true,
        errors: &[],
        emits: &[],
    }
    ApprovalList = "controlPlane.approval.list", approval::ListInput => approval::ListOutput {
        kind: Kind::Query,
        section: Section::Ours,
        capability: None,
        grant: Grant::ExecutionRead,
        variations: &[],
        pii: &[],
        output_pii: &["items/*/text"],
        idempotent: true,
        errors: &[Code::PositionNotReached],
        emits: &[],
    }
    PolicyActivate = "controlPlane.policy.activate",
        policy::ActivateInput => policy::ActivateOutput {
        kind: Kind::Command,
        section: Section::Ours,
        capability: None,
        grant: Grant::PolicyActivate,
        variations: &[],
        pii: &[],
        output_pii: &[],
        idempotent: false,
        errors: &[Code::ActorMismatch, Code::PolicyRefused, Code::OutcomePending],
        emits: &[
            EventName::PolicyActivationRequested,
            EventName::PolicyActivated,
            EventName::PolicyRefused,
        ],
    }
}

const fn command(key: &'static str) -> NotServed {
    NotServed {
        key,
        version: "1.0.0",
        kind: Kind::Command,
    }
}

const fn query(key: &'static str) -> NotServed {
    NotServed {
        key,
        version: "1.0.0",
        kind: Kind::Query,
    }
}

pub static NOT_SERVED: [NotServed; 3] = [
    command("controlPlane.execution.evidence.export"),
    query("controlPlane.execution.lane.get"),
    query("controlPlane.execution.lane.list"),
];
