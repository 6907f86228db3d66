//! Publishing what has to be stored, and finding out whether it was.

use bytes::Bytes;
use contracts::{
    envelope::Envelope,
    position::{Position, StreamId},
};
use serde::Deserialize;
use tokio::time::{Duration, Instant};

use super::{
    JetStreamJournal,
    group::{Guarded, Outcome, Turn},
    link::{CallError, Link, Pause, header_map, parse_answer},
};
use crate::{
    Unavailable,
    append::{AppendError, claim, is_own},
    stored::Raw,
};

/// The guard met another sequence; the same guard is still in process; the subject is taken. The
/// last one also stands for any other failure to store.
pub(super) const CONFLICTS: [u16; 3] = [OTHER_SEQUENCE, IN_PROCESS, SUBJECT_TAKEN];
const OTHER_SEQUENCE: u16 = 10071;
const IN_PROCESS: u16 = 10164;
pub(super) const SUBJECT_TAKEN: u16 = 10077;

#[derive(Deserialize)]
struct Stored {
    seq: u64,
}

/// Publishes once and waits for the acknowledgement: the sequence.
pub(super) async fn publish(
    link: &Link,
    subject: &str,
    headers: &[(&str, &str)],
    payload: Bytes,
) -> Result<u64, CallError> {
    let headers = header_map(headers.iter().copied())
        .ok_or_else(|| CallError::Client("a header cannot be sent".to_owned()))?;
    let answer = link.call(subject, Some(headers), payload).await?;
    let stored: Stored = parse_answer(&answer.payload)?;
    Ok(stored.seq)
}

/// Publishes a timer. One that is armed and is to stay is as good.
pub(super) async fn arm(
    link: &Link,
    subject: &str,
    headers: &[(&str, &str)],
    payload: Bytes,
) -> Result<(), CallError> {
    match publish(link, subject, headers, payload).await {
        Ok(_) => Ok(()),
        Err(error) => match error.api_code() {
            Some(OTHER_SEQUENCE) => Ok(()),
            // Another one may be armed, or not: asked again.
            Some(IN_PROCESS) => Err(CallError::Timeout),
            Some(_) | None => Err(error),
        },
    }
}

/// No try of an append begins later than this after it was asked for, however long the process stood
/// still meanwhile: what it was decided on gets too old. Above [`super::APPEND_DEADLINE`], with time to
/// keep a payload first; together with the age of a fold it stays below five minutes.
pub(super) const BEGUN_AGE_MAX: Duration = Duration::from_secs(40);

/// What is known after a conflict.
enum Look {
    Own(u64),
    Other,
    /// Nothing is stored: an append with the same guard is in process, or the broker failed.
    Nothing,
}

impl JetStreamJournal {
    pub(super) async fn append_event(&self, envelope: &Envelope) -> Result<Position, AppendError> {
        let (begun, subject) = (Instant::now(), envelope.subject.to_string());
        if claim(envelope)?.is_some() {
            let kept = self.put(envelope.payload.clone()).await;
            kept.map_err(|source| AppendError::Payload {
                subject: subject.clone(),
                source,
            })?;
        }
        let stream = self.count.stream_of(&envelope.subject.aggregate);
        let mut last = CallError::Timeout;
        let trying = async {
            match self
                .append_in_group(envelope, &subject, stream, begun)
                .await
            {
                Outcome::Stored(sequence) => Ok(Position { stream, sequence }),
                Outcome::Alone(turn) => {
                    self.append_until_known(envelope, &subject, stream, (begun, turn), &mut last)
                        .await
                }
            }
        };
        match tokio::time::timeout(self.append_deadline, trying).await {
            Ok(result) => result,
            Err(_) => Err(AppendError::Unavailable {
                subject,
                source: Unavailable::new("append an event", last),
            }),
        }
    }

