//! Skill manifests, as in the reference contract, and what their `metadata` says about actions
//! and playbooks.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::{ids::ActionName, plan::RetryPolicy, time::Timestamp};

macro_rules! document {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)+
        }
    )+};
}

document! {
    /// A signed description of a skill. Written again it is the JSON that was read, member by
    /// member, because those are the bytes that were signed. Unknown members are refused, so that
    /// everything that was signed is also understood; `metadata` is free.
    SkillManifest {
        schema_version: String,
        skill: ManifestSkill,
        publisher: ManifestPublisher,
        artifact: ManifestArtifact,
        compatibility: ManifestCompatibility,
        /// [`SkillMetadata`].
        #[serde(default, skip_serializing_if = "Optional::is_absent")]
        metadata: Optional<Map<String, Value>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<ManifestSignature>,
    }

    ManifestSkill {
        key: String,
        version: String,
        /// How it runs: `nats:<name>` or `builtin:<name>`.
        entry_point: String,
    }

    ManifestPublisher {
        id: String,
        provenance: String,
        #[serde(default, skip_serializing_if = "Optional::is_absent")]
        repository_url: Optional<String>,
    }

    ManifestArtifact {
        digest: String,
        #[serde(default, skip_serializing_if = "Optional::is_absent")]
        files: Optional<Vec<ArtifactFile>>,
    }

    ArtifactFile {
        path: String,
        digest: String,
        /// In bytes.
        size: i64,
    }

    ManifestCompatibility {
        #[serde(default, skip_serializing_if = "Optional::is_absent")]
        contracts_spec: Optional<VersionRange>,
        #[serde(default, skip_serializing_if = "Optional::is_absent")]
        control_plane_feature: Optional<VersionRange>,
        #[serde(default, skip_serializing_if = "Optional::is_absent")]
        required_capabilities: Optional<Vec<CapabilityRequirement>>,
    }

    VersionRange {
        #[serde(default, skip_serializing_if = "Optional::is_absent")]
        min_version: Optional<String>,
        #[serde(default, skip_serializing_if = "Optional::is_absent")]
        max_version: Optional<String>,
    }

    CapabilityRequirement {
        key: String,
        #[serde(default, skip_serializing_if = "Optional::is_absent")]
        version: Optional<String>,
    }

    ManifestSignature {
        /// `ed25519` or `rsa-pss-sha256`.
        algorithm: String,
        /// In base64.
        signature: String,
        /// SPKI in PEM or base64, or the 32 raw bytes of an Ed25519 key in base64.
        public_key: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_id: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issued_at: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Option<Map<String, Value>>,
    }

    /// One thing a skill can do.
    ActionDefinition {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        /// JSON Schema of its inputs.
        input: Value,
        /// JSON Schema of its output.
        output: Value,
        effect: Effect,
        risk: DeclaredRisk,
        #[serde(default)]
        labels: BTreeSet<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amount: Option<AmountPointer>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry: Option<RetryPolicy>,
    }

    /// Where in the inputs of an action an amount of money stands.
    AmountPointer {
        /// JSON pointer to an integer in minor units.
        minor: String,
        /// JSON pointer to an ISO 4217 code.
        currency: String,
    }

    /// A draft with parameters, for intents of a known kind.
    Playbook {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        /// An intent whose text holds one of these, whatever its case, uses this playbook.
        #[serde(default)]
        phrases: Vec<String>,
        /// JSON Schema of `metadata.params`.
        params: Value,
        /// A draft in which `{"$param": "<pointer>"}` stands for a parameter.
        draft: Value,
    }
}

/// What the control plane reads of a manifest's `metadata`; other members are the publisher's own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SkillMetadata {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default)]
    pub actions: BTreeMap<ActionName, ActionDefinition>,
    #[serde(default)]
    pub playbooks: BTreeMap<String, Playbook>,
}

impl SkillManifest {
    /// What its `metadata` says of actions and playbooks; nothing where it has none.
    pub fn skill_metadata(&self) -> Result<SkillMetadata, serde_json::Error> {
        match self.metadata.given() {
            Some(members) => serde_json::from_value(Value::Object(members.clone())),
            None => Ok(SkillMetadata::default()),
        }
    }
}

/// A member that may be left out. `null` means the same, and is other bytes to whoever signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Optional<T> {
    #[default]
    Absent,
    Null,
    Given(T),
}

impl<T> Optional<T> {
    pub const fn given(&self) -> Option<&T> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    pub const fn given_mut(&mut self) -> Option<&mut T> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<T: Serialize> Serialize for Optional<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.given().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Optional<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Given))
    }
}

impl<T: JsonSchema> JsonSchema for Optional<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Option::<T>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }
}

/// What an action does to the world.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Changes nothing.
    Read,
    /// Changes something inside, and can be undone.
    Write,
    /// Reaches someone or something outside.
    External,
    /// Moves money.
    Money,
    /// Cannot be undone.
    Irreversible,
}

/// The risk a publisher declares; policy and facts can only raise it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DeclaredRisk {
    Low,
    Medium,
    High,
}

/// Everything that was checked about a manifest, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the reference contract reports each check on its own"
)]
pub struct VerificationReport {
    pub verified: bool,
    pub signature_verified: bool,
    pub publisher_trusted: bool,
    pub compatibility_verified: bool,
    pub issues: Vec<VerificationIssue>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerificationIssue {
    pub code: String,
    pub message: String,
}

/// What the control plane says of itself to `compatibility`.
pub const CONTRACTS_SPEC_VERSION: &str = "1.0.0";
pub const CONTROL_PLANE_VERSION: &str = "1.0.0";
