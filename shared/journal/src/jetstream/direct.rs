//! Reading stored messages: many at once from any replica, or one from the leader.

use std::{mem, panic::resume_unwind, time::Duration};

use async_nats::{
    HeaderMap, HeaderValue, Message, jetstream::message::StreamMessage,
    jetstream::stream::RawMessage,
};
use contracts::{
    position::{Position, StreamId},
    time::Timestamp,
};
use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use super::{
    JetStreamJournal,
    link::{CallError, header, header_pairs, is_broker_header, patiently, status},
    pushed::Arrived,
};
use crate::{
    Unavailable,
    object::ObjectError,
    stored::{Entry, Kept, Raw, Unreadable},
};

/// Between two messages of one answer.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// For one read, with all its tries: a leader may be elected meanwhile.
pub(super) const READ_PATIENCE: Duration = Duration::from_secs(10);

/// How many messages one answer to [`crate::Journal::read`] may hold: the broker refuses more.
pub(super) const BATCH_MAX: usize = 1_000;

/// And how many bytes, so that an answer of large events does not fill the connection's buffer.
pub(super) const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// From how many messages on they are decoded on another thread: some ten microseconds each, as
/// much as it takes to hand them over and back.
const DECODED_ELSEWHERE_MIN: usize = 16;

/// What came back from a direct get of many.
pub(super) enum Answer {
    /// `complete`: nothing was held back.
    Messages { messages: Vec<Kept>, complete: bool },
    /// More subjects than one answer may hold.
    TooMany,
}

impl JetStreamJournal {
    /// The newest message of each subject that a filter matches, by sequence.
    pub(super) async fn newest(
        &self,
        stream: &str,
        filters: &[String],
    ) -> Result<Answer, CallError> {
        patiently(READ_PATIENCE, || {
            self.direct(stream, json!({ "multi_last": filters }))
        })
        .await
    }

    /// As [`Self::newest`], and no more than so many bytes: what is held back is after what comes.
    pub(super) async fn newest_within(
        &self,
        stream: &str,
        filters: &[String],
        bytes_max: usize,
    ) -> Result<Answer, CallError> {
        patiently(READ_PATIENCE, || {
            self.direct(
                stream,
                json!({ "multi_last": filters, "max_bytes": bytes_max }),
            )
        })
        .await
    }

    pub(super) async fn direct(&self, stream: &str, request: Value) -> Result<Answer, CallError> {
        let mut reconnections = self.link.reconnections();
        let (inbox, mut subscriber) = self.link.inbox().await?;
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        self.link
            .send(subject, Some(inbox), request.to_string().into())
            .await?;
        let mut messages = Vec::new();
        loop {
            let next = tokio::select! {
                next = timeout(SILENCE_MAX, subscriber.next()) => next,
                () = reconnections.next() => return Err(CallError::Reconnected),
            };
            let Ok(Some(message)) = next else {
                return Err(CallError::Timeout);
            };
            match status(&message) {
                None => messages.push(direct_message(message)?),
                Some(204) => {
                    let pending = header(&message, "Nats-Num-Pending");
                    return Ok(Answer::Messages {
                        complete: pending.is_none_or(|pending| pending == "0"),
                        messages,
                    });
                }
                // Any other 404, or one after messages, does not mean that there is nothing.
                Some(404) if messages.is_empty() && is_no_results(&message) => {
                    return Ok(Answer::Messages {
                        messages,
                        complete: true,
                    });
                }
                Some(413) => return Ok(Answer::TooMany),
                Some(503) => return Err(CallError::NoResponders),
                Some(code) => {
                    return Err(CallError::Answer(format!(
                        "{code} {}",
                        message.description.unwrap_or_default()
                    )));
                }
            }
        }
    }

    /// What is live after a sequence, in order.
    pub(super) async fn read_live(
        &self,
        stream: StreamId,
        after: u64,
        max_events: usize,
    ) -> Result<Vec<Kept>, Unavailable> {
        let name = stream.name();
        let request = json!({
            "seq": after + 1,
            "batch": max_events.clamp(1, BATCH_MAX),
            "max_bytes": READ_BYTES_MAX,
        });
        let answer = patiently(READ_PATIENCE, || self.direct(&name, request.clone())).await;
        match answer {
            Ok(Answer::Messages { messages, .. }) => Ok(messages),
            Ok(Answer::TooMany) => Ok(Vec::new()),
            Err(error) => Err(Unavailable::new(format!("read `{name}`"), error)),
        }
    }

    /// The last message that a filter matches, as the leader has it.
    pub(super) async fn last_message(
        &self,
        stream: &str,
        filter: &str,
    ) -> Result<Option<(u64, Raw)>, CallError> {
        let request = json!({ "last_by_subj": filter });
        let found = self.leader_message(stream, &request).await?;
        Ok(found.map(|found| (found.sequence, found.raw)))
    }

