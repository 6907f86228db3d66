//! What can be wrong with a manifest, and the codes of the reference contract.

use contracts::{manifest::VerificationIssue, time::Timestamp};

use crate::{
    canonical::NoCanonicalForm,
    entry_point::InvalidEntryPoint,
    key::{Algorithm, InvalidPublicKey},
    schema::InvalidSchema,
};

macro_rules! codes {
    ($($name:ident = $text:literal;)+) => {
        /// The error codes of `controlPlane.skill.install`; their status is that of the problem.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($name),+ }

        impl Code {
            pub const ALL: &[Self] = &[$(Self::$name),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

codes! {
    SignatureInvalid = "SIGNATURE_INVALID";
    SignatureMissing = "SIGNATURE_MISSING";
    ManifestInvalid = "MANIFEST_INVALID";
    SchemaVersionInvalid = "SCHEMA_VERSION_INVALID";
    PublisherUntrusted = "PUBLISHER_UNTRUSTED";
    KeyUntrusted = "KEY_UNTRUSTED";
    ProvenanceUntrusted = "PROVENANCE_UNTRUSTED";
    ArtifactDigestMismatch = "ARTIFACT_DIGEST_MISMATCH";
    SignatureExpired = "SIGNATURE_EXPIRED";
    ContractsSpecVersionMissing = "CONTRACTS_SPEC_VERSION_MISSING";
    ContractsSpecTooOld = "CONTRACTS_SPEC_TOO_OLD";
    ContractsSpecTooNew = "CONTRACTS_SPEC_TOO_NEW";
    ControlPlaneVersionMissing = "CONTROL_PLANE_VERSION_MISSING";
    ControlPlaneTooOld = "CONTROL_PLANE_TOO_OLD";
    ControlPlaneTooNew = "CONTROL_PLANE_TOO_NEW";
    CapabilityMissing = "CAPABILITY_MISSING";
}

/// One finding, with its evidence. `Display` is the message of the issue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Only schema version 1.0.0 is understood.
    #[error("schema version `{0}` is not supported; write `1.0.0`")]
    SchemaVersion(String),

    /// What is installed is what was asked for.
    #[error("the request asks for `{asked}`, `{member}` of the manifest is `{found}`")]
    NotAsRequested {
        member: &'static str,
        asked: String,
        found: String,
    },
    /// `core` and `core.*` are the control plane's own.
    #[error("skill keys that begin with `core.` are reserved; choose another than `{0}`")]
    ReservedKey(String),
    #[error(transparent)]
    EntryPoint(#[from] InvalidEntryPoint),
    /// A text that other documents refer to is there, short and printable.
    #[error("`{member}` must be 1 to {max} characters without white space or control characters")]
    Text { member: String, max: usize },
    /// Files are named inside the artifact, each once.
    #[error("file `{path}` of the artifact: {problem}")]
    ArtifactFile { path: String, problem: &'static str },
    #[error(transparent)]
    NoCanonicalForm(#[from] NoCanonicalForm),
    /// `metadata` is a `SkillMetadata`.
    #[error("metadata is not understood: {0}")]
    Metadata(String),
    /// Every schema compiles by itself.
    #[error("`{path}` is not a usable JSON Schema: {source}")]
    Schema { path: String, source: InvalidSchema },
    /// Amounts are found by JSON pointers.
    #[error("`{path}`: `{pointer}` is not a JSON pointer; write `` or `/member/…`")]
    Pointer { path: String, pointer: String },
    /// Limits let a step run at least once and end.
    #[error("`{path}` must be {expected}")]
    Limit {
        path: String,
        expected: &'static str,
    },
    /// A phrase chooses a playbook, so it must not occur in every text.
    #[error("`{path}` must have at least {min} characters that are not white space")]
    Phrase { path: String, min: usize },
    /// A playbook's draft has steps.
    #[error("`{path}` must be an object whose `steps` is a list of at least one step")]
    PlaybookDraft { path: String },
    #[error("`{member}`: `{version}` is not a semantic version such as `1.4.0`")]
    Version {
        member: &'static str,
        version: String,
    },

    /// What was fetched is what was signed.
    #[error("the artifact's digest is `{found}`, the manifest was signed for `{signed}`")]
    ArtifactDigest { found: String, signed: String },

    /// Every manifest is signed.
    #[error("the manifest has no signature; sign it with `controlplane skill sign`")]
    Unsigned,
    #[error("signatures by `{0}` are not supported; use `ed25519` or `rsa-pss-sha256`")]
    Algorithm(String),
    #[error("the signature says that it is by `{stated}`, and its key is one of `{key}`")]
    AlgorithmOfAnotherKey { stated: Algorithm, key: Algorithm },
    #[error("the key of the signature cannot be used: {0}")]
    SignatureKey(InvalidPublicKey),
    #[error("the signature is not base64")]
    SignatureForm,
    #[error("the signature has {found} bytes, and one by this key has {expected}")]
    SignatureLength { expected: usize, found: usize },
    #[error("the signature does not match the manifest; sign it again after the last change")]
    SignatureMismatch,
    /// An instant outside the signed bytes can make a signature worse, never better.
    #[error("the signature says it is issued at {issued_at}, it is {now}; check the clocks")]
    SignedLater {
        issued_at: Timestamp,
        now: Timestamp,
    },
    #[error("the signature expired at {0}; sign the manifest again")]
    SignatureExpired(Timestamp),

    /// A publisher is trusted by the bundle or not at all.
    #[error("publisher `{0}` is not in the trust document of the active policy")]
    Publisher(String),
    /// A key is trusted by its bytes.
    #[error("the key of the signature is not among the keys trusted for publisher `{0}`")]
    Key(String),
    #[error("the key of the signature was trusted for publisher `{publisher}` until {not_after}")]
    KeyRetired {
        publisher: String,
        not_after: Timestamp,
    },
    #[error("the key of the signature is trusted for publisher `{publisher}` from {not_before} on")]
    KeyNotYet {
        publisher: String,
        not_before: Timestamp,
    },
    /// A name outside the signed bytes can make a signature worse, never better.
    #[error("the signature calls its key `{stated}`, the trust document calls it `{trusted}`")]
    KeyName { stated: String, trusted: String },
    #[error("provenance `{provenance}` is not accepted from publisher `{publisher}`")]
    Provenance {
        provenance: String,
        publisher: String,
    },

    #[error("the skill needs a version of the contracts, and this control plane states none")]
    ContractsSpecUnknown,
    #[error("the skill needs contracts {needed} or newer, this control plane has {found}")]
    ContractsSpecTooOld { needed: String, found: String },
    #[error("the skill needs contracts {needed} or older, this control plane has {found}")]
    ContractsSpecTooNew { needed: String, found: String },
    #[error("the skill needs a version of the control plane, and this one states none")]
    ControlPlaneUnknown,
    #[error("the skill needs control plane {needed} or newer, this one is {found}")]
    ControlPlaneTooOld { needed: String, found: String },
    #[error("the skill needs control plane {needed} or older, this one is {found}")]
    ControlPlaneTooNew { needed: String, found: String },
    #[error("the skill needs the capability `{0}`, which this control plane does not have")]
    Capability(String),
}

impl Fault {
    pub const fn code(&self) -> Code {
        match self {
            Self::SchemaVersion(_) => Code::SchemaVersionInvalid,
            Self::NotAsRequested { .. }
            | Self::ReservedKey(_)
            | Self::EntryPoint(_)
            | Self::Text { .. }
            | Self::ArtifactFile { .. }
            | Self::NoCanonicalForm(_)
            | Self::Metadata(_)
            | Self::Schema { .. }
            | Self::Pointer { .. }
            | Self::Limit { .. }
            | Self::Phrase { .. }
            | Self::PlaybookDraft { .. }
            | Self::Version { .. } => Code::ManifestInvalid,
            Self::ArtifactDigest { .. } => Code::ArtifactDigestMismatch,
            Self::Unsigned => Code::SignatureMissing,
            Self::Algorithm(_)
            | Self::AlgorithmOfAnotherKey { .. }
            | Self::SignatureKey(_)
            | Self::SignatureForm
            | Self::SignatureLength { .. }
            | Self::SignatureMismatch
            | Self::SignedLater { .. } => Code::SignatureInvalid,
            Self::SignatureExpired(_) => Code::SignatureExpired,
            Self::Publisher(_) => Code::PublisherUntrusted,
            Self::Key(_)
            | Self::KeyRetired { .. }
            | Self::KeyNotYet { .. }
            | Self::KeyName { .. } => Code::KeyUntrusted,
            Self::Provenance { .. } => Code::ProvenanceUntrusted,
            Self::ContractsSpecUnknown => Code::ContractsSpecVersionMissing,
            Self::ContractsSpecTooOld { .. } => Code::ContractsSpecTooOld,
            Self::ContractsSpecTooNew { .. } => Code::ContractsSpecTooNew,
            Self::ControlPlaneUnknown => Code::ControlPlaneVersionMissing,
            Self::ControlPlaneTooOld { .. } => Code::ControlPlaneTooOld,
            Self::ControlPlaneTooNew { .. } => Code::ControlPlaneTooNew,
            Self::Capability(_) => Code::CapabilityMissing,
        }
    }

    pub fn issue(&self) -> VerificationIssue {
        VerificationIssue {
            code: self.code().as_str().to_owned(),
            message: self.to_string(),
        }
    }
}
