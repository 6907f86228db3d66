//! Writing: the events of a batch, the rows that follow from them, and how far was read, all or
//! nothing.
//!
//! * `execution`: what stands beside the row of an execution

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, LazyLock},
};

use contracts::{
    canonical::Digest,
    operations::execution::WaitingFor,
    plan::{Mode, RiskTier, Verdict},
    position::{Position, Positions, StreamId},
    subject::{AggregateId, AggregateKind},
    time::Timestamp,
};
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use journal::stored::Raw;
use sqlx::{Connection as _, Row as _, Sqlite, SqliteConnection, Transaction, sqlite::SqliteRow};

use super::rows::{EventRow, ExecutionRow, PolicyRow, SkillRow};

mod execution;

/// Rows of one statement: few sizes, so that each statement is prepared once.
const CHUNKS: [usize; 4] = [256, 64, 8, 1];

/// One statement for each size, written once. A fault fails it where it stands, and whoever meets one
/// rolls the transaction back: so nothing has to be kept to undo the statement alone.
struct Chunked([String; CHUNKS.len()]);

static INSERT_EVENTS: LazyLock<Chunked> = LazyLock::new(|| {
    Chunked::new(
        "INSERT OR FAIL INTO events (ordinal, stream, sequence, subject, workspace, kind, aggregate, \
         version, event, time, hash, headers, payload, fault, status, requester)",
        16,
        "",
    )
});

static UPSERT_EXECUTIONS: LazyLock<Chunked> = LazyLock::new(|| {
    Chunked::new(
        "INSERT OR FAIL INTO executions (workspace, id, version, status, verdict, risk_tier, \
         requires_approval, waiting, waits, actor, channel, text, text_folded, plan_hash, \
         error_code, mode, created_at, updated_at)",
        18,
        "ON CONFLICT (workspace, id) DO UPDATE SET version = excluded.version, \
         status = excluded.status, verdict = excluded.verdict, \
         risk_tier = excluded.risk_tier, requires_approval = excluded.requires_approval, \
         waiting = excluded.waiting, waits = excluded.waits, plan_hash = excluded.plan_hash, \
         error_code = excluded.error_code, mode = excluded.mode, updated_at = excluded.updated_at \
         WHERE excluded.version > executions.version OR excluded.status = 'corrupt'",
    )
});

/// Their order is found without what is large, which is then read event by event. With its limit,
/// the inner order is not left out as if it were for nothing.
const EVENTS_OF_EXECUTION: &str = "SELECT subject, headers, payload FROM \
    (SELECT ordinal AS place FROM events INDEXED BY events_of_aggregate \
     WHERE workspace = ? AND kind = ? AND aggregate = ? ORDER BY version, ordinal LIMIT -1) \
    CROSS JOIN events ON ordinal = place";

const EVENTS_OF_OTHER: &str = "SELECT subject, headers, payload FROM events \
    INDEXED BY events_by_version WHERE kind <> 'execution' \
    AND workspace = ? AND kind = ? AND aggregate = ? ORDER BY version, ordinal";

/// Of executions that begin nothing is stored, unless a first event was written twice: one statement
/// finds that for many of them.
static FIND_AGGREGATES: LazyLock<Chunked> = LazyLock::new(|| {
    Chunked::new(
        "WITH wanted (workspace, aggregate) AS (",
        2,
        ") SELECT workspace, aggregate FROM wanted WHERE EXISTS (SELECT 1 FROM events \
         INDEXED BY events_of_aggregate WHERE events.workspace = wanted.workspace \
         AND events.aggregate = wanted.aggregate)",
    )
});

impl Chunked {
    fn new(begin: &str, columns: usize, end: &str) -> Self {
        let row = format!("({})", vec!["?"; columns].join(", "));
        Self(CHUNKS.map(|rows| {
            let values = vec![row.as_str(); rows].join(", ");
            format!("{begin} VALUES {values} {end}")
        }))
    }

    /// For a chunk of this many rows, which is one of [`CHUNKS`].
    fn of(&'static self, rows: usize) -> &'static str {
        let mut sizes = CHUNKS.iter().zip(&self.0);
        sizes
            .find(|(size, _)| **size == rows)
            .map_or("", |(_, statement)| statement)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("the read model cannot be written")]
    Sql(#[from] sqlx::Error),
    #[error("a row cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// Two processes would each write a part.
    #[error(
        "another process has moved `{stream}` on in this database: run one projector per database"
    )]
    OtherWriter { stream: String },
    #[error("the read model was made from a log with a stream `{0}`, which this log does not have")]
    OtherLog(String),
}

/// A transaction that holds the write lock from its start.
pub struct Write<'c> {
    transaction: Transaction<'c, Sqlite>,
}

