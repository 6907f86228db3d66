//! Consuming and following.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use contracts::{
    position::{Position, Positions, StreamId},
    subject::Subject,
};
use tokio::time::Instant;

use super::{
    MemoryJournal, Shared, belongs_to,
    state::{Key, State},
};
use crate::{
    Journal as _, Unavailable,
    delivery::{Acknowledge, ConsumerSpec, Deliveries, Delivery, Unanswered},
    layout::StreamCount,
    stored::{Entry, Raw},
    tail::{Scope, Tail, TailError},
};

impl MemoryJournal {
    pub(super) fn take_part(&self, spec: ConsumerSpec) -> Box<dyn Deliveries> {
        let consumer = spec.name();
        let id = self.shared.lock().join(spec);
        Box::new(Member {
            shared: Arc::clone(&self.shared),
            count: self.count,
            consumer,
            id,
        })
    }

    pub(super) fn follow(
        &self,
        after: &Positions,
        scope: Scope,
    ) -> Result<Box<dyn Tail>, TailError> {
        let streams = match &scope {
            Scope::Everything | Scope::Live(_) => self.streams(),
            Scope::Stream(stream) => vec![*stream],
            Scope::Aggregate(aggregate) => vec![self.count.stream_of(aggregate)],
        };
        for stream in &streams {
            let (after, end) = (after.get(*stream), self.shared.lock().end(*stream));
            if after > end {
                return Err(TailError::BeyondEnd {
                    stream: stream.name(),
                    after,
                    end,
                });
            }
        }
        let reached = streams
            .into_iter()
            .map(|stream| (stream, after.get(stream)))
            .collect();
        Ok(Box::new(Follower {
            shared: Arc::clone(&self.shared),
            scope,
            reached,
        }))
    }
}

struct Member {
    shared: Arc<Shared>,
    count: StreamCount,
    consumer: String,
    id: u64,
}

#[async_trait]
impl Deliveries for Member {
    async fn next(&mut self) -> Delivery {
        let (consumer, member, count) = (&self.consumer, self.id, self.count);
        let (key, delivered, message) = self
            .shared
            .until(|state| state.next_delivery(consumer, member, count))
            .await;
        // It may come again.
        self.shared.deadlines.notify_one();
        Delivery {
            message: Arc::new(message),
            delivered,
            pending: None,
            received: Instant::now(),
            handle: Arc::new(Handle {
                shared: Arc::clone(&self.shared),
                consumer: self.consumer.clone(),
                key,
            }),
        }
    }

    fn unanswered(&self) -> Unanswered {
        let (shared, consumer, member) = (Arc::clone(&self.shared), self.consumer.clone(), self.id);
        Box::new(move || shared.lock().held_by(&consumer, member))
    }

    async fn stop(self: Box<Self>) -> Result<(), Unavailable> {
        self.shared.lock().leave(&self.consumer, self.id);
        self.shared.changed();
        Ok(())
    }
}

struct Handle {
    shared: Arc<Shared>,
    consumer: String,
    key: Key,
}

#[async_trait]
impl Acknowledge for Handle {
    async fn ack(&self) -> Result<(), Unavailable> {
        self.shared.lock().ack(&self.consumer, self.key);
        Ok(())
    }

    async fn in_progress(&self) -> Result<(), Unavailable> {
        self.shared.lock().postpone(&self.consumer, self.key, None);
        // It comes again at another instant than before, which may have passed unused.
        self.shared.deadlines.notify_one();
        Ok(())
    }

    /// What is held here comes to another member after `ack_wait` anyway.
    fn release(&self) {}

    async fn retry_later(&self, delay: Duration) -> Result<(), Unavailable> {
        self.shared
            .lock()
            .postpone(&self.consumer, self.key, Some(delay));
        self.shared.changed();
        self.shared.deadlines.notify_one();
        Ok(())
    }
}

struct Follower {
    shared: Arc<Shared>,
    scope: Scope,
    reached: BTreeMap<StreamId, u64>,
}

impl Follower {
    fn take(state: &State, scope: &Scope, reached: &mut BTreeMap<StreamId, u64>) -> Option<Entry> {
        for (&stream, reached) in reached {
            for (sequence, stored) in state.after(stream, *reached) {
                *reached = sequence;
                if is_in(scope, &stored.raw) {
                    return Some(stored.entry(Position { stream, sequence }));
                }
            }
        }
        None
    }
}

fn is_in(scope: &Scope, raw: &Raw) -> bool {
    match scope {
        Scope::Everything | Scope::Stream(_) => true,
        Scope::Aggregate(aggregate) => belongs_to(raw, aggregate),
        Scope::Live(names) => raw
            .subject
            .parse::<Subject>()
            .is_ok_and(|subject| names.contains(&subject.event)),
    }
}

#[async_trait]
impl Tail for Follower {
    async fn next(&mut self) -> Entry {
        let (scope, reached) = (&self.scope, &mut self.reached);
        self.shared
            .until(|state| Self::take(state, scope, reached))
            .await
    }

    async fn next_batch(&mut self, max: usize) -> Vec<Entry> {
        let mut batch = vec![self.next().await];
        let state = self.shared.lock();
        while batch.len() < max {
            match Self::take(&state, &self.scope, &mut self.reached) {
                Some(entry) => batch.push(entry),
                None => break,
            }
        }
        batch
    }
}
