//! Wake-ups at an instant.

use contracts::{
    event::Service,
    ids::EventId,
    subject::{AggregateId, ROOT, encode_token},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A wake-up for one aggregate. Fires once or more, at its instant or after it, and survives any
/// restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// Who is woken.
    pub service: Service,
    pub aggregate: AggregateId,
    /// What for, such as `retry:charge`. Arming the same key again replaces the timer,
    /// unless it is to stay.
    pub key: String,
    /// The version of the event it was armed for: a fold must have reached it.
    pub version: u64,
    /// What comes of it is decided no earlier.
    pub due: Timestamp,
    /// In how many milliseconds it fires, by the broker's clock. So a history that runs ahead of
    /// time, because some process's clock did, waits no longer than it would have; and a process
    /// whose clock is slow wakes nobody too early.
    pub after_ms: u64,
    /// The wake-up it stands for, where a message is put off: its id stays, and with it the right
    /// to take over what was left under it.
    pub wake: Option<EventId>,
    /// Whether one that is armed under the same key stays as it is: arming again does not put it
    /// off.
    pub stays: bool,
}

/// A stored wake-up that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTimer {
    #[error("it is not the document of a timer")]
    Document(#[from] serde_json::Error),
    #[error("it names no aggregate")]
    Aggregate(#[from] contracts::subject::InvalidSubject),
    #[error("it names no service")]
    Service,
}

#[derive(Serialize, Deserialize)]
struct Document {
    service: String,
    aggregate: String,
    key: String,
    version: u64,
    due: Timestamp,
    #[serde(default)]
    after_ms: u64,
    #[serde(default)]
    wake: Option<EventId>,
    #[serde(default)]
    stays: bool,
}

impl Timer {
    /// Of the wake-up it stands for, else `UUIDv5` of aggregate, key, version and instant: the
    /// cause of what it leads to.
    pub fn id(&self) -> EventId {
        /// Ours, drawn once.
        const NAMESPACE: Uuid = Uuid::from_u128(0x0f5e_9f0a_52c1_4d2b_a8a7_3b0f_6a55_9c1e);
        if let Some(wake) = self.wake {
            return wake;
        }
        let name = format!(
            "{}\n{}\n{}\n{}",
            self.aggregate.prefix(),
            self.key,
            self.version,
            self.due
        );
        EventId::of(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
    }

    pub(crate) fn armed_subject(&self) -> String {
        format!("cp.timer.arm.{}", self.slot())
    }

    /// One for each firing: a subject holds one message, and one that is held under it would be
    /// replaced by the next.
    pub(crate) fn due_subject(&self) -> String {
        let due = self.due.as_millis();
        format!("cp.timer.due.{}.{}-{due}", self.slot(), self.version)
    }

    /// What one timer replaces: one subject each.
    pub(crate) fn slot(&self) -> String {
        let prefix = self.aggregate.prefix();
        let aggregate = prefix.strip_prefix(ROOT).unwrap_or(prefix);
        format!("{}{aggregate}.{}", self.service, encode_token(&self.key))
    }

    /// As it is published.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::json!({
            "service": self.service.as_str(),
            "aggregate": self.aggregate.prefix(),
            "key": self.key,
            "version": self.version,
            "due": self.due,
            "after_ms": self.after_ms,
            "wake": self.wake,
            "stays": self.stays,
        })
        .to_string()
        .into_bytes()
    }

    /// What [`Self::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidTimer> {
        let document: Document = serde_json::from_slice(bytes)?;
        let service = Service::ALL
            .into_iter()
            .find(|service| service.as_str() == document.service)
            .ok_or(InvalidTimer::Service)?;
        Ok(Self {
            service,
            aggregate: AggregateId::from_prefix(&document.aggregate)?,
            key: document.key,
            version: document.version,
            due: document.due,
            after_ms: document.after_ms,
            wake: document.wake,
            stays: document.stays,
        })
    }
}
