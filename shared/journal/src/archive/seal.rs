//! What a window's parts are.

use bytes::Bytes;
use contracts::{canonical::Digest, position::StreamId};
use serde::{Deserialize, Serialize};

use super::{FORMAT, SEALS_ROOT, Window};

/// Where a part is, and which sequences it spans; there may be others' between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub first: u64,
    pub last: u64,
    /// The sequence in the archive.
    pub at: u64,
}

/// The message that says that a window is archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seal {
    pub events: u64,
    /// In the order of their first events.
    pub parts: Vec<Span>,
    pub digest: Digest,
}

#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    stream: String,
    first: u64,
    last: u64,
    events: u64,
    /// The sequence in the archive, then the first and the last in the log.
    parts: Vec<(u64, u64, u64)>,
    digest: Digest,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidSeal {
    #[error("it is not a seal")]
    Shape(#[from] rmp_serde::decode::Error),
    #[error("it has format {0}, and this version knows {FORMAT}: upgrade")]
    Newer(u32),
    #[error("it is of other sequences than its subject says")]
    Other,
}

impl Seal {
    pub fn subject(stream: StreamId, window: Window) -> String {
        format!("{SEALS_ROOT}.{}.{}", stream.name(), window.index)
    }

    /// A filter for all seals of a stream.
    pub fn filter(stream: StreamId) -> String {
        format!("{SEALS_ROOT}.{}.*", stream.name())
    }

    /// Which window a seal is of, by its subject.
    pub fn index_of(subject: &str) -> Option<u64> {
        subject.rsplit('.').next()?.parse().ok()
    }

    pub fn to_bytes(&self, stream: StreamId, window: Window) -> Bytes {
        let parts = self.parts.iter();
        super::part::encode(&Written {
            format: FORMAT,
            stream: stream.name(),
            first: window.first,
            last: window.last,
            events: self.events,
            parts: parts
                .map(|Span { first, last, at }| (*at, *first, *last))
                .collect(),
            digest: self.digest,
        })
        .into()
    }

    pub fn from_bytes(bytes: &[u8], stream: StreamId, window: Window) -> Result<Self, InvalidSeal> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = rmp_serde::from_slice(bytes)?;
        if format > FORMAT {
            return Err(InvalidSeal::Newer(format));
        }
        let written: Written = rmp_serde::from_slice(bytes)?;
        let is_it = written.stream == stream.name()
            && written.first == window.first
            && written.last == window.last;
        if !is_it {
            return Err(InvalidSeal::Other);
        }
        let parts = written.parts.into_iter();
        Ok(Self {
            events: written.events,
            parts: parts
                .map(|(at, first, last)| Span { first, last, at })
                .collect(),
            digest: written.digest,
        })
    }
}

/// Over the hashes of a window's events, in the order of their sequences.
pub(crate) fn digest<'a>(hashes: impl IntoIterator<Item = &'a Digest>) -> Digest {
    let bytes: Vec<u8> = hashes
        .into_iter()
        .flat_map(|hash| hash.bytes().iter().copied())
        .collect();
    Digest::of(&bytes)
}
