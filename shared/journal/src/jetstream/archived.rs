//! Reading what is archived.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use contracts::{
    position::{Position, StreamId},
    record::Head,
    subject::AggregateId,
};
use serde::Deserialize;
use serde_json::json;

use super::{
    JetStreamJournal,
    direct::{Answer, BATCH_MAX, READ_BYTES_MAX, READ_PATIENCE},
    link::{CallError, patiently},
};
use crate::{
    Unavailable,
    archive::{
        Window,
        part::{Names, events_of},
        seal::{Seal, Span},
    },
    history::{
        Fault, LoadError, PAGE_BYTES, PAGE_EVENTS_MAX, Page, check_after, check_head, decoded,
    },
    layout::ARCHIVE,
    stored::{Entry, Kept, Raw},
};

/// Parts asked for at once: at most 4 MiB.
const PARTS_AT_ONCE: usize = 8;

/// What the archive gives of a page.
pub(super) enum ArchivedPage {
    Page(Page),
    /// The archive ends where the page is to begin.
    AtEnd,
    /// It has nothing of what is due.
    Nothing,
}

impl JetStreamJournal {
    pub(super) async fn has_parts(&self, aggregate: &AggregateId) -> Result<bool, Unavailable> {
        if !is_archived(self.count.stream_of(aggregate)) {
            return Ok(false);
        }
        let names = self.parts_of(aggregate).await;
        let names = names.map_err(|error| {
            Unavailable::new(format!("look for `{aggregate}` in the archive"), error)
        })?;
        Ok(!names.is_empty())
    }

    /// Which parts there are, as the archive's leader has them.
    async fn parts_of(&self, aggregate: &AggregateId) -> Result<Names, CallError> {
        let subjects = self.archive_subjects(&Names::filter(aggregate)).await?;
        Ok(Names::of(aggregate, &subjects))
    }

    pub(super) async fn archive_subjects(
        &self,
        filter: &str,
    ) -> Result<BTreeSet<String>, CallError> {
        #[derive(Deserialize)]
        struct Info {
            state: State,
            #[serde(default)]
            total: usize,
        }
        #[derive(Deserialize)]
        struct State {
            #[serde(default)]
            subjects: BTreeMap<String, u64>,
        }
        let operation = format!("STREAM.INFO.{ARCHIVE}");
        let mut all = BTreeSet::new();
        loop {
            let request = json!({ "subjects_filter": filter, "offset": all.len() });
            let info: Info = self
                .link
                .api_patiently(&operation, &request, READ_PATIENCE)
                .await?;
            let before = all.len();
            all.extend(info.state.subjects.into_keys());
            if all.len() >= info.total || all.len() == before {
                return Ok(all);
            }
        }
    }

    /// All that is archived of an aggregate, by sequence.
    pub(super) async fn archived(
        &self,
        aggregate: &AggregateId,
    ) -> Result<BTreeMap<u64, Raw>, CallError> {
        let names = self.parts_of(aggregate).await?;
        let mut archived = BTreeMap::new();
        for subjects in names.all().chunks(PARTS_AT_ONCE) {
            let parts = self.read_parts(subjects).await?;
            archived.extend(parts.into_iter().map(|kept| (kept.sequence, kept.raw)));
        }
        Ok(archived)
    }

    /// The events of these parts. Each is there: who names them has it from the leader.
    async fn read_parts(&self, subjects: &[String]) -> Result<Vec<Kept>, CallError> {
        let mut found = BTreeMap::new();
        if let Answer::Messages { messages, .. } = self.newest(ARCHIVE, subjects).await? {
            found.extend(
                messages
                    .into_iter()
                    .map(|it| (it.raw.subject, it.raw.payload)),
            );
        }
        let mut events = Vec::new();
        for subject in subjects {
            let payload = if let Some(payload) = found.remove(subject) {
                payload
            } else {
                // A replica lags behind, or held back what is too much for one answer.
                let message = patiently(READ_PATIENCE, || self.last_message(ARCHIVE, subject));
                let gone = || CallError::Answer(format!("`{subject}` is gone"));
                message.await?.ok_or_else(gone)?.1.payload
            };
            events.extend(decode(subject, &payload)?);
        }
        Ok(events)
    }

