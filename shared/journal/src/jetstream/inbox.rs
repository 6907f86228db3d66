//! The inbox on JetStream.
//!
//! INVARIANT: what others wrote is read on a connection of its own. A header that the broker takes
//! and its client cannot read ends the connection, and would do so at each delivery: such a message
//! is looked for by its bytes and taken out.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use contracts::{event::Service, ids::WorkspaceId};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use super::{
    ConnectError, ConnectOptions, JetStreamJournal,
    direct::READ_PATIENCE,
    link::{CallError, Link, Reconnections},
    open, settings,
};
use crate::{
    Journal as _, Unavailable,
    delivery::{ConsumerSpec, Deliveries, Purpose, name},
    inbox::{Refusal, inbox_filter, refused_filter},
    layout::{self, REFUSED},
    stored::Raw,
};

/// "no message found" and "sequence not found"
const NO_MESSAGE: u16 = 10037;
const NO_SEQUENCE: u16 = 10043;

/// Messages that are looked through after a connection was lost: what one consumer may hold.
const LOOKED_AT_MAX: u64 = 10_000;

/// Of one workspace.
pub struct Inbox {
    journal: JetStreamJournal,
    workspace: WorkspaceId,
    stream: String,
}

/// A message whose headers cannot be read.
#[derive(Debug)]
pub struct Unread {
    pub sequence: u64,
    /// Its headers as one text, under the name `headers`.
    pub raw: Raw,
}

pub struct Losses {
    link: Link,
    reconnections: Reconnections,
}

impl Losses {
    /// Waits until the connection was lost and is back; true where it does not come back. Safe to
    /// cancel.
    pub async fn next(&mut self) -> bool {
        tokio::select! {
            () = self.reconnections.next() => false,
            () = self.link.gone() => true,
        }
    }
}

impl Inbox {
    pub async fn open(
        options: &ConnectOptions,
        workspace: WorkspaceId,
    ) -> Result<Self, ConnectError> {
        let journal = JetStreamJournal::connect(options).await?;
        settings::verify_inbox(&journal.link, options.streams, &workspace).await?;
        Ok(Self {
            stream: layout::inbox(&workspace),
            journal,
            workspace,
        })
    }

    /// Whether this broker asks for a password, so that a subject says whose a message is.
    pub fn has_users(&self) -> bool {
        self.journal.has_users()
    }

    /// What waits, each message until it is acknowledged; so many are held here before they are asked
    /// for.
    pub async fn letters(
        &self,
        ack_wait: Duration,
        prefetch: usize,
    ) -> Result<Box<dyn Deliveries>, Unavailable> {
        let spec = ConsumerSpec::inbox(Service::Intake, self.workspace.clone());
        let spec = spec.ack_wait(ack_wait).prefetch(prefetch);
        self.journal.consume(spec).await
    }

    /// Tells when the connection was lost, from now on.
    pub fn losses(&self) -> Losses {
        let link = self.journal.link.clone();
        Losses {
            reconnections: link.reconnections(),
            link,
        }
    }

    /// Of what was delivered and is not acknowledged, what no client can read. The broker gives
    /// the bytes of these apart.
    pub async fn unread(&self) -> Result<Vec<Unread>, Unavailable> {
        let looked = self.look().await;
        looked.map_err(|error| Unavailable::new("look through the inbox", error))
    }

    async fn look(&self) -> Result<Vec<Unread>, CallError> {
        #[derive(Deserialize)]
        struct Info {
            delivered: Place,
            ack_floor: Place,
            num_ack_pending: u64,
        }
        #[derive(Deserialize)]
        struct Place {
            stream_seq: u64,
        }
        let link = &self.journal.link;
        let consumer = name(Service::Intake, Purpose::Inbox);
        let info = link
            .consumer(&self.stream, &consumer, READ_PATIENCE)
            .await?;
        let Some(info): Option<Info> = info else {
            // Nobody has taken anything yet.
            return Ok(Vec::new());
        };
        if info.num_ack_pending == 0 {
            return Ok(Vec::new());
        }
        let from = info.ack_floor.stream_seq + 1;
        let to = info.delivered.stream_seq;
        let filter = inbox_filter(&self.workspace);
        let mut unread = Vec::new();
        let mut next = from;
        let mut looked_at = 0;
        while next <= to && looked_at < LOOKED_AT_MAX {
            looked_at += 1;
            let Some(stored) = stored(
                link,
                &self.stream,
                json!({ "seq": next, "next_by_subj": filter }),
            )
            .await?
            else {
                break;
            };
            next = stored.seq + 1;
            if stored.seq > to {
                break;
            }
            if !is_readable(&stored.headers()) {
                unread.push(Unread {
                    sequence: stored.seq,
                    raw: stored.raw(),
                });
            }
        }
        Ok(unread)
    }

