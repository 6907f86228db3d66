//! RFC 9457 problems, and the catalogue of the codes they carry.
//!
//! A code is stable: callers branch on it. The words around it are for people and may change.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{plan::Finding, position::Positions, registry::Grant};

pub const MEDIA_TYPE: &str = "application/problem+json";

/// The answer to a request that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `urn:control-plane:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    pub detail: String,
    /// The path of the execution that was asked about, else the path that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    pub code: Code,
    /// The trace of the request, where it came with a `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Every fault of what was sent, not only the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Where the request was recorded, if it was: pass it as `atLeast` to see what became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Positions>,
}

impl Problem {
    /// With the catalogue's advice as its detail.
    pub fn of(code: Code) -> Self {
        Self::new(code, code.advice())
    }

    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:control-plane:problem:{code}"),
            title: code.title().to_owned(),
            status: code.http(),
            detail: detail.into(),
            instance: None,
            code,
            trace_id: None,
            findings: Vec::new(),
            position: None,
        }
    }

    pub fn missing_grant(grant: Grant) -> Self {
        Self::new(
            Code::Forbidden,
            format!("the grant `{grant}` is missing: ask who administers the credentials for it"),
        )
    }

    #[must_use]
    pub fn with_findings(mut self, findings: Vec<Finding>) -> Self {
        self.findings = findings;
        self
    }

    #[must_use]
    pub fn with_instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    #[must_use]
    pub fn with_trace_id(mut self, trace_id: impl Into<String>) -> Self {
        self.trace_id = Some(trace_id.into());
        self
    }

    #[must_use]
    pub fn with_position(mut self, position: Positions) -> Self {
        self.position = Some(position);
        self
    }
}

/// A code that this build does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown problem code `{0}`")]
pub struct UnknownCode(String);

macro_rules! codes {
    ($($name:ident = $text:literal, $http:literal, $title:literal, $advice:literal;)+) => {
        /// A stable error code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($name),+ }

        impl Code {
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$name),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// The HTTP status it is answered with.
            pub const fn http(self) -> u16 {
                match self { $(Self::$name => $http),+ }
            }

            /// The kind of problem, in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),+ }
            }

            /// What to do about it.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice),+ }
            }
        }
    };
}