    /// The last event that is archived of an aggregate, and its sequence.
    pub(super) async fn archived_head(
        &self,
        aggregate: &AggregateId,
    ) -> Result<Option<(u64, Raw)>, CallError> {
        let names = self.parts_of(aggregate).await?;
        let Some(last) = names.history().last() else {
            return Ok(None);
        };
        let events = self.read_parts(&[last]).await?;
        Ok(events.into_iter().last().map(|it| (it.sequence, it.raw)))
    }

    /// The events that follow one, as many as a page holds.
    pub(super) async fn archived_page(
        &self,
        aggregate: &AggregateId,
        after: Option<&Head>,
    ) -> Result<ArchivedPage, LoadError> {
        let stream = self.count.stream_of(aggregate);
        let unavailable = |error| Unavailable::new(format!("load `{aggregate}`"), error);
        let corrupt = |fault| LoadError::Corrupt {
            aggregate: aggregate.clone(),
            fault,
        };
        let names = self.parts_of(aggregate).await.map_err(unavailable)?;
        if names.is_empty() {
            return Ok(ArchivedPage::Nothing);
        }
        if names.is_broken() {
            // Only who sees all of it sees which fault is the first.
            self.load_events(aggregate, crate::history::Read::Confirmed)
                .await?;
        }
        let due = after.map_or(1, |head| head.version + 1);
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let mut before = None;
        'parts: for subject in names.beginning_with(due) {
            for kept in self.read_parts(&[subject]).await.map_err(unavailable)? {
                let version = super::load::version_of(&kept.raw.subject);
                let sequence = kept.sequence;
                if version.is_some_and(|version| version < due) {
                    before = Some((sequence, kept.raw));
                    continue;
                }
                if entries.len() == PAGE_EVENTS_MAX || bytes >= PAGE_BYTES {
                    break 'parts;
                }
                let entry = self.entry(Position { stream, sequence }, kept.raw).await?;
                bytes += entry.raw.payload.len();
                entries.push(entry);
            }
        }
        if entries.is_empty() {
            let Some((sequence, raw)) = before else {
                return Ok(ArchivedPage::Nothing);
            };
            let before = self.entry(Position { stream, sequence }, raw).await?;
            let before = decoded(vec![before])?;
            let last = before.last().map(|(_, event)| event);
            let Some(after) =
                after.filter(|after| last.is_some_and(|it| it.version() == after.version))
            else {
                return Ok(ArchivedPage::Nothing);
            };
            // No event follows whose chain would tell.
            check_head(after, last).map_err(corrupt)?;
            return Ok(ArchivedPage::AtEnd);
        }
        let events = decoded(entries)?;
        let checked = check_after(after, events.iter().map(|(_, event)| event));
        checked.map_err(corrupt)?;
        // More may be live, of which the next page knows.
        Ok(ArchivedPage::Page(Page {
            events,
            is_last: false,
        }))
    }

    /// What is archived of an aggregate after a sequence, in the order of sequences, as entries.
    pub(super) async fn archived_after(
        &self,
        aggregate: &AggregateId,
        after: u64,
    ) -> Result<Vec<Entry>, Unavailable> {
        let stream = self.count.stream_of(aggregate);
        let unavailable = |error| Unavailable::new(format!("follow `{aggregate}`"), error);
        let archived = self.archived(aggregate).await.map_err(unavailable)?;
        let mut entries = Vec::new();
        for (sequence, raw) in archived.range(after + 1..) {
            let position = Position {
                stream,
                sequence: *sequence,
            };
            entries.push(self.entry(position, raw.clone()).await?);
        }
        Ok(entries)
    }

    /// At most `max_events` after a sequence, in order, from whichever tier has them.
    pub(super) async fn read_after(
        &self,
        stream: StreamId,
        after: u64,
        max_events: usize,
    ) -> Result<Vec<Entry>, Unavailable> {
        let found = self.read_live(stream, after, max_events).await?;
        let begins = found.first().map(|found| found.sequence);
        let is_purged = begins.is_some_and(|first| first > after + 1);
        if is_purged && is_archived(stream) {
            return self.read_archived(stream, after, max_events).await;
        }
        self.entries(stream, found).await
    }

    /// What is archived after a sequence that is purged, up to the end of its window; never nothing.
    pub(super) async fn read_archived(
        &self,
        stream: StreamId,
        after: u64,
        max_events: usize,
    ) -> Result<Vec<Entry>, Unavailable> {
        let mut reading = self.archived_window(stream, after).await?;
        reading.next(self, max_events).await
    }

    /// What is archived after a sequence that is purged, up to the end of its window.
    pub(super) async fn archived_window(
        &self,
        stream: StreamId,
        after: u64,
    ) -> Result<ArchivedWindow, Unavailable> {
        let window = self.window.window_of(after + 1);
        let seal = match self.seal_of(stream, window).await {
            Ok(Some(seal)) => seal,
            Ok(None) => {
                let (first, last) = (window.first, window.last);
                let why = format!("{first} to {last} are purged, and were never sealed");
                return Err(unread(stream, after, CallError::Answer(why)));
            }
            Err(error) => return Err(unread(stream, after, error)),
        };
        let spans = seal.parts.into_iter().filter(|span| span.last > after);
        let spans: VecDeque<Span> = spans.collect();
        Ok(ArchivedWindow {
            stream,
            last: window.last,
            reached: after,
            parts: Parts::new(&spans),
            spans,
            waiting: BTreeMap::new(),
        })
    }

    /// From whatever replica answers, and from the leader where that has none.
    async fn seal_of(&self, stream: StreamId, window: Window) -> Result<Option<Seal>, CallError> {
        let subject = Seal::subject(stream, window);
        let near = self.newest(ARCHIVE, std::slice::from_ref(&subject)).await?;
        let near = match near {
            Answer::Messages { messages, .. } => messages.into_iter().next(),
            Answer::TooMany => None,
        };
        match near {
            Some(found) => decode_seal(&found.raw.payload, stream, window).map(Some),
            None => self.leaders_seal(stream, window).await,
        }
    }

    pub(super) async fn leaders_seal(
        &self,
        stream: StreamId,
        window: Window,
    ) -> Result<Option<Seal>, CallError> {
        let subject = Seal::subject(stream, window);
        let found = patiently(READ_PATIENCE, || self.last_message(ARCHIVE, &subject)).await?;
        found
            .map(|(_, raw)| decode_seal(&raw.payload, stream, window))
            .transpose()
    }

    /// The events of a part by its sequence in the archive, as the leader has it.
    pub(super) async fn leaders_part(&self, at: u64) -> Result<Vec<Kept>, CallError> {
        let request = json!({ "seq": at });
        let found = patiently(READ_PATIENCE, || self.leader_message(ARCHIVE, &request)).await?;
        let found = found.ok_or_else(|| CallError::Answer(format!("part {at} is gone")))?;
        decode(&found.raw.subject, &found.raw.payload)
    }
}

