//! What stands beside the row of an execution, each time in place of what stood before.

use std::sync::LazyLock;

use contracts::{facts::Eligible, ids::SkillKey, subject::AggregateId};

use super::{Chunked, Write, WriteError, chunks};
use crate::database::rows::{ApprovalRow, ExecutionRow};

static INSERT_SKILLS: LazyLock<Chunked> = LazyLock::new(|| {
    Chunked::new(
        "INSERT OR FAIL INTO execution_skills (workspace, skill, execution)",
        3,
        "",
    )
});

impl Write<'_> {
    /// The skills of plans, of which none are stored.
    pub async fn execution_skills(
        &mut self,
        rows: &[(&AggregateId, SkillKey)],
    ) -> Result<(), WriteError> {
        for chunk in chunks(rows) {
            let mut query = sqlx::query(INSERT_SKILLS.of(chunk.len()));
            for (aggregate, skill) in chunk {
                query = query
                    .bind(aggregate.workspace().as_str())
                    .bind(skill.as_str())
                    .bind(aggregate.id());
            }
            query.execute(&mut *self.transaction).await?;
        }
        Ok(())
    }

    /// Takes away those of a plan.
    pub async fn no_execution_skills(&mut self, aggregate: &AggregateId) -> Result<(), WriteError> {
        sqlx::query("DELETE FROM execution_skills WHERE workspace = ? AND execution = ?")
            .bind(aggregate.workspace().as_str())
            .bind(aggregate.id())
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }

    /// Its open blocks.
    pub async fn approvals(&mut self, row: &ExecutionRow) -> Result<(), WriteError> {
        let id = row.record.execution_id.to_string();
        for delete in [
            "DELETE FROM approvals WHERE workspace = ? AND execution = ?",
            "DELETE FROM approval_names WHERE workspace = ? AND execution = ?",
        ] {
            sqlx::query(delete)
                .bind(row.workspace.as_str())
                .bind(&id)
                .execute(&mut *self.transaction)
                .await?;
        }
        for approval in &row.approvals {
            self.approval(row, &id, approval).await?;
            for (kind, name) in names(row, approval) {
                sqlx::query(
                    "INSERT INTO approval_names (workspace, execution, step, kind, name) \
                     VALUES (?, ?, ?, ?, ?)",
                )
                .bind(row.workspace.as_str())
                .bind(&id)
                .bind(&approval.step)
                .bind(kind)
                .bind(name)
                .execute(&mut *self.transaction)
                .await?;
            }
        }
        Ok(())
    }

    async fn approval(
        &mut self,
        row: &ExecutionRow,
        id: &str,
        approval: &ApprovalRow,
    ) -> Result<(), WriteError> {
        let shown = &approval.shown;
        sqlx::query(
            "INSERT INTO approvals (workspace, execution, step, block, risk_tier, plan_hash, \
             inputs_digest, plan_hash_required, quorum, votes, eligible, reason, opened_at, \
             expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(row.workspace.as_str())
        .bind(id)
        .bind(&approval.step)
        .bind(shown.block_id.to_string())
        .bind(approval.tier.as_str())
        .bind(shown.plan_hash.to_string())
        .bind(shown.inputs_digest.to_string())
        .bind(shown.plan_hash_required)
        .bind(i64::from(shown.quorum))
        .bind(serde_json::to_string(&shown.votes)?)
        .bind(serde_json::to_string(&shown.eligible)?)
        .bind(&shown.reason)
        .bind(approval.opened_at.as_millis())
        .bind(shown.expires_at.as_millis())
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }
}

/// Who may vote and who may not, each pair once.
fn names<'a>(
    row: &'a ExecutionRow,
    approval: &'a ApprovalRow,
) -> std::collections::BTreeSet<(&'static str, &'a str)> {
    let eligible = approval
        .shown
        .eligible
        .iter()
        .map(|eligible| match eligible {
            Eligible::Grant(grant) => ("grant", grant.as_str()),
            Eligible::Principal(id) => ("principal", id.as_str()),
        });
    let voted = approval.shown.votes.iter();
    let voted = voted.map(|vote| ("voted", vote.by.as_str()));
    let requester = row.record.actor.iter();
    let requester = requester
        .flat_map(|actor| [Some(&actor.id), actor.via.as_ref()])
        .flatten()
        .map(|id| ("requester", id.as_str()));
    eligible.chain(voted).chain(requester).collect()
}
