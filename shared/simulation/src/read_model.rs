//! SQL rows equal the fold: the log of a finished history, projected by the real projection into a
//! real SQLite database while it dies and is begun anew, and every row compared with what the log
//! says. The verdict, its tier and the need for an approval are read by the function that the rows use
//! too: of those only the way into SQL is compared.
//!
//! * `portions`: the log as the projection is given it, cut and interleaved by chance
//! * `life`: one life of the projector, and how it ends
//! * `place`: where the database is, and what a killed process leaves
//! * `expected`: what each row must say, from the events alone
//! * `rows`: what each row says, and the first that differs

use std::{io, path::Path};

use contracts::{
    position::{Position, Positions, StreamId},
    subject::AggregateId,
};
use journal::{
    Journal as _,
    memory::MemoryJournal,
    stored::Entry,
    tail::{Scope, TailError},
};
use projector::{
    database::{
        OpenError,
        write::{self, WriteError},
    },
    projection::StartError,
};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use self::{
    life::{Death, End, Life},
    place::Place,
};
use crate::chance::{Chance, place};

mod expected;
mod life;
mod place;
mod portions;
mod rows;

/// How often the projector dies at most while it reads one history.
const DEATHS_MAX: u64 = 4;

/// Rows that were compared, over all lives, and how often the projector was begun anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    pub rows: u64,
    pub restarts: u64,
}

/// Where the read model is not what the log says.
#[derive(Debug, thiserror::Error)]
pub enum Difference {
    #[error("`{table}` {key} has {found} as `{column}`, and the log says {expected}")]
    Column {
        table: &'static str,
        key: String,
        column: &'static str,
        expected: String,
        found: String,
    },
    #[error("`{table}` lacks {key}")]
    Missing { table: &'static str, key: String },
    #[error("`{table}` has {key}, which follows from nothing in the log")]
    Invented { table: &'static str, key: String },
    #[error("it was told that `{told}` is stored, and after its death only `{found}` is")]
    Forgotten { told: Positions, found: Positions },
    #[error("the history of `{0}` does not hold together")]
    Unsound(AggregateId),
    #[error("the projector raised {incidents} incidents about a log that holds together")]
    Raised { incidents: u64 },
    #[error("the projector stands still before `{end}`")]
    Stalled { end: Positions },
    #[error("the projector ended by itself: {0}")]
    Ended(String),
    #[error("the projector does not start")]
    Start(#[from] StartError),
    #[error("the database does not open")]
    Open(#[from] OpenError),
    #[error("the read model cannot be read")]
    Sql(#[from] sqlx::Error),
    #[error(transparent)]
    Positions(#[from] WriteError),
    #[error("there is no place for the database")]
    Place(#[from] io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Log(#[from] TailError),
}

/// [`check`] for a caller that is in no runtime, with a clock that goes by itself.
pub fn check_blocking(journal: &MemoryJournal, seed: u64) -> Result<Checked, Difference> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(check(journal, seed))
}

/// Projects the whole log with deaths that follow from `seed`. What is stored is compared after
/// each of them, and at the end. Needs a runtime of one thread whose clock is not paused.
pub async fn check(journal: &MemoryJournal, seed: u64) -> Result<Checked, Difference> {
    let mut chance = Chance::at(seed, [place("read model")]);
    let deaths = chance.between(1, DEATHS_MAX);
    let mut entries = entries(journal).await?;
    let before = entries.len();
    let (mut files, mut told) = (Place::new()?, Positions::beginning());
    let mut checked = Checked::default();
    for number in 0..=deaths {
        let death = if number < deaths {
            Death::drawn(&mut chance, entries.len() as u64)
        } else {
            Death::Never
        };
        let life = Life {
            journal,
            entries: &entries,
            death,
            chance: Chance::of(chance.draw()),
        };
        let ended = life.live(&mut files, &mut told).await?;
        let end = end(journal).await?;
        if !ends_with(&entries, &end) {
            entries = self::entries(journal).await?;
        }
        let stored = Stored {
            entries: &entries,
            end: &end,
            told: &told,
            whole: ended == End::CaughtUp,
        };
        checked.rows += stored
            .compare(&files.database(), &journal.streams())
            .await?;
        match ended {
            End::Died => checked.restarts += 1,
            End::CaughtUp => break,
        }
    }
    let raised = (entries.len() - before) as u64;
    if raised > 0 && expected::is_sound(&entries) {
        return Err(Difference::Raised { incidents: raised });
    }
    Ok(checked)
}

fn ends_with(entries: &[Entry], end: &Positions) -> bool {
    let mut known = Positions::beginning();
    for entry in entries {
        known.advance(entry.position);
    }
    known == *end
}

/// What a read model must hold after a life.
struct Stored<'a> {
    entries: &'a [Entry],
    end: &'a Positions,
    told: &'a Positions,
    /// All of the log, not some of it.
    whole: bool,
}

impl Stored<'_> {
    /// How many rows are as the log says, which is all of them.
    async fn compare(&self, database: &Path, streams: &[StreamId]) -> Result<u64, Difference> {
        let options = SqliteConnectOptions::new().filename(database);
        let mut connection = options.connect().await?;
        let found = write::positions(&mut connection, streams).await?;
        if !found.covers(self.told) {
            let told = self.told.clone();
            return Err(Difference::Forgotten { told, found });
        }
        let reached = if self.whole { self.end } else { &found };
        let entries = self.entries.iter();
        let read: Vec<&Entry> = entries
            .filter(|entry| entry.position.sequence <= reached.get(entry.position.stream))
            .collect();
        let started = self.whole || rows::has_builtins(&mut connection).await?;
        let expected = expected::of(&read, started)?;
        let rows = rows::compare(&mut connection, &expected).await?;
        connection.close().await?;
        Ok(rows)
    }
}

/// All that is stored, decoded once.
async fn entries(journal: &MemoryJournal) -> Result<Vec<Entry>, Difference> {
    let end = end(journal).await?;
    let total = end.iter().map(|position| position.sequence).sum::<u64>();
    let total = usize::try_from(total).unwrap_or(usize::MAX);
    let beginning = Positions::beginning();
    let mut tail = journal.tail(&beginning, Scope::Everything).await?;
    let mut entries = Vec::with_capacity(total);
    while entries.len() < total {
        entries.extend(tail.next_batch(total - entries.len()).await);
    }
    Ok(entries)
}

/// The last position of each stream that holds something.
async fn end(journal: &MemoryJournal) -> Result<Positions, TailError> {
    let mut end = Positions::beginning();
    for stream in journal.streams() {
        let sequence = journal.last_sequence(stream).await?;
        if sequence > 0 {
            end.advance(Position { stream, sequence });
        }
    }
    Ok(end)
}
