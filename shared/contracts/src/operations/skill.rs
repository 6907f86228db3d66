//! `controlPlane.skill.*`

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    canonical::Digest,
    ids::{InstallationId, PrincipalId, SkillKey, SkillVersion},
    manifest::{SkillManifest, VerificationIssue},
    position::Positions,
    time::Timestamp,
};

message! {
    /// `controlPlane.skill.install`: a signed manifest is checked and, if trusted, usable.
    input InstallInput {
        skill_key: SkillKey,
        version: SkillVersion,
        artifact_digest: String,
        manifest: SkillManifest,
    }, optional {
        metadata: Map<String, Value>,
    }

    output InstallOutput {
        installation_id: InstallationId,
        skill_key: SkillKey,
        version: SkillVersion,
        verified: bool,
        status: SkillStatus,
        installed_at: Timestamp,
    }, optional {
        signature_verified: bool,
        publisher_trusted: bool,
        compatibility_verified: bool,
        manifest_digest: Digest,
        provenance: String,
        issues: Vec<VerificationIssue>,
        position: Positions,
    }

    /// `controlPlane.skill.disable`: nothing new starts with it.
    input DisableInput {
        skill_key: SkillKey,
        /// Anyone but the caller needs the grant `act-as`.
        disabled_by: PrincipalId,
    }, optional {
        /// One version; all of them where it is absent.
        version: SkillVersion,
        reason: String,
    }

    output DisableOutput {
        skill_key: SkillKey,
        status: SkillStatus,
        disabled_at: Timestamp,
    }, optional {
        version: SkillVersion,
        position: Positions,
    }

    /// `controlPlane.skill.list`: by key, the newest version of each first.
    input ListInput {
    }, optional {
        include_disabled: bool,
        limit: u32,
        /// How many to leave out; not together with `cursor`.
        offset: u32,
        /// The `nextCursor` of the answer before, with the same filters.
        cursor: String,
        /// Answer with nothing older than this position.
        at_least: Positions,
    }

    output ListOutput {
        items: Vec<SkillSummary>,
        /// How many there are, whatever the limit.
        total: u64,
    }, optional {
        /// For what follows; absent where nothing does.
        next_cursor: String,
        position: Positions,
    }

    output SkillSummary {
        skill_key: SkillKey,
        version: SkillVersion,
        status: SkillStatus,
        verified: bool,
    }, optional {
        publisher: String,
        provenance: String,
        installed_at: Timestamp,
        manifest_digest: Digest,
    }

    /// `controlPlane.skill.verify`: what `controlPlane.skill.install` would find; nothing is
    /// recorded.
    input VerifyInput {
        skill_key: SkillKey,
        version: SkillVersion,
        artifact_digest: String,
        manifest: SkillManifest,
    }

    output VerifyOutput {
        verified: bool,
        verified_at: Timestamp,
    }, optional {
        signature_verified: bool,
        publisher_trusted: bool,
        compatibility_verified: bool,
        manifest_digest: Digest,
        issues: Vec<VerificationIssue>,
        reason: String,
        position: Positions,
    }
}

/// How one version of a skill stands.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SkillStatus {
    /// Asked for, not yet checked.
    Requested,
    Installed,
    Rejected,
    Disabled,
}

impl SkillStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Installed => "installed",
            Self::Rejected => "rejected",
            Self::Disabled => "disabled",
        }
    }
}
