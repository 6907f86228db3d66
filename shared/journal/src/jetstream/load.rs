//! Loading one aggregate.

use std::{collections::BTreeMap, ops::Range};

use contracts::{
    position::{Position, StreamId},
    record::{Head, Recorded},
    subject::AggregateId,
};

use serde_json::json;
use tokio::time::Instant;

use super::{
    JetStreamJournal,
    archived::{ArchivedPage, is_archived, joined},
    direct::{Answer, READ_PATIENCE},
    link::{CallError, Pause, patiently},
};
use crate::{
    Unavailable,
    history::{
        Fault, LoadError, PAGE_BYTES, PAGE_EVENTS_MAX, Page, Read, check, check_after, check_head,
        decoded,
    },
    stored::{Entry, Kept, Raw},
};

/// Versions asked for at once where an aggregate is too large for one answer (1,024 subjects).
const PAGE: u64 = 500;

impl JetStreamJournal {
    pub(super) async fn load_events(
        &self,
        aggregate: &AggregateId,
        read: Read,
    ) -> Result<Vec<(Position, Recorded)>, LoadError> {
        let stream = self.count.stream_of(aggregate);
        let stored = self.stored_of(aggregate, stream, read).await?;
        let mut entries = Vec::with_capacity(stored.len());
        for (sequence, raw) in stored {
            entries.push(self.entry(Position { stream, sequence }, raw).await?);
        }
        let events = decoded(entries)?;
        check(events.iter().map(|(_, event)| event)).map_err(|fault| LoadError::Corrupt {
            aggregate: aggregate.clone(),
            fault,
        })?;
        Ok(events)
    }

    /// From both tiers, the live one first: what has left it by then is in the archive.
    async fn stored_of(
        &self,
        aggregate: &AggregateId,
        stream: StreamId,
        read: Read,
    ) -> Result<BTreeMap<u64, Raw>, LoadError> {
        let unavailable = |error| Unavailable::new(format!("load `{aggregate}`"), error);
        let begun = Instant::now();
        let mut pause = Pause::default();
        loop {
            let mut live = self.nearest(aggregate, stream).await.map_err(unavailable)?;
            let mut is_gone = false;
            if read == Read::Confirmed {
                is_gone = self.confirm(aggregate, stream, &mut live).await? && !live.is_empty();
            }
            let archived = if !is_gone && (gap(&live) == Gap::None || !is_archived(stream)) {
                return Ok(live);
            } else if is_archived(stream) {
                self.archived(aggregate).await.map_err(unavailable)?
            } else {
                BTreeMap::new()
            };
            if archived.is_empty() && is_gone {
                return Err(behind(aggregate).into());
            } else if archived.is_empty() {
                return Ok(live);
            }
            let is_whole = gap(&archived) == Gap::None;
            let all = joined(archived, live).map_err(|fault| LoadError::Corrupt {
                aggregate: aggregate.clone(),
                fault,
            })?;
            // It was purged while it was read; or it is broken, which stays so.
            if is_whole && gap(&all) == Gap::Hole && begun.elapsed() < READ_PATIENCE {
                pause.wait().await;
                continue;
            }
            return Ok(all);
        }
    }

    /// The events that follow one, as many as a page holds.
    pub(super) async fn page_of(
        &self,
        aggregate: &AggregateId,
        after: Option<&Head>,
    ) -> Result<Page, LoadError> {
        let stream = self.count.stream_of(aggregate);
        let unavailable = |error| Unavailable::new(format!("load `{aggregate}`"), error);
        let filters: Vec<_> = versions_after(after)
            .map(|version| aggregate.version_filter(version))
            .collect();
        let name = stream.name();
        let answer = self.newest_within(&name, &filters, PAGE_BYTES);
        let (messages, complete) = match answer.await.map_err(unavailable)? {
            Answer::Messages { messages, complete } => (messages, complete),
            Answer::TooMany => {
                let error = CallError::Answer("one page is too large".to_owned());
                return Err(unavailable(error).into());
            }
        };
        let mut stored: BTreeMap<u64, Raw> = by_sequence(messages).collect();
        let due = versions_after(after).start;
        let begins = stored
            .values()
            .next()
            .and_then(|raw| version_of(&raw.subject));
        let mut reached = Reached::Some;
        if begins.is_some_and(|begins| begins != due) {
            reached = Reached::Elsewhere { last: begins };
        } else if stored.is_empty() || (complete && stored.len() < PAGE_EVENTS_MAX) {
            // Otherwise there may be more, of which the next page knows.
            reached = self.complete(aggregate, after, &mut stored).await?;
        }
        if let Reached::Elsewhere { last } = reached {
            let archived = if is_archived(stream) {
                self.archived_page(aggregate, after).await?
            } else {
                ArchivedPage::Nothing
            };
            match (archived, last) {
                (ArchivedPage::Page(page), _) => return Ok(page),
                (ArchivedPage::AtEnd, None) => reached = Reached::All,
                (ArchivedPage::Nothing, None) if stored.is_empty() && due == 1 => {
                    reached = Reached::All;
                }
                (ArchivedPage::Nothing, None) => return Err(behind(aggregate).into()),
                // What is stored shows the same.
                (_, Some(_)) if !stored.is_empty() => reached = Reached::Some,
                (_, Some(found)) => {
                    let expected = due;
                    return Err(LoadError::Corrupt {
                        aggregate: aggregate.clone(),
                        fault: Fault::Hole { expected, found },
                    });
                }
            }
        }
        let mut is_last = reached == Reached::All;
        let (mut entries, mut bytes) = (Vec::with_capacity(stored.len()), 0);
        for (sequence, raw) in stored {
            if bytes >= PAGE_BYTES {
                is_last = false;
                break;
            }
            let entry = self.entry(Position { stream, sequence }, raw).await?;
            bytes += entry.raw.payload.len();
            entries.push(entry);
        }
        let events = decoded(entries)?;
        let checked = check_after(after, events.iter().map(|(_, event)| event));
        checked.map_err(|fault| LoadError::Corrupt {
            aggregate: aggregate.clone(),
            fault,
        })?;
        Ok(Page { events, is_last })
    }