codes! {
    InvalidInput = "INVALID_INPUT", 400, "invalid input",
        "correct the members that the findings name";
    InvalidJson = "INVALID_JSON", 400, "not JSON",
        "send one JSON object in UTF-8";
    TooDeep = "TOO_DEEP", 400, "nested too deep",
        "send JSON with fewer levels";
    InvalidIdempotencyKey = "INVALID_IDEMPOTENCY_KEY", 400, "invalid idempotency key",
        "send one `Idempotency-Key` of 1 to 255 printable ASCII characters";
    Unauthenticated = "UNAUTHENTICATED", 401, "not authenticated",
        "send a valid credential as `Authorization: Bearer <token>`";
    Forbidden = "FORBIDDEN", 403, "grant missing",
        "ask who administers the credentials for the grant that the operation needs";
    ActorMismatch = "ACTOR_MISMATCH", 403, "acting as someone else",
        "name the principal of the credential, or get the grant `act-as`";
    WorkspaceMismatch = "WORKSPACE_MISMATCH", 403, "another workspace",
        "name the workspace of the credential";
    NotEligible = "NOT_ELIGIBLE", 403, "not an eligible approver",
        "ask one of those whom `execution.get` lists as eligible";
    RequesterCannotApprove = "REQUESTER_CANNOT_APPROVE", 403, "the requester cannot vote",
        "ask someone else to vote; a requester who changes his mind cancels";
    TokenInvalid = "TOKEN_INVALID", 403, "not the token of this step",
        "send the `Cp-Token` that came with the call of the step";
    NotFound = "NOT_FOUND", 404, "no such resource",
        "check the path against the list of operations";
    IntentNotFound = "INTENT_NOT_FOUND", 404, "no such intent",
        "check `executionId` and `intentId` against the answer to `controlPlane.intent.submit`";
    ExecutionNotFound = "EXECUTION_NOT_FOUND", 404, "no such execution",
        "check `executionId`; executions of other workspaces are not found";
    StepNotFound = "STEP_NOT_FOUND", 404, "no such step",
        "check `stepId` against the steps that `execution.get` lists";
    PlanNotFound = "PLAN_NOT_FOUND", 404, "no such plan",
        "check `planId` against the one that `execution.get` shows";
    RunNotFound = "RUN_NOT_FOUND", 404, "no such run",
        "check `runId` against the one that `execution.get` shows";
    SkillNotFound = "SKILL_NOT_FOUND", 404, "no such skill",
        "check `skillKey` and `version` against `skill.list`";
    MethodNotAllowed = "METHOD_NOT_ALLOWED", 405, "method not allowed",
        "use a method that the `Allow` header names";
    IdempotencyConflict = "IDEMPOTENCY_CONFLICT", 409, "key used for another request",
        "repeat the first request unchanged, or send this one under a new `Idempotency-Key`";
    AlreadyStarted = "ALREADY_STARTED", 409, "the run has begun",
        "look at it with `execution.get`; a plan is judged again only before its start";
    ExecutionEnded = "EXECUTION_ENDED", 409, "the execution has ended",
        "look at its end with `execution.get`";
    ExecutionCorrupt = "EXECUTION_CORRUPT", 409, "the history does not hold together",
        "look for the incident about this execution; nothing more is done with it";
    NotAwaitingDraft = "NOT_AWAITING_DRAFT", 409, "no draft is awaited",
        "leave `draft` out to get the plan that is recorded";
    DraftRequired = "DRAFT_REQUIRED", 409, "a draft is awaited",
        "send a `draft`, or wait for the outside planner that was asked for one";
    NotVerified = "NOT_VERIFIED", 409, "the plan has no verdict yet",
        "verify the plan before it is started";
    ModeNotPermitted = "MODE_NOT_PERMITTED", 409, "the mode would loosen the intent's",
        "start in the mode of the intent or a stricter one";
    RunEnded = "RUN_ENDED", 409, "the run has ended",
        "look at its end with `execution.get`; a failed run may be retried";
    NotRunning = "NOT_RUNNING", 409, "the run has not begun yet",
        "send the same request again in a moment";
    NotPaused = "NOT_PAUSED", 409, "the run is not paused",
        "look at it with `execution.get`; there is nothing to resume";
    NotFailed = "NOT_FAILED", 409, "the run has not failed",
        "look at it with `execution.get`; only a run that failed is retried";
    RetryNotPermitted = "RETRY_NOT_PERMITTED", 409, "a retry would go round a decision",
        "submit the intent again: what people or policy have decided is not tried again";
    StepNotInFlight = "STEP_NOT_IN_FLIGHT", 409, "the step is not under way",
        "nothing; what became of this attempt counts no more";
    AlreadyReported = "ALREADY_REPORTED", 409, "something else was reported before",
        "look at the step with `execution.get`; the first report counts";
    NoOpenBlock = "NO_OPEN_BLOCK", 409, "no vote is awaited",
        "look at the step with `execution.get`; it waits for no vote, or for one on another block";
    ApprovalExpired = "APPROVAL_EXPIRED", 409, "the time to vote is over",
        "retry the execution to ask for votes anew";
    PlanHashRequired = "PLAN_HASH_REQUIRED", 409, "the vote must name the plan",
        "send the `planHash` that `execution.get` shows for the step, once it has been read";
    PlanHashMismatch = "PLAN_HASH_MISMATCH", 409, "the vote names another plan",
        "read the plan again and vote on what it is now";
    InputsDigestMismatch = "INPUTS_DIGEST_MISMATCH", 409, "the vote names other inputs",
        "read the step again and vote on what it is now";
    PolicyNotActive = "POLICY_NOT_ACTIVE", 409, "another policy is active",
        "leave `policyVersion` out, or activate the bundle first";
    SkillVersionConflict = "SKILL_VERSION_CONFLICT", 409, "the version holds other content",
        "raise the skill's version: an installed version never changes";
    AnswerTooLarge = "ANSWER_TOO_LARGE", 413, "the answer is too large for one message",
        "ask for less at once, or over HTTP";
    BodyTooLarge = "BODY_TOO_LARGE", 413, "body too large",
        "send less, and large data by reference";
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", 415, "unsupported media type",
        "send `Content-Type: application/json`";
    PlanRejected = "PLAN_REJECTED", 422, "the plan was refused",
        "correct the draft as the findings say and submit the intent again";
    PolicyRefused = "POLICY_REFUSED", 422, "the bundle was refused",
        "correct the bundle as the findings say";
    BatchIncomplete = "BATCH_INCOMPLETE", 422, "some events were refused",
        "correct the events that the findings name and send the batch again: what was taken is not repeated";
    NotSupportedYet = "NOT_SUPPORTED_YET", 422, "not supported yet",
        "leave out what the findings name";
    RateLimited = "RATE_LIMITED", 429, "too many requests",
        "wait as long as `Retry-After` says";
    Internal = "INTERNAL", 500, "internal error",
        "search the logs of the service for the trace id";
    LogUnavailable = "LOG_UNAVAILABLE", 503, "the log cannot be reached",
        "send the same request again; under the same `Idempotency-Key` nothing happens twice";
    ServiceUnavailable = "SERVICE_UNAVAILABLE", 503, "the service that answers this is not there",
        "send the same request again; under the same `Idempotency-Key` nothing happens twice";
    PositionNotReached = "POSITION_NOT_REACHED", 503, "not yet as recent as `atLeast`",
        "send the same query again, or leave `atLeast` out to see an older state";
    OutcomePending = "OUTCOME_PENDING", 504, "recorded, its outcome not yet known",
        "query with `atLeast` set to `position` to see what became of it";

    SignatureInvalid = "SIGNATURE_INVALID", 400, "the manifest's signature does not hold",
        "sign the manifest again with the publisher's key, as its last change";
    SignatureMissing = "SIGNATURE_MISSING", 400, "the manifest is not signed",
        "sign the manifest with a key that the active bundle trusts";
    SignatureExpired = "SIGNATURE_EXPIRED", 400, "the signature has expired",
        "sign the manifest again";
    ManifestInvalid = "MANIFEST_INVALID", 400, "the manifest is faulty",
        "correct the manifest as the findings say";
    SchemaVersionInvalid = "SCHEMA_VERSION_INVALID", 400, "unknown manifest version",
        "write the manifest in a `schemaVersion` that this control plane reads";
    PublisherUntrusted = "PUBLISHER_UNTRUSTED", 403, "the publisher is not trusted",
        "add the publisher to the trust document of the active bundle";
    KeyUntrusted = "KEY_UNTRUSTED", 403, "the key is not trusted",
        "sign with a key that the trust document lists for this publisher";
    ProvenanceUntrusted = "PROVENANCE_UNTRUSTED", 403, "the provenance is not trusted",
        "accept the provenance for this publisher in the trust document";
    ArtifactDigestMismatch = "ARTIFACT_DIGEST_MISMATCH", 409, "another artifact than the manifest's",
        "send the digest that the manifest was signed with, or sign for this artifact";
    ContractsSpecVersionMissing = "CONTRACTS_SPEC_VERSION_MISSING", 409, "no contracts version stated",
        "state `compatibility.contractsSpec` in the manifest";
    ContractsSpecTooOld = "CONTRACTS_SPEC_TOO_OLD", 409, "the skill needs newer contracts",
        "upgrade the control plane, or install a version for these contracts";
    ContractsSpecTooNew = "CONTRACTS_SPEC_TOO_NEW", 409, "the skill needs older contracts",
        "install a version of the skill for these contracts";
    ControlPlaneVersionMissing = "CONTROL_PLANE_VERSION_MISSING", 409, "no control plane version stated",
        "state `compatibility.controlPlaneFeature` in the manifest";
    ControlPlaneTooOld = "CONTROL_PLANE_TOO_OLD", 409, "the skill needs a newer control plane",
        "upgrade the control plane, or install a version for this one";
    ControlPlaneTooNew = "CONTROL_PLANE_TOO_NEW", 409, "the skill needs an older control plane",
        "install a version of the skill for this control plane";
    CapabilityMissing = "CAPABILITY_MISSING", 409, "a capability is missing",
        "install the skill where every capability it requires is provided";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        Self::ALL
            .into_iter()
            .find(|code| code.as_str() == text)
            .ok_or_else(|| UnknownCode(text.chars().take(64).collect()))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Code {
    fn schema_name() -> Cow<'static, str> {
        "Code".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Self::ALL.to_vec() })
    }
}
