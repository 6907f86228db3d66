use contracts::problem::Code;
use serde_json::{Value, json};

use crate::{
    cases::{bundle, installation, manifest},
    world::World,
};

fn disable(version: Option<&str>) -> Value {
    json!({ "skillKey": "acme.orders", "disabledBy": "sam", "version": version, "reason": "old" })
}

async fn with_policy() -> World {
    let world = World::new().await;
    world
        .ask("sam", "policy.activate", &json!({ "bundle": bundle() }))
        .await
        .ok();
    world
}

#[tokio::test]
async fn a_trusted_skill_is_installed() {
    let world = with_policy().await;
    let input = installation(&manifest("1.0.0"));
    let answer = world.ask("sam", "skill.install", &input).await;
    let body = answer.ok();
    assert_eq!(body["verified"], true);
    assert_eq!(body["status"], "installed");
    assert_eq!(body["skillKey"], "acme.orders");
    assert_eq!(body["version"], "1.0.0");
    assert_eq!(body["issues"], json!([]));
    for check in [
        "signatureVerified",
        "publisherTrusted",
        "compatibilityVerified",
    ] {
        assert_eq!(body[check], true, "{check}");
    }
    let again = world.ask("sam", "skill.install", &input).await;
    assert_eq!(again.body, answer.body, "the same content stands already");
}

#[tokio::test]
async fn a_skill_is_refused_with_all_that_is_wrong_with_it() {
    let world = with_policy().await;
    let mut tampered = installation(&manifest("1.0.0"));
    tampered["manifest"]["publisher"]["provenance"] = json!("ci:elsewhere");
    tampered["artifactDigest"] = json!("sha256:cd");
    let answer = world.ask("sam", "skill.install", &tampered).await;
    let findings = answer.findings();
    assert!(findings.len() > 1, "{answer:#?}");
    let first = findings[0].split(' ').next().unwrap();
    assert_eq!(answer.body["code"], first, "coded as its first issue");
    assert!(answer.body["position"].is_string());
    let mut unsigned = installation(&manifest("1.0.0"));
    unsigned["manifest"]
        .as_object_mut()
        .unwrap()
        .remove("signature");
    let answer = world.ask("sam", "skill.install", &unsigned).await;
    assert!(
        answer.findings().contains(&"SIGNATURE_MISSING ".to_owned()),
        "{answer:#?}"
    );
}

/// As Node.js signed them: each with the one code of the contract that it is refused with. What
/// this build states of itself is always there, so two codes cannot come.
#[tokio::test]
async fn each_code_of_the_contract_comes_with_its_status() {
    const REFUSED: [(&str, Code); 14] = [
        ("signature: zeros (rsa2048)", Code::SignatureInvalid),
        ("unsigned", Code::SignatureMissing),
        ("entry point \"weather\"", Code::ManifestInvalid),
        ("schema version 2.0.0", Code::SchemaVersionInvalid),
        ("another publisher", Code::PublisherUntrusted),
        (
            "a stranger's RSA key under a trusted name",
            Code::KeyUntrusted,
        ),
        ("another provenance", Code::ProvenanceUntrusted),
        ("another artifact", Code::ArtifactDigestMismatch),
        ("expired long ago", Code::SignatureExpired),
        ("contracts too old", Code::ContractsSpecTooOld),
        ("contracts too new", Code::ContractsSpecTooNew),
        ("control plane too old", Code::ControlPlaneTooOld),
        ("control plane too new", Code::ControlPlaneTooNew),
        ("no such capability", Code::CapabilityMissing),
    ];
    let table = include_str!("../../../../shared/skills/tests/skills/foreign/cases.json");
    let table: Value = serde_json::from_str(table).unwrap();
    let cases = table["cases"].as_array().unwrap();
    let input = |name: &str| {
        let case = cases.iter().find(|case| case["name"] == name).unwrap();
        json!({
            "skillKey": case["skillKey"],
            "version": case["version"],
            "artifactDigest": case["artifactDigest"],
            "manifest": case["manifest"],
        })
    };
    let world = World::new().await;
    let mut bundle = bundle();
    bundle.trust = serde_json::from_value(table["trust"].clone()).unwrap();
    world
        .ask("sam", "policy.activate", &json!({ "bundle": bundle }))
        .await
        .ok();
    for (name, code) in REFUSED {
        let answer = world.ask("sam", "skill.install", &input(name)).await;
        let findings = answer.is(code).findings();
        assert_eq!(findings, [format!("{code} ")], "{name}");
    }
    // None of them stands in the way of the genuine one.
    let genuine = input("RSA-PSS with rsa8192");
    let answer = world.ask("sam", "skill.install", &genuine).await;
    assert_eq!(answer.ok()["verified"], true);
}

