//! Writing the archive, and purging what it has. Each stage may be done again, by this archiver or
//! by another at the same time: what is written once is found to be the same.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use contracts::{canonical::Digest, position::StreamId};
use futures::{StreamExt as _, stream};
use serde::Deserialize;
use serde_json::json;

use super::{
    ConnectError, ConnectOptions, Ends, JetStreamJournal,
    direct::READ_PATIENCE,
    link::{CallError, patiently},
    pushed::Pushed,
};
use crate::{
    Journal as _, Unavailable,
    archive::{
        ArchiveError, Due, LiveWindow, Purged, Window,
        seal::{Seal, Span, digest},
    },
    delivery,
    layout::ARCHIVE,
    stored::Kept,
};

mod sealing;

pub use self::sealing::Sealing;

/// Parts that are read at once to verify a window: at most 16 MiB.
const PARTS_AT_ONCE: usize = 32;

/// What is archived of one log, and what is purged of it.
pub struct Archiver {
    journal: JetStreamJournal,
    live: LiveWindow,
    /// Nothing is purged that one of these durable consumers has not acknowledged.
    consumers: Vec<String>,
    /// Where the window stands that was read last: the next one is read on from there.
    reading: Mutex<Option<Reading>>,
    /// Windows that are sealed and not purged, what was read of them in the log, and on which
    /// connection: after another, the log may be another one.
    read: Mutex<BTreeMap<(StreamId, u64), (Digest, u64)>>,
}

/// A stream that is being read.
struct Reading {
    pushed: Pushed,
    stream: StreamId,
    /// The next sequence.
    next: u64,
}

/// How far a stream is archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The first sequence that is live, or would be.
    pub first: u64,
    pub last: u64,
    /// How many windows are sealed, from the first one on.
    pub sealed: u64,
}

/// A window of which the archive has all that the log had.
#[derive(Debug, PartialEq, Eq)]
pub struct Verified {
    stream: StreamId,
    window: Window,
}

impl Archiver {
    /// Of the services' consumers, as the log has them.
    pub async fn connect(options: &ConnectOptions, live: LiveWindow) -> Result<Self, ConnectError> {
        let consumers = delivery::on_executions()
            .map(|(service, purpose, event)| delivery::name_for(service, purpose, event));
        Self::heeding(options, live, consumers.collect()).await
    }

    /// Of other consumers.
    pub async fn heeding(
        options: &ConnectOptions,
        live: LiveWindow,
        consumers: Vec<String>,
    ) -> Result<Self, ConnectError> {
        Ok(Self {
            journal: JetStreamJournal::connect(options).await?,
            live,
            consumers,
            reading: Mutex::default(),
            read: Mutex::default(),
        })
    }

    /// Reads no further ahead: for when nothing is due.
    pub fn rest(&self) {
        *lock(&self.reading) = None;
    }

    pub async fn close(&self) {
        self.journal.close().await;
    }

    /// How many bytes the broker stores of all streams, and how many it may where the account has a
    /// limit.
    pub async fn broker_store(&self) -> Result<(u64, Option<u64>), Unavailable> {
        #[derive(Deserialize)]
        struct Info {
            storage: u64,
            limits: Limits,
        }
        #[derive(Deserialize)]
        struct Limits {
            max_storage: i64,
        }
        let nothing = serde_json::Value::Null;
        let info = self
            .journal
            .link
            .api_patiently("INFO", &nothing, READ_PATIENCE);
        let info: Info = info
            .await
            .map_err(|error| Unavailable::new("ask how much is stored", error))?;
        let max = u64::try_from(info.limits.max_storage).ok();
        Ok((info.storage, max.filter(|max| *max > 0)))
    }

    /// The streams that are archived.
    pub fn streams(&self) -> Vec<StreamId> {
        let streams = self.journal.streams().into_iter();
        streams
            .filter(|stream| matches!(stream, StreamId::Log(_)))
            .collect()
    }

    pub async fn standing(&self, stream: StreamId) -> Result<Standing, ArchiveError> {
        let Ends {
            first_seq,
            last_seq,
        } = self.journal.ends_of(stream).await?;
        let filter = Seal::filter(stream);
        // Each is written after the one before it.
        let newest = patiently(READ_PATIENCE, || {
            self.journal.last_message(ARCHIVE, &filter)
        });
        let newest = newest.await.map_err(|error| asking(stream, error))?;
        let newest = newest.and_then(|(_, raw)| Seal::index_of(&raw.subject));
        Ok(Standing {
            first: first_seq.max(1),
            last: last_seq,
            sealed: newest.map_or(0, |index| index + 1),
        })
    }

