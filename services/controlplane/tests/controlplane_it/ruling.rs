//! Policies and skills: what decides, and who vouches for what can be done.

use std::fs;

use serde_json::{Value, json};

use crate::world::World;

#[tokio::test]
async fn a_skill_is_installed_only_if_someone_trusted_signed_it() {
    let world = World::up().await;
    let manifest = world.directory.path().join("skill.json");
    fs::write(&manifest, serde_json::to_vec(&sample()).unwrap()).unwrap();
    let path = |name: &str| {
        world
            .directory
            .path()
            .join(name)
            .to_str()
            .unwrap()
            .to_owned()
    };
    let manifest = path("skill.json");

    let unsigned = world.type_in(&["skill", "install", &manifest]);
    assert_eq!(unsigned.code, 1);
    assert!(
        unsigned.err.contains("SIGNATURE_MISSING"),
        "{}",
        unsigned.err
    );

    let key = path("stranger.pem");
    let made = world.ask(&["skill", "keygen", "--out", &key]);
    assert!(made["publicKey"].is_string());
    let overwritten = world.type_in(&["skill", "keygen", "--out", &key]);
    assert_eq!(overwritten.code, 2, "a key is never overwritten");
    let strange = path("strange.json");
    world.ask(&["skill", "sign", &manifest, "--key", &key, "--out", &strange]);
    let untrusted = world.type_in(&["skill", "install", &strange]);
    assert_eq!(untrusted.code, 1);
    assert!(untrusted.err.contains("KEY_UNTRUSTED"), "{}", untrusted.err);

    // The context has the key of the publisher that the manifest names.
    let signed = path("signed.json");
    world.ask(&["skill", "sign", &manifest, "--out", &signed]);
    let artifact = world.type_in(&["skill", "install", &signed, "--artifact", &key]);
    assert_eq!(artifact.code, 1);
    assert!(
        artifact.err.contains("ARTIFACT_DIGEST_MISMATCH"),
        "{}",
        artifact.err
    );
    let installed = world.ask(&["skill", "install", &signed]);
    assert_eq!(installed["verified"], true);
    let position = installed["position"].as_str().unwrap();

    // A publisher's name may have dots.
    let keys = world.path("keys");
    fs::copy(keys.join("development.pem"), keys.join("acme.mail.pem")).unwrap();
    let mut dotted: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    dotted["publisher"]["id"] = "acme.mail".into();
    let unsigned = path("dotted.json");
    fs::write(&unsigned, dotted.to_string()).unwrap();
    let signed = world.ask(&["skill", "sign", &unsigned]);
    assert_eq!(signed["publisher"]["id"], "acme.mail");

    let listed = world.type_in(&["skill", "list", "--at-least", position]);
    assert!(listed.out.contains("test.notes"), "{}", listed.out);
    let disabled = world.ask(&["skill", "disable", "test.notes", "--reason", "over"]);
    let position = disabled["position"].as_str().unwrap();
    let listed = world.type_in(&["skill", "list", "--at-least", position]);
    assert!(!listed.out.contains("test.notes"), "{}", listed.out);
    let listed = world.type_in(&["skill", "list", "--all", "--at-least", position]);
    assert!(listed.out.contains("disabled"), "{}", listed.out);
    assert_eq!(world.type_in(&["skill", "disable", "no.such"]).code, 1);
}

#[tokio::test]
async fn a_bundle_is_written_changed_and_activated() {
    let world = World::up().await;
    let bundle = world.directory.path().join("bundle");
    let bundle_path = bundle.to_str().unwrap();
    world.ask(&["policy", "default", "--write", bundle_path]);
    let settings: Value =
        serde_json::from_slice(&fs::read(bundle.join("bundle.json")).unwrap()).unwrap();
    assert_eq!(settings["trust"]["publishers"][0]["id"], "development");

    let again = world.type_in(&["policy", "default", "--write", bundle_path]);
    assert_eq!(
        again.code, 2,
        "what may have been changed is not overwritten"
    );

    let hello = r#"{"steps":[{"id":"hello","uses":"core.echo/echo","with":{}}]}"#;
    // As it stands it is the active one; without the rule that permits reading, nothing runs.
    world.ask(&["policy", "activate", bundle_path]);
    fs::remove_file(bundle.join("reads.cedar")).unwrap();
    world.ask(&["policy", "activate", bundle_path]);
    let id = world.submit(&["Say hello", "--draft", hello]);
    assert_eq!(world.type_in(&["execution", "watch", &id]).code, 1);
    let explained = world.ask(&["policy", "explain", &id, "hello"]);
    assert_eq!(explained["verdict"], "blocked");

    fs::write(
        bundle.join("bad.cedar"),
        "permit (principal, action, nonsense);",
    )
    .unwrap();
    let refused = world.type_in(&["policy", "activate", bundle_path]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("/policies/bad.cedar"),
        "{}",
        refused.err
    );
    let nothing = world.directory.path().join("nothing");
    fs::create_dir(&nothing).unwrap();
    let empty = world.type_in(&["policy", "activate", nothing.to_str().unwrap()]);
    assert_eq!(empty.code, 0, "{}", empty.err);
    assert!(empty.out.contains("everything is denied"), "{}", empty.out);
    let denied = world.type_in(&["intent", "submit", "Hello", "--draft", hello, "--watch"]);
    assert_eq!(denied.code, 1);
    assert!(denied.out.contains("POLICY_BLOCKED"), "{}", denied.out);

    let by_submitter = world.type_in(&["--as", "submitter", "policy", "activate", bundle_path]);
    assert!(
        by_submitter.err.contains("policy.activate"),
        "{}",
        by_submitter.err
    );
}

fn sample() -> Value {
    let digest = format!("sha256:{}", "0".repeat(64));
    json!({
        "schemaVersion": "1.0.0",
        "skill": { "key": "test.notes", "version": "1.0.0", "entryPoint": "nats:test-notes" },
        "publisher": { "id": "development", "provenance": "development" },
        "artifact": { "digest": digest },
        "compatibility": {
            "contractsSpec": { "minVersion": "1.0.0" },
            "controlPlaneFeature": { "minVersion": "1.0.0" },
        },
        "metadata": { "actions": { "add": {
            "input": { "type": "object" },
            "output": { "type": "object" },
            "effect": "write",
            "risk": "low",
        }}},
    })
}
