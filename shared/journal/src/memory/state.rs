//! What the broker would hold.

mod archived;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use contracts::{
    canonical::Digest,
    position::{Position, StreamId},
    record::Recorded,
    subject::AggregateId,
    time::Timestamp,
};

use super::calls::Server;
use crate::{
    delivery::{ConsumerSpec, Message, Purpose},
    history::Read,
    layout::StreamCount,
    stored::{Entry, Raw},
    timer::Timer,
};

/// What will wake an aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waking {
    /// A message not yet acknowledged, or a timer that stands for one.
    Message,
    /// Nothing but timers, by their keys.
    Timers(BTreeSet<String>),
}

pub(super) struct State {
    now: Timestamp,
    streams: BTreeMap<StreamId, Vec<Stored>>,
    /// What is live.
    subjects: BTreeMap<String, (StreamId, u64)>,
    /// What is archived and purged, by subject and sequence: guards no longer see it, so a subject
    /// may be there twice.
    archived: BTreeMap<(String, u64), StreamId>,
    /// Up to which sequence that is.
    purged: BTreeMap<StreamId, u64>,
    pub objects: BTreeMap<Digest, Bytes>,
    /// By slot: arming again replaces.
    armed: BTreeMap<String, Armed>,
    /// Fired and not acknowledged, by a sequence of their own.
    fired: BTreeMap<u64, Timer>,
    timers_fired: u64,
    consumers: BTreeMap<String, Consumer>,
    pub servers: Vec<Server>,
    pub members: u64,
    pub epoch: u64,
    pub lag: usize,
    pub lost_answers: u32,
    pub failing_appends: u32,
    pub lost_acks: u32,
    pub observer: Option<Observer>,
}

/// Is shown every message the moment it is stored.
type Observer = Box<dyn Fn(&Entry) + Send + Sync>;

/// A message of a stream.
pub(super) struct Stored {
    at: Timestamp,
    pub raw: Raw,
    /// What it says, where it can be read: decoded once, as many read it.
    recorded: Option<Recorded>,
}

impl Stored {
    fn new(at: Timestamp, raw: Raw) -> Self {
        let recorded = raw.decode().ok();
        Self { at, raw, recorded }
    }

    pub fn entry(&self, position: Position) -> Entry {
        let recorded = match &self.recorded {
            Some(recorded) => Ok(recorded.clone()),
            None => self.raw.decode(),
        };
        Entry {
            position,
            stored_at: Some(self.at),
            raw: self.raw.clone(),
            recorded,
        }
    }
}

struct Armed {
    fires_at: Timestamp,
    timer: Timer,
}

/// A durable consumer.
struct Consumer {
    spec: ConsumerSpec,
    /// The last sequence looked at, per stream.
    reached: BTreeMap<StreamId, u64>,
    unacknowledged: BTreeMap<Key, Unacknowledged>,
}

/// The stream (nothing for timers) and the sequence of a message.
pub(super) type Key = (Option<StreamId>, u64);

struct Unacknowledged {
    delivered: u64,
    /// Who has it, until it is given back.
    member: Option<u64>,
    /// When it may be given to anyone.
    again_at: Timestamp,
}

impl Consumer {
    fn wants(&self, raw: &Raw) -> bool {
        wants(&self.spec, raw)
    }
}

fn wants(spec: &ConsumerSpec, raw: &Raw) -> bool {
    let event = raw.subject.splitn(7, '.').last().unwrap_or_default();
    spec.events.iter().any(|wanted| wanted.as_str() == event)
}

