//! Executions as far as a test wants them: a control plane with a bundle, a skill, and a worker
//! that does as the step says.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex},
};

use contracts::{
    bundle::{Bundle, Trust, TrustedKey, TrustedPublisher},
    event::EventName,
    manifest::SkillManifest,
    registry::OperationName,
};
use serde_json::{Value, json};
use skills::{
    key::{keygen, public_key_text},
    signature::{Validity, sign},
};
use testkit::guest::Guest;

use tokio::time::Instant;

use crate::doors::{Doors, Newcomer, PATIENCE, WORKSPACE};

const SIGNER: [u8; 32] = [7; 32];

/// The skill of which the worker knows each action; and a publisher whom its bundle trusts.
pub const SKILL: &str = "test.desk";
const PUBLISHER: &str = "test";
const PROVENANCE: &str = "ci:test/desk";

/// Who may ask beside the three that `up` makes.
const NEWCOMERS: [(&str, &[&str]); 6] = [
    ("reporter", &["--role", "worker"]),
    ("both", &["--role", "submitter", "--role", "approver"]),
    ("viewer", &["--role", "viewer"]),
    ("gone", &["--role", "admin"]),
    ("ada", &["--role", "approver"]),
    ("busy", &["--role", "viewer"]),
];

/// A vote within seconds, and one that only one person has.
const POLICIES: &str = r#"
@id("at-once")
@reason("who votes does so at once")
@expires("10s")
permit (principal, action == Action::"runAssisted", resource == SkillAction::"test.desk/soon");

@id("hers-alone")
@reason("one person decides this")
@approvers("principal:ada")
permit (principal, action == Action::"runAssisted", resource == SkillAction::"test.desk/named");
"#;

pub struct Stage {
    pub doors: Doors,
    /// Of steps that are to be completed later, by execution.
    tokens: Arc<Mutex<BTreeMap<String, String>>>,
    _worker: Guest,
}

/// A step that waits for votes.
#[derive(Debug, Clone)]
pub struct Blocked {
    pub execution: String,
    pub run: String,
    pub step: &'static str,
    pub block: Value,
}

impl Blocked {
    /// A vote for it that names all that was seen.
    pub fn approval(&self, by: &str) -> Value {
        json!({
            "executionId": self.execution, "stepId": self.step, "approvedBy": by,
            "planHash": self.block["planHash"], "inputsDigest": self.block["inputsDigest"],
            "blockId": self.block["blockId"],
        })
    }
}

impl Stage {
    pub async fn set() -> Self {
        let newcomers = NEWCOMERS.map(|(id, may)| Newcomer {
            workspace: WORKSPACE.to_owned(),
            id: id.to_owned(),
            may,
        });
        let doors = Doors::open(&["--serves", "desk"], &newcomers).await;
        let worker = doors.guest("worker", "_INBOX_worker").await;
        let tokens: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
        let subject = format!("cp.skill.{WORKSPACE}.desk");
        let given = Arc::clone(&tokens);
        worker
            .answer(&subject, move |headers, call| work(&given, headers, call))
            .await;
        let bundle = json!({ "bundle": bundle() });
        doors
            .ask("admin", OperationName::PolicyActivate, &bundle)
            .await
            .ok();
        let installation = installation(&manifest("1.0.0"));
        doors
            .ask("admin", OperationName::SkillInstall, &installation)
            .await
            .ok();
        Self {
            doors,
            tokens,
            _worker: worker,
        }
    }

    /// Submits, and gives `executionId` and `intentId`.
    pub async fn submitted(&self, input: &Value) -> Value {
        self.submitted_by("submitter", input).await
    }

    pub async fn submitted_by(&self, who: &str, input: &Value) -> Value {
        let submit = OperationName::IntentSubmit;
        let said = self.doors.ask(who, submit, input).await;
        json!({ "executionId": said.text("executionId"), "intentId": said.text("intentId") })
    }

