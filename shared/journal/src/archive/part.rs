//! How the events of a window become parts.

use std::collections::HashMap;

use bytes::Bytes;
use contracts::{
    canonical::Digest,
    position::StreamId,
    subject::{AggregateId, ROOT},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{FORMAT, PARTS_ROOT};
use crate::stored::{Kept, Raw};

/// The most bytes of a part; one event that is larger is a part by itself. Half the broker's limit
/// for a message.
const PART_BYTES_MAX: usize = 512 * 1024;

/// What a part has beside its events.
const PART_FRAME_BYTES: usize = 32;

/// In the place of a workspace, whose ids cannot be so.
const STRAYS: &str = "_stray";

#[derive(Serialize, Deserialize)]
struct WrittenPart<E> {
    format: u32,
    events: Vec<E>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenEvent {
    sequence: u64,
    /// Milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stored_at: Option<i64>,
    subject: String,
    headers: Vec<(String, String)>,
    payload: Bytes,
}

impl From<&Kept> for WrittenEvent {
    fn from(kept: &Kept) -> Self {
        Self {
            sequence: kept.sequence,
            stored_at: kept.stored_at.map(Timestamp::as_millis),
            subject: kept.raw.subject.clone(),
            headers: kept.raw.headers.clone(),
            payload: kept.raw.payload.clone(),
        }
    }
}

impl From<WrittenEvent> for Kept {
    fn from(written: WrittenEvent) -> Self {
        Self {
            sequence: written.sequence,
            stored_at: written.stored_at.map(Timestamp::from_millis),
            raw: Raw {
                subject: written.subject,
                headers: written.headers,
                payload: written.payload,
            },
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidPart {
    #[error("it is not a part of the archive")]
    Shape(#[from] rmp_serde::decode::Error),
    #[error("it has format {0}, and this version knows {FORMAT}: upgrade")]
    Newer(u32),
}

/// The events of a part, in the order of their sequences.
pub(crate) fn events_of(bytes: &[u8]) -> Result<Vec<Kept>, InvalidPart> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let Format { format } = rmp_serde::from_slice(bytes)?;
    if format > FORMAT {
        return Err(InvalidPart::Newer(format));
    }
    let part: WrittenPart<WrittenEvent> = rmp_serde::from_slice(bytes)?;
    Ok(part.events.into_iter().map(Kept::from).collect())
}

/// A part that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub subject: String,
    pub first: u64,
    pub last: u64,
    pub bytes: Bytes,
}

/// The last event that is archived of an aggregate, as a chain names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    version: u64,
    hash: Digest,
}

impl Link {
    /// Of an event whose subject names a version.
    pub fn of(raw: &Raw) -> Option<Self> {
        let (_, version) = placed(&raw.subject)?;
        Some(Self {
            version,
            hash: raw.stored_hash(),
        })
    }

    fn is_followed_by(link: Option<&Self>, raw: &Raw, version: u64) -> bool {
        let prev = raw.header("ce-prevhash");
        match link {
            None => version == 1 && prev.is_none(),
            Some(link) => {
                version == link.version + 1 && prev == Some(link.hash.to_string().as_str())
            }
        }
    }
}

/// What a window holds of one aggregate, or of none.
#[derive(Debug)]
pub(crate) struct Group {
    stream: StreamId,
    /// What the aggregate's subjects begin with; nothing for strays.
    prefix: Option<String>,
    events: Vec<Kept>,
}

impl Group {
    /// The groups of a window, in the order of their first events.
    pub fn all(stream: StreamId, events: Vec<Kept>) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        let mut known: HashMap<Option<String>, usize> = HashMap::new();
        for event in events {
            let prefix = placed(&event.raw.subject).map(|(prefix, _)| prefix.to_owned());
            let index = *known.entry(prefix.clone()).or_insert_with(|| {
                groups.push(Self {
                    stream,
                    prefix,
                    events: Vec::new(),
                });
                groups.len() - 1
            });
            if let Some(group) = groups.get_mut(index) {
                group.events.push(event);
            }
        }
        groups
    }

    /// The filter for the parts that are archived of its aggregate and continue each other, where it
    /// does not begin that history itself.
    pub fn continues(&self) -> Option<String> {
        let first = self.events.first()?;
        let (_, version) = placed(&first.raw.subject)?;
        (version > 1).then(|| self.history_filter()).flatten()
    }

    pub fn history_filter(&self) -> Option<String> {
        let prefix = self.prefix.as_ref()?;
        Some(format!("{}.*", archived_prefix(prefix)))
    }

    /// The parts, where the history that is archived before the window ends with `head`; and the
    /// events that do not continue it.
    pub fn parts(&self, mut head: Option<Link>) -> (Vec<Part>, Vec<String>) {
        let Some(prefix) = &self.prefix else {
            let name = |first: &Kept| {
                let (stream, sequence) = (self.stream.name(), first.sequence);
                format!("{PARTS_ROOT}.{STRAYS}.{stream}.{sequence}")
            };
            return (split(self.events.iter(), name), Vec::new());
        };
        let (mut history, mut aside) = (Vec::new(), Vec::new());
        for event in &self.events {
            let version = version_of(event);
            if Link::is_followed_by(head.as_ref(), &event.raw, version) {
                head = Link::of(&event.raw);
                history.push(event);
            } else {
                aside.push(event);
            }
        }
        let prefix = archived_prefix(prefix);
        let subjects = aside.iter().map(|event| event.raw.subject.clone());
        let subjects = subjects.collect();
        let mut parts = split(history, |first| format!("{prefix}.{}", version_of(first)));
        parts.extend(split(aside, |first| {
            format!("{prefix}.{}.{}", version_of(first), first.sequence)
        }));
        (parts, subjects)
    }
}

/// One after the other into each part, for as long as it has room.
fn split<'a>(
    events: impl IntoIterator<Item = &'a Kept>,
    name: impl Fn(&Kept) -> String,
) -> Vec<Part> {
    let mut parts = Vec::new();
    let (mut filling, mut bytes): (Vec<&Kept>, usize) = (Vec::new(), PART_FRAME_BYTES);
    for event in events {
        let more = encode(&WrittenEvent::from(event)).len();
        if bytes + more > PART_BYTES_MAX {
            parts.extend(part(&filling, &name));
            filling.clear();
            bytes = PART_FRAME_BYTES;
        }
        filling.push(event);
        bytes += more;
    }
    parts.extend(part(&filling, &name));
    parts
}

fn part(events: &[&Kept], name: impl Fn(&Kept) -> String) -> Option<Part> {
    let (first, last) = (events.first()?, events.last()?);
    let written = WrittenPart {
        format: FORMAT,
        events: events.iter().copied().map(WrittenEvent::from).collect(),
    };
    Some(Part {
        subject: name(first),
        first: first.sequence,
        last: last.sequence,
        bytes: encode(&written).into(),
    })
}

#[expect(
    clippy::expect_used,
    reason = "texts, numbers and bytes can be written as MessagePack, into memory"
)]
pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("plain data are written into memory")
}

