//! What a short-lived push consumer is sent, in order: without acknowledgement, held back by the
//! broker's flow control. Whatever goes wrong ends it, and it is made again from the last sequence.

use std::time::Duration;

use async_nats::{Message, Subscriber};
use contracts::position::StreamId;
use futures::{FutureExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    direct::READ_PATIENCE,
    link::{CallError, Delivered, Link, Reconnections, header, nanoseconds, status},
    load::version_of,
};
use crate::stored::{DATA_REF, Kept};

const HEARTBEAT: Duration = Duration::from_secs(4);

/// How long the broker keeps a consumer whose reader has gone. Short, because a user who may not
/// touch durable consumers cannot remove its own either; a reader that comes back makes another.
const INACTIVE: Duration = Duration::from_secs(2);

pub(super) struct Pushed {
    link: Link,
    reconnections: Reconnections,
    subscriber: Subscriber,
    /// By the count of the consumer.
    received: u64,
    /// Where it begins, which is not before what is live.
    pub begins_at: u64,
    /// How many there were yet to come, when that was last said.
    pub pending: u64,
}

pub(super) enum Came {
    Message(Arrived),
    Control(Control),
}

/// A heartbeat, or the question whether all so far has been read.
pub(super) struct Control(Message);

/// What the broker says of a new consumer.
#[derive(Deserialize)]
struct Made {
    delivered: Before,
    num_pending: u64,
}

/// It begins after this, which is not before what is live.
#[derive(Deserialize)]
struct Before {
    stream_seq: u64,
}

/// A message, and what is said of it.
pub(super) struct Arrived {
    pub message: Message,
    pub delivered: Delivered,
    /// Of an event.
    pub version: Option<u64>,
}

impl Arrived {
    /// Whether its payload has to be fetched.
    pub fn is_apart(&self) -> bool {
        header(&self.message, DATA_REF).is_some()
    }

    fn of(message: Message) -> Option<Self> {
        Some(Self {
            delivered: Delivered::of(&message)?,
            version: version_of(message.subject.as_str()),
            message,
        })
    }
}

impl Pushed {
    /// What stands in a stream after a sequence; all of it where there are no filters.
    pub async fn begin(
        link: &Link,
        stream: StreamId,
        after: u64,
        filters: &[String],
    ) -> Result<Self, CallError> {
        let reconnections = link.reconnections();
        let (inbox, subscriber) = link.inbox().await?;
        let made = create(link, stream, after, filters, &inbox).await?;
        Ok(Self {
            link: link.clone(),
            reconnections,
            subscriber,
            received: 0,
            begins_at: made.delivered.stream_seq + 1,
            pending: made.num_pending,
        })
    }

    /// Waits for what comes next. Safe to cancel.
    pub async fn next(&mut self) -> Result<Came, CallError> {
        let message = tokio::select! {
            biased;
            // What comes after it has a gap before it.
            () = self.reconnections.next() => return Err(CallError::Reconnected),
            message = timeout(HEARTBEAT * 3, self.subscriber.next()) => message,
        };
        match message {
            Ok(Some(message)) => self.came(message),
            Ok(None) | Err(_) => Err(CallError::Timeout),
        }
    }

    /// What has come already.
    pub fn try_next(&mut self) -> Option<Result<Came, CallError>> {
        // That there is no more to come is seen by who waits.
        let message = self.subscriber.next().now_or_never()??;
        Some(self.came(message))
    }

    /// Up to a sequence and with it, of a stream that is read without filters and holds it. A consumer
    /// may be there and send nothing.
    pub async fn up_to(&mut self, last: u64) -> Result<Vec<Kept>, CallError> {
        let mut all = Vec::new();
        let mut due = Instant::now() + READ_PATIENCE;
        loop {
            let came = timeout_at(due, self.next()).await;
            match came.map_err(|_| CallError::Timeout)?? {
                Came::Control(control) => {
                    self.answer(control).await?;
                }
                Came::Message(arrived) => {
                    let is_last = arrived.delivered.sequence >= last;
                    // A message as the client has it takes several times as much.
                    all.push(Kept::from(arrived));
                    due = Instant::now() + READ_PATIENCE;
                    if is_last {
                        return Ok(all);
                    }
                }
            }
        }
    }

    fn came(&mut self, message: Message) -> Result<Came, CallError> {
        if status(&message).is_some() {
            return Ok(Came::Control(Control(message)));
        }
        let arrived = Arrived::of(message)
            .ok_or_else(|| CallError::Answer("a message without position".to_owned()))?;
        let Delivered {
            consumed, pending, ..
        } = arrived.delivered;
        if consumed != self.received + 1 {
            return Err(lost_on_the_way());
        }
        (self.received, self.pending) = (consumed, pending);
        Ok(Came::Message(arrived))
    }

    /// Answers once everything before it has been taken, so that the broker sends on; whether it has
    /// no more to send.
    pub async fn answer(&self, Control(message): Control) -> Result<bool, CallError> {
        if status(&message) != Some(100) {
            let text = message.description.clone().unwrap_or_default();
            return Err(CallError::Ended(text));
        }
        let answer_to = match &message.reply {
            Some(reply) => Some(reply.to_string()),
            None => header(&message, "Nats-Consumer-Stalled").map(str::to_owned),
        };
        let is_idle = answer_to.is_none();
        if let Some(subject) = answer_to {
            self.link.send(subject, None, bytes::Bytes::new()).await?;
        }
        let last = header(&message, "Nats-Last-Consumer").and_then(|text| text.parse().ok());
        if last.is_some_and(|last: u64| last > self.received) {
            return Err(lost_on_the_way());
        }
        Ok(is_idle)
    }
}

async fn create(
    link: &Link,
    stream: StreamId,
    after: u64,
    filters: &[String],
    inbox: &str,
) -> Result<Made, CallError> {
    let mut config = json!({
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": after + 1,
        "deliver_subject": inbox,
        "ack_policy": "none",
        "replay_policy": "instant",
        "flow_control": true,
        "idle_heartbeat": nanoseconds(HEARTBEAT),
        "inactive_threshold": nanoseconds(INACTIVE),
        "mem_storage": true,
        "num_replicas": 1,
    });
    if !filters.is_empty()
        && let Some(config) = config.as_object_mut()
    {
        config.insert("filter_subjects".to_owned(), json!(filters));
    }
    let name = stream.name();
    let request = json!({ "stream_name": name, "config": config });
    // The form that names no consumer: a user who may do this cannot touch a durable one.
    let operation = format!("CONSUMER.CREATE.{name}");
    link.api(&operation, &request).await
}

fn lost_on_the_way() -> CallError {
    CallError::Ended("messages were lost on the way".to_owned())
}
