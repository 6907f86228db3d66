//! The projection: from the log to the read model, in order, each event once.
//!
//! The positions are written with the rows, so whatever a crash leaves behind is whole, and the
//! next start goes on after it.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use contracts::position::{Position, Positions};
use domain::catalogue::Catalogue;
use host::engine::{Host, chain};
use journal::{
    stored::Entry,
    tail::{Scope, Tail, TailError},
};
use sqlx::SqliteConnection;
use tokio::sync::watch;

use crate::{
    database::{
        rows::SkillRow,
        write::{self, WriteError},
    },
    feed::Feeds,
    folds::Folds,
};

mod batch;
mod incidents;

/// Events of one transaction. Larger ones are hardly faster, and readers wait longer.
const BATCH: usize = 512;

/// How long to wait after a transaction that failed: a full disk, a backup that holds the file.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why the projection does not start.
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

/// The one writer of the read model.
pub struct Projection {
    host: Arc<Host>,
    tail: Box<dyn Tail>,
    writer: SqliteConnection,
    folds: Folds,
    reached: Positions,
    told: watch::Sender<Positions>,
    feeds: Arc<Feeds>,
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
        mut writer: SqliteConnection,
        feeds: Arc<Feeds>,
    ) -> Result<(Self, watch::Receiver<Positions>), StartError> {
        let streams = host.journal.streams();
        let reached = write::positions(&mut writer, &streams).await?;
        let tail = host.journal.tail(&reached, Scope::Everything).await;
        let tail = tail.map_err(|error| match error {
            TailError::BeyondEnd { .. } => StartError::Ahead(error),
            TailError::Unavailable(_) => StartError::Tail(error),
        })?;
        for position in reached.iter() {
            is_of_this_log(&host, &mut writer, position).await?;
        }
        builtin_skills(&mut writer).await?;
        tracing::info!(position = %reached, "the read model goes on");
        let (told, positions) = watch::channel(reached.clone());
        let projection = Self {
            host,
            tail,
            writer,
            folds: Folds::default(),
            reached,
            told,
            feeds,
        };
        Ok((projection, positions))
    }

    /// Runs until shutdown.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let ended = self.follow().await;
        if let Err(error) = write::close(self.writer).await {
            // Nothing is lost: the next start finds it beside the file.
            tracing::debug!(reason = chain(&error), "the database was not closed");
        }
        ended
    }

    async fn follow(&mut self) -> anyhow::Result<()> {
        let shutdown = self.host.shutdown.clone();
        loop {
            let mut entries = tokio::select! {
                entries = self.tail.next_batch(BATCH) => entries,
                () = shutdown.cancelled() => return Ok(()),
            };
            let newer = entries.iter().position(is_newer);
            let beyond = newer.map(|index| entries.split_off(index));
            if !entries.is_empty()
                && let Stored::Stopped = self.store(entries).await?
            {
                return Ok(());
            }
            if let Some(entry) = beyond.and_then(|beyond| beyond.into_iter().next()) {
                let reason = format!("newer event: upgrade (`{}`)", entry.raw.subject);
                tracing::error!(reason, "the read model stands still");
                self.host.health.unready("upgrade", reason);
                // Only another binary can go on; what is read so far is still served.
                shutdown.cancelled().await;
                return Ok(());
            }
        }
    }

    /// Stores a batch, however long that takes, and tells those who wait for it.
    async fn store(&mut self, entries: Vec<Entry>) -> anyhow::Result<Stored> {
        loop {
            let error = match self.store_once(&entries).await {
                Ok(Stored::Yes) => break,
                Ok(Stored::Stopped) => return Ok(Stored::Stopped),
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
            self.host.health.unready("projection", reason);
            tokio::select! {
                () = tokio::time::sleep(RETRY_AFTER) => {}
                () = self.host.shutdown.cancelled() => return Ok(Stored::Stopped),
            }
        }
        self.host.health.ready("projection");
        tracing::debug!(events = entries.len(), position = %self.reached, "stored");
        self.told.send_replace(self.reached.clone());
        self.feeds.publish(entries);
        Ok(Stored::Yes)
    }
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
    let found = entry
        .recorded
        .ok()
        .map(|recorded| recorded.hash.to_string());
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
