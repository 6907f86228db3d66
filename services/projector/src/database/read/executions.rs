//! Executions, by what people look for.

use contracts::{
    ids::{ExecutionId, PrincipalId, SkillKey, WorkspaceId},
    operations::execution::{ExecutionSummary, WaitingFor},
    plan::{Mode, RiskTier, Status, Verdict},
    subject::AggregateId,
    time::Timestamp,
};
use sqlx::{QueryBuilder, Row as _, Sqlite, sqlite::SqliteRow};

use super::{Page, ReadError, Reader, optional, word};
use crate::database::write::{bits, folded};

/// Which executions of a workspace. An empty list of values asks for nothing in particular.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub workspace: WorkspaceId,
    pub statuses: Vec<Status>,
    pub verdicts: Vec<Verdict>,
    pub tiers: Vec<RiskTier>,
    pub waits: Vec<WaitingFor>,
    pub modes: Vec<Mode>,
    pub skill: Option<SkillKey>,
    pub actor: Option<PrincipalId>,
    pub channel: Option<String>,
    pub text: Option<String>,
    pub created: Span,
    pub updated: Span,
}

/// From an instant on, and before another.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

/// Where a part of the list begins.
#[derive(Debug, Clone, Copy)]
pub enum From {
    /// After so many.
    Offset(u32),
    /// After this one, whether it still is in the list or not.
    After { created: Timestamp, id: ExecutionId },
}

impl Reader {
    /// Newest first; of two that were created at one instant, the one with the greater id first.
    pub async fn executions(
        &self,
        wanted: &Wanted,
        from: From,
        limit: u32,
    ) -> Result<Page<ExecutionSummary>, ReadError> {
        let (mut snapshot, position) = self.snapshot().await?;
        let total: i64 = filtered("SELECT COUNT(*) FROM executions", wanted)
            .build_query_scalar()
            .fetch_one(&mut *snapshot)
            .await?;
        let mut query = filtered("SELECT * FROM executions", wanted);
        if let From::After { created, id } = from {
            let created = created.as_millis();
            query.push(" AND (created_at < ").push_bind(created);
            query.push(" OR (created_at = ").push_bind(created);
            query.push(" AND id < ").push_bind(id.to_string());
            query.push("))");
        }
        query
            .push(" ORDER BY created_at DESC, id DESC LIMIT ")
            .push_bind(i64::from(limit) + 1);
        if let From::Offset(offset) = from {
            query.push(" OFFSET ").push_bind(i64::from(offset));
        }
        let rows = query.build().fetch_all(&mut *snapshot).await?;
        let items = rows.iter().map(summary).collect::<Result<_, _>>()?;
        Ok(Page::cut(items, limit, total, position))
    }
}

impl Reader {
    /// How an execution stands, as far as the read model is.
    pub async fn status(&self, aggregate: &AggregateId) -> Result<Option<Status>, ReadError> {
        let status =
            sqlx::query_scalar("SELECT status FROM executions WHERE workspace = ? AND id = ?")
                .bind(aggregate.workspace().as_str())
                .bind(aggregate.id())
                .fetch_optional(&self.pool)
                .await?;
        optional(status)
    }
}

fn filtered(select: &str, wanted: &Wanted) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(select);
    query
        .push(" WHERE workspace = ")
        .push_bind(wanted.workspace.as_str());
    one_of(&mut query, "status", &wanted.statuses, Status::as_str);
    one_of(&mut query, "verdict", &wanted.verdicts, Verdict::as_str);
    one_of(&mut query, "risk_tier", &wanted.tiers, RiskTier::as_str);
    one_of(&mut query, "mode", &wanted.modes, Mode::as_str);
    if !wanted.waits.is_empty() {
        // As the index has it, and then what of it.
        query.push(" AND waits <> 0 AND (waits & ");
        query.push_bind(bits(&wanted.waits)).push(") <> 0");
    }
    if let Some(skill) = &wanted.skill {
        query.push(
            " AND EXISTS (SELECT 1 FROM execution_skills used \
             WHERE used.workspace = executions.workspace AND used.execution = executions.id \
             AND used.skill = ",
        );
        query.push_bind(skill.as_str()).push(")");
    }
    if let Some(actor) = &wanted.actor {
        query.push(" AND actor = ").push_bind(actor.as_str());
    }
    if let Some(channel) = &wanted.channel {
        query.push(" AND channel = ").push_bind(channel);
    }
    if let Some(text) = &wanted.text {
        query.push(" AND text_folded LIKE ").push_bind(within(text));
        query.push(" ESCAPE '\\'");
    }
    for (column, span) in [
        ("created_at", wanted.created),
        ("updated_at", wanted.updated),
    ] {
        for (compared, instant) in [(" >= ", span.from), (" < ", span.to)] {
            if let Some(instant) = instant {
                query.push(" AND ").push(column).push(compared);
                query.push_bind(instant.as_millis());
            }
        }
    }
    query
}

fn one_of<T: Copy>(
    query: &mut QueryBuilder<Sqlite>,
    column: &str,
    values: &[T],
    text: impl Fn(T) -> &'static str,
) {
    if values.is_empty() {
        return;
    }
    query.push(" AND ").push(column).push(" IN (");
    let mut separated = query.separated(", ");
    for value in values {
        separated.push_bind(text(*value));
    }
    query.push(")");
}

/// The pattern of what has `text` in it, whose own characters stand for themselves.
fn within(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in folded(text).chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

fn summary(row: &SqliteRow) -> Result<ExecutionSummary, ReadError> {
    let waits: i64 = row.try_get("waits")?;
    let waiting_for: Vec<_> = WaitingFor::ALL
        .into_iter()
        .filter(|kind| bits([kind]) & waits != 0)
        .collect();
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
        verdict: optional(row.try_get("verdict")?)?,
        channel_key: row.try_get("channel")?,
        waiting_for: (!waiting_for.is_empty()).then_some(waiting_for),
        mode: optional(row.try_get("mode")?)?,
    })
}
