//! Plans, and the words for how an execution stands.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    canonical::{Digest, NotCanonical},
    ids::{ActionName, ExecutionId, Pin, PlanId, StepId},
};

/// A compiled plan. Its canonical JSON is what is hashed, judged, approved and run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Sorted by id.
    pub steps: Vec<PlanStep>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanStep {
    pub id: StepId,
    pub uses: Pin,
    pub action: ActionName,
    /// The steps that must be completed before, sorted; those its bindings name are among them.
    pub needs: Vec<StepId>,
    /// Inputs: parameters filled in, `$from` and `$secret` still to be bound.
    pub with: Value,
    pub retry: RetryPolicy,
    pub timeout_ms: u64,
}

/// How often and how soon a step is tried again after a retryable failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryPolicy {
    /// All attempts together; 1 means no retry. Takeovers are not counted.
    #[serde(default = "RetryPolicy::default_attempts")]
    pub max_attempts: u32,
    /// Before the second attempt; doubles each time.
    #[serde(default = "RetryPolicy::default_backoff_ms")]
    pub backoff_ms: u64,
    #[serde(default = "RetryPolicy::default_backoff_ms_max")]
    pub backoff_ms_max: u64,
}

impl RetryPolicy {
    fn default_attempts() -> u32 {
        3
    }

    fn default_backoff_ms() -> u64 {
        500
    }

    fn default_backoff_ms_max() -> u64 {
        30_000
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: Self::default_attempts(),
            backoff_ms: Self::default_backoff_ms(),
            backoff_ms_max: Self::default_backoff_ms_max(),
        }
    }
}

impl Plan {
    /// The `deterministicHash`: the same on every machine for the same plan.
    pub fn hash(&self) -> Result<Digest, NotCanonical> {
        Digest::of_json(self)
    }

    pub fn step(&self, id: &StepId) -> Option<&PlanStep> {
        let index = self.steps.binary_search_by(|step| step.id.cmp(id)).ok()?;
        self.steps.get(index)
    }
}

impl PlanStep {
    /// Whether an input comes from the output of another step, so that it is known only then.
    pub fn has_bindings(&self) -> bool {
        contains_key(&self.with, "$from")
    }

    /// Whether an input names a secret.
    pub fn uses_secrets(&self) -> bool {
        contains_key(&self.with, "$secret")
    }
}

fn contains_key(value: &Value, key: &str) -> bool {
    match value {
        Value::Object(members) => {
            members.contains_key(key) || members.values().any(|item| contains_key(item, key))
        }
        Value::Array(items) => items.iter().any(|item| contains_key(item, key)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

impl PlanId {
    /// Of one execution's plan with this hash.
    pub fn derive(execution: ExecutionId, hash: &Digest) -> Self {
        Self::of(uuid::Uuid::new_v5(&execution.uuid(), hash.bytes()))
    }
}

/// One fault of a draft: all of them are reported at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// JSON pointer into the draft.
    pub path: String,
    /// Stable, such as `UNKNOWN_SKILL`.
    pub code: String,
    /// What is wrong and what to do about it.
    pub message: String,
}

/// What policy says of a step or a plan, from the least to the most strict.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Autonomous,
    /// A human approves first.
    Assist,
    Blocked,
}

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RiskTier {
    Low,
    Medium,
    /// Never autonomous, whatever a policy says.
    High,
    Blocked,
}

/// How a run is driven.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As the verdicts say.
    #[default]
    Autonomous,
    /// A human approves every step.
    Assist,
    /// Judged and recorded, nothing run.
    Observe,
}

/// Who makes the next move after each stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// The control plane.
    #[default]
    Auto,
    /// The caller.
    Manual,
}

/// How an execution stands.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Received,
    AwaitingDraft,
    Drafted,
    Compiled,
    Verified,
    Running,
    /// Nothing can run before a human has voted.
    Blocked,
    Paused,
    Stopping,
    Completed,
    Failed,
    Rejected,
    /// The history does not hold together; an incident says where.
    Corrupt,
}

impl Status {
    /// Whether nothing follows but a retry.
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Completed | Self::Failed | Self::Rejected | Self::Corrupt
        )
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::AwaitingDraft => "awaiting_draft",
            Self::Drafted => "drafted",
            Self::Compiled => "compiled",
            Self::Verified => "verified",
            Self::Running => "running",
            Self::Blocked => "blocked",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Corrupt => "corrupt",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Mode {
    pub const ALL: [Self; 3] = [Self::Autonomous, Self::Assist, Self::Observe];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Autonomous => "autonomous",
            Self::Assist => "assist",
            Self::Observe => "observe",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Verdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Autonomous => "autonomous",
            Self::Assist => "assist",
            Self::Blocked => "blocked",
        }
    }
}

impl RiskTier {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Blocked => "blocked",
        }
    }
}
