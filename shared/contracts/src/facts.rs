//! What policy sees, typed, version 1: computed once, stored in the event that was decided on it,
//! so that explaining, replaying, and trying a new policy on old history need nothing else.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    canonical::{self, Digest},
    ids::{ActionName, Pin, PrincipalId, StepId},
    manifest::{DeclaredRisk, Effect},
    plan::{Mode, RiskTier, Verdict},
    planted::{self, Bug},
};

/// The version of the facts in this build.
pub const FACTS_VERSION: u32 = 1;

/// Who acted, with the grants held at that moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    #[serde(rename = "type")]
    pub kind: ActorType,
    pub id: PrincipalId,
    pub grants: BTreeSet<String>,
    /// Who acted under this name, where that is someone else (the grant `act-as`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<PrincipalId>,
}

impl Actor {
    /// Who really acted: a lent name makes nobody another person.
    pub fn person(&self) -> &PrincipalId {
        self.via.as_ref().unwrap_or(&self.id)
    }

    /// Whether one of them is, or acts under the name of, the other.
    pub fn shares_a_person_with(&self, other: &Self) -> bool {
        let names = |actor: &'_ Self| [Some(actor.id.clone()), actor.via.clone()];
        let theirs = names(other);
        names(self)
            .into_iter()
            .flatten()
            .any(|name| theirs.contains(&Some(name)))
    }
}

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ActorType {
    User,
    Service,
    /// Never holds approval.
    Agent,
}

/// The facts about a whole plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    pub version: u32,
    pub actor: Actor,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    pub mode: Mode,
    /// Found in the intent's text.
    pub signals: BTreeSet<TextSignal>,
    pub flow: PlanFlow,
    pub steps: BTreeMap<StepId, StepFacts>,
}

/// The facts about one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepFacts {
    pub uses: Pin,
    pub action: ActionName,
    pub publisher: String,
    /// From the catalogue by pin, never from the plan.
    pub effect: Effect,
    pub declared_risk: DeclaredRisk,
    pub labels: BTreeSet<String>,
    pub uses_secrets: bool,
    /// Whether every input is known; otherwise what depends on inputs is absent here.
    pub inputs_known: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    /// Found in the texts among its inputs.
    pub signals: BTreeSet<TextSignal>,
}

/// Money in minor units: 12.50 EUR is 1250.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Amount {
    pub minor: i64,
    /// ISO 4217.
    pub currency: String,
}

/// A risk that words carry.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TextSignal {
    /// Tells the agent to set aside its instructions or to pose as its operator.
    InstructionOverride,
    /// Asks for secrets, keys or the agent's own prompt.
    SecretRequest,
    /// Asks that approval, policy or logging be gone round.
    ControlBypass,
    /// Holds characters that a reader cannot see, or that pose as others.
    HiddenText,
}

/// What the steps do together that none does alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact that a policy names; none excludes another"
)]
pub struct PlanFlow {
    pub reads_secrets: bool,
    pub reads_personal_data: bool,
    pub sends_outside: bool,
    pub moves_money: bool,
    /// A step that sends outside has an input that comes, directly or through others, from a step
    /// that reads secrets or personal data.
    pub sensitive_data_leaves: bool,
}

/// What policy says of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepVerdict {
    pub verdict: Verdict,
    pub tier: RiskTier,
    pub reasons: Vec<String>,
    /// The policies that decided, sorted.
    pub policy_ids: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalRule>,
    /// Provisional: the inputs come from outputs, so the step is judged again before it starts.
    pub dynamic: bool,
}

/// What it takes for a blocked step to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRule {
    /// How many different people, at least 1. The requester is never one of them.
    pub quorum: u32,
    /// Any of these makes a voter eligible; never empty.
    pub eligible: BTreeSet<Eligible>,
    pub expires_after_ms: u64,
    /// Whether a vote must name the plan's hash.
    pub plan_hash_required: bool,
}

/// Who may vote.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Eligible {
    /// Everyone who holds this grant.
    Grant(String),
    Principal(PrincipalId),
}

impl ApprovalRule {
    /// Whether `voter` may vote on what `requester` asked for.
    pub fn admits(&self, voter: &Actor, requester: &Actor) -> bool {
        voter.kind != ActorType::Agent
            && (planted::is(Bug::RequesterVotes) || !voter.shares_a_person_with(requester))
            && self.eligible.iter().any(|eligible| match eligible {
                Eligible::Grant(grant) => voter.grants.contains(grant),
                Eligible::Principal(id) => *id == voter.id,
            })
    }
}

/// The digest an event carries of the facts it was decided on.
pub fn facts_digest<T: Serialize>(facts: &T) -> Digest {
    Digest::of_json(facts).unwrap_or_else(|_| {
        // Only a number that is not exact has no canonical form: it counts as its text.
        let value = serde_json::to_value(facts).unwrap_or_default();
        Digest::of_json(&("inexact", as_texts(value))).unwrap_or_else(|_| Digest::of(b"inexact"))
    })
}

fn as_texts(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(as_texts).collect(),
        Value::Object(members) => {
            let members = members.into_iter();
            members.map(|(key, item)| (key, as_texts(item))).collect()
        }
        number @ Value::Number(_) if canonical::check(&number).is_err() => {
            Value::String(number.to_string())
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}
