//! What the projection finds wrong with the log. It is the one service that reads all of it.

use std::time::Duration;

use contracts::{canonical::Digest, ids::WorkspaceId, record::Recorded};
use host::{
    engine::{Host, chain},
    health::Why,
    incident::{self, Incident, RaiseError},
    write::WriteError,
};
use journal::{append::AppendError, history::LoadError, stored::Unreadable};

use super::Stored;
use crate::history::{Break, POISON};

const RETRY_AFTER: Duration = Duration::from_secs(1);

/// About a message that this binary cannot read: as the other services raise it.
pub fn unreadable(subject: &str, error: &Unreadable) -> Incident {
    let workspace = subject
        .split('.')
        .nth(1)
        .and_then(|token| token.parse().ok());
    Incident {
        workspace: workspace.unwrap_or_else(WorkspaceId::global),
        subject_id: Digest::of(subject.as_bytes()).to_string(),
        code: POISON,
        cause: chain(error),
        about: subject.to_owned(),
        event: None,
    }
}

/// About a history that does not hold together at an event.
pub fn broken(recorded: &Recorded, broken: &Break) -> Incident {
    let aggregate = &recorded.subject.aggregate;
    Incident {
        workspace: aggregate.workspace().clone(),
        subject_id: aggregate.id().to_owned(),
        code: broken.code,
        cause: broken.cause.clone(),
        about: aggregate.to_string(),
        event: Some(recorded.id()),
    }
}

/// Stores an incident before what it is about is passed over. While the broker is away nothing
/// else could be read either; an incident that can never be stored stops nothing.
pub async fn raise(host: &Host, incident: &Incident) -> Stored {
    loop {
        let raised = incident::raise(host, incident).await;
        let Err(error) = raised else {
            host.health.ready("incidents");
            return Stored::Yes;
        };
        let reason = chain(&error);
        if !passes(&error) {
            tracing::error!(
                reason,
                about = incident.about,
                "an incident cannot be stored"
            );
            return Stored::Yes;
        }
        tracing::warn!(
            reason,
            about = incident.about,
            "an incident is not stored yet"
        );
        let why = Why::of("an incident cannot be stored: see the log of the process");
        host.health.unready("incidents", why);
        tokio::select! {
            () = tokio::time::sleep(RETRY_AFTER) => {}
            () = host.shutdown.cancelled() => return Stored::Stopped,
        }
    }
}

fn passes(error: &RaiseError) -> bool {
    match error {
        RaiseError::Load(error) => matches!(error, LoadError::Unavailable(_)),
        RaiseError::Write(error) => matches!(
            error,
            WriteError::Conflict { .. } | WriteError::Append(AppendError::Unavailable { .. })
        ),
    }
}
