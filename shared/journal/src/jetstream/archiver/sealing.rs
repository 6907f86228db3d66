//! Sealing a window: its parts, and then its seal.

use bytes::Bytes;
use contracts::{canonical::Digest, position::StreamId};
use futures::future::try_join_all;

use super::{
    super::{
        append::{CONFLICTS, publish},
        direct::READ_PATIENCE,
        link::{CallError, patiently},
    },
    Archiver, asking, lock,
};
use crate::{
    Unavailable,
    archive::{
        ArchiveError, Window,
        part::{Group, Link, Part, events_of},
        seal::{Seal, Span, digest},
    },
    layout::ARCHIVE,
    stored::Kept,
};

/// Aggregates whose parts are written at once. Each waits for the broker, which an archiver that asked for
/// one after the other would do all the time; a window has some 500.
const AT_ONCE: usize = 32;

/// A window that is being sealed.
pub struct Sealing<'a> {
    archiver: &'a Archiver,
    stream: StreamId,
    window: Window,
    /// Of the connection on which it was read.
    epoch: u64,
    groups: std::vec::IntoIter<Group>,
    written: Vec<Span>,
    hashes: Vec<Digest>,
    aside: Vec<String>,
}

impl Archiver {
    /// Reads a window of which the one before is sealed. It stays in memory until it is sealed.
    pub async fn open(&self, stream: StreamId, index: u64) -> Result<Sealing<'_>, ArchiveError> {
        let standing = self.standing(stream).await?;
        let window = self.journal.window.window(index);
        if index > standing.sealed || window.last > standing.last {
            return Err(ArchiveError::OutOfOrder {
                stream,
                index,
                doing: "sealed",
            });
        }
        let epoch = self.journal.link.epoch();
        let events = self.live_events(stream, window).await?;
        Ok(Sealing {
            archiver: self,
            stream,
            window,
            epoch,
            hashes: events.iter().map(|it| it.raw.stored_hash()).collect(),
            groups: Group::all(stream, events).into_iter(),
            written: Vec::new(),
            aside: Vec::new(),
        })
    }

    /// Everything that a window holds, where none of it is purged.
    async fn live_events(
        &self,
        stream: StreamId,
        window: Window,
    ) -> Result<Vec<Kept>, ArchiveError> {
        let read = self.live(stream, window.first, window.last).await?;
        for (kept, sequence) in read.iter().zip(window.first..) {
            if kept.sequence != sequence {
                return Err(self.purged_unread(stream, window, sequence).await?);
            }
        }
        Ok(read)
    }

    /// Why a window cannot be read from this sequence on.
    async fn purged_unread(
        &self,
        stream: StreamId,
        window: Window,
        sequence: u64,
    ) -> Result<ArchiveError, ArchiveError> {
        let Window { index, .. } = window;
        let is_sealed = self.standing(stream).await?.sealed > index;
        Ok(if is_sealed {
            ArchiveError::Overtaken { stream, index }
        } else {
            ArchiveError::Missing { stream, sequence }
        })
    }

    /// The end of the history that is archived of a group's aggregate before a window.
    async fn head_before(&self, filter: &str, window: Window) -> Result<Option<Link>, CallError> {
        let subjects = self.journal.archive_subjects(filter).await?;
        let version = |subject: &String| subject.rsplit('.').next()?.parse::<u64>().ok();
        let mut subjects: Vec<_> = subjects
            .into_iter()
            .filter(|it| version(it).is_some())
            .collect();
        subjects.sort_by_key(version);
        for subject in subjects.iter().rev() {
            let part = patiently(READ_PATIENCE, || {
                self.journal.last_message(ARCHIVE, subject)
            });
            let Some((_, raw)) = part.await? else {
                continue;
            };
            let events = read_part(subject, &raw.payload)?;
            // What stands in the window itself was written by who sealed it before.
            if let Some(last) = events.last().filter(|last| last.sequence < window.first) {
                return Ok(Link::of(&last.raw));
            }
        }
        Ok(None)
    }

    /// Stores what is written once: its sequence in the archive, and what stands there instead if
    /// that is something else.
    async fn store(&self, subject: &str, bytes: &Bytes) -> Result<Stored, CallError> {
        patiently(self.journal.append_deadline, || async {
            let guard = [("Nats-Expected-Last-Subject-Sequence", "0")];
            let error = match publish(&self.journal.link, subject, &guard, bytes.clone()).await {
                Ok(at) => return Ok(Stored::Same(at)),
                Err(error) => error,
            };
            if !error.api_code().is_some_and(|it| CONFLICTS.contains(&it)) {
                return Err(error);
            }
            match self.journal.last_message(ARCHIVE, subject).await? {
                Some((at, raw)) if raw.payload == *bytes => Ok(Stored::Same(at)),
                Some(_) => Ok(Stored::Other),
                // Another one is in process, or the disk is full.
                None => Err(CallError::Timeout),
            }
        })
        .await
    }
}

