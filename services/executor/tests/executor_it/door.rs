//! Intake as a process, and two people who know its address.

use contracts::{canonical::Digest, event::Service};
use serde_json::{Value, json};
use testkit::process::Process;

use super::world::World;

/// Approves, holds back, tries again and cancels.
pub const ANN: &str = "ann-has-a-token-that-only-this-test-knows";
/// Submits.
pub const SAM: &str = "sam-has-a-token-that-only-this-test-knows";

pub struct Door {
    _process: Process,
    url: String,
    client: reqwest::Client,
}

impl Door {
    pub async fn open(world: &World, name: &str) -> Self {
        Self::open_with(world, name, &[]).await
    }

    pub async fn open_with(world: &World, name: &str, more: &[(String, String)]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let principal = |id: &str, token: &str, grants: &[&str]| {
            json!({
                "id": id,
                "type": "user",
                "workspace": "demo",
                "grants": grants,
                "tokenHash": Digest::of(token.as_bytes()),
            })
        };
        let document = json!({ "principals": [
            principal(
                "ann",
                ANN,
                &[
                    "execution.approve",
                    "execution.cancel",
                    "execution.pause",
                    "execution.retry",
                    "step.report",
                ],
            ),
            principal("sam", SAM, &["intent.submit"]),
        ]});
        let principals = world.file(&format!("{name}.json"), &document.to_string());
        let mut settings = vec![(
            host::config::names::PRINCIPALS_FILE,
            principals.to_str().unwrap(),
        )];
        settings.extend(
            more.iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let process = world.spawn_with(Service::Intake, name, &settings);
        let line = process.line("running").await;
        let address = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("address="))
            .unwrap();
        Self {
            url: format!("http://{address}/v1"),
            _process: process,
            client: reqwest::Client::new(),
        }
    }

    pub async fn ask(&self, token: &str, operation: &str, body: &Value) -> (u16, Value) {
        self.ask_with(token, operation, None, body).await
    }

    /// With an idempotency key.
    pub async fn ask_with(
        &self,
        token: &str,
        operation: &str,
        key: Option<&str>,
        body: &Value,
    ) -> (u16, Value) {
        let answer = self
            .request(token, operation, key, body)
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Nothing where no answer comes.
    pub async fn try_ask(
        &self,
        token: &str,
        operation: &str,
        key: &str,
        body: &Value,
    ) -> Option<u16> {
        let request = self.request(token, operation, Some(key), body);
        Some(request.send().await.ok()?.status().as_u16())
    }

    fn request(
        &self,
        token: &str,
        operation: &str,
        key: Option<&str>,
        body: &Value,
    ) -> reqwest::RequestBuilder {
        let url = format!("{}/{operation}", self.url);
        let request = self.client.post(url).bearer_auth(token).json(body);
        match key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        }
    }
}