    /// Judged, and to be started by hand: `executionId` and `planId`.
    pub async fn judged(&self, input: Value) -> Value {
        let mut input = input;
        input["start"] = json!("manual");
        let ids = self.submitted(&input).await;
        let execution = ids["executionId"].as_str().unwrap();
        let verified = EventName::PlanVerified;
        let verified = self.doors.until(WORKSPACE, execution, verified).await;
        json!({ "executionId": execution, "planId": verified["planId"] })
    }

    /// A step of this action, or an echo where everything needs a vote, that waits for one.
    pub async fn blocked(&self, action: Option<&str>) -> Blocked {
        self.blocked_for("submitter", action).await
    }

    pub async fn blocked_for(&self, who: &str, action: Option<&str>) -> Blocked {
        let input = match action {
            Some(action) => intent(&desk(action)),
            None => assisted(),
        };
        let ids = self.submitted_by(who, &input).await;
        let execution = ids["executionId"].as_str().unwrap();
        let event = EventName::StepBlocked;
        let block = self.doors.until(WORKSPACE, execution, event).await;
        Blocked {
            execution: execution.to_owned(),
            run: format!("{execution}:1"),
            step: "only",
            block,
        }
    }

    /// The last run of an execution whose step failed.
    pub async fn failed(&self) -> String {
        let ids = self.submitted(&intent(&desk("fail"))).await;
        let execution = ids["executionId"].as_str().unwrap();
        let failed = EventName::ExecutionFailed;
        self.doors.until(WORKSPACE, execution, failed).await;
        format!("{execution}:1")
    }

    /// An execution that has run to its end.
    pub async fn completed(&self) -> String {
        let ids = self.submitted(&intent(&echo())).await;
        let execution = ids["executionId"].as_str().unwrap();
        let completed = EventName::ExecutionCompleted;
        self.doors.until(WORKSPACE, execution, completed).await;
        execution.to_owned()
    }

    /// An execution that waits for a draft from outside: `executionId` and `intentId`.
    pub async fn awaiting_draft(&self) -> Value {
        let words = json!({ "workspaceId": WORKSPACE, "text": "nobody knows how" });
        let ids = self.submitted(&words).await;
        let execution = ids["executionId"].as_str().unwrap();
        let asked = EventName::DraftRequested;
        self.doors.until(WORKSPACE, execution, asked).await;
        ids
    }

    /// Takes someone's tokens away, and waits until both services know.
    pub async fn is_gone(&self, who: &str) {
        self.doors
            .world
            .ask(&["user", "revoke", who, "--workspace", WORKSPACE]);
        let until = Instant::now() + PATIENCE;
        for operation in [OperationName::ExecutionList, OperationName::ExecutionCancel] {
            while self.doors.ask(who, operation, &json!({})).await.status != 401 {
                assert!(Instant::now() < until, "`{who}` is still let in");
            }
        }
    }

    /// A step that its worker will complete later: a report of its success.
    pub async fn accepted(&self) -> Value {
        let ids = self.submitted(&intent(&desk("later"))).await;
        let execution = ids["executionId"].as_str().unwrap();
        let accepted = EventName::StepAccepted;
        self.doors.until(WORKSPACE, execution, accepted).await;
        self.report(execution)
    }

    /// Of the last attempt that its worker was given.
    pub fn report(&self, execution: &str) -> Value {
        let token = self.tokens.lock().unwrap()[execution].clone();
        json!({
            "executionId": execution, "stepId": "only", "token": token, "outcome": "completed",
            "output": { "done": true },
        })
    }
}

/// What a worker of the skill answers.
fn work(
    tokens: &Mutex<BTreeMap<String, String>>,
    headers: &[(String, String)],
    call: &[u8],
) -> Vec<u8> {
    let call: Value = serde_json::from_slice(call).unwrap();
    let answer = match call["action"].as_str().unwrap() {
        action @ ("later" | "briefly") => {
            let token = headers.iter().find(|(name, _)| name == "Cp-Token");
            let execution = call["executionId"].as_str().unwrap().to_owned();
            let (_, token) = token.unwrap();
            tokens.lock().unwrap().insert(execution, token.clone());
            let ms = if action == "later" { 3_600_000 } else { 200 };
            json!({ "accepted": { "expiresAfterMs": ms } })
        }
        "fail" => json!({
            "error": { "code": "SHUT", "message": "the desk is shut", "retryable": false },
        }),
        _ => json!({ "output": {} }),
    };
    answer.to_string().into_bytes()
}

