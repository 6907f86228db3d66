//! Histories of single executions, from the log itself.

use contracts::{
    ids::ExecutionId,
    position::{Position, Positions},
    problem::{Code, Problem},
    record::Recorded,
    subject::AggregateId,
};
use futures::future::try_join_all;
use host::{
    aggregate::known,
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
    // Whatever position a caller has seen, the leader has it.
    let (read, mut position) = match at_least {
        None => (Read::Nearest, Positions::beginning()),
        Some(wanted) => {
            reached.check(wanted)?;
            is_reached(host, wanted).await?;
            (Read::Confirmed, wanted.clone())
        }
    };
    let aggregate = AggregateId::execution(principal.workspace.clone(), id);
    let events = history(host, &aggregate, read).await?;
    if let Some((last, _)) = events.last() {
        position.advance(*last);
    }
    Ok(History {
        events: events.into_iter().map(|(_, recorded)| recorded).collect(),
        position,
    })
}

/// Whether the log itself is as far: it is not where it was put back since, or where the position
/// was made up.
pub async fn is_reached(host: &Host, wanted: &Positions) -> Result<(), Problem> {
    let ends = wanted.iter().map(|Position { stream, .. }| async move {
        let sequence = host.journal.last_sequence(stream).await?;
        Ok(Position { stream, sequence })
    });
    let mut end = Positions::beginning();
    for position in try_join_all(ends)
        .await
        .map_err(|error| unavailable(&error))?
    {
        end.advance(position);
    }
    if end.covers(wanted) {
        Ok(())
    } else {
        Err(Problem::of(Code::PositionNotReached).with_position(end))
    }
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
    let understood = events.iter().try_for_each(|(_, recorded)| known(recorded));
    understood.map_err(refusal)?;
    Ok(events)
}

pub fn refusal(error: LoadError) -> Problem {
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