    /// Adds what the leader has of a page and a replica has not; and how far that is.
    async fn complete(
        &self,
        aggregate: &AggregateId,
        after: Option<&Head>,
        stored: &mut BTreeMap<u64, Raw>,
    ) -> Result<Reached, LoadError> {
        let stream = self.count.stream_of(aggregate);
        let versions = versions_after(after);
        let Some((sequence, head)) = self.leader_head(aggregate, stream).await? else {
            return Ok(Reached::Elsewhere { last: None });
        };
        let version = |raw: &Raw| version_of(&raw.subject);
        let Some(last) = version(&head) else {
            // Not a subject of this version: decoding will say what it is.
            stored.insert(sequence, head);
            return Ok(Reached::All);
        };
        let reached = stored.values().filter_map(version).max();
        let reached = reached.unwrap_or(versions.start - 1);
        if last < reached {
            return Err(behind(aggregate).into());
        }
        let known = stored.values().find(|raw| version(raw) == Some(last));
        if known.is_some_and(|known| *known != head) {
            return Err(LoadError::Corrupt {
                aggregate: aggregate.clone(),
                fault: Fault::Forked { version: last },
            });
        }
        if stored.is_empty()
            && let Some(after) = after.filter(|after| after.version == last)
        {
            // No event follows whose chain would tell.
            let head = self.entry(Position { stream, sequence }, head).await?;
            let events = decoded(vec![head])?;
            let checked = check_head(after, events.last().map(|(_, event)| event));
            checked.map_err(|fault| LoadError::Corrupt {
                aggregate: aggregate.clone(),
                fault,
            })?;
            return Ok(Reached::All);
        }
        let (name, mut bytes) = (stream.name(), 0);
        for missing in reached + 1..(last + 1).min(versions.end) {
            if bytes >= PAGE_BYTES {
                return Ok(Reached::Some);
            }
            let filter = aggregate.version_filter(missing);
            let found = patiently(READ_PATIENCE, || self.last_message(&name, &filter)).await;
            let found =
                found.map_err(|error| Unavailable::new(format!("confirm `{aggregate}`"), error))?;
            let Some((sequence, raw)) = found else {
                if missing == versions.start {
                    return Ok(Reached::Elsewhere { last: Some(last) });
                }
                continue;
            };
            bytes += raw.payload.len();
            stored.insert(sequence, raw);
        }
        Ok(if last < versions.end {
            Reached::All
        } else {
            Reached::Some
        })
    }

    /// By sequence, from whatever replica answers.
    async fn nearest(
        &self,
        aggregate: &AggregateId,
        stream: StreamId,
    ) -> Result<BTreeMap<u64, Raw>, CallError> {
        let name = stream.name();
        match self.newest(&name, &[aggregate.filter()]).await? {
            Answer::Messages {
                messages,
                complete: true,
            } => Ok(by_sequence(messages).collect()),
            Answer::Messages { .. } | Answer::TooMany => self.by_pages(aggregate, &name).await,
        }
    }

    async fn by_pages(
        &self,
        aggregate: &AggregateId,
        stream: &str,
    ) -> Result<BTreeMap<u64, Raw>, CallError> {
        let mut all = BTreeMap::new();
        let mut next = 1;
        loop {
            let filters: Vec<_> = (next..next + PAGE)
                .map(|version| aggregate.version_filter(version))
                .collect();
            let Answer::Messages { messages, complete } = self.newest(stream, &filters).await?
            else {
                return Err(CallError::Answer("one page is too large".to_owned()));
            };
            let page: BTreeMap<u64, Raw> = by_sequence(messages).collect();
            let reached = page.values().filter_map(|raw| version_of(&raw.subject));
            let reached = reached.max();
            all.extend(page);
            next = match reached {
                Some(reached) if complete && reached + 1 < next + PAGE => return Ok(all),
                // An answer that was cut short holds the first of its page: it is in the order of
                // sequences, as versions are.
                Some(reached) => reached + 1,
                // The first versions may be purged.
                None if next == 1 => match self.first_version(aggregate, stream).await? {
                    Some(first) if first > PAGE => first,
                    Some(_) | None => return Ok(all),
                },
                None => return Ok(all),
            };
        }
    }

