//! What queries look up. Each answer is one snapshot, together with the positions it reflects.
//!
//! * [`executions`], [`approvals`]: lists, filtered and cut in SQL
//! * [`catalogue`]: skills, and bundles of policies
//! * [`events`]: the stored events of a workspace, page by page

use contracts::position::{Positions, StreamId};
use serde::de::{DeserializeOwned, Error as _};
use sqlx::{Sqlite, SqlitePool, Transaction};

use super::write::{WriteError, positions, unsigned};

pub mod approvals;
pub mod catalogue;
pub mod events;
pub mod executions;

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the read model cannot be read")]
    Sql(#[from] sqlx::Error),
    #[error("the read model holds a row that cannot be understood")]
    Row(#[from] serde_json::Error),
    #[error(transparent)]
    Positions(#[from] WriteError),
}

impl ReadError {
    /// Whether more is asked at once than can be answered.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Sql(sqlx::Error::PoolTimedOut))
    }
}

/// The read side.
#[derive(Clone)]
pub struct Reader {
    pool: SqlitePool,
    streams: Vec<StreamId>,
}

/// A part of a list.
#[derive(Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// How many there are in all.
    pub total: u64,
    /// Whether more follows.
    pub more: bool,
    pub position: Positions,
}

impl Reader {
    pub fn new(pool: SqlitePool, streams: Vec<StreamId>) -> Self {
        Self { pool, streams }
    }

    /// A snapshot: what is read in it belongs together.
    async fn snapshot(&self) -> Result<(Transaction<'static, Sqlite>, Positions), ReadError> {
        let mut snapshot = self.pool.begin().await?;
        let positions = positions(&mut snapshot, &self.streams).await?;
        Ok((snapshot, positions))
    }
}

impl<T> Page<T> {
    /// Of what was found when one more than `limit` was looked for.
    fn cut(mut items: Vec<T>, limit: u32, total: i64, position: Positions) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        Self {
            items,
            total: unsigned(total),
            more,
            position,
        }
    }
}

fn optional<T: DeserializeOwned>(text: Option<String>) -> Result<Option<T>, ReadError> {
    text.map(word).transpose()
}

/// A value that is written as one word in JSON.
fn word<T: DeserializeOwned>(text: String) -> Result<T, ReadError> {
    let described = text.clone();
    serde_json::from_value(serde_json::Value::String(text))
        .map_err(|error| serde_json::Error::custom(format!("`{described}`: {error}")).into())
}
