//! Intake as a process, and the tokens of a provider that it is told of.

use std::{path::PathBuf, process::Command, time::Duration};

use contracts::problem::Code;
use host::{
    clock::{Ambient as _, System},
    config::names,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{issuer::SigningKey, process::Process};

use crate::{
    caller::{self, Answer},
    cases::{echo, intent},
    process::{address, command},
    world::{WORKSPACE, World, credential, everybody},
};

pub const ISSUER: &str = "https://id.example.com/realms/acme";
pub const AUDIENCE: &str = "control-plane";

/// A provider in the manner of Keycloak.
pub fn provider(name: &str, issuer: &str, keys: &Value) -> Value {
    json!({
        "name": name,
        "issuer": issuer,
        "audiences": [AUDIENCE],
        "keys": keys,
        "algorithms": ["RS256", "PS256", "ES256", "EdDSA"],
        "principal": "/sub",
        "workspace": { "claim": "/workspace", "among": [WORKSPACE] },
        "type": {
            "claim": "/kind",
            "values": { "person": "user", "bot": "agent", "job": "service" },
        },
        "roles": {
            "claim": "/realm_access/roles",
            "values": { "cp-submit": ["submitter"], "cp-vote": ["approver"] },
        },
        "grants": { "claim": "/groups", "values": { "treasury": ["approve.refunds"] } },
    })
}

/// Seconds since 1970, from now.
pub fn at(seconds: i64) -> i64 {
    System.now().as_millis() / 1000 + seconds
}

/// Claims of a token that is good, of someone who may submit.
pub fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "maria", "jti": "t-1",
        "iat": at(-1), "nbf": at(-1), "exp": at(300),
        "workspace": WORKSPACE, "kind": "person",
        "realm_access": { "roles": ["cp-submit", "offline_access"] },
    })
}

pub fn with(member: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[member] = value;
    claims
}

pub fn without(member: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(member);
    claims
}

/// Intake with providers, as a process.
pub struct Gate {
    pub world: World,
    pub process: Process,
    directory: TempDir,
}

impl Gate {
    pub async fn open(providers: &Value) -> Self {
        let mut world = World::on_broker().await;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("providers.json");
        std::fs::write(&file, json!({ "providers": providers }).to_string()).unwrap();
        let mut people = everybody();
        people
            .principals
            .push(credential("kc:local", "user", WORKSPACE, &[]));
        let principals = directory.path().join("principals.json");
        std::fs::write(&principals, serde_json::to_vec(&people).unwrap()).unwrap();
        let mut command: Command = command(&world, directory.path());
        command
            .env(names::PRINCIPALS_FILE, principals)
            .env(names::IDENTITY_PROVIDERS_FILE, file);
        let process = Process::spawn("intake", command, &directory.path().join("log"));
        world.address = address(&process).await;
        Self {
            world,
            process,
            directory,
        }
    }

    /// With the keys in a file.
    pub async fn with_keys(keys: &Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("keys.json");
        std::fs::write(&file, keys.to_string()).unwrap();
        Self::open(&json!([provider("kc", ISSUER, &json!({ "file": file }))])).await
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub async fn submit(&self, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("content-type", "application/json"),
            ("authorization", bearer.as_str()),
        ];
        let body = intent(echo()).to_string();
        caller::post(
            self.world.address,
            "/v1/intent.submit",
            &headers,
            body.as_bytes(),
        )
        .await
    }

    /// Refused, for this reason: in the answer, for programs, and in the log.
    pub async fn refuses(&self, case: &str, token: &str, reason: &str) {
        let answer = self.submit(token).await;
        answer.is(Code::Unauthenticated);
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(reason), "{case}: {detail}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(
            challenge.starts_with("Bearer error=\"invalid_token\", error_description=\"")
                && challenge.contains(reason),
            "{case}: {challenge}"
        );
    }

    /// Asks until the answer has this status: files are looked at once a second.
    pub async fn until(&self, token: &str, status: u16) {
        let asking = async {
            while self.submit(token).await.status != status {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let asked = tokio::time::timeout(Duration::from_secs(30), asking).await;
        assert!(asked.is_ok(), "it never answers {status}");
    }

    /// Does this until the log says so: of many refusals at once, it tells a few.
    pub async fn until_said(&self, reason: &str, attempt: impl AsyncFn()) {
        let said = |line: &String| line.contains("a token is refused: ") && line.contains(reason);
        let trying = async {
            while !self.process.output().iter().any(said) {
                attempt().await;
            }
        };
        let tried = tokio::time::timeout(Duration::from_secs(30), trying).await;
        assert!(tried.is_ok(), "the log does not say `{reason}`");
    }

    pub async fn actor(&self, token: &str) -> Value {
        let execution = self.submit(token).await.text("executionId");
        let history = self.world.history(&execution).await;
        history[0].event.to_json().unwrap()["actor"].clone()
    }
}

pub fn keys() -> [SigningKey; 3] {
    [
        SigningKey::rsa("rsa"),
        SigningKey::p256("p256"),
        SigningKey::ed25519("ed", 1),
    ]
}

/// What was written into the file is read again, and the file is whole at any time.
pub fn replace(path: &std::path::Path, document: &Value) {
    let part = path.with_extension("part");
    std::fs::write(&part, document.to_string()).unwrap();
    std::fs::rename(part, path).unwrap();
}
