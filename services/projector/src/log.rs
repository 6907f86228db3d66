//! Histories of single executions, from the log itself.

use contracts::{
    ids::ExecutionId,
    position::{Position, Positions},
    problem::{Code, Problem},
    record::Recorded,
    subject::AggregateId,
};
use host::{
    engine::{Host, chain},
    principals::Principal,
};
use journal::{
    Unavailable,
    history::{LoadError, Read},
};

use crate::reached::Reached;

/// Everything that happened to an execution, and where the last of it stands.
pub struct History {
    pub events: Vec<Recorded>,
    pub position: Positions,
}

/// As the caller's workspace has it: another one's id is not found.
pub async fn execution(
    host: &Host,
    reached: &Reached,
    principal: &Principal,
    id: ExecutionId,
    at_least: Option<&Positions>,
) -> Result<History, Problem> {
    if let Some(wanted) = at_least {
        reached.check(wanted)?;
    }
    let aggregate = AggregateId::execution(principal.workspace.clone(), id);
    // Whatever position a caller has seen, the leader has it.
    let read = at_least.map_or(Read::Nearest, |_| Read::Confirmed);
    let events = history(host, &aggregate, read).await?;
    let position = events
        .last()
        .map(|(position, _)| Positions::from(*position));
    Ok(History {
        events: events.into_iter().map(|(_, recorded)| recorded).collect(),
        position: position.unwrap_or_default(),
    })
}

/// Not empty: an id is unknown only when the leader says so.
pub async fn history(
    host: &Host,
    aggregate: &AggregateId,
    read: Read,
) -> Result<Vec<(Position, Recorded)>, Problem> {
    let mut events = host.journal.load(aggregate, read).await.map_err(refusal)?;
    if events.is_empty() && read == Read::Nearest {
        events = host
            .journal
            .load(aggregate, Read::Confirmed)
            .await
            .map_err(refusal)?;
    }
    if events.is_empty() {
        return Err(Problem::of(Code::ExecutionNotFound));
    }
    Ok(events)
}

fn refusal(error: LoadError) -> Problem {
    match error {
        LoadError::Corrupt { .. } | LoadError::Unreadable { .. } => {
            tracing::error!(reason = chain(&error), "a history cannot be told");
            Problem::of(Code::ExecutionCorrupt)
        }
        LoadError::Newer { .. } => Problem::new(Code::LogUnavailable, error.to_string()),
        LoadError::Unavailable(error) => unavailable(&error),
    }
}

pub fn unavailable(error: &Unavailable) -> Problem {
    tracing::warn!(reason = chain(error), "the log cannot be read");
    Problem::of(Code::LogUnavailable)
}