/// A window of the archive, read from a sequence on. What of it was read and is yet to be given stays in
/// memory: parts overlap.
pub(super) struct ArchivedWindow {
    stream: StreamId,
    last: u64,
    /// The last sequence that was given, or the one after which it begins.
    reached: u64,
    /// Those that are not read yet.
    spans: VecDeque<Span>,
    parts: Parts,
    /// What was read and is beyond what was given.
    waiting: BTreeMap<u64, Kept>,
}

impl ArchivedWindow {
    /// Whether all of it was given.
    pub fn is_at_end(&self) -> bool {
        self.reached >= self.last
    }

    /// The next of its events; never nothing, where it is not at its end.
    pub async fn next(
        &mut self,
        journal: &JetStreamJournal,
        max_events: usize,
    ) -> Result<Vec<Entry>, Unavailable> {
        let (stream, after) = (self.stream, self.reached);
        let kept = self.kept(journal, max_events.max(1)).await;
        let kept = kept.map_err(|error| unread(stream, after, error))?;
        let Some(last) = kept.last() else {
            let why = CallError::Answer(format!("its window ends at {after}"));
            return Err(unread(stream, after, why));
        };
        self.reached = last.sequence;
        journal.entries(stream, kept).await
    }

    async fn kept(
        &mut self,
        journal: &JetStreamJournal,
        max_events: usize,
    ) -> Result<Vec<Kept>, CallError> {
        let (mut kept, mut bytes) = (Vec::new(), 0);
        loop {
            // What stands before the next part is all there.
            let there_up_to = self.spans.front().map_or(u64::MAX, |span| span.first);
            while kept.len() < max_events
                && bytes < READ_BYTES_MAX
                && let Some(next) = self.waiting.first_entry()
                && *next.key() < there_up_to
            {
                let next = next.remove();
                bytes += next.raw.bytes();
                kept.push(next);
            }
            if kept.len() >= max_events || bytes >= READ_BYTES_MAX {
                return Ok(kept);
            }
            let Some(span) = self.spans.front().copied() else {
                return Ok(kept);
            };
            let events = self.parts.take(journal, span).await?;
            self.spans.pop_front();
            let reached = self.reached;
            let events = events.into_iter().filter(|it| it.sequence > reached);
            self.waiting.extend(events.map(|it| (it.sequence, it)));
        }
    }
}

