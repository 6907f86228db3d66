//! A manifest in order, and what comes of it when it is spoilt.

use contracts::bundle::{Trust, TrustedKey, TrustedPublisher};
use contracts::ids::{SkillKey, SkillVersion};
use contracts::manifest::{Optional, SkillManifest, VerificationReport};
use contracts::time::Timestamp;
use serde_json::{Value, json};
use skills::key::{keygen, public_key_text};
use skills::signature::{Validity, sign};
use skills::verify::{Request, Runtime, verify_on};

/// A request that is in order, until a test spoils it.
pub struct Case {
    /// Before it is signed.
    pub manifest: Value,
    pub signer: [u8; 32],
    pub validity: Validity,
    /// After it is signed.
    pub tamper: fn(&mut Value),
    pub key: &'static str,
    pub version: &'static str,
    pub artifact_digest: &'static str,
    pub trust: Trust,
    pub runtime: Runtime<'static>,
    pub now: &'static str,
}

pub const SIGNER: [u8; 32] = [7; 32];
pub const NOW: &str = "2030-06-01T12:00:00Z";

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn trusted(signer: [u8; 32], not_after: Option<&str>) -> TrustedKey {
    TrustedKey {
        public_key: public_key_text(&keygen(signer).verifying_key()).unwrap(),
        not_after: not_after.map(at),
        ..TrustedKey::default()
    }
}

pub fn publisher(provenances: &[&str], keys: Vec<TrustedKey>) -> TrustedPublisher {
    TrustedPublisher {
        id: "acme".to_owned(),
        provenances: provenances.iter().map(ToString::to_string).collect(),
        keys,
        ..TrustedPublisher::default()
    }
}

pub fn in_order() -> Case {
    Case {
        manifest: json!({
            "schemaVersion": "1.0.0",
            "skill": { "key": "acme.orders", "version": "1.2.0", "entryPoint": "nats:orders" },
            "publisher": { "id": "acme", "provenance": "ci:acme/orders" },
            "artifact": { "digest": "sha256:ab" },
            "compatibility": {
                "contractsSpec": { "minVersion": "1.0.0", "maxVersion": "1.9.9" },
                "controlPlaneFeature": { "minVersion": "1.0.0" },
                "requiredCapabilities": [
                    { "key": "control-plane.core" },
                    { "key": "control-plane.approval", "version": "1.0.0" },
                ],
            },
            "metadata": {
                "actions": {
                    "refund": {
                        "input": { "type": "object", "properties": { "amount": { "type": "integer" } } },
                        "output": { "type": "object" },
                        "effect": "money",
                        "risk": "medium",
                        "amount": { "minor": "/amount", "currency": "/currency" },
                        "retry": { "maxAttempts": 2 },
                        "timeoutMs": 1000,
                    },
                },
                "playbooks": {
                    "refund": {
                        "phrases": ["refund order"],
                        "params": { "type": "object" },
                        "draft": { "steps": [{ "id": "refund", "uses": "acme.orders/refund" }] },
                    },
                },
            },
        }),
        signer: SIGNER,
        validity: Validity {
            issued_at: Some(at("2030-05-01T00:00:00Z")),
            expires_at: Some(at("2031-05-01T00:00:00Z")),
        },
        tamper: |_| (),
        key: "acme.orders",
        version: "1.2.0",
        artifact_digest: "sha256:ab",
        trust: Trust {
            publishers: vec![publisher(&["ci:acme/orders"], vec![trusted(SIGNER, None)])],
        },
        runtime: Runtime::this_build(),
        now: NOW,
    }
}

impl Case {
    pub fn verified(&self) -> VerificationReport {
        let unsigned: SkillManifest = serde_json::from_value(self.manifest.clone()).unwrap();
        // What has no canonical form cannot be signed; then the signature is of something else.
        let signed = sign(&unsigned, &keygen(self.signer), self.validity).unwrap_or_else(|_| {
            let plain = SkillManifest {
                metadata: Optional::Absent,
                ..unsigned.clone()
            };
            let signature = sign(&plain, &keygen(self.signer), self.validity)
                .unwrap()
                .signature;
            SkillManifest {
                signature,
                ..unsigned
            }
        });
        let mut value = serde_json::to_value(signed).unwrap();
        (self.tamper)(&mut value);
        let manifest: SkillManifest = serde_json::from_value(value).unwrap();
        let key: SkillKey = self.key.parse().unwrap();
        let version: SkillVersion = self.version.parse().unwrap();
        let request = Request {
            skill_key: &key,
            version: &version,
            artifact_digest: self.artifact_digest,
            manifest: &manifest,
        };
        verify_on(&self.runtime, &request, &self.trust, at(self.now))
    }
}

#[track_caller]
pub fn check(spoil: impl FnOnce(&mut Case), expected: &[&str]) {
    let mut case = in_order();
    spoil(&mut case);
    let report = case.verified();
    let found: Vec<_> = report
        .issues
        .iter()
        .map(|issue| issue.code.as_str())
        .collect();
    assert_eq!(found, expected, "{:#?}", report.issues);
    assert_eq!(report.verified, expected.is_empty());
}

/// `check` for a change of one member of the manifest before it is signed.
#[track_caller]
pub fn check_manifest(pointer: &str, value: Value, expected: &[&str]) {
    check(
        |case| *case.manifest.pointer_mut(pointer).unwrap() = value,
        expected,
    );
}

pub const MANIFEST: &[&str] = &["MANIFEST_INVALID"];
