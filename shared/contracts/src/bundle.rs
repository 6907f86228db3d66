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

/// Whose skills are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trust {
    #[serde(default)]
    pub publishers: Vec<TrustedPublisher>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustedPublisher {
    pub id: String,
    /// Accepted values of `publisher.provenance`; empty accepts none.
    pub provenances: BTreeSet<String>,
    pub keys: Vec<TrustedKey>,
}

/// A key is trusted by its bytes, never by a name alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustedKey {
    /// SPKI in PEM or base64, or the 32 raw bytes of an Ed25519 key in base64.
    pub public_key: String,
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
