//! The log in memory: the same semantics, no thread, no clock of its own. Time passes when
//! [`MemoryJournal::advance`] says so; what goes wrong on a real broker goes wrong on demand.

mod calls;
mod readers;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use contracts::{
    canonical::Digest,
    envelope::Envelope,
    event::EventName,
    planted::{self, Bug},
    position::{Position, Positions, StreamId},
    record::{Head, Recorded},
    subject::AggregateId,
    time::Timestamp,
};
use tokio::sync::Notify;

use self::state::State;
pub use self::state::Waking;
use crate::{
    Journal, Unavailable,
    append::{AppendError, claim, is_own},
    delivery::{ConsumerSpec, Deliveries},
    history::{
        LoadError, PAGE_BYTES, PAGE_EVENTS_MAX, Page, Read, check, check_after, check_head, decoded,
    },
    layout::StreamCount,
    object::{OBJECT_BYTES_MAX, ObjectError},
    request::{Reply, Request, RequestError, Requests},
    stored::{Entry, Raw},
    tail::{Scope, Tail, TailError},
    timer::Timer,
};

/// A log in memory. Clones are other processes on the same log.
#[derive(Clone)]
pub struct MemoryJournal {
    count: StreamCount,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Told whenever there may be something new for a waiting reader. It wakes them in the order in
    /// which they came, so that a simulated run can be run again.
    changes: Notify,
    /// Told whenever something may happen earlier than before by time alone.
    deadlines: Notify,
    /// Told when the connection was lost and is back.
    reconnections: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.notify_waiters();
    }

    /// Waits until `attempt` gives something, trying again after each change.
    async fn until<T>(&self, mut attempt: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            // Made before looking: it hears of every change from here on.
            let changed = self.changes.notified();
            if let Some(found) = attempt(&mut self.lock()) {
                return found;
            }
            changed.await;
        }
    }
}

