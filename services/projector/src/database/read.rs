//! What queries look up. Each answer is one snapshot, together with the positions it reflects.

use contracts::{
    bundle::Bundle,
    canonical::Digest,
    ids::WorkspaceId,
    operations::{
        execution::ExecutionSummary,
        skill::{SkillStatus, SkillSummary},
    },
    plan::Status,
    position::{Positions, StreamId},
    time::Timestamp,
};
use serde::de::{DeserializeOwned, Error as _};
use sqlx::{QueryBuilder, Row as _, Sqlite, SqlitePool, Transaction, sqlite::SqliteRow};

use super::write::{WriteError, positions, unsigned};

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

/// Which executions of a workspace.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub workspace: WorkspaceId,
    pub status: Option<Status>,
    pub limit: u32,
    pub offset: u32,
}

/// A part of a list.
#[derive(Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// How many there are in all.
    pub total: u64,
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

    /// Newest first; of two that were created at one instant, the one with the greater id first.
    pub async fn executions(&self, wanted: &Wanted) -> Result<Page<ExecutionSummary>, ReadError> {
        let (mut snapshot, position) = self.snapshot().await?;
        let total: i64 = filtered("SELECT COUNT(*) FROM executions", wanted)
            .build_query_scalar()
            .fetch_one(&mut *snapshot)
            .await?;
        let rows = filtered("SELECT * FROM executions", wanted)
            .push(" ORDER BY created_at DESC, id DESC LIMIT ")
            .push_bind(i64::from(wanted.limit))
            .push(" OFFSET ")
            .push_bind(i64::from(wanted.offset))
            .build()
            .fetch_all(&mut *snapshot)
            .await?;
        Ok(Page {
            items: rows.iter().map(summary).collect::<Result<_, _>>()?,
            total: unsigned(total),
            position,
        })
    }

    /// Every known version of every skill that a workspace may use, its own and shared ones.
    pub async fn skills(
        &self,
        workspace: &WorkspaceId,
    ) -> Result<(Vec<SkillSummary>, Positions), ReadError> {
        let (mut snapshot, position) = self.snapshot().await?;
        let rows = sqlx::query("SELECT * FROM skills WHERE workspace IN (?, ?) ORDER BY key")
            .bind(workspace.as_str())
            .bind(WorkspaceId::global().as_str())
            .fetch_all(&mut *snapshot)
            .await?;
        let skills = rows.iter().map(skill).collect::<Result<_, _>>()?;
        Ok((skills, position))
    }

    /// A bundle that was once asked for in a workspace.
    pub async fn bundle(
        &self,
        workspace: &WorkspaceId,
        hash: &Digest,
    ) -> Result<Option<Bundle>, ReadError> {
        let bundle: Option<String> =
            sqlx::query_scalar("SELECT bundle FROM policies WHERE workspace = ? AND hash = ?")
                .bind(workspace.as_str())
                .bind(hash.to_string())
                .fetch_optional(&self.pool)
                .await?;
        Ok(bundle
            .map(|bundle| serde_json::from_str(&bundle))
            .transpose()?)
    }
}

fn filtered(select: &str, wanted: &Wanted) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(select);
    query
        .push(" WHERE workspace = ")
        .push_bind(wanted.workspace.as_str());
    if let Some(status) = wanted.status {
        query.push(" AND status = ").push_bind(status.as_str());
    }
    query
}

fn summary(row: &SqliteRow) -> Result<ExecutionSummary, ReadError> {
    Ok(ExecutionSummary {
        execution_id: word(row.try_get("id")?)?,
        status: word(row.try_get("status")?)?,
        updated_at: Timestamp::from_millis(row.try_get("updated_at")?),
        risk_tier: optional(row.try_get("risk_tier")?)?,
        lane: None,
        created_at: Some(Timestamp::from_millis(row.try_get("created_at")?)),
        text: row.try_get("text")?,
        actor_id: optional(row.try_get("actor")?)?,
        requires_approval: row.try_get("requires_approval")?,
        error_code: row.try_get("error_code")?,
    })
}

fn skill(row: &SqliteRow) -> Result<SkillSummary, ReadError> {
    let status: SkillStatus = word(row.try_get("status")?)?;
    let installed_at: Option<i64> = row.try_get("installed_at")?;
    Ok(SkillSummary {
        skill_key: word(row.try_get("key")?)?,
        version: word(row.try_get("skill_version")?)?,
        status,
        verified: matches!(status, SkillStatus::Installed | SkillStatus::Disabled),
        publisher: row.try_get("publisher")?,
        provenance: row.try_get("provenance")?,
        installed_at: installed_at.map(Timestamp::from_millis),
        manifest_digest: optional(row.try_get("manifest_digest")?)?,
    })
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
