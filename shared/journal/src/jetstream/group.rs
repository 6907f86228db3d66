//! Appends of concurrent executions in one commit, for logs in which every commit is an fsync.
//!
//! One server fsyncs each append by itself, one after the other in a stream. What comes while a
//! stream commits is gathered, and the next commit is of all of it: one atomic batch. Nobody waits
//! for others to come. Where nothing is being committed an event goes at once, and goes alone.
//!
//! A batch is stored whole or not at all, and nothing relies on that: when it is refused, which the
//! broker does without saying for which event, or when nobody knows, each of its events goes its own
//! way, and is judged by itself.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    convert::Infallible,
    sync::{Arc, OnceLock},
};

use async_nats::HeaderMap;
use bytes::Bytes;
use contracts::{position::StreamId, subject::AggregateId};
use serde::Deserialize;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout},
};

use super::{
    append::BEGUN_AGE_MAX,
    link::{CallError, Link, TRY_TIMEOUT, parse_answer},
};

/// From how many events on a batch is sent; fewer go one by one, all at once.
///
/// A batch has a fixed price: the server makes a store for it and fsyncs four times, where an event
/// by itself is fsynced once. With an fsync of 0.2 ms a batch takes 3 ms and an event 0.25 ms, so that
/// it pays from 12 events on; with 1.7 ms it takes 10 ms and an event 1.9 ms, and it pays from 6 on.
/// At 8 the loss is small on either: 2,700 appends/s instead of 3,800 with the quick disk, 800
/// instead of 520 with the slow one. On three replicas 16 events in a group are between a fifth and a
/// half more a second than 16 by themselves.
const GROUP_EVENTS_MIN: usize = 8;

/// How many events a batch may have; the server takes 1,000.
///
/// Of 64, 128, 256 and 512 events in one batch come 10,000, 18,600, 26,000 and 33,000 appends/s.
/// Twice as many bring a fifth more, and the stream does nothing else for twice as long: it is 15 ms
/// at 512 with a quick disk, and 80 ms with a busy one.
const GROUP_EVENTS_MAX: usize = 512;

/// How large the events of a batch may be together, unless one alone is larger. 512 events of the
/// usual size are about half of it.
const GROUP_BYTES_MAX: usize = 1024 * 1024;

/// How many events of one stream may wait while it commits; who comes then waits to be let in.
const WAITING_EVENTS_MAX: usize = 1_024;

/// An event as it is sent.
pub(super) struct Guarded {
    pub aggregate: AggregateId,
    pub subject: String,
    /// With its guard.
    pub headers: HeaderMap,
    pub payload: Bytes,
    /// Of all that is sent.
    pub bytes: usize,
}

/// What became of an event in a group.
pub(super) enum Outcome {
    /// Its sequence.
    Stored(u64),
    /// It goes its own way. Where there is a turn, the next commit waits for its first try.
    Alone(Option<Turn>),
}

/// What became of a group, for whoever counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Stored,
    /// The broker will not have it as it is; each event was sent by itself.
    Refused,
    /// No usable answer; each event was sent by itself.
    Unknown,
}

/// Told how many events a group had, and what became of it.
pub(super) type Told = Arc<OnceLock<Box<dyn Fn(u32, Fate) + Send + Sync>>>;

/// A stream commits for as long as somebody holds this.
#[derive(Clone)]
pub(super) struct Turn {
    _held: Arc<oneshot::Sender<Infallible>>,
}

/// One line for each stream, with one commit at a time. The server makes commits of one stream one
/// after the other, so that two at once only share the events: 64 in flight as two groups of 32 are
/// 40 % fewer a second than as one of 64, and 256 as two of 128 are 37 % fewer.
pub(super) struct Groups {
    lines: BTreeMap<StreamId, mpsc::Sender<Waiting>>,
    /// Held by every line until it is empty.
    closing: watch::Sender<bool>,
    pub told: Told,
}

struct Waiting {
    event: Guarded,
    /// When its append began.
    begun: Instant,
    /// Whether the group before has an event of the same aggregate.
    follows: bool,
    answer: oneshot::Sender<Outcome>,
}

