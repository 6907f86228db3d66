//! Sealing a window: its parts, and then its seal.

use bytes::Bytes;
use contracts::{canonical::Digest, position::StreamId};

use super::{
    super::{
        append::{CONFLICTS, publish},
        direct::READ_PATIENCE,
        link::{CallError, patiently},
    },
    Archiver, asking,
};
use crate::{
    Unavailable,
    archive::{
        ArchiveError, Window,
        part::{Group, Kept, Link, Part, events_of},
        seal::{Seal, Span, digest},
    },
    layout::ARCHIVE,
};

/// A window that is being sealed.
pub struct Sealing<'a> {
    archiver: &'a Archiver,
    stream: StreamId,
    window: Window,
    groups: std::vec::IntoIter<Group>,
    /// Of the group that is being written.
    parts: std::vec::IntoIter<Part>,
    /// That group, until its first part is written, where it is taken to begin its history.
    unasked: Option<Group>,
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
        let events = self.live_events(stream, window).await?;
        Ok(Sealing {
            archiver: self,
            stream,
            window,
            hashes: events.iter().map(|it| it.raw.stored_hash()).collect(),
            groups: Group::all(stream, events).into_iter(),
            parts: Vec::new().into_iter(),
            unasked: None,
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
        let mut events = Vec::new();
        let mut next = window.first;
        while next <= window.last {
            let read = self.live_from(stream, next, window.last).await?;
            if read.is_empty() {
                return Err(self.purged_unread(stream, window, next).await?);
            }
            for kept in read {
                if kept.sequence != next {
                    return Err(ArchiveError::Missing {
                        stream,
                        sequence: next,
                    });
                }
                next += 1;
                events.push(kept);
            }
        }
        Ok(events)
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

impl Sealing<'_> {
    /// Writes the next part; whether there was one.
    pub async fn write_next(&mut self) -> Result<bool, ArchiveError> {
        loop {
            if let Some(part) = self.parts.next() {
                self.write(part).await?;
                return Ok(true);
            }
            let Some(group) = self.groups.next() else {
                return Ok(false);
            };
            self.begin(group).await?;
        }
    }

    async fn begin(&mut self, group: Group) -> Result<(), ArchiveError> {
        let head = match group.continues() {
            Some(filter) => self.head_before(&filter).await?,
            None => None,
        };
        self.plan(&group, head);
        // Almost always an aggregate that begins here was never there before, and nobody is asked.
        self.unasked = group.continues().is_none().then_some(group);
        Ok(())
    }

    async fn head_before(&self, filter: &str) -> Result<Option<Link>, ArchiveError> {
        let head = self.archiver.head_before(filter, self.window).await;
        head.map_err(|error| asking(self.stream, error))
    }

    fn plan(&mut self, group: &Group, head: Option<Link>) {
        let (parts, aside) = group.parts(head);
        self.aside.extend(aside);
        self.parts = parts.into_iter();
    }

    async fn write(&mut self, part: Part) -> Result<(), ArchiveError> {
        let unasked = self.unasked.take();
        let stored = self.archiver.store(&part.subject, &part.bytes).await;
        match stored.map_err(|error| writing(&part, error))? {
            Stored::Same(at) => {
                self.written.push(Span {
                    first: part.first,
                    last: part.last,
                    at,
                });
                return Ok(());
            }
            Stored::Other => {}
        }
        // Its first version may be archived: this one was written after that was purged.
        if let Some(group) = unasked
            && let Some(filter) = group.history_filter()
        {
            match self.head_before(&filter).await {
                Ok(Some(head)) => {
                    self.plan(&group, Some(head));
                    return Ok(());
                }
                Err(ArchiveError::Unavailable(error)) if !error.is_refused() => {
                    return Err(error.into());
                }
                // What stands there is no part of a history.
                Ok(None) | Err(_) => {}
            }
        }
        Err(ArchiveError::Forked {
            subject: part.subject,
        })
    }

    /// Subjects of events that do not continue the history that is archived of their aggregates.
    pub fn aside(&self) -> &[String] {
        &self.aside
    }

    /// Writes what is left of the parts, and then the seal.
    pub async fn seal(mut self) -> Result<(), ArchiveError> {
        while self.write_next().await? {}
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
            Stored::Same(_) => Ok(()),
            Stored::Other => Err(ArchiveError::Forked { subject }),
        }
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
