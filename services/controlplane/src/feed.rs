//! Live feeds: server-sent events that carry complete `CloudEvents`. A feed that breaks is opened
//! again from where it was.

use std::{collections::VecDeque, time::Duration};

use contracts::{event::EventName, ids::ExecutionId, position::Positions, time::Timestamp};
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{api::Api, failure::Failure};

/// Longer than the server is ever silent: it sends a comment at least every 15 s.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// A broken feed is opened again from where it ended, this often without one event in between:
/// over about 13 s, in which whoever serves it may have been started again.
const REOPENED_MAX: u32 = 7;
const REOPEN_AFTER_MIN: Duration = Duration::from_millis(100);

/// The longest pause before a feed that has no end is opened again.
const REOPEN_AFTER_MAX: Duration = Duration::from_secs(5);

/// An event's payload is at most 256 KiB on the wire; in JSON it may be some times longer.
const BLOCK_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A `CloudEvent` as it is shown at the edge.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CloudEvent {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub source: String,
    pub time: Timestamp,
    #[serde(default)]
    pub data: Map<String, Value>,
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

impl CloudEvent {
    /// Its name, such as `plan.compiled`.
    pub fn name(&self) -> &str {
        self.kind.trim_start_matches("controlPlane.")
    }

    /// Nothing for an event that is newer than this build.
    pub fn known(&self) -> Option<EventName> {
        EventName::parse(self.name())
    }

    pub fn text(&self, member: &str) -> Option<&str> {
        self.data.get(member)?.as_str()
    }

    /// Whether nothing follows it but a retry.
    pub fn is_end(&self) -> bool {
        match self.known() {
            Some(EventName::ExecutionCompleted | EventName::ExecutionFailed) => true,
            Some(EventName::PlanRejected) => self.data.get("final") == Some(&Value::Bool(true)),
            Some(_) | None => false,
        }
    }
}

/// A live feed, from its first event on.
pub struct Feed<'a> {
    api: &'a Api,
    path: String,
    /// How often it is opened again without anything in between; for ever where this is absent.
    reopened_max: Option<u32>,
    response: Option<reqwest::Response>,
    unread: Vec<u8>,
    ready: VecDeque<CloudEvent>,
    last: Option<String>,
    reopened: u32,
    /// Whether it was ever opened: it was there a moment ago, then.
    opened: bool,
    ended: bool,
}

impl<'a> Feed<'a> {
    /// What happens to an execution, until that ends.
    pub fn of(api: &'a Api, execution: ExecutionId) -> Self {
        let path = format!("/v1/executions/{execution}/events");
        Self::at(api, path, Some(REOPENED_MAX))
    }

    /// A feed that has no end.
    pub fn endless(api: &'a Api, path: String) -> Self {
        Self::at(api, path, None)
    }

    fn at(api: &'a Api, path: String, reopened_max: Option<u32>) -> Self {
        Self {
            api,
            path,
            reopened_max,
            response: None,
            unread: Vec::new(),
            ready: VecDeque::new(),
            last: None,
            reopened: 0,
            opened: false,
            ended: false,
        }
    }

    /// Waits for the next event; nothing after the one that ends the execution.
    pub async fn next(&mut self) -> Result<Option<CloudEvent>, Failure> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.ended |= self.reopened_max.is_some() && event.is_end();
                self.reopened = 0;
                return Ok(Some(event));
            }
            if self.ended {
                return Ok(None);
            }
            self.read().await?;
        }
    }

    /// Where the log stood with the last event.
    pub fn position(&self) -> Option<Positions> {
        self.last.as_deref()?.parse().ok()
    }

    async fn read(&mut self) -> Result<(), Failure> {
        let mut response = match self.response.take() {
            Some(response) => response,
            None => match self.api.open_feed(&self.path, self.last.as_deref()).await {
                Ok(response) => response,
                Err(failure) if self.opened && passes(&failure) => return self.broke().await,
                Err(failure) => return Err(failure),
            },
        };
        self.opened = true;
        // Nothing comes after the last event.
        if response.status() == StatusCode::NO_CONTENT {
            self.ended = true;
            return Ok(());
        }
        let silence = tokio::time::timeout(SILENCE_MAX, response.chunk()).await;
        if let Ok(Ok(Some(bytes))) = silence {
            self.unread.extend_from_slice(&bytes);
            self.response = Some(response);
            return self.take_blocks();
        }
        self.broke().await
    }

    /// Waits before it goes on from the last event that came whole.
    async fn broke(&mut self) -> Result<(), Failure> {
        self.unread.clear();
        self.reopened += 1;
        if self.reopened_max.is_some_and(|max| self.reopened > max) {
            return Err(Failure::Unsuccessful(
                "the live feed ends again and again: watch again later".to_owned(),
            ));
        }
        let doubled = 2_u32.saturating_pow(self.reopened - 1);
        let mut pause = REOPEN_AFTER_MIN.saturating_mul(doubled);
        if self.reopened_max.is_none() {
            pause = pause.min(REOPEN_AFTER_MAX);
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Events are separated by an empty line.
    fn take_blocks(&mut self) -> Result<(), Failure> {
        while let Some(end) = find(&self.unread, b"\n\n") {
            let block: Vec<u8> = self.unread.drain(..end + 2).collect();
            let (id, event) = parse(&String::from_utf8_lossy(&block))?;
            if id.is_some() {
                self.last = id;
            }
            self.ready.extend(event);
        }
        if self.unread.len() > BLOCK_BYTES_MAX {
            return Err(unreadable("an event has no end"));
        }
        Ok(())
    }
}

/// What passes by itself.
fn passes(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable { .. } => true,
        Failure::Refused(refusal) => matches!(refusal.status, 429 | 503),
        Failure::Unsuccessful(_)
        | Failure::Usage(_)
        | Failure::Undecided(_)
        | Failure::Interrupted
        | Failure::Other(_) => false,
    }
}

/// A comment has no event, and may say where the reader is.
fn parse(block: &str) -> Result<(Option<String>, Option<CloudEvent>), Failure> {
    let mut id = None;
    let mut data = String::new();
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => id = Some(value.to_owned()),
            "data" => {
                if !data.is_empty() {
                    data.push('\n');
                }
                data.push_str(value);
            }
            // A comment, or what this reader has no use for.
            _ => {}
        }
    }
    if data.is_empty() {
        return Ok((id, None));
    }
    let event = serde_json::from_str(&data).map_err(|error| unreadable(&error.to_string()))?;
    Ok((id, Some(event)))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

fn unreadable(why: &str) -> Failure {
    Failure::Other(anyhow::anyhow!("the live feed cannot be read: {why}"))
}
