//! Loading one aggregate.

use std::{collections::BTreeMap, ops::Range};

use contracts::{
    position::{Position, StreamId},
    record::{Head, Recorded},
    subject::AggregateId,
};

use super::{
    JetStreamJournal,
    direct::{Answer, Found, READ_PATIENCE},
    link::{CallError, patiently},
};
use crate::{
    Unavailable,
    history::{
        Fault, LoadError, PAGE_BYTES, PAGE_EVENTS_MAX, Page, Read, check, check_after, check_head,
        decoded,
    },
    stored::{Entry, Raw},
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
        let unavailable = |error| Unavailable::new(format!("load `{aggregate}`"), error);
        let mut stored = self.nearest(aggregate, stream).await.map_err(unavailable)?;
        if read == Read::Confirmed {
            self.confirm(aggregate, stream, &mut stored).await?;
        }
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
        let mut is_last = false;
        // Otherwise there may be more, of which the next page knows.
        if stored.is_empty() || (complete && stored.len() < PAGE_EVENTS_MAX) {
            is_last = self.complete(aggregate, after, &mut stored).await?;
        }
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

    /// Adds what the leader has of a page and a replica has not; whether the leader has nothing
    /// after it.
    async fn complete(
        &self,
        aggregate: &AggregateId,
        after: Option<&Head>,
        stored: &mut BTreeMap<u64, Raw>,
    ) -> Result<bool, LoadError> {
        let stream = self.count.stream_of(aggregate);
        let versions = versions_after(after);
        let behind = || {
            let detail = "the leader has nothing of what a replica has";
            Unavailable::new(format!("confirm `{aggregate}`"), detail)
        };
        let Some((sequence, head)) = self.leader_head(aggregate, stream).await? else {
            return if stored.is_empty() && versions.start == 1 {
                Ok(true)
            } else {
                Err(behind().into())
            };
        };
        let version = |raw: &Raw| version_of(&raw.subject);
        let Some(last) = version(&head) else {
            // Not a subject of this version: decoding will say what it is.
            stored.insert(sequence, head);
            return Ok(true);
        };
        let reached = stored.values().filter_map(version).max();
        let reached = reached.unwrap_or(versions.start - 1);
        if last < reached {
            return Err(behind().into());
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
            return Ok(true);
        }
        let (name, mut bytes) = (stream.name(), 0);
        for missing in reached + 1..(last + 1).min(versions.end) {
            if bytes >= PAGE_BYTES {
                return Ok(false);
            }
            let filter = aggregate.version_filter(missing);
            let found = patiently(READ_PATIENCE, || self.last_message(&name, &filter)).await;
            let found =
                found.map_err(|error| Unavailable::new(format!("confirm `{aggregate}`"), error))?;
            bytes += found.as_ref().map_or(0, |(_, raw)| raw.payload.len());
            stored.extend(found);
        }
        Ok(last < versions.end)
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
            let received = messages.len() as u64;
            all.extend(by_sequence(messages));
            if received == 0 || (complete && received < PAGE) {
                return Ok(all);
            }
            // An answer that was cut short holds the first of its page: it is in the order of
            // sequences, as versions are.
            next += received;
        }
    }

    /// Adds what the leader has and the replica has not.
    async fn confirm(
        &self,
        aggregate: &AggregateId,
        stream: StreamId,
        stored: &mut BTreeMap<u64, Raw>,
    ) -> Result<(), LoadError> {
        let Some((sequence, head)) = self.leader_head(aggregate, stream).await? else {
            return if stored.is_empty() {
                Ok(())
            } else {
                let detail = "the leader has nothing of what a replica has";
                Err(Unavailable::new(format!("confirm `{aggregate}`"), detail).into())
            };
        };
        let version = |raw: &Raw| version_of(&raw.subject);
        let Some(last) = version(&head) else {
            // Not a subject of this version: decoding will say what it is.
            stored.insert(sequence, head);
            return Ok(());
        };
        let reached = stored.values().filter_map(version).max().unwrap_or(0);
        if let Some(known) = stored.values().find(|raw| version(raw) == Some(last))
            && *known != head
        {
            return Err(LoadError::Corrupt {
                aggregate: aggregate.clone(),
                fault: Fault::Forked { version: last },
            });
        }
        let name = stream.name();
        for missing in (reached + 1)..last {
            let filter = aggregate.version_filter(missing);
            let found = patiently(READ_PATIENCE, || self.last_message(&name, &filter)).await;
            match found {
                Ok(found) => stored.extend(found),
                Err(error) => {
                    return Err(Unavailable::new(format!("confirm `{aggregate}`"), error).into());
                }
            }
        }
        stored.insert(sequence, head);
        Ok(())
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
        let Some((sequence, raw)) = self.leader_head(aggregate, stream).await? else {
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

/// Of the page that follows an event.
fn versions_after(head: Option<&Head>) -> Range<u64> {
    let first = head.map_or(1, |head| head.version + 1);
    first..first + PAGE_EVENTS_MAX as u64
}

fn by_sequence(messages: Vec<Found>) -> impl Iterator<Item = (u64, Raw)> {
    let messages = messages.into_iter();
    messages.map(|found| (found.sequence, found.raw))
}

/// Also of an event that this version does not know.
fn version_of(subject: &str) -> Option<u64> {
    subject.split('.').nth(5)?.parse().ok()
}
