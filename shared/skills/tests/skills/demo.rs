//! The demo's skills are accepted, and its intents compile or fail as they are told to.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use contracts::{
    bundle::{Trust, TrustedKey, TrustedPublisher},
    canonical::Digest,
    event::{Event, Service},
    events::{intake::SkillInstallRequested, planner::PlanSource, verifier::SkillInstalled},
    facts::{Actor, ActorType},
    ids::{StepId, WorkspaceId},
    manifest::SkillManifest,
    plan::Plan,
    record::{Cause, seal},
    subject::AggregateId,
    time::Timestamp,
};
use domain::{
    catalogue::Catalogue,
    compile::{Source, compile, playbook_of},
};
use serde_json::Value;
use skills::{
    key::{keygen, public_key_text},
    signature::{Validity, sign},
    verify::{Request, verify},
};

fn demo(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy/demo")
        .join(path)
}

fn read(path: &str) -> Value {
    serde_json::from_slice(&fs::read(demo(path)).unwrap()).unwrap()
}

fn now() -> Timestamp {
    "2030-06-01T12:00:00Z".parse().unwrap()
}

fn manifests() -> Vec<SkillManifest> {
    let names = read("demo.json")["skills"].clone();
    let names = names
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap().to_owned());
    names
        .map(|name| serde_json::from_value(read(&name)).unwrap())
        .collect()
}

/// The catalogue after the four skills were installed.
fn catalogue() -> Catalogue {
    let workspace: WorkspaceId = "demo".parse().unwrap();
    let key = keygen([1; 32]);
    let trust = Trust {
        publishers: vec![TrustedPublisher {
            id: "support-team".to_owned(),
            provenances: ["development".to_owned()].into(),
            keys: vec![TrustedKey {
                public_key: public_key_text(&key.verifying_key()).unwrap(),
                ..TrustedKey::default()
            }],
            ..TrustedPublisher::default()
        }],
    };
    let mut catalogue = Catalogue::empty();
    for (index, manifest) in (0_u8..).zip(manifests()) {
        let manifest = sign(&manifest, &key, Validity::default()).unwrap();
        let request = SkillInstallRequested {
            installation_id: format!("00000000-0000-4000-8000-{index:012}")
                .parse()
                .unwrap(),
            skill_key: manifest.skill.key.parse().unwrap(),
            version: manifest.skill.version.parse().unwrap(),
            artifact_digest: manifest.artifact.digest.clone(),
            manifest,
            by: Actor {
                via: None,
                kind: ActorType::User,
                id: "admin".parse().unwrap(),
                grants: BTreeSet::new(),
            },
            requested_at: now(),
            rules: 1,
        };
        let report = verify(
            &Request {
                skill_key: &request.skill_key,
                version: &request.version,
                artifact_digest: &request.artifact_digest,
                manifest: &request.manifest,
            },
            &trust,
            now(),
        );
        assert_eq!(report.issues, []);
        let installed = SkillInstalled {
            installation_id: request.installation_id,
            skill_key: request.skill_key.clone(),
            version: request.version.clone(),
            installed_at: now(),
            publisher: None,
            provenance: None,
            manifest_digest: Some(skills::canonical::digest(&request.manifest).unwrap()),
            trust_digest: trust.digest(),
            report,
            catalogue: 0,
            rules: 1,
        };
        let aggregate = AggregateId::skill(workspace.clone(), &request.skill_key);
        for event in [Event::from(request), Event::from(installed)] {
            let sealed = seal(
                &aggregate,
                None,
                event,
                Service::Intake,
                &Cause::default(),
                now(),
            );
            catalogue.apply(u64::from(index) + 1, &sealed.unwrap().1);
        }
    }
    catalogue
}

/// The plan of an intent, or the codes of its findings.
fn compiled(intent: &str) -> Result<Plan, Vec<String>> {
    let intent = read(intent);
    let workspace = "demo".parse().unwrap();
    let catalogue = catalogue();
    let source = match intent.get("draft") {
        Some(draft) => Source::Draft {
            draft,
            origin: PlanSource::Intent,
        },
        None => playbook_of(
            intent["text"].as_str().unwrap(),
            intent["metadata"].as_object(),
            &workspace,
            &catalogue,
        )
        .unwrap()
        .unwrap(),
    };
    compile(source, &workspace, &catalogue)
        .map(|compiled| compiled.plan)
        .map_err(|refused| {
            refused
                .findings
                .into_iter()
                .map(|finding| finding.code)
                .collect()
        })
}

#[test]
fn the_manifests_describe_this_worker() {
    let worker = fs::read(demo("worker.py")).unwrap();
    let digest = format!("sha256:{}", Digest::of(&worker));
    for manifest in manifests() {
        let file = &manifest.artifact.files.given().unwrap()[0];
        let described = (&manifest.artifact.digest, &file.digest, file.size);
        let size = i64::try_from(worker.len()).unwrap();
        assert_eq!(described, (&digest, &digest, size), "run deploy/demo/stamp");
    }
}

#[test]
fn the_intents_compile_or_fail_as_they_are_told_to() {
    for intent in read("demo.json")["intents"].as_array().unwrap() {
        let file = intent["file"].as_str().unwrap();
        match (compiled(file), intent["expect"].get("findings")) {
            (Ok(plan), None) => {
                let votes = intent["votes"].as_array().unwrap();
                for vote in votes {
                    let step = vote["step"].as_str().unwrap().parse().unwrap();
                    assert!(plan.step(&step).is_some(), "{file}: no step {step}");
                }
            }
            (Err(mut found), Some(expected)) => {
                found.sort();
                let expected: Vec<String> = serde_json::from_value(expected.clone()).unwrap();
                assert_eq!(found, expected, "{file}");
            }
            (other, expected) => panic!("{file}: {other:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn the_refund_takes_its_order_from_the_lookup() {
    let plan = compiled("intents/2-refund.json").unwrap();
    let needs: BTreeMap<_, _> = plan
        .steps
        .iter()
        .map(|step| {
            (
                step.id.as_str(),
                step.needs.iter().map(StepId::as_str).collect(),
            )
        })
        .collect();
    let expected: BTreeMap<&str, Vec<&str>> = [
        ("lookup", vec![]),
        ("notify", vec!["lookup", "refund"]),
        ("refund", vec!["lookup"]),
    ]
    .into();
    assert_eq!(needs, expected);
}