    /// The version that stands first in the live window, as the leader has it.
    async fn first_version(
        &self,
        aggregate: &AggregateId,
        stream: &str,
    ) -> Result<Option<u64>, CallError> {
        let request = json!({ "seq": 1, "next_by_subj": aggregate.filter() });
        let found = patiently(READ_PATIENCE, || self.leader_message(stream, &request)).await?;
        Ok(found.and_then(|found| version_of(&found.raw.subject)))
    }

    /// Adds what the leader has and the replica has not; whether the leader has nothing.
    async fn confirm(
        &self,
        aggregate: &AggregateId,
        stream: StreamId,
        stored: &mut BTreeMap<u64, Raw>,
    ) -> Result<bool, LoadError> {
        let Some((sequence, head)) = self.leader_head(aggregate, stream).await? else {
            return Ok(true);
        };
        let version = |raw: &Raw| version_of(&raw.subject);
        let Some(last) = version(&head) else {
            // Not a subject of this version: decoding will say what it is.
            stored.insert(sequence, head);
            return Ok(false);
        };
        let mut reached = stored.values().filter_map(version).max().unwrap_or(0);
        if let Some(known) = stored.values().find(|raw| version(raw) == Some(last))
            && *known != head
        {
            return Err(LoadError::Corrupt {
                aggregate: aggregate.clone(),
                fault: Fault::Forked { version: last },
            });
        }
        let name = stream.name();
        let unavailable = |error| Unavailable::new(format!("confirm `{aggregate}`"), error);
        if stored.is_empty() && last > 1 {
            // What is purged is not asked for, version by version.
            let first = self.first_version(aggregate, &name).await;
            let first = first.map_err(unavailable)?.unwrap_or(last);
            reached = first.saturating_sub(1);
        }
        for missing in (reached + 1)..last {
            let filter = aggregate.version_filter(missing);
            let found = patiently(READ_PATIENCE, || self.last_message(&name, &filter)).await;
            stored.extend(found.map_err(unavailable)?);
        }
        stored.insert(sequence, head);
        Ok(false)
    }

    async fn leader_head(
        &self,
        aggregate: &AggregateId,
        stream: StreamId,
    ) -> Result<Option<(u64, Raw)>, Unavailable> {
        let (name, filter) = (stream.name(), aggregate.filter());
        patiently(READ_PATIENCE, || self.last_message(&name, &filter))
            .await
            .map_err(|error| Unavailable::new(format!("ask for the head of `{aggregate}`"), error))
    }

    pub(super) async fn head_of(
        &self,
        aggregate: &AggregateId,
    ) -> Result<Option<(Position, Head)>, LoadError> {
        let stream = self.count.stream_of(aggregate);
        let mut head = self.leader_head(aggregate, stream).await?;
        if head.is_none() && is_archived(stream) {
            let archived = self.archived_head(aggregate).await;
            head = archived.map_err(|error| {
                Unavailable::new(format!("ask for the head of `{aggregate}`"), error)
            })?;
        }
        let Some((sequence, raw)) = head else {
            return Ok(None);
        };
        let position = Position { stream, sequence };
        let entry: Entry = self.entry(position, raw).await?;
        let events = decoded(vec![entry])?;
        Ok(events
            .first()
            .map(|(position, event)| (*position, event.head())))
    }
}

/// How far a page is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// There may be more.
    Some,
    /// The leader has nothing after it.
    All,
    /// What is due is not live; `last` is, if anything.
    Elsewhere { last: Option<u64> },
}

/// Whether versions count from 1, in the order of sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    None,
    /// Nothing is there at all, or not what is due.
    Hole,
    /// Something stands there that was there before, or that has no version.
    Other,
}

fn gap(stored: &BTreeMap<u64, Raw>) -> Gap {
    if stored.is_empty() {
        return Gap::Hole;
    }
    for (expected, raw) in (1..).zip(stored.values()) {
        match version_of(&raw.subject) {
            Some(version) if version == expected => {}
            Some(version) if version > expected => return Gap::Hole,
            Some(_) | None => return Gap::Other,
        }
    }
    Gap::None
}

fn behind(aggregate: &AggregateId) -> Unavailable {
    let detail = "the leader has nothing of what a replica has";
    Unavailable::new(format!("confirm `{aggregate}`"), detail)
}

/// Of the page that follows an event.
fn versions_after(head: Option<&Head>) -> Range<u64> {
    let first = head.map_or(1, |head| head.version + 1);
    first..first + PAGE_EVENTS_MAX as u64
}

fn by_sequence(messages: Vec<Kept>) -> impl Iterator<Item = (u64, Raw)> {
    let messages = messages.into_iter();
    messages.map(|found| (found.sequence, found.raw))
}

/// Also of an event that this version does not know.
pub(super) fn version_of(subject: &str) -> Option<u64> {
    subject.split('.').nth(5)?.parse().ok()
}