enum Stored {
    Same(u64),
    Other,
}

/// What was written of a group.
struct Parted {
    written: Vec<Span>,
    aside: Vec<String>,
}

impl Sealing<'_> {
    /// Writes the parts of some more aggregates, and tells of each; whether there were any.
    pub async fn write_next(&mut self, told: impl Fn() + Sync) -> Result<bool, ArchiveError> {
        let groups: Vec<Group> = self.groups.by_ref().take(AT_ONCE).collect();
        if groups.is_empty() {
            return Ok(false);
        }
        let writing = groups
            .into_iter()
            .map(|group| self.write_group(group, &told));
        let parted = try_join_all(writing).await?;
        for Parted { written, aside } in parted {
            self.written.extend(written);
            self.aside.extend(aside);
        }
        Ok(true)
    }

    /// One part after the other: each is stored after the one before it.
    async fn write_group(
        &self,
        group: Group,
        told: &(impl Fn() + Sync),
    ) -> Result<Parted, ArchiveError> {
        let continues = group.continues();
        let head = match &continues {
            Some(filter) => self.head_before(filter).await?,
            None => None,
        };
        let (mut parts, mut aside) = group.parts(head);
        // Almost always an aggregate that begins here was never there before, and nobody is asked.
        let mut is_unasked = continues.is_none();
        let (mut written, mut next) = (Vec::new(), 0);
        while let Some(part) = parts.get(next) {
            let stored = self.archiver.store(&part.subject, &part.bytes).await;
            match stored.map_err(|error| writing(part, error))? {
                Stored::Same(at) => {
                    told();
                    written.push(Span {
                        first: part.first,
                        last: part.last,
                        at,
                    });
                    next += 1;
                }
                Stored::Other if is_unasked => {
                    // Its first version may be archived: this one was written after that was purged.
                    let head = self.history_before(&group).await?;
                    let Some(head) = head else {
                        return Err(forked(part));
                    };
                    (parts, aside) = group.parts(Some(head));
                    next = 0;
                }
                Stored::Other => return Err(forked(part)),
            }
            is_unasked = false;
        }
        Ok(Parted { written, aside })
    }

    /// What is archived before the window of a group that was taken to begin its history.
    async fn history_before(&self, group: &Group) -> Result<Option<Link>, ArchiveError> {
        let Some(filter) = group.history_filter() else {
            return Ok(None);
        };
        match self.head_before(&filter).await {
            Ok(head) => Ok(head),
            Err(ArchiveError::Unavailable(error)) if !error.is_refused() => Err(error.into()),
            // What stands there is no part of a history.
            Err(_) => Ok(None),
        }
    }

    async fn head_before(&self, filter: &str) -> Result<Option<Link>, ArchiveError> {
        let head = self.archiver.head_before(filter, self.window).await;
        head.map_err(|error| asking(self.stream, error))
    }

    /// Subjects of events that do not continue the history that is archived of their aggregates.
    pub fn aside(&self) -> &[String] {
        &self.aside
    }

    /// Writes what is left of the parts, and then the seal.
    pub async fn seal(mut self) -> Result<(), ArchiveError> {
        while self.write_next(|| {}).await? {}
        self.written.sort_unstable();
        let (stream, window) = (self.stream, self.window);
        let seal = Seal {
            events: self.hashes.len() as u64,
            digest: digest(&self.hashes),
            parts: self.written,
        };
        let subject = Seal::subject(stream, window);
        let bytes = seal.to_bytes(stream, window);
        let stored = self.archiver.store(&subject, &bytes).await;
        let stored = stored.map_err(|error| {
            let refused = !error.is_transient();
            Unavailable::new(format!("write `{subject}`"), error).refused(refused)
        })?;
        match stored {
            Stored::Same(_) => {
                lock(&self.archiver.read).insert((stream, window.index), (seal.digest, self.epoch));
                Ok(())
            }
            Stored::Other => Err(ArchiveError::Forked { subject }),
        }
    }
}

fn forked(part: &Part) -> ArchiveError {
    ArchiveError::Forked {
        subject: part.subject.clone(),
    }
}

fn read_part(subject: &str, payload: &[u8]) -> Result<Vec<Kept>, CallError> {
    events_of(payload).map_err(|error| CallError::Answer(format!("`{subject}`: {error}")))
}

fn writing(part: &Part, error: CallError) -> ArchiveError {
    let refused = !error.is_transient();
    let doing = format!("write `{}`", part.subject);
    Unavailable::new(doing, error).refused(refused).into()
}
