//! Why a message is not done with, and what is done about that. Transient, newer and poison
//! messages are told apart here and nowhere else.

use std::time::Duration;

use contracts::{
    canonical::Digest,
    ids::{EventId, WorkspaceId},
    planted::{self, Bug},
    subject::AggregateId,
    time::Timestamp,
};
use journal::{
    append::AppendError,
    delivery::{Delivery, Message},
    history::{Fault, LoadError},
    object::ObjectError,
    timer::Timer,
};

use crate::{
    catalogue::FollowError,
    engine::{Host, chain},
    health::Why,
    incident::{self, Incident, RaiseError},
    wake::Wake,
    write::WriteError,
};

/// How soon a message is tried again after a passing fault.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// When a message that is put off comes again: so far apart that many of them cost little, and
/// spread so that they do not come together.
const PUT_OFF_MS_MIN: u64 = 1000;
const PUT_OFF_MS_SPREAD: u64 = 4000;

/// Why a message is not done with.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// It will pass: the message comes again.
    #[error("{0}")]
    Transient(String),
    /// Only a newer binary can go on.
    #[error("newer event: upgrade ({0})")]
    Newer(String),
    /// An operator has to act; the message is put off until then.
    #[error("{0}")]
    Stuck(String),
    /// It will never pass: an incident is raised, and then the message is done with.
    #[error("{cause}")]
    Poison { code: &'static str, cause: String },
    /// This process cannot go on: it ends, and another one begins anew.
    #[error("{0}")]
    Fatal(String),
}

impl From<LoadError> for Trouble {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Corrupt { ref fault, .. } => Self::Poison {
                code: match fault {
                    Fault::Forked { .. } => "LOG_FORKED",
                    Fault::Hole { .. } | Fault::Chain { .. } => "AGGREGATE_CORRUPT",
                },
                cause: error.to_string(),
            },
            LoadError::Unreadable { .. } => Self::Poison {
                code: "POISON_MESSAGE",
                cause: chain(&error),
            },
            LoadError::Newer { subject } => Self::Newer(subject),
            LoadError::Unavailable(unavailable) => unavailable.into(),
        }
    }
}

impl From<FollowError> for Trouble {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Newer(subject) => Self::Newer(subject),
            FollowError::Unavailable(unavailable) => unavailable.into(),
            FollowError::Unreadable { .. } => Self::Stuck(chain(&error)),
            FollowError::CutBack { .. } => Self::Fatal(chain(&error)),
        }
    }
}

impl From<WriteError> for Trouble {
    fn from(error: WriteError) -> Self {
        match &error {
            WriteError::Conflict { .. }
            | WriteError::Append(
                AppendError::Conflict { .. }
                | AppendError::Unavailable { .. }
                | AppendError::Payload {
                    source: ObjectError::Unavailable(_),
                    ..
                },
            ) => Self::Transient(chain(&error)),
            WriteError::Append(
                AppendError::Refused { .. }
                | AppendError::Payload {
                    source: ObjectError::Missing(_) | ObjectError::Corrupt(_),
                    ..
                },
            ) => Self::Stuck(chain(&error)),
            // What was decided can never be stored.
            WriteError::Encode(_)
            | WriteError::Append(
                AppendError::NotClaimChecked { .. }
                | AppendError::DigestDiffers { .. }
                | AppendError::Payload {
                    source: ObjectError::TooLarge { .. },
                    ..
                },
            ) => Self::Poison {
                code: "EVENT_NOT_STORABLE",
                cause: chain(&error),
            },
        }
    }
}

impl From<RaiseError> for Trouble {
    fn from(error: RaiseError) -> Self {
        Self::Transient(chain(&error))
    }
}

impl From<journal::Unavailable> for Trouble {
    fn from(error: journal::Unavailable) -> Self {
        if error.is_refused() {
            Self::Stuck(chain(&error))
        } else {
            Self::Transient(chain(&error))
        }
    }
}

/// Acknowledges what is done, and gives back what is not.
pub async fn settle_delivery(host: &Host, delivery: &Delivery, outcome: Result<(), Trouble>) {
    if let Err(trouble) = &outcome {
        host.metrics.consumption.trouble(trouble);
    }
    let answered = match outcome {
        Ok(()) => delivery.handle.ack().await,
        Err(Trouble::Transient(reason)) => {
            tracing::warn!(reason, delivered = delivery.delivered, "will try again");
            delivery.handle.retry_later(RETRY_AFTER).await
        }
        Err(Trouble::Newer(subject)) => {
            told_newer(host, &subject);
            put_off(host, delivery).await
        }
        Err(Trouble::Stuck(reason)) => {
            told_stuck(host, &reason);
            put_off(host, delivery).await
        }
        Err(Trouble::Fatal(reason)) => {
            host.fail(reason);
            delivery.handle.retry_later(Duration::ZERO).await
        }
        Err(Trouble::Poison { code, cause }) => {
            let incident = about(&delivery.message, code, cause);
            match incident::raise(host, &incident).await {
                Ok(()) => delivery.handle.ack().await,
                Err(error) => {
                    tracing::error!(reason = chain(&error), "cannot raise an incident");
                    let why = Why::of("an incident cannot be stored: see the log of the process");
                    host.health.unready_for_now("incidents", why);
                    put_off(host, delivery).await
                }
            }
        }
    };
    if let Err(error) = answered {
        // The message comes again, which is harmless.
        tracing::debug!(reason = chain(&error), "an acknowledgement was not sent");
    }
}

