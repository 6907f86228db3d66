//! Writing an event as its aggregate's next version.

use contracts::{
    canonical::Digest,
    envelope::{Envelope, INLINE_PAYLOAD_BYTES_MAX},
    planted::{self, Bug},
    position::Position,
};

use crate::{Unavailable, object::ObjectError, stored::Raw};

#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Load, fold, decide again.
    #[error("another event is stored as `{subject}`'s version")]
    Conflict { subject: String },
    #[error("`{subject}` has a payload of {bytes} bytes without `ce-dataref`; seal it again")]
    NotClaimChecked { subject: String, bytes: usize },
    #[error("the payload of `{subject}` does not have the digest its `ce-dataref` names")]
    DigestDiffers { subject: String },
    #[error("cannot keep the payload of `{subject}`")]
    Payload {
        subject: String,
        #[source]
        source: ObjectError,
    },
    /// The broker understood and will not: the operator has to act.
    #[error("the broker refuses `{subject}`: {reason}")]
    Refused { subject: String, reason: String },
    /// It may or may not be stored.
    #[error("it is not known whether `{subject}` is stored")]
    Unavailable {
        subject: String,
        #[source]
        source: Unavailable,
    },
}

/// Some of several events were not stored.
#[derive(Debug, thiserror::Error)]
#[error("stored {} of the events, then failed", stored.len())]
pub struct AppendAllError {
    /// Where the events before the failed one are.
    pub stored: Vec<Position>,
    pub source: AppendError,
}

/// Whether what stands at a version is what was sent, byte by byte.
pub(crate) fn is_own(stored: &Raw, sent: &Raw) -> bool {
    if planted::is(Bug::OwnById) {
        // An event has one id.
        return stored.header("ce-id") == sent.header("ce-id");
    }
    stored == sent
}

/// Whether a payload goes to the object store: its digest if so. The writer decided that when the
/// event was sealed, because the header is part of what is hashed.
pub(crate) fn claim(envelope: &Envelope) -> Result<Option<Digest>, AppendError> {
    let subject = || envelope.subject.to_string();
    let Some(reference) = envelope.headers.get("ce-dataref") else {
        let bytes = envelope.payload.len();
        return if bytes > INLINE_PAYLOAD_BYTES_MAX {
            Err(AppendError::NotClaimChecked {
                subject: subject(),
                bytes,
            })
        } else {
            Ok(None)
        };
    };
    let digest = Digest::of(&envelope.payload);
    if reference == format!("sha256:{digest}") {
        Ok(Some(digest))
    } else {
        Err(AppendError::DigestDiffers { subject: subject() })
    }
}
