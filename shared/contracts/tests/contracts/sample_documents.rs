//! The documents that the sample payloads hold, and the ids they share.

use contracts::{canonical::Digest, ids::PlanId};
use serde_json::{Value, json};

pub const EXECUTION: &str = "0198f3a0-7c1e-7d2a-9b3c-4d5e6f708192";
pub const INTENT: &str = "0198f3a0-7c1e-7d2a-9b3c-4d5e6f708193";
pub const INSTALLATION: &str = "0198f3a0-7c1e-7d2a-9b3c-4d5e6f708194";
pub const DRAFT: &str = "0198f3a0-7c1e-7d2a-9b3c-4d5e6f708195";
pub const BLOCK: &str = "6a8f2a0e-3b1c-5d4e-8f90-a1b2c3d4e5f6";
pub const INCARNATION: &str = "0198f3a0-7c1e-7d2a-9b3c-4d5e6f708196";
pub const EVENT: &str = "5f1c2b3a-9d4e-5a6b-8c7d-0e1f2a3b4c5d";
pub const AT: &str = "2026-01-02T03:04:05.678Z";
pub const LATER: &str = "2026-01-03T03:04:05.678Z";

pub fn digest(of: &Value) -> String {
    Digest::of_json(of).unwrap().to_string()
}

pub fn run_id() -> String {
    format!("{EXECUTION}:1")
}

pub fn pin() -> String {
    format!("support.desk@1.4.0#{}", digest(&manifest()))
}

pub fn plan_id() -> String {
    let hash = digest(&plan()).parse().unwrap();
    PlanId::derive(EXECUTION.parse().unwrap(), &hash).to_string()
}

pub fn ada() -> Value {
    json!({ "type": "user", "id": "ada@example.org", "grants": ["intent.submit", "plan.compile"] })
}

pub fn grace() -> Value {
    json!({ "type": "user", "id": "grace@example.org", "grants": ["execution.approve"] })
}

pub fn draft() -> Value {
    json!({ "steps": [{
        "id": "refund",
        "uses": "support.desk/refund",
        "with": { "orderId": "A-1009", "amountMinor": 4250, "currency": "EUR", "ratio": 0.5 },
    }] })
}

pub fn inputs() -> Value {
    json!({ "orderId": "A-1009", "amountMinor": 4250, "currency": "EUR", "ratio": 0.5 })
}

pub fn plan() -> Value {
    json!({ "steps": [
        {
            "id": "lookup",
            "uses": pin(),
            "action": "order.get",
            "needs": [],
            "with": { "orderId": "A-1009" },
            "retry": { "maxAttempts": 3, "backoffMs": 500, "backoffMsMax": 30_000 },
            "timeoutMs": 10_000,
        },
        {
            "id": "refund",
            "uses": pin(),
            "action": "refund",
            "needs": ["lookup"],
            "with": {
                "orderId": { "$from": "/steps/lookup/output/orderId" },
                "amountMinor": 4250,
                "currency": "EUR",
                "token": { "$secret": "payments" },
                "note": null,
            },
            "retry": { "maxAttempts": 1, "backoffMs": 500, "backoffMsMax": 30_000 },
            "timeoutMs": 30_000,
        },
    ] })
}

pub fn manifest() -> Value {
    json!({
        "schemaVersion": "1.0.0",
        "skill": { "key": "support.desk", "version": "1.4.0", "entryPoint": "nats:support.desk" },
        "publisher": {
            "id": "acme-support",
            "provenance": "internal",
            "repositoryUrl": "https://example.org/support-desk",
        },
        "artifact": {
            "digest": "sha256:0f1e",
            "files": [{ "path": "worker.py", "digest": "sha256:2d3c", "size": 2048 }],
        },
        "compatibility": {
            "contractsSpec": { "minVersion": "1.0.0", "maxVersion": "1.9.9" },
            "controlPlaneFeature": { "minVersion": "1.0.0" },
            "requiredCapabilities": [{ "key": "control-plane.core", "version": "1.0.0" }],
        },
        "metadata": { "description": "orders and refunds", "actions": {} },
        "signature": {
            "algorithm": "ed25519",
            "signature": "c2lnbmF0dXJl",
            "publicKey": "cHVibGljIGtleQ==",
            "keyId": "support-2026",
            "issuedAt": AT,
            "expiresAt": LATER,
            "metadata": { "tool": "controlplane" },
        },
    })
}

pub fn bundle() -> Value {
    json!({
        "schema": "entity User;",
        "policies": { "reads.cedar": "permit (principal, action, resource);" },
        "thresholds": { "refund_minor_max": 10_000 },
        "trust": { "publishers": [{
            "id": "acme-support",
            "provenances": ["internal"],
            "keys": [{ "publicKey": "cHVibGljIGtleQ==", "notAfter": LATER }],
        }] },
    })
}

pub fn approval() -> Value {
    json!({
        "quorum": 1,
        "eligible": [{ "grant": "execution.approve" }, { "principal": "grace@example.org" }],
        "expiresAfterMs": 86_400_000,
        "planHashRequired": true,
    })
}

pub fn step_verdict() -> Value {
    json!({
        "verdict": "assist",
        "tier": "high",
        "reasons": ["moves money"],
        "policyIds": ["refunds-need-a-person"],
        "approval": approval(),
        "dynamic": true,
    })
}

pub fn step_facts() -> Value {
    json!({
        "uses": pin(),
        "action": "refund",
        "publisher": "acme-support",
        "effect": "money",
        "declaredRisk": "medium",
        "labels": ["finance"],
        "usesSecrets": true,
        "inputsKnown": false,
        "amount": { "minor": 4250, "currency": "EUR" },
        "signals": ["control_bypass"],
    })
}

pub fn facts() -> Value {
    json!({
        "version": 1,
        "actor": ada(),
        "channel": "chat",
        "mode": "autonomous",
        "signals": ["instruction_override"],
        "flow": {
            "readsSecrets": true,
            "readsPersonalData": false,
            "sendsOutside": false,
            "movesMoney": true,
            "sensitiveDataLeaves": false,
        },
        "steps": { "refund": step_facts() },
    })
}

pub fn report() -> Value {
    json!({
        "verified": false,
        "signatureVerified": true,
        "publisherTrusted": false,
        "compatibilityVerified": true,
        "issues": [{ "code": "PUBLISHER_UNTRUSTED", "message": "`acme-support` is not trusted" }],
    })
}

pub fn finding() -> Value {
    json!({ "path": "/steps/0/uses", "code": "UNKNOWN_SKILL", "message": "no such skill" })
}
