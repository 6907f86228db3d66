//! Skills and bundles: few, and listed whole.

use contracts::{
    canonical::Digest,
    ids::WorkspaceId,
    operations::skill::{SkillStatus, SkillSummary},
    position::Positions,
    time::Timestamp,
};
use sqlx::{Row as _, sqlite::SqliteRow};

use super::{ReadError, Reader, optional, word};

/// A version of a skill that a workspace may use.
#[derive(Debug)]
pub struct Listed {
    pub skill: SkillSummary,
    /// Whether it is everyone's: one of the workspace's own may have the same key and version.
    pub is_shared: bool,
}

impl Reader {
    /// Every known version of every skill that a workspace may use, its own and shared ones.
    pub async fn skills(
        &self,
        workspace: &WorkspaceId,
    ) -> Result<(Vec<Listed>, Positions), ReadError> {
        let (mut snapshot, position) = self.snapshot().await?;
        let rows = sqlx::query("SELECT * FROM skills WHERE workspace IN (?, ?) ORDER BY key")
            .bind(workspace.as_str())
            .bind(WorkspaceId::global().as_str())
            .fetch_all(&mut *snapshot)
            .await?;
        let skills = rows.iter().map(listed).collect::<Result<_, _>>()?;
        Ok((skills, position))
    }

    /// A bundle that was once asked for in a workspace, as JSON.
    pub async fn bundle(
        &self,
        workspace: &WorkspaceId,
        hash: &Digest,
    ) -> Result<Option<String>, ReadError> {
        let bundle =
            sqlx::query_scalar("SELECT bundle FROM policies WHERE workspace = ? AND hash = ?")
                .bind(workspace.as_str())
                .bind(hash.to_string())
                .fetch_optional(&self.pool)
                .await?;
        Ok(bundle)
    }
}

fn listed(row: &SqliteRow) -> Result<Listed, ReadError> {
    let workspace: &str = row.try_get("workspace")?;
    Ok(Listed {
        is_shared: workspace == WorkspaceId::global().as_str(),
        skill: skill(row)?,
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
