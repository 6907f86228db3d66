//! Blocks that wait for votes, and whose votes would count.

use contracts::{
    facts::Actor,
    ids::{ExecutionId, StepId, WorkspaceId},
    operations::{approval::ApprovalSummary, execution::OpenApproval},
    time::Timestamp,
};
use sqlx::{QueryBuilder, Row as _, Sqlite, sqlite::SqliteRow};

use super::{Page, ReadError, Reader, optional, word};
use crate::database::write::unsigned;

/// Which blocks of a workspace.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub workspace: WorkspaceId,
    pub execution: Option<ExecutionId>,
    /// Whose votes: nobody's where whoever asks may not vote at all.
    pub voter: Option<Actor>,
    /// Also what `voter` may not vote on.
    pub all: bool,
    /// Whoever votes now is late for what has expired.
    pub now: Timestamp,
}

/// After which block a part of the list begins.
#[derive(Debug, Clone)]
pub struct After {
    pub expires: Timestamp,
    pub execution: ExecutionId,
    pub step: StepId,
}

impl Reader {
    /// What expires first comes first.
    pub async fn approvals(
        &self,
        wanted: &Wanted,
        after: Option<&After>,
        limit: u32,
    ) -> Result<Page<ApprovalSummary>, ReadError> {
        let (mut snapshot, position) = self.snapshot().await?;
        let mut count = QueryBuilder::new("SELECT COUNT(*) FROM approvals a");
        filter(&mut count, wanted);
        let total: i64 = count.build_query_scalar().fetch_one(&mut *snapshot).await?;
        let mut query = QueryBuilder::new("SELECT a.*, e.actor, e.text, (");
        may_vote(&mut query, wanted.voter.as_ref());
        query.push(
            ") AS may_vote FROM approvals a \
             LEFT JOIN executions e ON e.workspace = a.workspace AND e.id = a.execution",
        );
        filter(&mut query, wanted);
        if let Some(after) = after {
            let (expires, execution) = (after.expires.as_millis(), after.execution.to_string());
            query.push(" AND (a.expires_at > ").push_bind(expires);
            query.push(" OR (a.expires_at = ").push_bind(expires);
            query
                .push(" AND (a.execution > ")
                .push_bind(execution.clone());
            query.push(" OR (a.execution = ").push_bind(execution);
            query.push(" AND a.step > ").push_bind(after.step.as_str());
            query.push("))))");
        }
        query
            .push(" ORDER BY a.expires_at, a.execution, a.step LIMIT ")
            .push_bind(i64::from(limit) + 1);
        let rows = query.build().fetch_all(&mut *snapshot).await?;
        let items = rows.iter().map(summary).collect::<Result<_, _>>()?;
        Ok(Page::cut(items, limit, total, position))
    }
}

fn filter(query: &mut QueryBuilder<Sqlite>, wanted: &Wanted) {
    query.push(" WHERE a.workspace = ");
    query.push_bind(wanted.workspace.as_str());
    query.push(" AND a.expires_at > ");
    query.push_bind(wanted.now.as_millis());
    if let Some(execution) = wanted.execution {
        query.push(" AND a.execution = ");
        query.push_bind(execution.to_string());
    }
    if !wanted.all {
        query.push(" AND ");
        may_vote(query, wanted.voter.as_ref());
    }
}

/// The rule of `ApprovalRule::admits`, and that nobody votes twice.
fn may_vote(query: &mut QueryBuilder<Sqlite>, voter: Option<&Actor>) {
    const NAMED: &str = "EXISTS (SELECT 1 FROM approval_names n WHERE n.workspace = a.workspace \
                         AND n.execution = a.execution AND n.step = a.step AND (";
    let Some(voter) = voter else {
        query.push("1 = 0");
        return;
    };
    query
        .push(NAMED)
        .push("(n.kind = 'principal' AND n.name = ");
    query.push_bind(voter.id.as_str()).push(")");
    if !voter.grants.is_empty() {
        query.push(" OR (n.kind = 'grant' AND n.name IN (");
        let mut grants = query.separated(", ");
        for grant in &voter.grants {
            grants.push_bind(grant);
        }
        query.push("))");
    }
    query.push(")) AND NOT ").push(NAMED);
    query.push("n.kind IN ('requester', 'voted') AND n.name IN (");
    let mut names = query.separated(", ");
    for name in [Some(&voter.id), voter.via.as_ref()].into_iter().flatten() {
        names.push_bind(name.as_str());
    }
    query.push(")))");
}

fn summary(row: &SqliteRow) -> Result<ApprovalSummary, ReadError> {
    let (votes, eligible): (String, String) = (row.try_get("votes")?, row.try_get("eligible")?);
    let quorum = unsigned(row.try_get("quorum")?);
    Ok(ApprovalSummary {
        execution_id: word(row.try_get("execution")?)?,
        step_id: word(row.try_get("step")?)?,
        risk_tier: word(row.try_get("risk_tier")?)?,
        opened_at: Timestamp::from_millis(row.try_get("opened_at")?),
        approval: OpenApproval {
            block_id: word(row.try_get("block")?)?,
            plan_hash: word(row.try_get("plan_hash")?)?,
            inputs_digest: word(row.try_get("inputs_digest")?)?,
            quorum: u32::try_from(quorum).unwrap_or(u32::MAX),
            eligible: serde_json::from_str(&eligible)?,
            plan_hash_required: row.try_get("plan_hash_required")?,
            votes: serde_json::from_str(&votes)?,
            expires_at: Timestamp::from_millis(row.try_get("expires_at")?),
            reason: row.try_get("reason")?,
        },
        may_vote: row.try_get("may_vote")?,
        actor_id: optional(row.try_get("actor")?)?,
        text: row.try_get("text")?,
    })
}