impl MemoryJournal {
    pub fn new(count: StreamCount, now: Timestamp) -> Self {
        Self {
            count,
            shared: Arc::new(Shared {
                state: Mutex::new(State::empty(now)),
                changes: Notify::new(),
                deadlines: Notify::new(),
                reconnections: Notify::new(),
            }),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.shared.lock().now()
    }

    /// Lets time pass: timers fire and unacknowledged messages come again.
    pub fn advance(&self, to: Timestamp) {
        let something_happened = self.shared.lock().advance(to);
        if something_happened {
            self.shared.changed();
        }
    }

    /// Lets time pass as `clock` says, for ever; `until` waits for an instant of it.
    pub async fn keep_time<F: Future<Output = ()>>(
        &self,
        clock: impl Fn() -> Timestamp,
        until: impl Fn(Timestamp) -> F,
    ) {
        loop {
            let changed = self.shared.deadlines.notified();
            self.advance(clock());
            let next = self.next_instant();
            let waiting = async {
                match next {
                    Some(next) => until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = changed => {}
                () = waiting => {}
            }
        }
    }

    /// Shows every message to `observer` the moment it is stored.
    pub fn observe(&self, observer: impl Fn(&Entry) + Send + Sync + 'static) {
        self.shared.lock().observer = Some(Box::new(observer));
    }

    /// What will wake an aggregate.
    pub fn will_wake(&self, aggregate: &AggregateId) -> Waking {
        self.shared.lock().will_wake(aggregate, self.count)
    }

    /// Whether no consumer has anything left to do now; timers may still come due.
    pub fn is_at_rest(&self) -> bool {
        self.shared.lock().is_at_rest(self.count)
    }

    /// Every consumer begins anew, as after a broker that lost what they had acknowledged.
    pub fn deliver_everything_again(&self) {
        self.shared.lock().deliver_everything_again();
        self.shared.changed();
    }

    /// What consumers have not acknowledged, for people.
    pub fn unacknowledged(&self) -> Vec<String> {
        self.shared.lock().unacknowledged()
    }

    /// Everything unacknowledged may be delivered again at once, to anyone, as after a broker
    /// that lost its view of the consumers' state. True where there was something.
    pub fn deliver_again(&self) -> bool {
        let some = self.shared.lock().deliver_again();
        self.shared.changed();
        some
    }

    /// The next instant at which time alone makes something happen.
    pub fn next_instant(&self) -> Option<Timestamp> {
        self.shared.lock().next_instant()
    }

    /// Hides the last `events` of each stream from reads that are not confirmed, as a replica
    /// that lags does.
    pub fn lag(&self, events: usize) {
        self.shared.lock().lag = events;
    }

    /// The next `appends` are stored, and the writer never hears of it.
    pub fn lose_answers(&self, appends: u32) {
        self.shared.lock().lost_answers = appends;
    }

    /// The next `appends` are not stored.
    pub fn fail_appends(&self, appends: u32) {
        self.shared.lock().failing_appends = appends;
    }

    /// The next `acks` do not arrive.
    pub fn lose_acks(&self, acks: u32) {
        self.shared.lock().lost_acks = acks;
    }

    /// As if the connection had been lost and found again.
    pub fn reconnect(&self) {
        self.shared.lock().epoch += 1;
        self.shared.reconnections.notify_waiters();
    }

    /// Stores any message, also one that no writer of this version would write.
    pub fn store_raw(&self, stream: StreamId, raw: Raw) -> Position {
        let position = self.shared.lock().store(stream, raw);
        self.shared.changed();
        position
    }

    /// Archives and purges what stands up to a sequence, as far as consumers have acknowledged it:
    /// readers still find it, and guards do not. The last event of a stream stays live. Up to where
    /// it is purged now.
    pub fn archive(&self, stream: StreamId, through: u64) -> u64 {
        self.shared.lock().archive(stream, through)
    }

    fn decoded(
        &self,
        aggregate: &AggregateId,
        read: Read,
    ) -> Result<Vec<(Position, Recorded)>, LoadError> {
        decoded(self.entries(aggregate, read))
    }

    fn entries(&self, aggregate: &AggregateId, read: Read) -> Vec<Entry> {
        let stream = self.count.stream_of(aggregate);
        let state = self.shared.lock();
        let end = state.visible_end(stream, read);
        state
            .beginning_with(&format!("{}.", aggregate.prefix()))
            .into_iter()
            .filter(|(sequence, _)| *sequence <= end)
            .map(|(sequence, stored)| stored.entry(Position { stream, sequence }))
            .collect()
    }
}

fn belongs_to(raw: &Raw, aggregate: &AggregateId) -> bool {
    raw.subject
        .strip_prefix(aggregate.prefix())
        .is_some_and(|rest| rest.starts_with('.'))
}

fn unanswered(subject: &str, why: &'static str) -> AppendError {
    AppendError::Unavailable {
        subject: subject.to_owned(),
        source: Unavailable::new("append an event", why),
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    fn stream_count(&self) -> StreamCount {
        self.count
    }

    fn epoch(&self) -> u64 {
        self.shared.lock().epoch
    }

    async fn reconnected(&self, epoch: u64) {
        loop {
            // Made before looking: it hears of every reconnection from here on.
            let again = self.shared.reconnections.notified();
            if self.epoch() != epoch {
                return;
            }
            again.await;
        }
    }

    fn is_connected(&self) -> bool {
        true
    }

    async fn append(&self, envelope: &Envelope) -> Result<Position, AppendError> {
        // Another writer may be as far.
        tokio::task::yield_now().await;
        let subject = envelope.subject.to_string();
        let digest = claim(envelope)?;
        let stream = self.count.stream_of(&envelope.subject.aggregate);
        let raw = Raw::from(envelope);
        let mut state = self.shared.lock();
        if state.failing_appends > 0 {
            state.failing_appends -= 1;
            return Err(unanswered(&subject, "failed on demand"));
        }
        let prefix = envelope.subject.aggregate.prefix();
        let unguarded =
            planted::is(Bug::NoGuard) && envelope.subject.event == EventName::StepCompleted;
        let guard = match envelope.subject.version {
            // An effect is done, whoever wrote before: only its own subject can refuse it.
            _ if unguarded => subject.clone(),
            1 => format!("{prefix}."),
            version => format!("{prefix}.{version}."),
        };
        let guarded = state.live_beginning_with(&guard);
        if !guarded.is_empty() {
            let own = guarded
                .into_iter()
                .find(|(_, stored)| is_own(&stored.raw, &raw));
            return match own {
                Some((sequence, _)) => Ok(Position { stream, sequence }),
                None => Err(AppendError::Conflict { subject }),
            };
        }
        if let Some(digest) = digest {
            state.objects.insert(digest, envelope.payload.clone());
        }
        let position = state.store(stream, raw);
        let answer_is_lost = state.lost_answers > 0;
        state.lost_answers = state.lost_answers.saturating_sub(1);
        drop(state);
        self.shared.changed();
        if answer_is_lost {
            Err(unanswered(&subject, "the answer was lost on demand"))
        } else {
            Ok(position)
        }
    }

    async fn load(
        &self,
        aggregate: &AggregateId,
        read: Read,
    ) -> Result<Vec<(Position, Recorded)>, LoadError> {
        let events = self.decoded(aggregate, read)?;
        match check(events.iter().map(|(_, event)| event)) {
            Ok(()) => Ok(events),
            Err(fault) => Err(LoadError::Corrupt {
                aggregate: aggregate.clone(),
                fault,
            }),
        }
    }

    async fn page(&self, aggregate: &AggregateId, after: Option<&Head>) -> Result<Page, LoadError> {
        let corrupt = |fault| LoadError::Corrupt {
            aggregate: aggregate.clone(),
            fault,
        };
        let mut entries = self.entries(aggregate, Read::Confirmed);
        if let Some(after) = after {
            let is_known = |entry: &Entry| match &entry.recorded {
                Ok(recorded) => recorded.version() <= after.version,
                Err(_) => false,
            };
            let known = entries.iter().take_while(|entry| is_known(entry)).count();
            let last = entries.drain(..known).next_back();
            if entries.is_empty() {
                // No event follows whose chain would tell.
                let last = last.and_then(|entry| entry.recorded.ok());
                check_head(after, last.as_ref()).map_err(corrupt)?;
            }
        }
        let mut bytes = 0;
        let fit = entries
            .iter()
            .take(PAGE_EVENTS_MAX)
            .take_while(|entry| {
                let has_room = bytes < PAGE_BYTES;
                bytes += entry.raw.payload.len();
                has_room
            })
            .count();
        let is_last = fit == entries.len();
        entries.truncate(fit);
        let events = decoded(entries)?;
        let checked = check_after(after, events.iter().map(|(_, event)| event));
        checked.map_err(corrupt)?;
        Ok(Page { events, is_last })
    }

    async fn head(&self, aggregate: &AggregateId) -> Result<Option<(Position, Head)>, LoadError> {
        let events = self.decoded(aggregate, Read::Confirmed)?;
        Ok(events
            .last()
            .map(|(position, event)| (*position, event.head())))
    }

    async fn is_archived(&self, aggregate: &AggregateId) -> Result<bool, Unavailable> {
        let prefix = format!("{}.", aggregate.prefix());
        Ok(self.shared.lock().is_archived(&prefix))
    }

    async fn waiting(&self) -> Result<u64, Unavailable> {
        let streams = self.stream_count().streams();
        Ok(self.shared.lock().waiting(&streams))
    }

    async fn last_sequence(&self, stream: StreamId) -> Result<u64, Unavailable> {
        Ok(self.shared.lock().end(stream))
    }

    async fn read(
        &self,
        stream: StreamId,
        after: u64,
        max_events: usize,
    ) -> Result<Vec<Entry>, Unavailable> {
        let state = self.shared.lock();
        let end = state.visible_end(stream, Read::Nearest);
        Ok(state
            .after(stream, after)
            .take_while(|(sequence, _)| *sequence <= end)
            .take(max_events)
            .map(|(sequence, stored)| stored.entry(Position { stream, sequence }))
            .collect())
    }

    async fn tail(&self, after: &Positions, scope: Scope) -> Result<Box<dyn Tail>, TailError> {
        self.follow(after, scope)
    }

    async fn consume(&self, spec: ConsumerSpec) -> Result<Box<dyn Deliveries>, Unavailable> {
        Ok(self.take_part(spec))
    }

    async fn arm(&self, timer: &Timer) -> Result<(), Unavailable> {
        self.shared.lock().arm(timer.clone());
        self.shared.changed();
        self.shared.deadlines.notify_one();
        Ok(())
    }

    async fn put_object(&self, bytes: Bytes) -> Result<Digest, ObjectError> {
        if bytes.len() > OBJECT_BYTES_MAX {
            return Err(ObjectError::TooLarge { bytes: bytes.len() });
        }
        let digest = Digest::of(&bytes);
        self.shared.lock().objects.insert(digest, bytes);
        Ok(digest)
    }

    async fn get_object(&self, digest: &Digest) -> Result<Bytes, ObjectError> {
        let state = self.shared.lock();
        let found = state.objects.get(digest).cloned();
        found.ok_or(ObjectError::Missing(*digest))
    }

    async fn request(&self, request: Request) -> Result<Reply, RequestError> {
        self.ask(request).await
    }

    async fn serve(&self, subject: &str, queue: &str) -> Result<Box<dyn Requests>, Unavailable> {
        Ok(self.answer(subject, queue))
    }

    async fn close(&self) {}
}
