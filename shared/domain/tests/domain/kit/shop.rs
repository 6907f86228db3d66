//! A catalogue that is filled by events, each sealed as in the log.

use std::collections::BTreeMap;

use contracts::{
    bundle::Bundle,
    canonical::Digest,
    event::{Event, Service},
    events::{
        RULES,
        intake::{PolicyActivationRequested, SkillDisabled, SkillInstallRequested},
        verifier::{PolicyActivated, SkillInstalled},
    },
    ids::{InstallationId, SkillKey, WorkspaceId},
    manifest::{SkillManifest, VerificationReport},
    record::{Cause, Head, Recorded, seal},
    subject::AggregateId,
};
use domain::catalogue::Catalogue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::people::{at, who, workspace};

#[derive(Clone)]
pub struct Shop {
    pub catalogue: Catalogue,
    sequence: u64,
    heads: BTreeMap<AggregateId, Head>,
}

impl Shop {
    /// Nothing but what is built in.
    pub fn empty() -> Self {
        Self {
            catalogue: Catalogue::empty(),
            sequence: 0,
            heads: BTreeMap::new(),
        }
    }

    /// `ops` and the policy `base`.
    pub fn stocked() -> Self {
        let mut shop = Self::empty();
        shop.install("ops", "1.0.0", &ops());
        shop.activate("base");
        shop
    }

    pub fn install(&mut self, key: &str, version: &str, metadata: &Value) {
        self.install_in(&workspace(), key, version, metadata);
    }

    pub fn install_in(
        &mut self,
        workspace: &WorkspaceId,
        key: &str,
        version: &str,
        metadata: &Value,
    ) {
        let manifest = manifest(key, version, metadata);
        let installation_id = InstallationId::of(Uuid::from_u128(u128::from(self.sequence) + 1));
        let skill: SkillKey = key.parse().unwrap();
        let aggregate = AggregateId::skill(workspace.clone(), &skill);
        let digest = Digest::of_json(&manifest).unwrap();
        let requested = SkillInstallRequested {
            installation_id,
            skill_key: skill.clone(),
            version: version.parse().unwrap(),
            artifact_digest: "sha256:00".to_owned(),
            manifest,
            by: who("ann"),
            requested_at: at(0),
            rules: RULES,
        };
        let installed = SkillInstalled {
            installation_id,
            skill_key: skill,
            version: version.parse().unwrap(),
            installed_at: at(0),
            publisher: None,
            provenance: None,
            manifest_digest: Some(digest),
            trust_digest: Digest::of(b"trust"),
            report: VerificationReport {
                verified: true,
                signature_verified: true,
                publisher_trusted: true,
                compatibility_verified: true,
                issues: Vec::new(),
            },
            catalogue: self.sequence + 1,
            rules: RULES,
        };
        self.append(&aggregate, requested.into(), Service::Intake);
        self.append(&aggregate, installed.into(), Service::Verifier);
    }

    pub fn disable(&mut self, key: &str, version: Option<&str>) {
        let skill: SkillKey = key.parse().unwrap();
        let disabled = SkillDisabled {
            skill_key: skill.clone(),
            version: version.map(|version| version.parse().unwrap()),
            by: who("ann"),
            reason: None,
            disabled_at: at(0),
            rules: RULES,
        };
        let aggregate = AggregateId::skill(workspace(), &skill);
        self.append(&aggregate, disabled.into(), Service::Intake);
    }

    /// Makes the bundle of this name the active one.
    pub fn activate(&mut self, name: &str) {
        let bundle = bundle(name);
        let hash = policy(name);
        let aggregate = AggregateId::policy(workspace());
        let requested = PolicyActivationRequested {
            hash,
            bundle,
            by: who("ann"),
            requested_at: at(0),
            rules: RULES,
        };
        let activated = PolicyActivated {
            hash,
            findings: Vec::new(),
            engine_version: "test".to_owned(),
            activated_at: at(0),
            rules: RULES,
        };
        self.append(&aggregate, requested.into(), Service::Intake);
        self.append(&aggregate, activated.into(), Service::Verifier);
    }

    pub fn append(&mut self, aggregate: &AggregateId, event: Event, writer: Service) -> Recorded {
        let head = self.heads.get(aggregate);
        let (_, recorded) = seal(aggregate, head, event, writer, &Cause::default(), at(0)).unwrap();
        self.heads.insert(aggregate.clone(), recorded.head());
        self.sequence += 1;
        self.catalogue.apply(self.sequence, &recorded);
        recorded
    }
}

pub fn bundle(name: &str) -> Bundle {
    Bundle {
        policies: [(format!("{name}.cedar"), String::new())].into(),
        ..Bundle::default()
    }
}

/// The hash of the bundle of this name.
pub fn policy(name: &str) -> Digest {
    bundle(name).hash().unwrap()
}

pub fn manifest(key: &str, version: &str, metadata: &Value) -> SkillManifest {
    serde_json::from_value(json!({
        "schemaVersion": "1.0.0",
        "skill": { "key": key, "version": version, "entryPoint": "nats:ops" },
        "publisher": { "id": "acme", "provenance": "internal" },
        "artifact": { "digest": "sha256:00" },
        "compatibility": {},
        "metadata": metadata,
    }))
    .unwrap()
}

/// `act` takes and gives anything; `lookup` and `refund` are strict.
pub fn ops() -> Value {
    json!({ "actions": {
        "act": { "input": {}, "output": {}, "effect": "write", "risk": "low" },
        "lookup": {
            "input": {
                "type": "object",
                "properties": { "order": { "type": "string" } },
                "required": ["order"],
                "additionalProperties": false,
            },
            "output": {
                "type": "object",
                "properties": {
                    "name": { "type": "string" },
                    "total": { "type": "integer" },
                    "lines": { "type": "array", "items": { "type": "string" } },
                },
                "additionalProperties": false,
            },
            "effect": "read",
            "risk": "low",
        },
        "refund": {
            "input": {
                "type": "object",
                "properties": {
                    "order": { "type": "string" },
                    "minor": { "type": "integer", "maximum": 100_000 },
                    "key": { "type": "string" },
                },
                "required": ["order", "minor"],
                "additionalProperties": false,
            },
            "output": { "type": "object" },
            "effect": "money",
            "risk": "medium",
            "timeoutMs": 5000,
            "retry": { "maxAttempts": 5, "backoffMs": 100, "backoffMsMax": 1000 },
        },
    }})
}
