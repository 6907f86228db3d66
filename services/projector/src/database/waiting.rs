//! How many executions wait, and for what, of all workspaces.

use contracts::operations::execution::WaitingFor;
use host::metrics::reading::Waiting;
use sqlx::SqliteConnection;

use super::write::bits;

/// The condition is that of an index, which holds no others. There are at most as many rows as
/// ways to wait.
const COUNT: &str = "SELECT waits, COUNT(*) FROM executions WHERE waits <> 0 GROUP BY waits";

pub async fn waiting(connection: &mut SqliteConnection) -> Result<Waiting, sqlx::Error> {
    let rows: Vec<(i64, i64)> = sqlx::query_as(COUNT).fetch_all(connection).await?;
    Ok(WaitingFor::ALL.map(|kind| {
        let waits = rows.iter().filter(|(waits, _)| waits & bits([&kind]) != 0);
        (kind, waits.map(|(_, executions)| executions).sum())
    }))
}
