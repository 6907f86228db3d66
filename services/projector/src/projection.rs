//! The projection: from the log to the read model, in order, each event once.
//!
//! The positions are written with the rows, so whatever a crash leaves behind is whole, and the
//! next start goes on after it.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use contracts::position::{Position, Positions};
use domain::catalogue::Catalogue;
use host::{
    engine::{Host, chain},
    health::Why,
    telemetry,
};
use journal::{
    stored::Entry,
    tail::{Scope, TailError},
};
use sqlx::SqliteConnection;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    database::{
        Writer,
        rows::SkillRow,
        waiting::waiting,
        write::{self, WriteError},
    },
    feed::Feeds,
    folds::Folds,
    projection::ahead::{Ahead, Pace},
    reached::Waits,
};

mod ahead;
mod batch;
mod incidents;

/// Events of one transaction while a feed is read: each of its readers keeps twice as many.
const BATCH_WATCHED: usize = 512;

/// How soon after a transaction the next one begins, while events come one by one: a transaction costs
/// as much as a dozen events, and the rows of an execution are written once in each. What comes after
/// a pause does not wait.
const TRANSACTION_EVERY: Duration = Duration::from_millis(20);

/// So many events in one transaction are load: with fewer there is nothing to gain by putting the next
/// one off.
const LOAD_FROM: usize = 64;

/// How soon it begins under load, where nobody waits for it: lists are as much behind.
const TRANSACTION_EVERY_MAX: Duration = Duration::from_millis(100);

/// Between these, the part of the time that transactions may take: one in so many.
const TRANSACTIONS_ONE_IN: u32 = 20;

/// How long to wait after a transaction that failed: a full disk, a backup that holds the file.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How often what executions wait for is counted, while something changes.
const COUNT_EVERY: Duration = Duration::from_secs(2);

/// The topic of readiness for a read model that is being built.
const CATCHING_UP: &str = "catching up";

/// Why the projection does not start, or does not go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "the read model is ahead of the log, which was put back or is another one: delete the \
         database to have it built anew"
    )]
    Ahead(#[source] TailError),
    #[error(
        "the read model was made from another log (`{stored}` is at {sequence} of `{stream}` in \
         it): use the log's own database, or delete this one to have it built anew"
    )]
    OtherLog {
        stream: String,
        sequence: u64,
        stored: String,
    },
    #[error(transparent)]
    Tail(TailError),
    #[error(transparent)]
    Log(#[from] journal::Unavailable),
    #[error(transparent)]
    Database(#[from] WriteError),
}

/// The log on its way to the read model.
pub struct Projection {
    ahead: Ahead,
    model: Model,
    waits: Arc<Waits>,
}

/// The one writer of the read model.
struct Model {
    host: Arc<Host>,
    writer: Writer,
    folds: Folds,
    reached: Positions,
    /// Of the event that was stored last.
    ordinal: i64,
    /// What the log held at the start, until the read model has it.
    catching_up: Option<Positions>,
    /// Of the connection on which the log was last seen to be the one that was read.
    epoch: u64,
    told: watch::Sender<Positions>,
    feeds: Arc<Feeds>,
    /// Whether something was stored since it was counted what executions wait for.
    uncounted: bool,
    counted: Instant,
}

/// What became of a batch.
enum Stored {
    Yes,
    /// The service stops; the batch comes again.
    Stopped,
}

impl Projection {
    /// Goes on where the read model ends; refuses one that is not of this log.
    pub async fn start(
        host: Arc<Host>,
        mut writer: Writer,
        feeds: Arc<Feeds>,
        waits: Arc<Waits>,
    ) -> Result<(Self, watch::Receiver<Positions>), StartError> {
        let (streams, epoch) = (host.journal.streams(), host.journal.epoch());
        let reached = write::positions(&mut writer.connection, &streams).await?;
        let ordinal = write::last_ordinal(&mut writer.connection).await?;
        let tail = host.journal.tail(&reached, Scope::Everything).await;
        let tail = tail.map_err(|error| match error {
            TailError::BeyondEnd { .. } => StartError::Ahead(error),
            TailError::Unavailable(_) => StartError::Tail(error),
        })?;
        for position in reached.iter() {
            is_of_this_log(&host, &mut writer.connection, position).await?;
        }
        builtin_skills(&mut writer.connection).await?;
        let catching_up = unread(&host, &reached).await?;
        if let Some(end) = &catching_up {
            let why = Why::of("the read model is behind the log");
            let why = why.between(reached.clone(), end.clone());
            host.health.unready(CATCHING_UP, why);
        }
        tracing::info!(position = %reached, "the read model goes on");
        host.metrics.reading.reached(&reached);
        let (told, positions) = watch::channel(reached.clone());
        let model = Model {
            host,
            writer,
            folds: Folds::default(),
            reached,
            ordinal,
            catching_up,
            epoch,
            told,
            feeds,
            uncounted: true,
            counted: Instant::now(),
        };
        let projection = Self {
            ahead: Ahead::new(tail),
            model,
            waits,
        };
        Ok((projection, positions))
    }

    /// Runs until shutdown.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let ended = self.follow().await;
        if let Err(error) = write::close(self.model.writer.connection).await {
            // Nothing is lost: the next start finds it beside the file.
            tracing::debug!(reason = chain(&error), "the database was not closed");
        }
        ended
    }

    async fn follow(&mut self) -> anyhow::Result<()> {
        let Self {
            ahead,
            model,
            waits,
        } = self;
        let (shutdown, feeds) = (model.host.shutdown.clone(), Arc::clone(&model.feeds));
        let now = Instant::now();
        let mut pace = Pace {
            due: now,
            due_if_awaited: now,
        };
        loop {
            let is_watched = || feeds.watches.is_watched();
            tokio::select! {
                () = ahead.until_due(pace, waits, is_watched) => {}
                () = model.host.journal.reconnected(model.epoch) => {}
                () = sleep_until(model.counted + COUNT_EVERY), if model.uncounted => {}
                () = shutdown.cancelled() => return Ok(()),
            }
            if let Stored::Stopped = model.confirm().await? {
                return Ok(());
            }
            model.count_waiting().await;
            let max = if is_watched() {
                BATCH_WATCHED
            } else {
                usize::MAX
            };
            let mut entries = ahead.take(max);
            let newer = entries.iter().position(is_newer);
            let beyond = newer.map(|index| entries.split_off(index));
            if !entries.is_empty() {
                let (begun, count) = (Instant::now(), entries.len());
                let stored = tokio::select! {
                    stored = model.store(entries) => stored?,
                    end = ahead.read_on() => match end {},
                };
                if let Stored::Stopped = stored {
                    return Ok(());
                }
                let every = if count < LOAD_FROM {
                    TRANSACTION_EVERY
                } else {
                    (begun.elapsed() * TRANSACTIONS_ONE_IN)
                        .clamp(TRANSACTION_EVERY, TRANSACTION_EVERY_MAX)
                };
                pace = Pace {
                    due: begun + every,
                    due_if_awaited: begun + TRANSACTION_EVERY,
                };
            }
            if let Some(entry) = beyond.and_then(|beyond| beyond.into_iter().next()) {
                let subject = entry.raw.subject;
                tracing::error!(subject, "newer event: upgrade; the read model stands still");
                let why = Why::of("newer event: upgrade").at(entry.position);
                model.host.health.unready("upgrade", why);
                // Only another binary can go on; what is read so far is still served.
                shutdown.cancelled().await;
                return Ok(());
            }
        }
    }
}