impl State {
    pub fn empty(now: Timestamp) -> Self {
        Self {
            now,
            streams: BTreeMap::new(),
            subjects: BTreeMap::new(),
            archived: BTreeMap::new(),
            purged: BTreeMap::new(),
            objects: BTreeMap::new(),
            armed: BTreeMap::new(),
            fired: BTreeMap::new(),
            timers_fired: 0,
            consumers: BTreeMap::new(),
            servers: Vec::new(),
            members: 0,
            epoch: 0,
            lag: 0,
            lost_answers: 0,
            failing_appends: 0,
            lost_acks: 0,
            observer: None,
        }
    }

    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Whether a timer fired, or a message may come again.
    pub fn advance(&mut self, to: Timestamp) -> bool {
        let before = self.now;
        self.now = self.now.max(to);
        let again = self
            .consumers
            .values()
            .flat_map(|consumer| consumer.unacknowledged.values())
            .any(|message| before < message.again_at && message.again_at <= self.now);
        self.fire() || again
    }

    pub fn unacknowledged(&self) -> Vec<String> {
        let all = self.consumers.iter().flat_map(|(name, consumer)| {
            consumer
                .unacknowledged
                .iter()
                .map(move |(key, message)| (name, *key, message))
        });
        all.map(|(name, key, message)| {
            let what = match self.message(key) {
                Some(Message::Event { recorded, .. }) => recorded.subject.to_string(),
                Some(Message::Timer(timer)) => format!("timer `{}`", timer.key),
                Some(Message::Letter { raw, .. } | Message::Unreadable { raw, .. }) => raw.subject,
                None => "what is gone".to_owned(),
            };
            format!(
                "{name} has {what}, delivered {} times, again at {}",
                message.delivered, message.again_at
            )
        })
        .collect()
    }

    /// How many messages of a consumer one member has and has not answered.
    pub fn held_by(&self, consumer: &str, member: u64) -> usize {
        let messages = self
            .consumers
            .get(consumer)
            .into_iter()
            .flat_map(|consumer| consumer.unacknowledged.values());
        messages
            .filter(|message| message.member == Some(member))
            .count()
    }

    pub fn deliver_everything_again(&mut self) {
        for consumer in self.consumers.values_mut() {
            consumer.reached.clear();
            consumer
                .unacknowledged
                .retain(|(stream, _), _| stream.is_none());
        }
        self.deliver_again();
    }

    pub fn deliver_again(&mut self) -> bool {
        let now = self.now;
        let mut some = false;
        for consumer in self.consumers.values_mut() {
            for message in consumer.unacknowledged.values_mut() {
                message.again_at = now;
                some = true;
            }
        }
        some
    }

    pub fn will_wake(&self, aggregate: &AggregateId, count: StreamCount) -> Waking {
        let armed = self.armed.values().map(|armed| &armed.timer);
        let (put_off, armed): (Vec<_>, Vec<_>) = armed
            .filter(|timer| timer.aggregate == *aggregate)
            .partition(|timer| timer.wake.is_some());
        let fired = self.fired.values();
        let mut fired = fired.filter(|timer| timer.aggregate == *aggregate);
        if !put_off.is_empty() || fired.next().is_some() || self.is_pending(aggregate, count) {
            return Waking::Message;
        }
        Waking::Timers(armed.iter().map(|timer| timer.key.clone()).collect())
    }

    /// Whether a consumer that wants it has not acknowledged a message of an aggregate.
    fn is_pending(&self, aggregate: &AggregateId, count: StreamCount) -> bool {
        let stream = count.stream_of(aggregate);
        let prefix = format!("{}.", aggregate.prefix());
        self.beginning_with(&prefix)
            .iter()
            .any(|(sequence, stored)| {
                self.consumers.values().any(|consumer| {
                    let reached = consumer.reached.get(&stream).copied().unwrap_or(0);
                    consumer.wants(&stored.raw)
                        && (*sequence > reached
                            || consumer
                                .unacknowledged
                                .contains_key(&(Some(stream), *sequence)))
                })
            })
    }

