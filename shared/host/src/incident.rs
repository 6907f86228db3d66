//! What an operator has to look at: stored before the message that shows it is acknowledged.

use contracts::{
    event::Event,
    events::{RULES, host::IncidentRaised},
    ids::{EventId, WorkspaceId},
    record::{Cause, Head, Recorded},
    subject::AggregateId,
};
use journal::history::{LoadError, Read};
use tokio::time::Instant;

use crate::{
    aggregate::Aggregate,
    engine::Host,
    trace::told::Parent,
    write::{WriteError, Writer},
};

#[derive(Debug, thiserror::Error)]
pub enum RaiseError {
    #[error("cannot read the incidents so far")]
    Load(#[from] LoadError),
    #[error("cannot store the incident")]
    Write(#[from] WriteError),
}

/// What happened, and to what.
#[derive(Debug, Clone)]
pub struct Incident {
    pub workspace: WorkspaceId,
    /// The id of the aggregate it is about: incidents about an execution have its id.
    pub subject_id: String,
    pub code: &'static str,
    pub cause: String,
    pub about: String,
    pub event: Option<EventId>,
}

/// The incidents about one aggregate.
struct Incidents {
    head: Option<Head>,
    /// Raised and not resolved.
    open: Vec<IncidentRaised>,
}

impl Aggregate for Incidents {
    fn empty() -> Self {
        Self {
            head: None,
            open: Vec::new(),
        }
    }

    fn evolve(mut self, recorded: &Recorded) -> Self {
        if let Event::IncidentRaised(raised) = &recorded.event {
            self.open.push(raised.clone());
        } else if let Event::IncidentResolved(resolved) = &recorded.event {
            self.open.retain(|raised| raised.code != resolved.code);
        }
        self.head = Some(recorded.head());
        self
    }

    fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    fn corruption(&self) -> Option<String> {
        None
    }
}

/// Stores the incident, unless the same one is open already.
pub async fn raise(host: &Host, incident: &Incident) -> Result<(), RaiseError> {
    let now = host.now();
    let aggregate = AggregateId::incident(incident.workspace.clone(), &incident.subject_id);
    loop {
        let known_at = Instant::now();
        let events = host.journal.load(&aggregate, Read::Confirmed).await?;
        let state = events
            .iter()
            .fold(Incidents::empty(), |state, (_, recorded)| {
                state.evolve(recorded)
            });
        // Each wake-up finds the same fault again; it is told once, until it is resolved.
        let known = state
            .open
            .iter()
            .any(|raised| raised.code == incident.code && raised.cause == incident.cause);
        if known {
            return Ok(());
        }
        tracing::error!(
            code = incident.code,
            about = incident.about,
            cause = incident.cause,
            "incident"
        );
        let writer = Writer {
            host,
            aggregate: &aggregate,
            cause: &Cause {
                id: incident.event,
                traceparent: None,
            },
            parent: Parent::Trace,
            now,
            known_at,
        };
        let event = IncidentRaised {
            code: incident.code.to_owned(),
            cause: incident.cause.clone(),
            about: incident.about.clone(),
            event_id: incident.event,
            service: host.service.to_string(),
            raised_at: now,
            rules: RULES,
        };
        match writer.append(&state, event.into()).await {
            Ok(_) => {
                host.metrics.log.incident(incident.code);
                return Ok(());
            }
            Err(WriteError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
