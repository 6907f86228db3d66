//! A workspace with a few installed skills, and short ways to say plans and bundles.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{
    bundle::{Bundle, Trust, TrustedPublisher},
    canonical::Digest,
    event::{Event, Service},
    events::{
        RULES,
        intake::{IntentReceived, SkillInstallRequested},
        verifier::SkillInstalled,
    },
    facts::{Actor, ActorType, Facts},
    ids::{SkillKey, WorkspaceId},
    manifest::{SkillManifest, VerificationReport},
    plan::{Mode, Plan, PlanStep, RetryPolicy, Start},
    record::{Cause, seal},
    subject::AggregateId,
    time::Timestamp,
};
use domain::catalogue::Catalogue;
use policy::engine::Engine;
use serde_json::{Value, json};

pub fn workspace() -> WorkspaceId {
    "demo".parse().unwrap()
}

/// `orders/lookup` reads personal data, `vault/read` secrets; `notes/add` and `notes/merge` write;
/// `mail/send` reaches outside; `refunds/refund` moves a stated amount and `refunds/settle` one
/// that is not; `accounts/delete` cannot be undone; `loans/grant` is declared to be of high risk;
/// the effects of `desk/charge`, `desk/post` and `desk/top-up` say less than their labels.
pub fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::empty();
    let skills = [
        (
            "orders",
            json!({ "lookup": action("read", "low", &["personal"]) }),
        ),
        (
            "vault",
            json!({ "read": action("read", "low", &["secret"]) }),
        ),
        (
            "notes",
            json!({ "add": action("write", "low", &[]), "merge": action("write", "medium", &[]) }),
        ),
        ("mail", json!({ "send": action("external", "low", &[]) })),
        (
            "refunds",
            json!({
                "refund": with_amount(action("money", "medium", &[])),
                "settle": action("money", "low", &[]),
            }),
        ),
        (
            "accounts",
            json!({ "delete": action("irreversible", "medium", &[]) }),
        ),
        ("loans", json!({ "grant": action("write", "high", &[]) })),
        (
            "desk",
            json!({
                "charge": with_amount(action("read", "low", &["money"])),
                "post": action("write", "low", &["external"]),
                "top-up": action("write", "low", &["money"]),
            }),
        ),
    ];
    for (index, (key, actions)) in skills.into_iter().enumerate() {
        install(&mut catalogue, index as u64 * 2 + 1, key, &actions);
    }
    catalogue
}

fn action(effect: &str, risk: &str, labels: &[&str]) -> Value {
    json!({ "input": {}, "output": {}, "effect": effect, "risk": risk, "labels": labels })
}

fn with_amount(mut action: Value) -> Value {
    action["amount"] = json!({ "minor": "/amount/minor", "currency": "/amount/currency" });
    action
}

fn install(catalogue: &mut Catalogue, sequence: u64, key: &str, actions: &Value) {
    let manifest: SkillManifest = serde_json::from_value(json!({
        "schemaVersion": "1.0.0",
        "skill": { "key": key, "version": "1.0.0", "entryPoint": "nats:worker" },
        "publisher": { "id": "acme", "provenance": "internal" },
        "artifact": { "digest": "sha256:0" },
        "compatibility": {},
        "metadata": { "actions": actions },
    }))
    .unwrap();
    let skill_key: SkillKey = key.parse().unwrap();
    let installation_id = format!("00000000-0000-4000-8000-{sequence:012}")
        .parse()
        .unwrap();
    let at = Timestamp::from_millis(1_700_000_000_000);
    let requested = Event::SkillInstallRequested(SkillInstallRequested {
        installation_id,
        skill_key: skill_key.clone(),
        version: "1.0.0".parse().unwrap(),
        artifact_digest: "sha256:0".to_owned(),
        manifest,
        by: actor("operator", ActorType::User),
        requested_at: at,
        rules: RULES,
    });
    let installed = Event::SkillInstalled(SkillInstalled {
        installation_id,
        skill_key: skill_key.clone(),
        version: "1.0.0".parse().unwrap(),
        installed_at: at,
        publisher: None,
        provenance: None,
        manifest_digest: Some(Digest::of(key.as_bytes())),
        trust_digest: Digest::of(b""),
        report: VerificationReport {
            verified: true,
            signature_verified: true,
            publisher_trusted: true,
            compatibility_verified: true,
            issues: Vec::new(),
        },
        catalogue: sequence,
        rules: RULES,
    });
    let aggregate = AggregateId::skill(workspace(), &skill_key);
    let mut head = None;
    for (event, writer) in [(requested, Service::Intake), (installed, Service::Verifier)] {
        let cause = Cause::default();
        let (_, recorded) = seal(&aggregate, head.as_ref(), event, writer, &cause, at).unwrap();
        head = Some(recorded.head());
        catalogue.apply(sequence, &recorded);
    }
}