    /// Commits the event together with others, where commits are gathered.
    async fn append_in_group(
        &self,
        envelope: &Envelope,
        subject: &str,
        stream: StreamId,
        begun: Instant,
    ) -> Outcome {
        let alone = Outcome::Alone(None);
        let Some(groups) = &self.groups else {
            return alone;
        };
        let guard = guard(envelope);
        let headers = guarded(envelope, &guard);
        let bytes = headers.iter().map(|(name, value)| name.len() + value.len());
        let payload = envelope.stored_payload();
        let bytes = subject.len() + bytes.sum::<usize>() + payload.len();
        // What cannot be sent is refused by itself.
        let Some(headers) = header_map(headers) else {
            return alone;
        };
        let event = Guarded {
            aggregate: envelope.subject.aggregate.clone(),
            subject: subject.to_owned(),
            headers,
            payload,
            bytes,
        };
        groups.join(stream, event, begun).await
    }

    /// Sends the same bytes again until the broker says yes, or says no and shows why.
    async fn append_until_known(
        &self,
        envelope: &Envelope,
        subject: &str,
        stream: StreamId,
        (begun, mut turn): (Instant, Option<Turn>),
        last: &mut CallError,
    ) -> Result<Position, AppendError> {
        let guard = guard(envelope);
        let headers = guarded(envelope, &guard);
        let at = |sequence| Position { stream, sequence };
        let mut pause = Pause::default();
        loop {
            if begun.elapsed() > BEGUN_AGE_MAX {
                return Err(AppendError::Unavailable {
                    subject: subject.to_owned(),
                    source: Unavailable::new("append an event", last.clone()),
                });
            }
            let published = publish(&self.link, subject, &headers, envelope.stored_payload()).await;
            drop(turn.take());
            match published {
                Ok(sequence) => return Ok(at(sequence)),
                Err(error)
                    if error
                        .api_code()
                        .is_some_and(|code| CONFLICTS.contains(&code)) =>
                {
                    match self.look(envelope, stream).await {
                        Ok(Look::Own(sequence)) => return Ok(at(sequence)),
                        Ok(Look::Other) => {
                            return Err(AppendError::Conflict {
                                subject: subject.to_owned(),
                            });
                        }
                        Ok(Look::Nothing) => *last = error,
                        Err(error) => *last = error,
                    }
                }
                Err(error) if error.is_transient() => *last = error,
                Err(error) => {
                    return Err(AppendError::Refused {
                        subject: subject.to_owned(),
                        reason: error.to_string(),
                    });
                }
            }
            pause.wait().await;
        }
    }

    /// Whether what the leader has at this version is what was sent, byte by byte.
    async fn look(&self, envelope: &Envelope, stream: StreamId) -> Result<Look, CallError> {
        let aggregate = &envelope.subject.aggregate;
        let filter = aggregate.version_filter(envelope.subject.version);
        if let Some((sequence, stored)) = self.last_message(&stream.name(), &filter).await? {
            let sent = Raw {
                payload: envelope.stored_payload(),
                ..Raw::from(envelope)
            };
            return Ok(if is_own(&stored, &sent) {
                Look::Own(sequence)
            } else {
                Look::Other
            });
        }
        // The guard of a first version spans the whole aggregate, which may hold later ones only.
        let any = self
            .last_message(&stream.name(), &aggregate.filter())
            .await?;
        Ok(match any {
            Some(_) if envelope.subject.version == 1 => Look::Other,
            Some(_) | None => Look::Nothing,
        })
    }
}

/// Under which subjects nothing may be stored yet.
fn guard(envelope: &Envelope) -> String {
    let aggregate = &envelope.subject.aggregate;
    match envelope.subject.version {
        1 => aggregate.filter(),
        version => aggregate.version_filter(version),
    }
}

/// The headers of an event with its guard.
fn guarded<'a>(envelope: &'a Envelope, guard: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut headers = vec![
        ("Nats-Expected-Last-Subject-Sequence", "0"),
        ("Nats-Expected-Last-Subject-Sequence-Subject", guard),
    ];
    headers.extend(envelope.headers.iter());
    headers
}