    /// The first window of which something is live.
    pub fn first_live(&self, standing: &Standing) -> u64 {
        self.journal.window.window_of(standing.first).index
    }

    /// When a window of a stream that ends at `last` has left the live window.
    pub async fn due(&self, stream: StreamId, index: u64, last: u64) -> Result<Due, ArchiveError> {
        let window = self.journal.window.window(index);
        let needed = window.last + self.live.events();
        if last < needed {
            return Ok(Due::AfterEvents(needed - last));
        }
        if self.live.age().is_zero() {
            return Ok(Due::Now);
        }
        let request = json!({ "seq": window.last });
        let name = stream.name();
        let found = patiently(READ_PATIENCE, || {
            self.journal.leader_message(&name, &request)
        });
        let found = found.await.map_err(|error| asking(stream, error))?;
        let Some(stored_at) = found.and_then(|found| found.stored_at) else {
            // It is purged, or missing, which who reads the window says.
            return Ok(Due::Now);
        };
        let now = self.journal.time.now(&self.journal.link).await;
        let now = now.map_err(|error| asking(stream, error))?;
        let age = Duration::from_millis(now.since_ms(stored_at));
        Ok(match self.live.age().checked_sub(age) {
            Some(left) if !left.is_zero() => Due::AfterTime(left),
            Some(_) | None => Due::Now,
        })
    }

    /// What is live from one sequence up to another, as one consumer is sent it, who may go on with the
    /// next window; it begins later where it is purged, and may end with what comes after.
    async fn live(
        &self,
        stream: StreamId,
        first: u64,
        last: u64,
    ) -> Result<Vec<Kept>, ArchiveError> {
        let before = lock(&self.reading).take();
        let goes_on = |it: &Reading| it.stream == stream && it.next == first;
        if let Some(before) = before.filter(goes_on)
            && let Ok(read) = self.read_on(before, last).await
        {
            return Ok(read);
        }
        let begin = || Pushed::begin(&self.journal.link, stream, first - 1, &[]);
        let reading = async {
            let reading = Reading {
                pushed: patiently(READ_PATIENCE, begin).await?,
                stream,
                next: first,
            };
            self.read_on(reading, last).await
        };
        reading.await.map_err(|error| asking(stream, error))
    }

    async fn read_on(&self, mut reading: Reading, last: u64) -> Result<Vec<Kept>, CallError> {
        let read = reading.pushed.up_to(last).await?;
        if read.last().is_some_and(|kept| kept.sequence == last) {
            reading.next = last + 1;
            *lock(&self.reading) = Some(reading);
        }
        Ok(read)
    }

    async fn part(&self, span: Span) -> Result<(Span, Vec<Kept>), CallError> {
        let events = self.journal.leaders_part(span.at).await?;
        Ok((span, events))
    }

    /// Whether the archive has all of a sealed window, read through its leader, and the same of all
    /// that is still live: as this archiver read it when it sealed it, or else read again.
    pub async fn verify(&self, stream: StreamId, index: u64) -> Result<Verified, ArchiveError> {
        let window = self.journal.window.window(index);
        let differs = |reason: String| ArchiveError::Differs {
            stream,
            first: window.first,
            reason,
        };
        let seal = self.journal.leaders_seal(stream, window).await;
        let seal = seal.map_err(|error| asking(stream, error))?;
        let seal = seal.ok_or(ArchiveError::OutOfOrder {
            stream,
            index,
            doing: "verified",
        })?;
        let mut hashes = BTreeMap::new();
        let reading = seal.parts.into_iter().map(|span| self.part(span));
        let mut reading = stream::iter(reading).buffered(PARTS_AT_ONCE);
        while let Some(read) = reading.next().await {
            let (span, events) = read.map_err(|error| asking(stream, error))?;
            for kept in events {
                if kept.sequence < span.first || kept.sequence > span.last {
                    return Err(differs(format!(
                        "part {} has {} and is to end at {}",
                        span.at, kept.sequence, span.last
                    )));
                }
                hashes.insert(kept.sequence, kept.raw.stored_hash());
            }
        }
        let archived = hashes.keys().copied();
        if let Some((missing, _)) = (window.first..=window.last)
            .zip(archived.map(Some).chain(std::iter::repeat(None)))
            .find(|(expected, archived)| Some(*expected) != *archived)
        {
            return Err(differs(format!("{missing} is not in it")));
        }
        if seal.events != hashes.len() as u64 || seal.digest != digest(hashes.values()) {
            return Err(differs("its seal has another digest".to_owned()));
        }
        let read = lock(&self.read).get(&(stream, index)).copied();
        if read == Some((seal.digest, self.journal.link.epoch())) {
            // This archiver has seen itself that the log says the same, when it sealed the window.
            return Ok(Verified { stream, window });
        }
        let first = self.journal.ends_of(stream).await?.first_seq;
        let first = first.max(window.first);
        if first <= window.last {
            for kept in self.live(stream, first, window.last).await? {
                // Another archiver may have purged all of it meanwhile.
                let is_beyond = kept.sequence > window.last;
                if !is_beyond && hashes.get(&kept.sequence) != Some(&kept.raw.stored_hash()) {
                    return Err(differs(format!("{} is another one", kept.sequence)));
                }
            }
        }
        Ok(Verified { stream, window })
    }