#[must_use]
pub fn intent(draft: &Value) -> Value {
    json!({ "workspaceId": WORKSPACE, "text": "look after it", "draft": draft })
}

#[must_use]
pub fn echo() -> Value {
    json!({ "steps": [
        { "id": "only", "uses": "core.echo/echo", "with": { "message": "hello" } },
    ] })
}

/// An echo that a human approves.
#[must_use]
pub fn assisted() -> Value {
    let mut input = intent(&echo());
    input["mode"] = json!("assist");
    input
}

#[must_use]
pub fn desk(action: &str) -> Value {
    json!({ "steps": [
        { "id": "only", "uses": format!("{SKILL}/{action}"), "with": {} },
    ] })
}

/// The bundle that comes with the build, and what the skill needs.
#[must_use]
pub fn bundle() -> Bundle {
    let mut bundle = trusting();
    bundle
        .policies
        .insert("test.cedar".to_owned(), POLICIES.to_owned());
    let trust = FOREIGN["trust"].clone();
    let foreign: Trust = serde_json::from_value(trust).unwrap();
    bundle.trust.publishers.extend(foreign.publishers);
    bundle
}

/// The bundle that comes with the build, and trust in who signs here.
#[must_use]
pub fn trusting() -> Bundle {
    let mut bundle = policy::shipped::default_bundle();
    bundle.trust.publishers.push(TrustedPublisher {
        id: PUBLISHER.to_owned(),
        provenances: [PROVENANCE.to_owned()].into(),
        keys: vec![TrustedKey {
            public_key: public_key_text(&keygen(SIGNER).verifying_key()).unwrap(),
            ..TrustedKey::default()
        }],
        ..TrustedPublisher::default()
    });
    bundle
}

/// Manifests that Node.js signed, most with one fault each, and the trust in their publishers.
static FOREIGN: LazyLock<Value> = LazyLock::new(|| {
    let table = include_str!("../../../../shared/skills/tests/skills/foreign/cases.json");
    serde_json::from_str(table).unwrap()
});

/// The installation of one of them.
pub fn foreign(name: &str) -> Value {
    let cases = FOREIGN["cases"].as_array().unwrap();
    let case = cases.iter().find(|case| case["name"] == name);
    let case = case.unwrap_or_else(|| panic!("no manifest is called `{name}`"));
    json!({
        "skillKey": case["skillKey"], "version": case["version"],
        "artifactDigest": case["artifactDigest"], "manifest": case["manifest"],
    })
}

#[must_use]
pub fn manifest(version: &str) -> SkillManifest {
    let action = |effect: &str| {
        json!({
            "input": { "type": "object" }, "output": { "type": "object" },
            "effect": effect, "risk": "low",
        })
    };
    let manifest = json!({
        "schemaVersion": "1.0.0",
        "skill": { "key": SKILL, "version": version, "entryPoint": "nats:desk" },
        "publisher": { "id": PUBLISHER, "provenance": PROVENANCE },
        "artifact": { "digest": "sha256:ab" },
        "compatibility": {
            "contractsSpec": { "minVersion": "1.0.0", "maxVersion": "1.9.9" },
            "controlPlaneFeature": { "minVersion": "1.0.0" },
        },
        "metadata": { "actions": {
            "later": action("read"),
            "briefly": action("read"),
            "fail": action("read"),
            "tell": action("external"),
            "soon": action("external"),
            "named": action("external"),
            "delete": action("irreversible"),
        } },
    });
    let unsigned: SkillManifest = serde_json::from_value(manifest).unwrap();
    sign(&unsigned, &keygen(SIGNER), Validity::default()).unwrap()
}

#[must_use]
pub fn installation(manifest: &SkillManifest) -> Value {
    json!({
        "skillKey": manifest.skill.key,
        "version": manifest.skill.version,
        "artifactDigest": manifest.artifact.digest,
        "manifest": manifest,
    })
}