    pub fn is_at_rest(&self, count: StreamCount) -> bool {
        self.fired.is_empty()
            && self.consumers.values().all(|consumer| {
                let nothing_new = || {
                    count.streams().into_iter().all(|stream| {
                        let reached = consumer.reached.get(&stream).copied().unwrap_or(0);
                        !self
                            .after(stream, reached)
                            .any(|(_, stored)| consumer.wants(&stored.raw))
                    })
                };
                consumer.unacknowledged.is_empty() && nothing_new()
            })
    }

    /// What no member has been given yet, of what makes a service start new work.
    pub fn waiting(&self, streams: &[StreamId]) -> u64 {
        let consumers = self.consumers.values();
        let driving = consumers.filter(|consumer| consumer.spec.purpose == Purpose::Drive);
        let unseen = driving.flat_map(|consumer| {
            streams.iter().flat_map(|stream| {
                let reached = consumer.reached.get(stream).copied().unwrap_or(0);
                let after = self.after(*stream, reached);
                after.filter(|(_, stored)| consumer.wants(&stored.raw))
            })
        });
        unseen.count() as u64
    }

    pub fn next_instant(&self) -> Option<Timestamp> {
        let timers = self.armed.values().map(|armed| armed.fires_at);
        let deliveries = self
            .consumers
            .values()
            .flat_map(|consumer| consumer.unacknowledged.values())
            .map(|message| message.again_at)
            .filter(|again_at| *again_at > self.now);
        timers.chain(deliveries).min()
    }

    pub fn store(&mut self, stream: StreamId, raw: Raw) -> Position {
        let messages = self.streams.entry(stream).or_default();
        let position = Position {
            stream,
            sequence: messages.len() as u64 + 1,
        };
        self.subjects
            .insert(raw.subject.clone(), (stream, position.sequence));
        let stored = Stored::new(self.now, raw);
        if let Some(observer) = &self.observer {
            observer(&stored.entry(position));
        }
        messages.push(stored);
        position
    }

    pub fn end(&self, stream: StreamId) -> u64 {
        self.streams
            .get(&stream)
            .map_or(0, |messages| messages.len() as u64)
    }

    /// What is stored after a sequence.
    pub fn after(&self, stream: StreamId, after: u64) -> impl Iterator<Item = (u64, &Stored)> {
        let messages = self.streams.get(&stream).map_or(&[][..], Vec::as_slice);
        let skipped = usize::try_from(after).unwrap_or(usize::MAX);
        (after + 1..).zip(messages.iter().skip(skipped))
    }

    /// The last sequence that a reader sees.
    pub fn visible_end(&self, stream: StreamId, read: Read) -> u64 {
        let hidden = match read {
            Read::Nearest => self.lag as u64,
            Read::Confirmed => 0,
        };
        self.end(stream).saturating_sub(hidden)
    }

    pub fn arm(&mut self, timer: Timer) {
        let slot = timer.slot();
        if timer.stays && self.armed.contains_key(&slot) {
            return;
        }
        let fires_at = self.now.plus_ms(timer.after_ms);
        self.armed.insert(slot, Armed { fires_at, timer });
        self.fire();
    }

    /// Whether one fired.
    fn fire(&mut self) -> bool {
        let now = self.now;
        let mut due: Vec<_> = self
            .armed
            .extract_if(.., |_, armed| armed.fires_at <= now)
            .collect();
        due.sort_by(|(a_slot, a), (b_slot, b)| (a.fires_at, a_slot).cmp(&(b.fires_at, b_slot)));
        let some = !due.is_empty();
        for (_, armed) in due {
            self.timers_fired += 1;
            self.fired.insert(self.timers_fired, armed.timer);
        }
        some
    }

    pub fn join(&mut self, spec: ConsumerSpec) -> u64 {
        self.members += 1;
        let consumer = self
            .consumers
            .entry(spec.name())
            .or_insert_with(|| Consumer {
                spec: spec.clone(),
                reached: BTreeMap::new(),
                unacknowledged: BTreeMap::new(),
            });
        consumer.spec = spec;
        self.members
    }