pub async fn begin(connection: &mut SqliteConnection) -> Result<Write<'_>, WriteError> {
    Ok(Write {
        transaction: connection.begin_with("BEGIN IMMEDIATE").await?,
    })
}

/// How far each stream of this log was read.
pub async fn positions(
    connection: &mut SqliteConnection,
    streams: &[StreamId],
) -> Result<Positions, WriteError> {
    let names: BTreeMap<String, StreamId> = streams
        .iter()
        .map(|stream| (stream.name(), *stream))
        .collect();
    let rows: Vec<(String, i64)> = sqlx::query_as("SELECT stream, sequence FROM positions")
        .fetch_all(connection)
        .await?;
    let mut positions = Positions::beginning();
    for (name, sequence) in rows {
        let Some(&stream) = names.get(&name) else {
            return Err(WriteError::OtherLog(name));
        };
        positions.advance(Position {
            stream,
            sequence: unsigned(sequence),
        });
    }
    Ok(positions)
}

/// Of the event that was stored last; 0 before the first.
pub async fn last_ordinal(connection: &mut SqliteConnection) -> Result<i64, WriteError> {
    let last: Option<i64> = sqlx::query_scalar("SELECT MAX(ordinal) FROM events")
        .fetch_one(connection)
        .await?;
    Ok(last.unwrap_or(0))
}

/// Moves what is still in the write-ahead log into the file, which is whole by itself then.
pub async fn close(mut connection: SqliteConnection) -> Result<(), WriteError> {
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(&mut connection)
        .await?;
    Ok(connection.close().await?)
}

/// The subject and the hash of the event at a position; no hash where it could not be read.
pub async fn event_at(
    connection: &mut SqliteConnection,
    position: Position,
) -> Result<Option<(String, Option<Digest>)>, WriteError> {
    let found: Option<(String, Option<Vec<u8>>)> =
        sqlx::query_as("SELECT subject, hash FROM events WHERE stream = ? AND sequence = ?")
            .bind(position.stream.name())
            .bind(signed(position.sequence))
            .fetch_optional(connection)
            .await?;
    Ok(found.map(|(subject, hash)| (subject, hash.and_then(digest))))
}

/// As it is stored.
pub(super) fn digest(bytes: Vec<u8>) -> Option<Digest> {
    bytes.try_into().ok().map(Digest::from_bytes)
}

pub(super) fn raw(row: &SqliteRow) -> Result<Raw, WriteError> {
    let headers: String = row.try_get("headers")?;
    let payload: Vec<u8> = row.try_get("payload")?;
    Ok(Raw {
        subject: row.try_get("subject")?,
        headers: serde_json::from_str(&headers)?,
        payload: payload.into(),
    })
}

