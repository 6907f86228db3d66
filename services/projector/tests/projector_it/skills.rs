//! `skill.list` and `skill.verify`

use contracts::{
    bundle::{Bundle, TrustedKey, TrustedPublisher},
    manifest::SkillManifest,
    position::{Position, Positions, StreamId},
};
use domain::skill::Install;
use policy::shipped::default_bundle;
use serde_json::{Value, json};
use skills::{
    key::{keygen, public_key_text},
    signature::{Validity, sign},
};

use super::{
    story::actor,
    world::{READER, STRANGER, World},
};

const SIGNER: [u8; 32] = [7; 32];

fn manifest(version: &str) -> SkillManifest {
    let read = json!({
        "input": { "type": "object" }, "output": { "type": "object" },
        "effect": "read", "risk": "low",
    });
    let manifest = json!({
        "schemaVersion": "1.0.0",
        "skill": { "key": "acme.orders", "version": version, "entryPoint": "nats:orders" },
        "publisher": { "id": "acme", "provenance": "ci" },
        "artifact": { "digest": format!("sha256:{}", "a".repeat(64)) },
        "compatibility": {
            "contractsSpec": { "minVersion": "1.0.0" },
            "controlPlaneFeature": { "minVersion": "1.0.0" },
        },
        "metadata": { "actions": { "look": read } },
    });
    let manifest: SkillManifest = serde_json::from_value(manifest).unwrap();
    let validity = Validity::default();
    sign(&manifest, &keygen(SIGNER), validity).unwrap()
}

fn trusting() -> Bundle {
    let mut bundle = default_bundle();
    bundle.trust.publishers.push(TrustedPublisher {
        id: "acme".to_owned(),
        provenances: ["ci".to_owned()].into(),
        keys: vec![TrustedKey {
            public_key: public_key_text(&keygen(SIGNER).verifying_key()).unwrap(),
            ..TrustedKey::default()
        }],
        ..TrustedPublisher::default()
    });
    bundle
}

fn install(manifest: SkillManifest) -> Install {
    Install {
        key: manifest.skill.key.parse().unwrap(),
        version: manifest.skill.version.parse().unwrap(),
        artifact_digest: manifest.artifact.digest.clone(),
        manifest,
        by: actor("root", &["skill.install"]),
    }
}

#[tokio::test]
async fn skills_are_listed_as_they_stand() {
    let world = World::new();
    world.story.activate(&trusting()).await;
    for version in ["1.9.0", "1.10.0"] {
        world.story.install(&install(manifest(version))).await;
    }
    world.story.disable(&install(manifest("1.9.0"))).await;
    let mut forged = manifest("2.0.0");
    forged.publisher.id = "mallory".to_owned();
    world.story.install(&install(forged)).await;
    let sequence = world
        .story
        .journal
        .last_sequence(StreamId::Catalogue)
        .await
        .unwrap();
    let end = Positions::from(Position {
        stream: StreamId::Catalogue,
        sequence,
    });
    let projector = world.projector().await;
    let told = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap();
        let text = |item: &Value, member: &str| item[member].as_str().unwrap().to_owned();
        items
            .iter()
            .map(|item| {
                let (key, version) = (text(item, "skillKey"), text(item, "version"));
                format!(
                    "{key} {version} {} {}",
                    text(item, "status"),
                    item["verified"]
                )
            })
            .collect()
    };
    let caller = projector.caller(READER);
    let list = caller.ok(&format!("/v1/skill.list?atLeast={end}")).await;
    let at_resource = caller.ok(&format!("/v1/skills?atLeast={end}")).await;
    assert_eq!(at_resource, list);
    assert_eq!(
        told(&list),
        [
            "acme.orders 1.10.0 installed true",
            "core.echo 1.0.0 installed true",
            "core.wait 1.0.0 installed true",
        ]
    );
    assert_eq!(list["items"][0]["publisher"], "acme");
    let list = caller
        .ok("/v1/skill.list?includeDisabled=true&limit=2&offset=1")
        .await;
    assert_eq!(
        told(&list),
        [
            "acme.orders 1.10.0 installed true",
            "acme.orders 1.9.0 disabled true"
        ]
    );
    assert_eq!(list["total"], 5);
    let list = projector
        .caller(STRANGER)
        .ok("/v1/skill.list?includeDisabled=true")
        .await;
    assert_eq!(list["total"], 2);
    projector.stop().await;
}

#[tokio::test]
async fn a_manifest_is_checked_against_the_active_trust_and_nothing_is_recorded() {
    let world = World::new();
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let manifest = manifest("1.0.0");
    let input = json!({
        "skillKey": "acme.orders",
        "version": "1.0.0",
        "artifactDigest": manifest.artifact.digest,
        "manifest": manifest,
    });
    let (_, untrusted) = caller.post("skill.verify", &input).await;
    assert_eq!(untrusted["verified"], false);
    assert_eq!(untrusted["signatureVerified"], true);
    assert_eq!(untrusted["reason"], "PUBLISHER_UNTRUSTED");

    world.story.activate(&trusting()).await;
    let before = world
        .story
        .journal
        .last_sequence(StreamId::Catalogue)
        .await
        .unwrap();
    let (status, trusted) = caller.post("skill.verify", &input).await;
    assert_eq!(
        (status, &trusted["verified"]),
        (200, &json!(true)),
        "{trusted:#}"
    );
    let after = world
        .story
        .journal
        .last_sequence(StreamId::Catalogue)
        .await
        .unwrap();
    assert_eq!(before, after);

    // What is installed counts, as it would for an installation.
    world.story.install(&install(manifest)).await;
    let mut taking = self::manifest("1.1.0");
    taking.publisher.id = "mallory".to_owned();
    let input = json!({
        "skillKey": "acme.orders",
        "version": "1.1.0",
        "artifactDigest": taking.artifact.digest,
        "manifest": taking,
    });
    let (_, taken) = caller.post("skill.verify", &input).await;
    let issues = taken["issues"].to_string();
    assert!(issues.contains("held by the publisher `acme`"), "{taken:#}");
    projector.stop().await;
}
