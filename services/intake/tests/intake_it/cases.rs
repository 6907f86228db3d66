//! Inputs that are in order.

use contracts::{
    bundle::{Bundle, TrustedKey, TrustedPublisher},
    manifest::SkillManifest,
};
use serde_json::{Value, json};
use skills::{
    key::{keygen, public_key_text},
    signature::{Validity, sign},
};

use crate::{
    caller::Answer,
    world::{WORKSPACE, World},
};

const SIGNER: [u8; 32] = [7; 32];

#[expect(
    clippy::needless_pass_by_value,
    reason = "every draft is made where it is used"
)]
pub fn intent(draft: Value) -> Value {
    json!({ "workspaceId": WORKSPACE, "text": "look after order 4711", "draft": draft })
}

/// Nothing but built-in skills; it runs by itself, and the wait keeps it running.
pub fn echo() -> Value {
    json!({ "steps": [
        { "id": "say", "uses": "core.echo/echo", "with": { "message": "hello" } },
    ] })
}

/// A refund waits for a vote.
pub fn refund() -> Value {
    json!({ "steps": [
        { "id": "refund", "uses": "acme.orders/refund", "with": {
            "order": "4711", "amount": 1250, "currency": "EUR",
        } },
    ] })
}

/// What cannot be undone: a vote must name the plan.
pub fn deletion() -> Value {
    json!({ "steps": [
        { "id": "delete", "uses": "acme.orders/delete", "with": { "order": "4711" } },
    ] })
}

pub fn manifest(version: &str) -> SkillManifest {
    let input = json!({ "type": "object", "properties": {
        "order": { "type": "string" },
        "amount": { "type": "integer" },
        "currency": { "type": "string" },
    } });
    let action = |effect: &str, risk: &str| json!({ "input": input, "output": { "type": "object" }, "effect": effect, "risk": risk });
    let mut refund = action("money", "medium");
    refund["amount"] = json!({ "minor": "/amount", "currency": "/currency" });
    let manifest = json!({
        "schemaVersion": "1.0.0",
        "skill": { "key": "acme.orders", "version": version, "entryPoint": "nats:orders" },
        "publisher": { "id": "acme", "provenance": "ci:acme/orders" },
        "artifact": { "digest": "sha256:ab" },
        "compatibility": {
            "contractsSpec": { "minVersion": "1.0.0", "maxVersion": "1.9.9" },
            "controlPlaneFeature": { "minVersion": "1.0.0" },
        },
        "metadata": { "actions": {
            "lookup": action("read", "low"),
            "refund": refund,
            "delete": action("irreversible", "medium"),
        } },
    });
    let unsigned: SkillManifest = serde_json::from_value(manifest).unwrap();
    sign(&unsigned, &keygen(SIGNER), Validity::default()).unwrap()
}

pub fn installation(manifest: &SkillManifest) -> Value {
    json!({
        "skillKey": manifest.skill.key,
        "version": manifest.skill.version,
        "artifactDigest": manifest.artifact.digest,
        "manifest": manifest,
    })
}

/// The bundle that comes with the build, with a publisher that it trusts.
pub fn bundle() -> Bundle {
    let mut bundle = policy::shipped::default_bundle();
    bundle.trust.publishers.push(TrustedPublisher {
        id: "acme".to_owned(),
        provenances: ["ci:acme/orders".to_owned()].into(),
        keys: vec![TrustedKey {
            public_key: public_key_text(&keygen(SIGNER).verifying_key()).unwrap(),
            ..TrustedKey::default()
        }],
        ..TrustedPublisher::default()
    });
    bundle
}

impl World {
    /// With a policy and a skill.
    pub async fn equipped(self) -> Self {
        self.ask("sam", "policy.activate", &json!({ "bundle": bundle() }))
            .await
            .ok();
        let asked = installation(&manifest("1.0.0"));
        self.ask("sam", "skill.install", &asked).await.ok();
        self
    }

    pub async fn submit(&self, input: &Value) -> Answer {
        self.ask("sam", "intent.submit", input).await
    }

    /// An execution whose first step waits for votes; its block.
    pub async fn blocked(&self, draft: Value, step: &str) -> (String, Value) {
        let execution = self.submit(&intent(draft)).await.text("executionId");
        let step = step.parse().unwrap();
        let state = self
            .until(&execution, |state| {
                let steps = state.known().and_then(|known| known.steps());
                steps.is_some_and(|steps| steps[&step].open_block().is_some())
            })
            .await;
        let opened = &state.known().unwrap().steps().unwrap()[&step]
            .block
            .as_ref()
            .unwrap()
            .opened;
        let block = json!({
            "blockId": opened.block_id,
            "planHash": opened.plan_hash,
            "inputsDigest": opened.inputs_digest,
        });
        (execution, block)
    }
}
