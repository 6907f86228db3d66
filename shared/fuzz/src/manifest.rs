//! Manifests of skills: what is signed, the signature, and all that is checked.

use contracts::{
    bundle::{Trust, TrustedKey, TrustedPublisher},
    manifest::SkillManifest,
    time::Timestamp,
};
use ed25519_dalek::SigningKey;
use host::http::body;
use serde_json::{Map, Value};
use skills::{
    canonical::canonical_bytes,
    key::public_key_text,
    signature::{Validity, sign},
    verify::{Request, verify},
};

use crate::Reached;

pub const PROPERTIES: &[&str] = &["a manifest", "a signature"];

pub fn holds(bytes: &[u8]) -> Reached {
    let Ok(members) = body::parse(bytes) else {
        return Reached::new();
    };
    let Ok(manifest) = serde_json::from_value::<SkillManifest>(Value::Object(members.clone()))
    else {
        return Reached::new();
    };
    let mut reached = Reached::from(["a manifest"]);
    let written = serde_json::to_value(&manifest).unwrap();
    assert_eq!(
        unsigned(written.as_object().unwrap()),
        unsigned(&members),
        "what is signed is not what was read"
    );
    checked(&manifest, &Trust::default());
    let key = SigningKey::from_bytes(&[9; 32]);
    let Ok(signed) = sign(&manifest, &key, Validity::default()) else {
        assert!(canonical_bytes(&manifest).is_err());
        return reached;
    };
    assert_eq!(canonical_bytes(&signed), canonical_bytes(&manifest));
    let report = checked(&signed, &trusting(&manifest, &key));
    assert!(
        report.is_none_or(|is_signed| is_signed),
        "its own signature"
    );
    let mut altered = signed;
    altered.publisher.id.push('x');
    assert!(checked(&altered, &Trust::default()).is_none_or(|is_signed| !is_signed));
    reached.extend(report.map(|_| "a signature"));
    reached
}

/// Whether the signature holds; nothing where it does not even name a skill.
fn checked(manifest: &SkillManifest, trust: &Trust) -> Option<bool> {
    let (skill_key, version) = (
        manifest.skill.key.parse().ok()?,
        manifest.skill.version.parse().ok()?,
    );
    let request = Request {
        skill_key: &skill_key,
        version: &version,
        artifact_digest: &manifest.artifact.digest,
        manifest,
    };
    let report = verify(&request, trust, Timestamp::from_millis(1_900_000_000_000));
    assert_eq!(report.verified, report.issues.is_empty());
    assert!(
        !report.verified || (report.signature_verified && report.publisher_trusted),
        "accepted without a signature by someone who is trusted"
    );
    assert!(!report.publisher_trusted || !trust.publishers.is_empty());
    Some(report.signature_verified)
}

fn trusting(manifest: &SkillManifest, key: &SigningKey) -> Trust {
    let publisher = TrustedPublisher {
        id: manifest.publisher.id.clone(),
        provenances: [manifest.publisher.provenance.clone()].into(),
        keys: vec![TrustedKey {
            public_key: public_key_text(&key.verifying_key()).unwrap(),
            ..TrustedKey::default()
        }],
        ..TrustedPublisher::default()
    };
    Trust {
        publishers: vec![publisher],
    }
}

fn unsigned(manifest: &Map<String, Value>) -> Map<String, Value> {
    let mut manifest = manifest.clone();
    manifest.remove("signature");
    manifest
}