    /// Keeps what was refused and why; twice is once.
    pub async fn keep(&self, refusal: &Refusal) -> Result<(), Unavailable> {
        let doing = "keep what was refused";
        let payload =
            serde_json::to_vec(refusal).map_err(|error| Unavailable::new(doing, error))?;
        let link = &self.journal.link;
        let answer = link
            .call(&refusal.subject(), None, Bytes::from(payload))
            .await
            .and_then(|answer| super::link::parse_answer::<IgnoredAny>(&answer.payload));
        answer
            .map(|_| ())
            .map_err(|error| Unavailable::new(doing, error))
    }

    /// Takes out a message that cannot be acknowledged, since it cannot be received.
    pub async fn take_out(&self, sequence: u64) -> Result<(), Unavailable> {
        let request = json!({ "seq": sequence, "no_erase": true });
        let operation = format!("STREAM.MSG.DELETE.{}", self.stream);
        let link = &self.journal.link;
        match link.api::<IgnoredAny>(&operation, &request).await {
            Ok(_) => Ok(()),
            // It was taken out before.
            Err(error) if matches!(error.api_code(), Some(NO_SEQUENCE | NO_MESSAGE)) => Ok(()),
            Err(error) => Err(Unavailable::new("take a message out of the inbox", error)),
        }
    }

    pub async fn close(&self) {
        self.journal.close().await;
    }
}

/// What was refused, for an operator to read.
pub struct Refusals {
    link: Link,
}

impl Refusals {
    pub async fn open(options: &ConnectOptions) -> Result<Self, ConnectError> {
        Ok(Self {
            link: open(options).await?,
        })
    }

    /// Of a workspace, the oldest first, from after a place in the stream of refusals; each with
    /// its place.
    pub async fn of(
        &self,
        workspace: &WorkspaceId,
        after: u64,
        max: usize,
    ) -> Result<Vec<(u64, Refusal)>, Unavailable> {
        let doing = "read what was refused";
        let filter = refused_filter(workspace);
        let mut found = Vec::new();
        let mut next = after + 1;
        while found.len() < max {
            let request = json!({ "seq": next, "next_by_subj": filter });
            let stored = stored(&self.link, REFUSED, request).await;
            let stored = stored.map_err(|error| Unavailable::new(doing, error))?;
            let Some(stored) = stored else { break };
            next = stored.seq + 1;
            match serde_json::from_slice(&stored.payload()) {
                Ok(refusal) => found.push((stored.seq, refusal)),
                Err(error) => return Err(Unavailable::new(doing, error)),
            }
        }
        Ok(found)
    }

    pub async fn close(&self) {
        self.link.close().await;
    }
}

/// A stored message, with its bytes in base64.
#[derive(Deserialize)]
struct Stored {
    seq: u64,
    subject: String,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

impl Stored {
    fn headers(&self) -> Vec<u8> {
        STANDARD.decode(&self.hdrs).unwrap_or_default()
    }

    fn payload(&self) -> Vec<u8> {
        STANDARD.decode(&self.data).unwrap_or_default()
    }

    fn raw(&self) -> Raw {
        let headers = String::from_utf8_lossy(&self.headers()).into_owned();
        Raw {
            subject: self.subject.clone(),
            headers: vec![("headers".to_owned(), headers)],
            payload: self.payload().into(),
        }
    }
}

async fn stored(link: &Link, stream: &str, request: Value) -> Result<Option<Stored>, CallError> {
    #[derive(Deserialize)]
    struct Found {
        message: Stored,
    }
    let operation = format!("STREAM.MSG.GET.{stream}");
    match link
        .api_patiently::<Found>(&operation, &request, READ_PATIENCE)
        .await
    {
        Ok(found) => Ok(Some(found.message)),
        Err(error) if error.api_code() == Some(NO_MESSAGE) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether every client can read a block of headers: lines of a name of visible ASCII, a colon, and
/// a value in UTF-8 without control characters.
fn is_readable(block: &[u8]) -> bool {
    if block.is_empty() {
        return true;
    }
    let Ok(text) = std::str::from_utf8(block) else {
        return false;
    };
    // A tab is white space, and a line that begins with it belongs to the one before.
    let is_odd = |letter: char| letter.is_control() && letter != '\t';
    let is_continued = |line: &str| line.starts_with([' ', '\t']) && !line.contains(is_odd);
    let mut lines = text.split("\r\n");
    let version = lines.next().unwrap_or_default();
    version == "NATS/1.0"
        && lines.filter(|line| !line.is_empty()).all(|line| {
            line.split_once(':').is_some_and(|(name, value)| {
                !name.is_empty()
                    && name.bytes().all(|byte| byte.is_ascii_graphic())
                    && !value.contains(is_odd)
            }) || is_continued(line)
        })
}