    /// The message that is asked for, as the leader has it.
    pub(super) async fn leader_message(
        &self,
        stream: &str,
        request: &Value,
    ) -> Result<Option<Kept>, CallError> {
        /// "no message found"
        const NONE: u16 = 10037;
        #[derive(Deserialize)]
        struct Got {
            message: RawMessage,
        }
        let operation = format!("STREAM.MSG.GET.{stream}");
        match self.link.api::<Got>(&operation, request).await {
            Ok(got) => {
                let message = StreamMessage::try_from(got.message)
                    .map_err(|error| CallError::Answer(error.to_string()))?;
                let ms = message.time.unix_timestamp_nanos().div_euclid(1_000_000);
                let raw = Raw {
                    subject: message.subject.to_string(),
                    headers: header_pairs(Some(&message.headers)),
                    payload: message.payload,
                };
                Ok(Some(Kept {
                    sequence: message.sequence,
                    stored_at: i64::try_from(ms).ok().map(Timestamp::from_millis),
                    raw,
                }))
            }
            Err(error) if error.api_code() == Some(NONE) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Decodes what was read, many messages on another thread: whoever reads a whole log reads more
    /// than the thread of the connection can decode beside.
    pub(super) async fn entries(
        &self,
        stream: StreamId,
        found: Vec<Kept>,
    ) -> Result<Vec<Entry>, Unavailable> {
        if found.len() >= DECODED_ELSEWHERE_MIN && !found.iter().any(Kept::is_apart) {
            return Ok(Decoding::elsewhere(stream, found).entries().await);
        }
        let mut entries = Vec::with_capacity(found.len());
        for found in found {
            let sequence = found.sequence;
            let entry = self.entry(Position { stream, sequence }, found.raw).await?;
            entries.push(entry.stored_at(found.stored_at));
        }
        Ok(entries)
    }

    /// As [`Self::entries`], of what a consumer was sent; what it is sent next is decoded beside.
    pub(super) async fn arrived(
        &self,
        stream: StreamId,
        arrived: Vec<Arrived>,
    ) -> Result<Decoding, Unavailable> {
        if arrived.len() >= DECODED_ELSEWHERE_MIN && !arrived.iter().any(Arrived::is_apart) {
            return Ok(Decoding::elsewhere(stream, arrived));
        }
        let found = arrived.into_iter().map(Kept::from).collect();
        Ok(Decoding::Done(self.entries(stream, found).await?))
    }

    /// Fills in a payload that was stored apart, and decodes. When it was stored is the caller's
    /// to add.
    pub(super) async fn entry(
        &self,
        position: Position,
        mut raw: Raw,
    ) -> Result<Entry, Unavailable> {
        let Some(digest) = raw.data_ref() else {
            return Ok(Entry::new(position, raw));
        };
        if !raw.payload.is_empty() {
            // The hash is of an empty payload: what stands here was never written by us.
            let recorded = Err(Unreadable::NotEmpty { digest });
            return Ok(Entry {
                position,
                stored_at: None,
                raw,
                recorded,
            });
        }
        match self.get(&digest).await {
            Ok(payload) => {
                raw.payload = payload;
                Ok(Entry::new(position, raw))
            }
            Err(ObjectError::Unavailable(error)) => Err(error),
            Err(source) => Ok(Entry {
                position,
                stored_at: None,
                raw,
                recorded: Err(Unreadable::Payload { digest, source }),
            }),
        }
    }
}

/// Messages that are being decoded, or are.
pub(super) enum Decoding {
    Done(Vec<Entry>),
    Elsewhere(JoinHandle<Vec<Entry>>),
}

impl Decoding {
    fn elsewhere<T>(stream: StreamId, found: Vec<T>) -> Self
    where
        T: Send + 'static,
        Kept: From<T>,
    {
        let decode = move |it: T| Kept::from(it).decoded(stream);
        let decode = move || found.into_iter().map(decode).collect();
        Self::Elsewhere(spawn_blocking(decode))
    }

    /// What they say, once. Safe to cancel.
    pub async fn entries(&mut self) -> Vec<Entry> {
        match self {
            Self::Done(entries) => mem::take(entries),
            Self::Elsewhere(decoding) => match decoding.await {
                Ok(entries) => entries,
                Err(panicked) => resume_unwind(panicked.into_panic()),
            },
        }
    }
}

impl From<Arrived> for Kept {
    fn from(arrived: Arrived) -> Self {
        let message = arrived.message;
        Self {
            sequence: arrived.delivered.sequence,
            stored_at: Some(arrived.delivered.stored_at),
            raw: Raw {
                subject: message.subject.to_string(),
                headers: header_pairs(message.headers.as_ref()),
                payload: message.payload,
            },
        }
    }
}

/// Looks at each header once: a replay takes millions of messages through here.
fn direct_message(message: Message) -> Result<Kept, CallError> {
    let (mut sequence, mut subject, mut stored_at) = (None, None, None);
    let mut headers = Vec::new();
    for (name, values) in message.headers.iter().flat_map(HeaderMap::iter) {
        let name: &str = name.as_ref();
        if is_broker_header(name) {
            let Some(value) = values.first().map(HeaderValue::as_str) else {
                continue;
            };
            match name {
                "Nats-Sequence" => sequence = value.parse().ok(),
                "Nats-Subject" => subject = Some(value.to_owned()),
                "Nats-Time-Stamp" => stored_at = value.parse().ok(),
                _ => {}
            }
            continue;
        }
        let own = |value: &HeaderValue| (name.to_owned(), value.as_str().to_owned());
        headers.extend(values.iter().map(own));
    }
    headers.sort_unstable();
    match (sequence, subject) {
        (Some(sequence), Some(subject)) => {
            let raw = Raw {
                subject,
                headers,
                payload: message.payload,
            };
            Ok(Kept {
                sequence,
                stored_at,
                raw,
            })
        }
        (Some(_) | None, _) => Err(CallError::Answer("a message without position".to_owned())),
    }
}

fn is_no_results(message: &Message) -> bool {
    let description = message.description.as_deref().unwrap_or_default();
    // The first for filters, the second for a sequence beyond the end.
    description == "No Results" || description == "Message Not Found"
}