impl Groups {
    pub fn start(link: &Link, streams: impl IntoIterator<Item = StreamId>) -> Self {
        let (closing, _) = watch::channel(false);
        let told = Told::default();
        let lines = streams.into_iter().map(|stream| {
            let (join, joining) = mpsc::channel(WAITING_EVENTS_MAX);
            let line_of_stream = Line {
                link: link.clone(),
                batches: Batches::of(link),
                joining,
                left: VecDeque::new(),
                told: Arc::clone(&told),
            };
            tokio::spawn(line_of_stream.run(closing.subscribe()));
            (stream, join)
        });
        Self {
            lines: lines.collect(),
            closing,
            told,
        }
    }

    /// Waits for the commit that this event becomes part of.
    pub async fn join(&self, stream: StreamId, event: Guarded, begun: Instant) -> Outcome {
        let alone = Outcome::Alone(None);
        let Some(line) = self.lines.get(&stream) else {
            return alone;
        };
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            event,
            begun,
            follows: false,
            answer,
        };
        match line.send(waiting).await {
            Ok(()) => answered.await.unwrap_or(alone),
            Err(_) => alone,
        }
    }

    /// Commits what waits, or as much of it as there is time for. What comes from now on goes alone.
    pub async fn close(&self) {
        self.closing.send_replace(true);
        let _ = timeout(TRY_TIMEOUT, self.closing.closed()).await;
    }
}

/// What waits for one stream.
struct Line {
    link: Link,
    batches: Batches,
    joining: mpsc::Receiver<Waiting>,
    /// What had no place in the group before: first in the next.
    left: VecDeque<Waiting>,
    told: Told,
}

impl Line {
    async fn run(mut self, mut closing: watch::Receiver<bool>) {
        loop {
            if self.left.is_empty() {
                let next = tokio::select! {
                    next = self.joining.recv() => next,
                    // Nobody can join any more, and what waits is still there to be taken.
                    _ = closing.wait_for(|closing| *closing), if !self.joining.is_closed() => {
                        self.joining.close();
                        continue;
                    }
                };
                let Some(next) = next else { return };
                self.left.push_back(next);
            }
            let round = self.take();
            self.commit(round).await;
            // Whoever was answered may have its next event ready: not the first of them alone.
            tokio::task::yield_now().await;
        }
    }

    /// What is committed next.
    ///
    /// INVARIANT: a group has no two events of one aggregate. The server would take one version
    /// twice; and a version that does not wait for the one before it is most likely another
    /// writer's, which would have the whole group refused.
    fn take(&mut self) -> Round {
        let mut round = Round::default();
        let (mut aggregates, mut bytes) = (BTreeSet::new(), 0);
        let mut left = VecDeque::new();
        while round.group.len() < GROUP_EVENTS_MAX && left.len() < GROUP_EVENTS_MAX {
            let next = self.left.pop_front();
            let Some(next) = next.or_else(|| self.joining.try_recv().ok()) else {
                break;
            };
            // Its caller has given up: it is to be unknown no longer than it must.
            if next.answer.is_closed() {
                continue;
            }
            // By itself it is refused: what its guard stands for may be purged by now.
            if next.begun.elapsed() > BEGUN_AGE_MAX {
                round.alone.push(next);
                continue;
            }
            let is_first = aggregates.insert(next.event.aggregate.clone());
            if next.follows {
                round.alone.push(next);
                continue;
            }
            if !is_first {
                left.push_back(Waiting {
                    follows: true,
                    ..next
                });
                continue;
            }
            bytes += next.event.bytes;
            if bytes > GROUP_BYTES_MAX && !round.group.is_empty() {
                left.push_back(next);
                break;
            }
            round.group.push(next);
        }
        left.append(&mut self.left);
        self.left = left;
        round
    }

