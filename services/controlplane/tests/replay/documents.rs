//! What the world is set up with: a bundle that trusts one publisher, and that publisher's skill.

use std::collections::BTreeSet;

use contracts::{
    bundle::{Bundle, Trust, TrustedKey, TrustedPublisher},
    manifest::SkillManifest,
};
use serde_json::json;
use skills::{
    key::{keygen, public_key_text},
    signature::{Validity, sign},
};

const SIGNER: [u8; 32] = [7; 32];

/// The shipped bundle, with whom it trusts.
pub fn bundle() -> Bundle {
    Bundle {
        trust: Trust {
            publishers: vec![TrustedPublisher {
                id: "acme".to_owned(),
                provenances: BTreeSet::from(["ci:acme/orders".to_owned()]),
                keys: vec![TrustedKey {
                    public_key: public_key_text(&keygen(SIGNER).verifying_key()).unwrap(),
                    ..TrustedKey::default()
                }],
                ..TrustedPublisher::default()
            }],
        },
        ..policy::shipped::default_bundle()
    }
}

pub fn manifest(version: &str) -> SkillManifest {
    let order = json!({ "type": "object", "properties": { "orderId": { "type": "string" } }, "required": ["orderId"] });
    let found = json!({
        "type": "object",
        "properties": {
            "orderId": { "type": "string" },
            "paid": { "type": "object", "properties": { "minor": { "type": "integer" }, "currency": { "type": "string" } }, "required": ["minor", "currency"] },
        },
        "required": ["orderId", "paid"],
    });
    let refund = json!({
        "type": "object",
        "properties": {
            "orderId": { "type": "string" },
            "amount": { "type": "object", "properties": { "minor": { "type": "integer" }, "currency": { "type": "string" } }, "required": ["minor", "currency"] },
        },
        "required": ["orderId", "amount"],
    });
    let refunded = json!({ "type": "object", "properties": { "refundId": { "type": "string" } }, "required": ["refundId"] });
    let manifest: SkillManifest = serde_json::from_value(json!({
        "schemaVersion": "1.0.0",
        "skill": { "key": "orders", "version": version, "entryPoint": "nats:orders" },
        "publisher": { "id": "acme", "provenance": "ci:acme/orders" },
        "artifact": { "digest": "sha256:ab" },
        "compatibility": {
            "contractsSpec": { "minVersion": "1.0.0", "maxVersion": "1.9.9" },
            "controlPlaneFeature": { "minVersion": "1.0.0" },
        },
        "metadata": {
            "actions": {
                "lookup": { "input": order, "output": found, "effect": "read", "risk": "low", "timeoutMs": 5000 },
                "refund": {
                    "input": refund, "output": refunded, "effect": "money", "risk": "medium",
                    "amount": { "minor": "/amount/minor", "currency": "/amount/currency" },
                    "retry": { "maxAttempts": 2 }, "timeoutMs": 5000,
                },
            },
            "playbooks": {
                "refund": {
                    "phrases": ["refund order"],
                    "params": { "type": "object", "properties": { "orderId": { "type": "string" } }, "required": ["orderId"] },
                    "draft": { "steps": [
                        { "id": "lookup", "uses": "orders/lookup", "with": { "orderId": { "$param": "/orderId" } } },
                        { "id": "refund", "uses": "orders/refund", "with": {
                            "orderId": { "$from": "/steps/lookup/output/orderId" },
                            "amount": { "$from": "/steps/lookup/output/paid" },
                        } },
                    ] },
                },
            },
        },
    }))
    .unwrap();
    let validity = Validity {
        issued_at: Some("2026-05-01T00:00:00Z".parse().unwrap()),
        expires_at: Some("2031-05-01T00:00:00Z".parse().unwrap()),
    };
    sign(&manifest, &keygen(SIGNER), validity).unwrap()
}