impl Write<'_> {
    /// The events of an aggregate one by one, in the order of their versions; of two with one
    /// version, the one that was stored first comes first.
    pub fn events_of(&mut self, aggregate: &AggregateId) -> BoxStream<'_, Result<Raw, WriteError>> {
        let select = match aggregate.kind() {
            AggregateKind::Execution => EVENTS_OF_EXECUTION,
            AggregateKind::Incident
            | AggregateKind::Skill
            | AggregateKind::Policy
            | AggregateKind::Hold
            | AggregateKind::Schedule => EVENTS_OF_OTHER,
        };
        let rows = sqlx::query(select)
            .bind(aggregate.workspace().as_str().to_owned())
            .bind(aggregate.kind().as_str())
            .bind(aggregate.id().to_owned())
            .fetch(&mut *self.transaction);
        rows.map(|row| raw(&row?)).boxed()
    }

    /// All of them.
    pub async fn history(&mut self, aggregate: &AggregateId) -> Result<Vec<Raw>, WriteError> {
        self.events_of(aggregate).try_collect().await
    }

    /// Those of which nothing is stored.
    pub async fn begun<'e>(
        &mut self,
        mut aggregates: BTreeSet<&'e AggregateId>,
    ) -> Result<BTreeSet<&'e AggregateId>, WriteError> {
        let wanted: Vec<_> = aggregates.iter().copied().collect();
        let mut found = BTreeSet::new();
        for chunk in chunks(&wanted) {
            let mut query = sqlx::query_as(FIND_AGGREGATES.of(chunk.len()));
            for aggregate in chunk {
                query = query
                    .bind(aggregate.workspace().as_str())
                    .bind(aggregate.id());
            }
            let rows: Vec<(String, String)> = query.fetch_all(&mut *self.transaction).await?;
            found.extend(rows);
        }
        aggregates.retain(|it| {
            let pair = |(workspace, id): &(String, String)| {
                workspace == it.workspace().as_str() && id == it.id()
            };
            !found.iter().any(pair)
        });
        Ok(aggregates)
    }

    /// Whether a version of an aggregate, which is not an execution, is stored.
    pub async fn has_version(
        &mut self,
        aggregate: &AggregateId,
        version: u64,
    ) -> Result<bool, WriteError> {
        let found: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM events INDEXED BY events_by_version WHERE kind <> 'execution' \
             AND workspace = ? AND kind = ? AND aggregate = ? AND version = ? LIMIT 1",
        )
        .bind(aggregate.workspace().as_str())
        .bind(aggregate.kind().as_str())
        .bind(aggregate.id())
        .bind(signed(version))
        .fetch_optional(&mut *self.transaction)
        .await?;
        Ok(found.is_some())
    }

    pub async fn events(&mut self, rows: &[EventRow<'_>]) -> Result<(), WriteError> {
        let mut words = Words::default();
        for chunk in chunks(rows) {
            let mut query = sqlx::query(INSERT_EVENTS.of(chunk.len()));
            for row in chunk {
                let subject = row.subject.as_deref();
                let aggregate = subject.map(|subject| &subject.aggregate);
                query = query
                    .bind(row.ordinal)
                    .bind(words.stream(row.position.stream))
                    .bind(signed(row.position.sequence))
                    .bind(&row.raw.subject)
                    .bind(aggregate.map(|it| words.of(it.workspace().as_str())))
                    .bind(aggregate.map(|it| words.of(it.kind().as_str())))
                    .bind(aggregate.map(|it| words.of(it.id())))
                    .bind(subject.map(|it| signed(it.version)))
                    .bind(subject.map(|it| words.of(it.event.as_str())))
                    .bind(row.time.map(Timestamp::as_millis))
                    .bind(row.hash.map(|hash| hash.bytes().to_vec()))
                    .bind(json(&row.raw.headers)?)
                    .bind(row.raw.payload.as_ref())
                    .bind(&row.fault)
                    .bind(row.standing.as_ref().map(|it| words.of(it.status.as_str())))
                    .bind(row.requester.clone());
            }
            query.execute(&mut *self.transaction).await?;
        }
        Ok(())
    }

    /// Rows only ever move to a later version of their aggregate.
    pub async fn executions(&mut self, rows: &[ExecutionRow]) -> Result<(), WriteError> {
        for chunk in chunks(rows) {
            let mut query = sqlx::query(UPSERT_EXECUTIONS.of(chunk.len()));
            for row in chunk {
                let record = &row.record;
                query = query
                    .bind(row.workspace.as_str())
                    .bind(record.execution_id.to_string())
                    .bind(signed(record.version.unwrap_or(0)))
                    .bind(record.status.as_str())
                    .bind(record.verdict.map(Verdict::as_str))
                    .bind(record.risk_tier.map(RiskTier::as_str))
                    .bind(record.requires_approval)
                    .bind(i64::try_from(row.approvals.len()).unwrap_or(i64::MAX))
                    .bind(bits(record.waiting_for.iter().flatten()))
                    .bind(record.actor.as_ref().map(|actor| actor.id.as_str()))
                    .bind(&record.channel_key)
                    .bind(&record.text)
                    .bind(record.text.as_deref().map(folded))
                    .bind(record.plan_hash.map(|hash| hash.to_string()))
                    .bind(record.failure.as_ref().map(|failure| &failure.code))
                    .bind(record.mode.map(Mode::as_str))
                    .bind(record.created_at.as_millis())
                    .bind(record.updated_at.as_millis());
            }
            query.execute(&mut *self.transaction).await?;
        }
        Ok(())
    }

    /// The skills that are part of this build, in place of those of the build before.
    pub async fn builtin_skills(&mut self, rows: &[SkillRow]) -> Result<(), WriteError> {
        sqlx::query("DELETE FROM skills WHERE version = 0")
            .execute(&mut *self.transaction)
            .await?;
        self.skills(rows).await
    }

    pub async fn skills(&mut self, rows: &[SkillRow]) -> Result<(), WriteError> {
        for row in rows {
            sqlx::query(
                "INSERT INTO skills (workspace, key, skill_version, version, status, publisher, \
                 provenance, manifest_digest, installed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) \
                 ON CONFLICT (workspace, key, skill_version) DO UPDATE SET \
                 version = excluded.version, status = excluded.status, \
                 publisher = excluded.publisher, provenance = excluded.provenance, \
                 manifest_digest = excluded.manifest_digest, installed_at = excluded.installed_at \
                 WHERE excluded.version >= skills.version",
            )
            .bind(row.workspace.as_str())
            .bind(row.key.as_str())
            .bind(row.skill_version.as_str())
            .bind(signed(row.version))
            .bind(row.status.as_str())
            .bind(&row.publisher)
            .bind(&row.provenance)
            .bind(&row.manifest_digest)
            .bind(row.installed_at.map(Timestamp::as_millis))
            .execute(&mut *self.transaction)
            .await?;
        }
        Ok(())
    }

    pub async fn policies(&mut self, rows: &[PolicyRow]) -> Result<(), WriteError> {
        for row in rows {
            sqlx::query(
                "INSERT INTO policies (workspace, hash, version, status, bundle, findings, \
                 requested_at) VALUES (?, ?, ?, ?, ?, ?, ?) \
                 ON CONFLICT (workspace, hash) DO UPDATE SET version = excluded.version, \
                 status = excluded.status, findings = excluded.findings, \
                 requested_at = excluded.requested_at WHERE excluded.version > policies.version",
            )
            .bind(row.workspace.as_str())
            .bind(&row.hash)
            .bind(signed(row.version))
            .bind(row.status)
            .bind(&row.bundle)
            .bind(&row.findings)
            .bind(row.requested_at.as_millis())
            .execute(&mut *self.transaction)
            .await?;
        }
        Ok(())
    }

    /// Moves every stream on from where this process has left it.
    pub async fn advance(&mut self, from: &Positions, to: &Positions) -> Result<(), WriteError> {
        for reached in to.iter() {
            let (stream, before) = (reached.stream.name(), from.get(reached.stream));
            if before == reached.sequence {
                continue;
            }
            let moved = if before == 0 {
                sqlx::query(
                    "INSERT INTO positions (sequence, stream) VALUES (?, ?) ON CONFLICT DO NOTHING",
                )
                .bind(signed(reached.sequence))
                .bind(&stream)
                .execute(&mut *self.transaction)
                .await?
            } else {
                sqlx::query("UPDATE positions SET sequence = ? WHERE stream = ? AND sequence = ?")
                    .bind(signed(reached.sequence))
                    .bind(&stream)
                    .bind(signed(before))
                    .execute(&mut *self.transaction)
                    .await?
            };
            if moved.rows_affected() != 1 {
                return Err(WriteError::OtherWriter { stream });
            }
        }
        Ok(())
    }

    pub async fn commit(self) -> Result<(), WriteError> {
        Ok(self.transaction.commit().await?)
    }
}