    async fn commit(&mut self, round: Round) {
        let Round {
            mut group,
            mut alone,
        } = round;
        if group.len() < GROUP_EVENTS_MIN {
            alone.append(&mut group);
        }
        let (held, ended) = oneshot::channel();
        let turn = Turn {
            _held: Arc::new(held),
        };
        dismiss(alone.into_iter().map(|it| it.answer), Some(&turn));
        if !group.is_empty() {
            self.commit_together(group, &turn).await;
        }
        drop(turn);
        // Whoever has a turn and does nothing with it, as a future that is not polled, holds up nobody
        // for longer than a try takes.
        let _ = timeout(TRY_TIMEOUT, ended).await;
    }

    async fn commit_together(&mut self, group: Vec<Waiting>, turn: &Turn) {
        let (events, answers): (Vec<_>, Vec<_>) =
            group.into_iter().map(|it| (it.event, it.answer)).unzip();
        let count = events.len();
        let batch = self.batches.next_name();
        let sending = send(&self.link, &batch, events);
        let sent = timeout(TRY_TIMEOUT, sending).await;
        let sent = sent.unwrap_or(Err(CallError::Timeout));
        let fate = match &sent {
            Ok(_) => Fate::Stored,
            Err(CallError::Api(_)) => Fate::Refused,
            Err(_) => Fate::Unknown,
        };
        if let Some(tell) = self.told.get() {
            tell(u32::try_from(count).unwrap_or(u32::MAX), fate);
        }
        match sent {
            Ok(first) => {
                for (sequence, answer) in (first..).zip(answers) {
                    let _ = answer.send(Outcome::Stored(sequence));
                }
            }
            Err(error) => {
                tracing::debug!(%error, events = count, "a group is not stored as one");
                // Where nobody knows, each may be long in finding out: others do not wait for that.
                let turn = (fate == Fate::Refused).then_some(turn);
                dismiss(answers, turn);
            }
        }
    }
}

#[derive(Default)]
struct Round {
    group: Vec<Waiting>,
    /// Beside the group, not in it.
    alone: Vec<Waiting>,
}

/// Lets each go its own way.
fn dismiss(answers: impl IntoIterator<Item = oneshot::Sender<Outcome>>, turn: Option<&Turn>) {
    for answer in answers {
        // Who has gone meanwhile needs no turn.
        let _ = answer.send(Outcome::Alone(turn.cloned()));
    }
}

/// Sends events as one atomic batch: the sequence of the first.
async fn send(link: &Link, batch: &str, events: Vec<Guarded>) -> Result<u64, CallError> {
    #[derive(Deserialize)]
    struct Committed {
        seq: u64,
        count: u64,
    }
    let count = events.len();
    let mut answer = None;
    for (number, event) in (1..).zip(events) {
        let Guarded {
            subject,
            mut headers,
            payload,
            ..
        } = event;
        headers.insert("Nats-Batch-Id", batch);
        headers.insert("Nats-Batch-Sequence", number.to_string());
        if number < count {
            link.publish(subject, headers, payload).await?;
        } else {
            headers.insert("Nats-Batch-Commit", "1");
            answer = Some(link.call(&subject, Some(headers), payload).await?);
        }
    }
    let answer = answer.map(|answer| answer.payload).unwrap_or_default();
    let committed: Committed = parse_answer(&answer)?;
    if usize::try_from(committed.count) != Ok(count) {
        let text = format!("{} of {count} events were committed", committed.count);
        return Err(CallError::Answer(text));
    }
    Ok(committed.seq.saturating_sub(committed.count) + 1)
}

/// Names for batches.
///
/// INVARIANT: no name is used twice. What is left of a batch that was given up, on the server or on
/// the way, would become part of another one.
struct Batches {
    /// Drawn anew for each line.
    prefix: String,
    made: u64,
}

impl Batches {
    fn of(link: &Link) -> Self {
        let inbox = link.client.new_inbox();
        let drawn = inbox.rsplit_once('.').map_or(&*inbox, |(_, drawn)| drawn);
        Self {
            prefix: drawn.to_owned(),
            made: 0,
        }
    }

    fn next_name(&mut self) -> String {
        self.made += 1;
        format!("{}-{}", self.prefix, self.made)
    }
}