fn unread(stream: StreamId, after: u64, error: CallError) -> Unavailable {
    let refused = !error.is_transient();
    let doing = format!("read what is archived of `{}` after {after}", stream.name());
    Unavailable::new(doing, error).refused(refused)
}

/// Parts of a window, several in each answer: they mostly stand one after the other.
struct Parts {
    wanted: BTreeSet<u64>,
    found: BTreeMap<u64, Vec<Kept>>,
}

impl Parts {
    fn new(spans: &VecDeque<Span>) -> Self {
        Self {
            wanted: spans.iter().map(|span| span.at).collect(),
            found: BTreeMap::new(),
        }
    }

    async fn take(
        &mut self,
        journal: &JetStreamJournal,
        span: Span,
    ) -> Result<Vec<Kept>, CallError> {
        if let Some(events) = self.found.remove(&span.at) {
            return Ok(events);
        }
        let request = json!({
            "seq": span.at,
            "batch": self.wanted.len().clamp(1, BATCH_MAX),
            "max_bytes": READ_BYTES_MAX / 2,
        });
        let answer = patiently(READ_PATIENCE, || journal.direct(ARCHIVE, request.clone())).await?;
        if let Answer::Messages { messages, .. } = answer {
            for found in messages {
                if self.wanted.remove(&found.sequence) {
                    let events = decode(&found.raw.subject, &found.raw.payload)?;
                    self.found.insert(found.sequence, events);
                }
            }
        }
        match self.found.remove(&span.at) {
            Some(events) => Ok(events),
            None => journal.leaders_part(span.at).await,
        }
    }
}

/// Whether what leaves the stream is in the archive. The catalogue stays whole.
pub(super) fn is_archived(stream: StreamId) -> bool {
    matches!(stream, StreamId::Log(_))
}

/// Archived and live events as one history.
pub(super) fn joined(
    archived: BTreeMap<u64, Raw>,
    live: BTreeMap<u64, Raw>,
) -> Result<BTreeMap<u64, Raw>, Fault> {
    let mut all = archived;
    for (sequence, raw) in live {
        let version = super::load::version_of(&raw.subject).unwrap_or(0);
        if all.get(&sequence).is_some_and(|known| *known != raw) {
            return Err(Fault::Forked { version });
        }
        all.insert(sequence, raw);
    }
    Ok(all)
}

fn decode(subject: &str, payload: &[u8]) -> Result<Vec<Kept>, CallError> {
    events_of(payload).map_err(|error| CallError::Answer(format!("`{subject}`: {error}")))
}

fn decode_seal(payload: &[u8], stream: StreamId, window: Window) -> Result<Seal, CallError> {
    Seal::from_bytes(payload, stream, window).map_err(|error| {
        let subject = Seal::subject(stream, window);
        CallError::Answer(format!("`{subject}`: {error}"))
    })
}