#[tokio::test]
async fn without_a_policy_no_publisher_is_trusted() {
    let world = World::new().await;
    let input = installation(&manifest("1.0.0"));
    let answer = world.ask("sam", "skill.install", &input).await;
    answer.is(Code::PublisherUntrusted);
}

#[tokio::test]
async fn a_version_never_changes_its_content() {
    let world = with_policy().await;
    let first = manifest("1.0.0");
    world
        .ask("sam", "skill.install", &installation(&first))
        .await
        .ok();
    let mut other = installation(&first);
    other["manifest"]["skill"]["entryPoint"] = json!("nats:other");
    let answer = world.ask("sam", "skill.install", &other).await;
    answer.is(Code::SkillVersionConflict);
    let newer = installation(&manifest("1.0.1"));
    world.ask("sam", "skill.install", &newer).await.ok();
}

#[tokio::test]
async fn a_skill_is_disabled_by_version_or_as_a_whole() {
    let world = with_policy().await;
    for version in ["1.0.0", "1.1.0"] {
        let input = installation(&manifest(version));
        world.ask("sam", "skill.install", &input).await.ok();
    }
    let one = world
        .ask("sam", "skill.disable", &disable(Some("1.0.0")))
        .await;
    assert_eq!(one.ok()["version"], "1.0.0");
    assert_eq!(one.body["status"], "disabled");
    let again = world
        .ask("sam", "skill.disable", &disable(Some("1.0.0")))
        .await;
    assert_eq!(again.body, one.body);
    let all = world.ask("sam", "skill.disable", &disable(None)).await;
    assert_eq!(all.ok().get("version"), None);
    assert!(all.text("disabledAt") > one.text("disabledAt"));
    // Installed anew, it stands again, and can be disabled again.
    let input = installation(&manifest("1.0.0"));
    world.ask("sam", "skill.install", &input).await.ok();
    let anew = world
        .ask("sam", "skill.disable", &disable(Some("1.0.0")))
        .await;
    assert!(anew.text("disabledAt") > one.text("disabledAt"));
}

#[tokio::test]
async fn what_is_not_installed_is_not_disabled() {
    let world = with_policy().await;
    world
        .ask("sam", "skill.disable", &disable(None))
        .await
        .is(Code::SkillNotFound);
    world
        .ask("sam", "skill.install", &installation(&manifest("1.0.0")))
        .await
        .ok();
    world
        .ask("sam", "skill.disable", &disable(Some("2.0.0")))
        .await
        .is(Code::SkillNotFound);
    let mut other = disable(None);
    other["disabledBy"] = json!("ada");
    world
        .ask("sam", "skill.disable", &other)
        .await
        .is(Code::ActorMismatch);
}

#[tokio::test]
async fn a_bundle_is_activated_once() {
    let world = World::new().await;
    let input = json!({ "bundle": bundle(), "activatedBy": "sam" });
    let answer = world.ask("sam", "policy.activate", &input).await;
    assert_eq!(answer.ok()["status"], "activated");
    assert_eq!(answer.body["findings"], json!([]));
    assert_eq!(answer.text("hash"), bundle().hash().unwrap().to_string());
    let again = world.ask("sam", "policy.activate", &input).await;
    assert_eq!(again.body, answer.body);
    // Another one, and then the first again, which is a new activation.
    let empty = world
        .ask("sam", "policy.activate", &json!({ "bundle": {} }))
        .await;
    assert_ne!(empty.text("hash"), answer.text("hash"));
    let back = world.ask("sam", "policy.activate", &input).await;
    assert_eq!(back.text("hash"), answer.text("hash"));
    assert_ne!(back.body["position"], answer.body["position"]);
}

#[tokio::test]
async fn a_bundle_is_refused_with_its_faults() {
    let world = World::new().await;
    let bad = json!({ "bundle": { "policies": {
        "a.cedar": "permit (principal, action, resource",
        "b.cedar": "@id(\"b\") permit (principal, action == Action::\"fly\", resource);",
    } } });
    let answer = world.ask("sam", "policy.activate", &bad).await;
    assert!(
        answer.is(Code::PolicyRefused).findings().len() >= 2,
        "{answer:#?}"
    );
    let mut other = json!({ "bundle": bundle() });
    other["activatedBy"] = json!("ada");
    world
        .ask("sam", "policy.activate", &other)
        .await
        .is(Code::ActorMismatch);
    let inexact = json!({ "bundle": { "thresholds": { "large": 9_007_199_254_740_993_i64 } } });
    let answer = world.ask("sam", "policy.activate", &inexact).await;
    assert_eq!(
        answer.is(Code::InvalidInput).findings(),
        ["INVALID_VALUE /bundle/thresholds/large"]
    );
}
