//! A call of a skill is a request to `cp.skill.<workspace>.<entry point>` with a JSON body; so is
//! its answer. The law for workers in any language.

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
pub const TRACEPARENT: &str = "traceparent";
/// The completion token of a call.
pub const TOKEN: &str = "Cp-Token";

/// One attempt of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    pub workspace: String,
    pub execution_id: String,
    pub run_id: String,
    pub step_id: String,
    /// The key of the skill.
    pub skill: String,
    pub version: String,
    pub action: String,
    /// Counts from 1, on across runs.
    pub attempt: u32,
    /// 64 hexadecimal digits, the same for every attempt of one effect.
    pub idempotency_key: String,
    /// RFC 3339: when the caller stops waiting.
    pub deadline: String,
    pub inputs: Value,
    /// From the headers.
    #[serde(skip)]
    pub traceparent: Option<String>,
    /// From the headers.
    #[serde(skip)]
    pub token: Option<String>,
}

/// Why a request is not a call.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCall {
    #[error("not a skill call: {0}")]
    Body(#[from] serde_json::Error),
    #[error("header and body name different idempotency keys")]
    KeysDiffer,
    #[error("this worker serves the workspace `{0}`")]
    OtherWorkspace(String),
}

impl Call {
    pub(crate) fn read(message: &Message, workspace: &str) -> Result<Self, InvalidCall> {
        let mut call: Self = serde_json::from_slice(&message.payload)?;
        let header = |name: &str| {
            let value = message.headers.as_ref().and_then(|all| all.get(name));
            value.map(|value| value.as_str().to_owned())
        };
        if header(IDEMPOTENCY_KEY).is_some_and(|key| key != call.idempotency_key) {
            return Err(InvalidCall::KeysDiffer);
        }
        if call.workspace != workspace {
            return Err(InvalidCall::OtherWorkspace(workspace.to_owned()));
        }
        call.traceparent = header(TRACEPARENT);
        call.token = header(TOKEN);
        Ok(call)
    }

    /// The headers a caller sends with it.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(IDEMPOTENCY_KEY, self.idempotency_key.as_str());
        headers.insert("Cp-Attempt", self.attempt.to_string());
        headers.insert("Cp-Execution", self.execution_id.as_str());
        headers.insert("Cp-Step", self.step_id.as_str());
        if let Some(traceparent) = &self.traceparent {
            headers.insert(TRACEPARENT, traceparent.as_str());
        }
        if let Some(token) = &self.token {
            headers.insert(TOKEN, token.as_str());
        }
        headers
    }
}

/// What a worker answers: a JSON object with exactly one of these members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    /// The effect is done.
    Output(Value),
    /// The effect did not happen.
    Error(Failure),
    /// Always true: another call with this key is still being worked on.
    InProgress(bool),
    /// To be completed later by token.
    Accepted(Value),
}

/// An effect that did not happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Stable, such as `CARD_DECLINED`.
    pub code: String,
    pub message: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
}

/// An answer that says nothing about the effect.
#[derive(Debug, thiserror::Error)]
pub enum InvalidReply {
    #[error("not an answer to a skill call")]
    Body(#[from] serde_json::Error),
    #[error("`inProgress` is true or absent")]
    NotInProgress,
}

impl Reply {
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidReply> {
        let reply = serde_json::from_slice(bytes)?;
        if reply == Self::InProgress(false) {
            return Err(InvalidReply::NotInProgress);
        }
        Ok(reply)
    }

    pub fn encode(&self) -> serde_json::Result<Bytes> {
        serde_json::to_vec(self).map(Bytes::from)
    }
}

impl Failure {
    /// The same call fails again.
    pub fn permanent(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            retryable: false,
        }
    }

    /// The same call may succeed later.
    pub fn transient(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            retryable: true,
            ..Self::permanent(code, message)
        }
    }
}