    /// What was read of windows that are purged.
    fn forget(&self, stream: StreamId, through: u64) {
        lock(&self.read).retain(|(of, index), _| *of != stream || *index > through);
    }

    /// Why a window is not purged now, verified or not; nothing where it may be.
    pub async fn holds_up(
        &self,
        stream: StreamId,
        index: u64,
    ) -> Result<Option<Purged>, ArchiveError> {
        let window = self.journal.window.window(index);
        // Taken before consumers are asked: what comes later is theirs to see.
        let ends = self.journal.ends_of(stream).await?;
        if ends.first_seq > window.last {
            self.forget(stream, index);
            return Ok(Some(Purged::UpTo(window.last)));
        }
        if ends.first_seq < window.first {
            return Err(ArchiveError::OutOfOrder {
                stream,
                index,
                doing: "purged",
            });
        }
        let due = self.due(stream, index, ends.last_seq).await?;
        if due != Due::Now {
            return Ok(Some(Purged::StillLive(due)));
        }
        for consumer in &self.consumers {
            let floor = self.floor(stream, consumer, ends.last_seq).await?;
            if floor.is_none_or(|floor| floor < window.last) {
                let consumer = consumer.clone();
                return Ok(Some(Purged::Awaited { consumer, floor }));
            }
        }
        Ok(None)
    }

    /// Purges a window, and nothing but it: those before it are purged before.
    pub async fn purge(&self, verified: Verified) -> Result<Purged, ArchiveError> {
        #[derive(Deserialize)]
        struct Done {
            success: bool,
        }
        let Verified { stream, window } = verified;
        if let Some(held) = self.holds_up(stream, window.index).await? {
            return Ok(held);
        }
        // What is named stays.
        let request = json!({ "seq": window.last + 1 });
        let operation = format!("STREAM.PURGE.{}", stream.name());
        let done: Result<Done, _> = self
            .journal
            .link
            .api_patiently(&operation, &request, READ_PATIENCE)
            .await;
        match done {
            Ok(Done { success: true }) => {
                self.forget(stream, window.index);
                Ok(Purged::UpTo(window.last))
            }
            Ok(Done { success: false }) => Err(purging(stream, "it was not done").into()),
            Err(error) => Err(purging(stream, error).into()),
        }
    }

    /// Up to where a consumer has acknowledged everything; nothing where it was never made.
    async fn floor(
        &self,
        stream: StreamId,
        consumer: &str,
        last: u64,
    ) -> Result<Option<u64>, ArchiveError> {
        #[derive(Deserialize)]
        struct Info {
            ack_floor: Floor,
            num_ack_pending: u64,
            num_pending: u64,
        }
        #[derive(Deserialize)]
        struct Floor {
            stream_seq: u64,
        }
        let link = &self.journal.link;
        let info = link.consumer(&stream.name(), consumer, READ_PATIENCE).await;
        let info: Option<Info> = info.map_err(|error| asking(stream, error))?;
        Ok(info.map(|info| {
            if info.num_pending == 0 && info.num_ack_pending == 0 {
                last
            } else {
                info.ack_floor.stream_seq
            }
        }))
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in it is whole after any panic.
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn asking(stream: StreamId, error: CallError) -> ArchiveError {
    let refused = !error.is_transient();
    let doing = format!("look after the archive of `{}`", stream.name());
    Unavailable::new(doing, error).refused(refused).into()
}

fn purging(
    stream: StreamId,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Unavailable {
    Unavailable::new(format!("purge `{}`", stream.name()), source)
}