    /// The next message for a member of a consumer: one that comes again before a new one.
    pub fn next_delivery(
        &mut self,
        consumer: &str,
        member: u64,
        count: StreamCount,
    ) -> Option<(Key, u64, Message)> {
        let key = self.next_key(consumer, count)?;
        let message = self.message(key)?;
        let again_at = {
            let wait = self.consumers.get(consumer)?.spec.ack_wait;
            self.now.plus_ms(millis(wait))
        };
        let consumer = self.consumers.get_mut(consumer)?;
        let entry = consumer
            .unacknowledged
            .entry(key)
            .or_insert(Unacknowledged {
                delivered: 0,
                member: None,
                again_at,
            });
        entry.delivered += 1;
        entry.member = Some(member);
        entry.again_at = again_at;
        Some((key, entry.delivered, message))
    }

    fn next_key(&mut self, name: &str, count: StreamCount) -> Option<Key> {
        let consumer = self.consumers.get_mut(name)?;
        let again = consumer
            .unacknowledged
            .iter()
            .find(|(_, message)| message.again_at <= self.now);
        if let Some((key, _)) = again {
            return Some(*key);
        }
        if consumer.spec.timers {
            let new = self.fired.iter().find(|(sequence, timer)| {
                timer.service == consumer.spec.service
                    && !consumer.unacknowledged.contains_key(&(None, **sequence))
            });
            if let Some((sequence, _)) = new {
                return Some((None, *sequence));
            }
        }
        for stream in count.streams() {
            let messages = self.streams.get(&stream).map_or(&[][..], Vec::as_slice);
            let reached = consumer.reached.entry(stream).or_default();
            // What is purged is delivered to nobody.
            *reached = (*reached).max(self.purged.get(&stream).copied().unwrap_or(0));
            let unseen = (1..).zip(messages).skip(usize::try_from(*reached).ok()?);
            for (sequence, stored) in unseen {
                *reached = sequence;
                if wants(&consumer.spec, &stored.raw) {
                    return Some((Some(stream), sequence));
                }
            }
        }
        None
    }

    fn message(&self, (stream, sequence): Key) -> Option<Message> {
        let Some(stream) = stream else {
            return self.fired.get(&sequence).cloned().map(Message::Timer);
        };
        let (_, stored) = self.after(stream, sequence - 1).next()?;
        let position = Position { stream, sequence };
        let Entry { raw, recorded, .. } = stored.entry(position);
        Some(match recorded {
            Ok(recorded) => Message::Event { position, recorded },
            Err(error) => Message::Unreadable {
                position: Some(position),
                raw,
                error,
            },
        })
    }

    pub fn ack(&mut self, consumer: &str, key: Key) {
        if self.lost_acks > 0 {
            self.lost_acks -= 1;
            return;
        }
        if let Some(consumer) = self.consumers.get_mut(consumer) {
            consumer.unacknowledged.remove(&key);
        }
        if let (None, sequence) = key {
            self.fired.remove(&sequence);
        }
    }

    /// Lets a message wait for `delay`, or for the consumer's `ack_wait`.
    pub fn postpone(&mut self, consumer: &str, key: Key, delay: Option<Duration>) {
        let Some(consumer) = self.consumers.get_mut(consumer) else {
            return;
        };
        let wait = delay.unwrap_or(consumer.spec.ack_wait);
        if let Some(message) = consumer.unacknowledged.get_mut(&key) {
            message.again_at = self.now.plus_ms(millis(wait));
            if delay.is_some() {
                message.member = None;
            }
        }
    }

    /// Gives back everything a member has.
    pub fn leave(&mut self, consumer: &str, member: u64) {
        let Some(consumer) = self.consumers.get_mut(consumer) else {
            return;
        };
        for message in consumer.unacknowledged.values_mut() {
            if message.member == Some(member) {
                message.member = None;
                message.again_at = self.now;
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