pub fn actor(id: &str, kind: ActorType) -> Actor {
    Actor {
        via: None,
        kind,
        id: id.parse().unwrap(),
        grants: BTreeSet::from(["intent.submit".to_owned()]),
    }
}

pub fn intent(text: &str) -> IntentReceived {
    IntentReceived {
        execution_id: "01900000-0000-7000-8000-000000000001".parse().unwrap(),
        intent_id: "01900000-0000-7000-8000-000000000002".parse().unwrap(),
        received_at: Timestamp::from_millis(1_700_000_000_000),
        actor_id: None,
        channel_key: Some("chat".to_owned()),
        actor: actor("sam", ActorType::User),
        text: text.to_owned(),
        metadata: None,
        draft: None,
        request_digest: Digest::of(b"request"),
        start: Start::Auto,
        mode: Mode::Autonomous,
        deadline_at: None,
        rules: RULES,
    }
}

/// Steps as (id, `skill/action`, inputs).
pub fn plan(steps: &[(&str, &str, Value)]) -> Plan {
    let catalogue = catalogue();
    let mut steps: Vec<PlanStep> = steps
        .iter()
        .map(|(id, uses, with)| {
            let (key, action) = uses.split_once('/').unwrap();
            let skill = catalogue
                .resolve(&workspace(), &key.parse().unwrap(), None)
                .unwrap();
            PlanStep {
                id: id.parse().unwrap(),
                uses: skill.pin.clone(),
                action: action.parse().unwrap(),
                needs: Vec::new(),
                with: with.clone(),
                retry: RetryPolicy::default(),
                timeout_ms: 5_000,
            }
        })
        .collect();
    steps.sort_by(|a, b| a.id.cmp(&b.id));
    Plan { steps }
}

pub fn facts(text: &str, plan: &Plan) -> Facts {
    policy::facts::of_plan(&intent(text), plan, &workspace(), &catalogue()).unwrap()
}

pub fn bundle(policies: &str) -> Bundle {
    Bundle {
        policies: BTreeMap::from([("test.cedar".to_owned(), policies.to_owned())]),
        trust: trusting("acme"),
        ..Bundle::default()
    }
}

pub fn engine(bundle: &Bundle) -> Engine {
    Engine::load(bundle).unwrap_or_else(|findings| panic!("{findings:#?}"))
}

pub fn trusting(publisher: &str) -> Trust {
    Trust {
        publishers: vec![TrustedPublisher {
            id: publisher.to_owned(),
            provenances: BTreeSet::from(["internal".to_owned()]),
            ..TrustedPublisher::default()
        }],
    }
}

pub fn shipped_bundle() -> Bundle {
    Bundle {
        trust: trusting("acme"),
        ..policy::shipped::default_bundle()
    }
}

pub fn shipped() -> Engine {
    engine(&shipped_bundle())
}

pub fn everything_is_permitted() -> Engine {
    engine(&bundle(
        r#"@id("all") permit (principal, action, resource);"#,
    ))
}
