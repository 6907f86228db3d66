//! Skill manifests, as in the reference contract, and what their `metadata` says about actions
//! and playbooks.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
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
    /// A signed description of a skill. Unknown members are refused, so that everything that was
    /// signed is also understood.
    SkillManifest {
        schema_version: String,
        skill: ManifestSkill,
        publisher: ManifestPublisher,
        artifact: ManifestArtifact,
        compatibility: ManifestCompatibility,
        /// [`SkillMetadata`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Option<Map<String, Value>>,
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
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repository_url: Option<String>,
    }

    ManifestArtifact {
        digest: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        files: Option<Vec<ArtifactFile>>,
    }

    ArtifactFile {
        path: String,
        digest: String,
        /// In bytes.
        size: i64,
    }

    ManifestCompatibility {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        contracts_spec: Option<VersionRange>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        control_plane_feature: Option<VersionRange>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        required_capabilities: Option<Vec<CapabilityRequirement>>,
    }

    VersionRange {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min_version: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_version: Option<String>,
    }

    CapabilityRequirement {
        key: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
    }

    ManifestSignature {
        /// `ed25519`.
        algorithm: String,
        /// In base64.
        signature: String,
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

    /// What `metadata` of a manifest holds.
    SkillMetadata {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        #[serde(default)]
        actions: BTreeMap<ActionName, ActionDefinition>,
        #[serde(default)]
        playbooks: BTreeMap<String, Playbook>,
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