/// Words that many rows of a batch have, each made once for all of them.
#[derive(Default)]
struct Words<'e> {
    streams: BTreeMap<StreamId, Arc<str>>,
    words: HashMap<&'e str, Arc<str>>,
}

impl<'e> Words<'e> {
    fn stream(&mut self, stream: StreamId) -> Arc<str> {
        let name = self.streams.entry(stream);
        Arc::clone(name.or_insert_with(|| stream.name().into()))
    }

    fn of(&mut self, word: &'e str) -> Arc<str> {
        Arc::clone(self.words.entry(word).or_insert_with(|| word.into()))
    }
}

/// A list of pairs. Nearly all headers are written as they are, without the general way.
fn json(headers: &[(String, String)]) -> Result<String, WriteError> {
    let push = |text: &str, json: &mut String| {
        // All bytes are looked at, which takes less than to stop at the first.
        let escaped =
            |byte: u8| u8::from(byte < b' ') | u8::from(byte == b'"') | u8::from(byte == b'\\');
        if text.bytes().fold(0, |any, byte| any | escaped(byte)) == 0 {
            json.push('"');
            json.push_str(text);
            json.push('"');
        } else {
            json.push_str(&serde_json::to_string(text)?);
        }
        Ok::<_, WriteError>(())
    };
    let sizes = headers.iter().map(|(name, value)| name.len() + value.len());
    let mut json = String::with_capacity(sizes.map(|size| size + 8).sum::<usize>() + 2);
    json.push('[');
    for (index, (name, value)) in headers.iter().enumerate() {
        json.push_str(if index == 0 { "[" } else { ",[" });
        push(name, &mut json)?;
        json.push(',');
        push(value, &mut json)?;
        json.push(']');
    }
    json.push(']');
    Ok(json)
}

fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = CHUNKS.into_iter().find(|size| *size <= rows.len())?;
        let (chunk, rest) = rows.split_at(size);
        rows = rest;
        Some(chunk)
    })
}

/// A bit for each of them.
pub(super) fn bits<'a>(waits: impl IntoIterator<Item = &'a WaitingFor>) -> i64 {
    let bit = |wait: &WaitingFor| {
        let kinds = WaitingFor::ALL.iter();
        kinds
            .take_while(|kind| *kind != wait)
            .fold(1, |bit, _| bit << 1)
    };
    waits.into_iter().fold(0, |bits, wait| bits | bit(wait))
}

/// As texts are searched: case does not count.
pub(super) fn folded(text: &str) -> String {
    text.to_lowercase()
}

/// Sequences and versions stay far below 2⁶³.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