impl Model {
    /// After a reconnection, that the log still holds what was read: a broker may come back
    /// without its last events, or with others, and what is written under their numbers then would
    /// never be read.
    async fn confirm(&mut self) -> anyhow::Result<Stored> {
        loop {
            let epoch = self.host.journal.epoch();
            if epoch == self.epoch {
                return Ok(Stored::Yes);
            }
            match self.still_is_of_this_log().await {
                Ok(()) => self.epoch = epoch,
                Err(StartError::Log(error)) => {
                    let reason = chain(&error);
                    tracing::warn!(reason, "the log is not confirmed yet");
                    tokio::select! {
                        () = tokio::time::sleep(RETRY_AFTER) => {}
                        () = self.host.shutdown.cancelled() => return Ok(Stored::Stopped),
                    }
                }
                Err(error) => return Err(error).context("the projection cannot go on"),
            }
        }
    }

    async fn still_is_of_this_log(&mut self) -> Result<(), StartError> {
        for position in self.reached.iter() {
            let Position { stream, sequence } = position;
            let end = self.host.journal.last_sequence(stream).await?;
            if end < sequence {
                let stream = stream.name();
                return Err(StartError::Ahead(TailError::BeyondEnd {
                    stream,
                    after: sequence,
                    end,
                }));
            }
            is_of_this_log(&self.host, &mut self.writer.connection, position).await?;
        }
        Ok(())
    }

