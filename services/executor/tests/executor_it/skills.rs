//! What a trusted publisher may not take from what is installed.

use contracts::{
    bundle::TrustedPublisher,
    event::{Event, EventName},
    manifest::{SkillManifest, VerificationIssue},
};
use serde_json::json;

use super::world::{World, key, shop, trusting};

/// `shop`, changed and signed again.
fn changed(change: impl Fn(&mut SkillManifest)) -> SkillManifest {
    let mut manifest = shop();
    manifest.signature = None;
    change(&mut manifest);
    let key = match manifest.publisher.id.as_str() {
        "others" => others_key(),
        _ => key(),
    };
    ::skills::signature::sign(&manifest, &key, ::skills::signature::Validity::default()).unwrap()
}

fn others_key() -> ed25519_dalek::SigningKey {
    ::skills::key::keygen([8; 32])
}

async fn refused(world: &World, manifest: SkillManifest) -> Vec<VerificationIssue> {
    let answer = world
        .ask_to_install(manifest, EventName::SkillRejected)
        .await;
    let Event::SkillRejected(rejected) = answer.event else {
        panic!("{answer:?}");
    };
    assert!(!rejected.report.verified);
    rejected.report.issues
}

fn only(issues: &[VerificationIssue], code: &str, said: &str) {
    assert_eq!(issues.len(), 1, "{issues:?}");
    assert_eq!(issues[0].code, code);
    assert!(issues[0].message.contains(said), "{issues:?}");
}

/// The shop's skill with the services that answer, and a second publisher who is trusted too.
async fn two_publishers() -> (World, super::world::Services) {
    let world = World::new(1).await;
    let services = world.services();
    let mut bundle = trusting();
    let mut others: TrustedPublisher = bundle.trust.publishers.last().unwrap().clone();
    "others".clone_into(&mut others.id);
    others.keys[0].public_key =
        ::skills::key::public_key_text(&others_key().verifying_key()).unwrap();
    bundle.trust.publishers.push(others);
    world.activate(&bundle).await;
    world.install_shop().await;
    (world, services)
}

#[tokio::test]
async fn another_publisher_takes_no_key() {
    let (world, _services) = two_publishers().await;
    let issues = refused(
        &world,
        changed(|manifest| {
            manifest.skill.version = "2.0.0".to_owned();
            manifest.publisher.id = "others".to_owned();
        }),
    )
    .await;
    only(
        &issues,
        "PUBLISHER_UNTRUSTED",
        "held by the publisher `tests`",
    );
}

#[tokio::test]
async fn another_skill_takes_no_entry_point() {
    let (world, _services) = two_publishers().await;
    let issues = refused(
        &world,
        changed(|manifest| {
            manifest.skill.key = "others.shop".to_owned();
            manifest.publisher.id = "others".to_owned();
        }),
    )
    .await;
    only(&issues, "PUBLISHER_UNTRUSTED", "that of `test.shop`");
}

#[tokio::test]
async fn a_new_version_lowers_no_action() {
    let (world, _services) = two_publishers().await;
    let lower = changed(|manifest| {
        manifest.skill.version = "1.1.0".to_owned();
        let actions = &mut manifest.metadata.given_mut().unwrap()["actions"];
        actions["refund"]["effect"] = json!("read");
        actions["delete"]["risk"] = json!("low");
    });
    let issues = refused(&world, lower).await;
    assert_eq!(issues.len(), 2, "{issues:?}");
    for (issue, action) in issues.iter().zip(["delete", "refund"]) {
        assert_eq!(issue.code, "MANIFEST_INVALID");
        assert!(issue.message.contains(&format!("`{action}`")), "{issue:?}");
        assert!(
            issue.message.contains("publish under another action name"),
            "{issue:?}"
        );
    }
}