fn version_of(event: &Kept) -> u64 {
    placed(&event.raw.subject).map_or(0, |(_, version)| version)
}

/// What an event's subject says of its aggregate, and its version; also of an event that this
/// version does not know. Nothing where it says neither.
pub(crate) fn placed(subject: &str) -> Option<(&str, u64)> {
    let mut dots = subject.match_indices('.').map(|(index, _)| index);
    let end = dots.nth(4)?;
    let version_end = dots.next()?;
    let (prefix, text) = (subject.get(..end)?, subject.get(end + 1..version_end)?);
    let version: u64 = text.parse().ok()?;
    // One version has one spelling.
    let is_its_spelling = version > 0 && version.to_string() == text;
    is_its_spelling.then_some((prefix, version))
}

fn archived_prefix(prefix: &str) -> String {
    let rest = prefix.strip_prefix(ROOT).unwrap_or(prefix);
    format!("{PARTS_ROOT}{rest}")
}

/// The parts that there are of an aggregate, by the versions of their first events.
#[derive(Debug, Default)]
pub(crate) struct Names {
    prefix: String,
    /// Those that continue each other, in order.
    history: Vec<u64>,
    /// Those that do not, with the sequences of their first events.
    aside: Vec<(u64, u64)>,
}

impl Names {
    /// A filter for all parts of an aggregate.
    pub fn filter(aggregate: &AggregateId) -> String {
        format!("{}.>", archived_prefix(aggregate.prefix()))
    }

    pub fn of<'a>(aggregate: &AggregateId, subjects: impl IntoIterator<Item = &'a String>) -> Self {
        let prefix = archived_prefix(aggregate.prefix());
        let (mut history, mut aside) = (Vec::new(), Vec::new());
        for subject in subjects {
            let rest = subject.strip_prefix(&prefix);
            let Some(rest) = rest.and_then(|rest| rest.strip_prefix('.')) else {
                continue;
            };
            let mut numbers = rest.split('.').map(str::parse);
            match (numbers.next(), numbers.next()) {
                (Some(Ok(version)), None) => history.push(version),
                (Some(Ok(version)), Some(Ok(sequence))) => aside.push((version, sequence)),
                (Some(Ok(_) | Err(_)) | None, _) => {}
            }
        }
        history.sort_unstable();
        aside.sort_unstable();
        Self {
            prefix,
            history,
            aside,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.history.is_empty() && self.aside.is_empty()
    }

    /// Whether there is something beside the history.
    pub fn is_broken(&self) -> bool {
        !self.aside.is_empty()
    }

    pub fn all(&self) -> Vec<String> {
        let aside = self.aside.iter();
        let aside = aside.map(|(version, at)| format!("{}.{version}.{at}", self.prefix));
        self.history().chain(aside).collect()
    }

    pub fn history(&self) -> impl Iterator<Item = String> {
        let versions = self.history.iter();
        versions.map(|version| format!("{}.{version}", self.prefix))
    }

    /// The parts of the history from the one that holds a version on.
    pub fn beginning_with(&self, version: u64) -> Vec<String> {
        let later = self.history.iter().filter(|first| **first > version);
        let skipped = (self.history.len() - later.count()).saturating_sub(1);
        self.history().skip(skipped).collect()
    }
}
