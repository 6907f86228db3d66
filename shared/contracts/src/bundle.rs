//! A policy bundle: everything the verifier decides by, as one document with one hash.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    canonical::{Digest, NotCanonical},
    time::Timestamp,
};

/// Its id is the SHA-256 of its canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bundle {
    /// A Cedar schema in Cedar's own syntax; empty means the one this build ships.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub schema: String,
    /// Cedar policies by file name.
    #[serde(default)]
    pub policies: BTreeMap<String, String>,
    /// Numbers that policies compare with, by name.
    #[serde(default)]
    pub thresholds: BTreeMap<String, i64>,
    #[serde(default)]
    pub trust: Trust,
}

/// Whose skills are accepted: a manifest by a listed publisher, of an accepted provenance, signed
/// with one of the publisher's keys. What is not listed is refused.
///
/// The signature of a manifest says more than it signs: `keyId`, `issuedAt` and `expiresAt` stand
/// beside the signed bytes, and whoever holds a manifest can change them. So they never make a
/// signature better, and a limit that must hold is written here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trust {
    #[serde(default)]
    pub publishers: Vec<TrustedPublisher>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustedPublisher {
    pub id: String,
    /// Accepted values of `publisher.provenance`, as they are written. With none here and no
    /// prefixes, none is accepted.
    pub provenances: BTreeSet<String>,
    /// Accepted beginnings of `publisher.provenance`, such as `ci:acme/`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub provenance_prefixes: BTreeSet<String>,
    pub keys: Vec<TrustedKey>,
    /// A signature whose own `expiresAt` has passed is accepted all the same. How long a key is
    /// trusted is said by its `notAfter`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_expired_signatures: bool,
}

/// A key is trusted by its bytes, however they are spelt, and never by a name. Its algorithm is
/// that of the key: `ed25519`, or `rsa-pss-sha256` for RSA.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustedKey {
    /// SPKI in PEM or base64, or the 32 raw bytes of an Ed25519 key in base64.
    pub public_key: String,
    /// Its name. A signature that calls this key by another is refused; one that calls it nothing
    /// is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// Trusted from this instant on, by the clock of the control plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Trusted until this instant, by the clock of the control plane, whatever a signature says of
    /// its own age. What was installed by then stays installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
}

/// A fault of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BundleFinding {
    /// JSON pointer into the bundle.
    pub path: String,
    pub code: String,
    pub message: String,
}

impl Bundle {
    pub fn hash(&self) -> Result<Digest, NotCanonical> {
        Digest::of_json(self)
    }
}

impl Trust {
    pub fn digest(&self) -> Digest {
        crate::facts::facts_digest(self)
    }
}