/// Says that only another binary can go on: which event it is stands in the log, and in what
/// stream it is for anyone to read.
pub fn told_newer(host: &Host, subject: &str) {
    let stream = host.journal.stream_count().stream_of_subject(subject);
    let why = Why::of("newer event: upgrade").within(stream);
    // There may be thousands, each again and again.
    if host.health.unready_for_now("upgrade", why) {
        tracing::error!(subject, "newer event: upgrade");
    }
}

/// Says that an operator has to act, and in the log on what.
pub fn told_stuck(host: &Host, reason: &str) {
    tracing::error!(reason, "an operator has to act");
    let why = Why::of("work waits for an operator to act: see the log of the process");
    host.health.unready_for_now("stuck", why);
}

/// Puts a timer in the place of a message that cannot be worked on now, and acknowledges it: one
/// that is only delayed would still count as pending, and a few thousand stop the consumer.
pub async fn put_off(host: &Host, delivery: &Delivery) -> Result<(), journal::Unavailable> {
    let Some(wake) = Wake::of(&delivery.message) else {
        return delivery.handle.retry_later(RETRY_AFTER * 10).await;
    };
    let timer = later(host, &wake.aggregate, wake.id, wake.version, wake.time);
    match host.journal.arm(&timer).await {
        Ok(()) => delivery.handle.ack().await,
        // It was put off.
        Err(_) if planted::is(Bug::PutOffForgets) => delivery.handle.ack().await,
        Err(_) => delivery.handle.retry_later(RETRY_AFTER).await,
    }
}

/// The timer that stands for a wake-up that is put off: it comes with the same id, so that what
/// was left under it may still be taken over. `due` is when the wake-up was: what comes of it is
/// decided no earlier, and by no clock of this process, which may be wrong. What a timer was for it
/// does not say: whoever comes to rest arms that one again.
pub fn later(
    host: &Host,
    aggregate: &AggregateId,
    wake: EventId,
    version: u64,
    due: Timestamp,
) -> Timer {
    let [high, low, ..] = *Digest::of(wake.to_string().as_bytes()).bytes();
    let spread = u64::from(u16::from_be_bytes([high, low])) % PUT_OFF_MS_SPREAD;
    let after_ms = PUT_OFF_MS_MIN + spread;
    Timer {
        service: host.service,
        aggregate: aggregate.clone(),
        key: format!("put-off-{wake}"),
        version,
        due,
        after_ms,
        wake: Some(wake),
        stays: false,
    }
}

/// What an incident about a message says.
fn about(message: &Message, code: &'static str, cause: String) -> Incident {
    let (aggregate, event) = match message {
        Message::Event { recorded, .. } => (&recorded.subject.aggregate, recorded.id()),
        Message::Timer(timer) => (&timer.aggregate, timer.id()),
        Message::Letter { raw, .. } | Message::Unreadable { raw, .. } => {
            let workspace = raw
                .subject
                .split('.')
                .nth(1)
                .and_then(|token| token.parse().ok());
            return Incident {
                workspace: workspace.unwrap_or_else(WorkspaceId::global),
                subject_id: Digest::of(raw.subject.as_bytes()).to_string(),
                code,
                cause,
                about: raw.subject.clone(),
                event: None,
            };
        }
    };
    Incident {
        workspace: aggregate.workspace().clone(),
        subject_id: aggregate.id().to_owned(),
        code,
        cause,
        about: aggregate.to_string(),
        event: Some(event),
    }
}

/// Why a message that cannot be read is set aside, or kept for a newer binary.
pub fn unreadable(message: &Message) -> Trouble {
    match message {
        Message::Unreadable { raw, error, .. } if error.is_newer() => {
            Trouble::Newer(raw.subject.clone())
        }
        Message::Unreadable { error, .. } => Trouble::Poison {
            code: "POISON_MESSAGE",
            cause: chain(error),
        },
        Message::Event { .. } | Message::Timer(_) | Message::Letter { .. } => {
            Trouble::Transient("try again".to_owned())
        }
    }
}