    /// Stores a batch, however long that takes, and tells those who wait for it.
    async fn store(&mut self, entries: Vec<Entry>) -> anyhow::Result<Stored> {
        let before = self.reached.clone();
        let standings = loop {
            let error = match self.store_once(&entries).await {
                Ok(Some(standings)) => break standings,
                Ok(None) => return Ok(Stored::Stopped),
                Err(error) => error,
            };
            self.folds.clear();
            match error {
                WriteError::Sql(_) => {}
                WriteError::Json(_) | WriteError::OtherWriter { .. } | WriteError::OtherLog(_) => {
                    return Err(error).context("the projection cannot go on");
                }
            }
            let reason = chain(&error);
            tracing::warn!(reason, "a batch will be stored again");
            let why = Why::of("the database takes nothing now: see the log of the process");
            self.host.health.unready("projection", why);
            tokio::select! {
                () = tokio::time::sleep(RETRY_AFTER) => {}
                () = self.host.shutdown.cancelled() => return Ok(Stored::Stopped),
            }
            if let Err(error) = self.writer.reopen().await {
                tracing::warn!(
                    reason = chain(&error),
                    "the database cannot be opened again yet"
                );
            }
        };
        self.host.health.ready("projection");
        let caught_up = |end: &mut Positions| self.reached.covers(end);
        if self.catching_up.take_if(caught_up).is_some() {
            self.host.health.ready(CATCHING_UP);
            tracing::info!(position = %self.reached, "the read model has caught up");
        }
        tracing::debug!(events = entries.len(), position = %self.reached, "stored");
        self.count(&entries);
        self.told.send_replace(self.reached.clone());
        self.feeds.publish(entries, standings, before).await;
        Ok(Stored::Yes)
    }
}

impl Model {
    /// What is stored now, for those who look from outside.
    fn count(&mut self, entries: &[Entry]) {
        let now = self.host.now();
        let stored = entries.iter().filter_map(|entry| entry.stored_at);
        let oldest_ms = stored.min().map(|at| now.since_ms(at));
        let reading = &self.host.metrics.reading;
        reading.projected(entries.len(), &self.reached, oldest_ms);
        self.uncounted = true;
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        for recorded in entries
            .iter()
            .filter_map(|entry| entry.recorded.as_ref().ok())
        {
            let traceparent = recorded.attributes.traceparent.as_deref();
            let _about = telemetry::about(&recorded.subject.aggregate, traceparent).entered();
            tracing::debug!(
                version = recorded.version(),
                event = %recorded.event.name(),
                "projected"
            );
        }
    }

    /// Counts what executions wait for, a moment after something has changed and not more often.
    async fn count_waiting(&mut self) {
        if !self.uncounted || self.counted.elapsed() < COUNT_EVERY {
            return;
        }
        match waiting(&mut self.writer.connection).await {
            Ok(waiting) => self.host.metrics.reading.waiting(waiting),
            Err(error) => {
                tracing::debug!(reason = chain(&error), "what is waited for is not counted");
            }
        }
        self.uncounted = false;
        self.counted = Instant::now();
    }
}

/// Where the log ends now, for each stream that holds what was not read; nothing where none does.
async fn unread(host: &Host, reached: &Positions) -> Result<Option<Positions>, StartError> {
    let mut unread = Positions::beginning();
    for stream in host.journal.streams() {
        let next = host.journal.read(stream, reached.get(stream), 1).await?;
        if !next.is_empty() {
            let sequence = host.journal.last_sequence(stream).await?;
            unread.advance(Position { stream, sequence });
        }
    }
    Ok((unread != Positions::beginning()).then_some(unread))
}

/// An event, or rules, that only a newer binary understands.
fn is_newer(entry: &Entry) -> bool {
    match &entry.recorded {
        Ok(recorded) => recorded.event.rules() > contracts::events::RULES,
        Err(error) => error.is_newer(),
    }
}

/// The log may hold other events than those that were read, under the same numbers.
async fn is_of_this_log(
    host: &Host,
    writer: &mut SqliteConnection,
    position: Position,
) -> Result<(), StartError> {
    let Some((stored, hash)) = write::event_at(writer, position).await? else {
        return Ok(());
    };
    let Position { stream, sequence } = position;
    let read = host
        .journal
        .read(stream, sequence.saturating_sub(1), 1)
        .await?;
    // What has left the live window can no longer be compared.
    let Some(entry) = read.into_iter().find(|entry| entry.position == position) else {
        return Ok(());
    };
    let found = entry.recorded.ok().map(|recorded| recorded.hash);
    if entry.raw.subject == stored && (hash.is_none() || found.is_none() || hash == found) {
        Ok(())
    } else {
        Err(StartError::OtherLog {
            stream: stream.name(),
            sequence,
            stored,
        })
    }
}

/// They are part of the build and in no event, and are listed beside those that are installed.
async fn builtin_skills(writer: &mut SqliteConnection) -> Result<(), WriteError> {
    let global = contracts::ids::WorkspaceId::global();
    let catalogue = Catalogue::empty();
    let rows: Vec<SkillRow> = catalogue
        .skills(&global)
        .map(|skill| SkillRow::builtin(&global, skill))
        .collect();
    let mut write = write::begin(writer).await?;
    write.builtin_skills(&rows).await?;
    write.commit().await
}
