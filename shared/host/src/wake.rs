//! What wakes an aggregate: an event, or a timer.

use contracts::{
    event::EventName,
    ids::EventId,
    record::Recorded,
    subject::{AggregateId, AggregateKind},
    time::Timestamp,
};
use journal::delivery::Message;

use crate::trace::told::Parent;

/// A message that wakes an aggregate.
#[derive(Debug, Clone)]
pub struct Wake {
    pub aggregate: AggregateId,
    pub id: EventId,
    /// A fold must have reached it.
    pub version: u64,
    /// When the event was stored, or the timer was due.
    pub time: Timestamp,
    /// What a timer is for.
    pub timer: Option<String>,
    /// The event itself, where the message is one.
    pub event: Option<Recorded>,
}

impl Wake {
    /// Not decided before this instant: a timer's.
    pub fn due(&self) -> Option<Timestamp> {
        self.timer.as_ref().map(|_| self.time)
    }

    /// What the span of an event hangs from that this leads to.
    pub fn parent(&self) -> Parent {
        // A timer has no span, and another aggregate's event is in another trace.
        match self.event {
            Some(_) => Parent::Cause,
            None => Parent::Trace,
        }
    }

    /// What it is, as one of a few words.
    pub fn input(&self) -> &'static str {
        match (&self.event, &self.timer) {
            (Some(event), _) => event.event.name().as_str(),
            (None, Some(_)) => "timer",
            (None, None) => EventName::IncidentResolved.as_str(),
        }
    }

    /// Nothing for a message that cannot be read, or is no part of the log.
    pub fn of(message: &Message) -> Option<Self> {
        match message {
            Message::Event { recorded, .. } => Some(Self::of_event(recorded)),
            Message::Timer(timer) => Some(Self {
                aggregate: timer.aggregate.clone(),
                id: timer.id(),
                version: timer.version,
                time: timer.due,
                timer: Some(timer.key.clone()),
                event: None,
            }),
            Message::Letter { .. } | Message::Unreadable { .. } => None,
        }
    }

    fn of_event(recorded: &Recorded) -> Self {
        let aggregate = &recorded.subject.aggregate;
        let about = match aggregate.kind() {
            AggregateKind::Incident => aggregate.execution_id(),
            AggregateKind::Execution
            | AggregateKind::Skill
            | AggregateKind::Policy
            | AggregateKind::Hold
            | AggregateKind::Schedule => None,
        };
        match about {
            // What is resolved wakes the execution it was about, whatever its version.
            Some(id) => Self {
                aggregate: AggregateId::execution(aggregate.workspace().clone(), id),
                id: recorded.id(),
                version: 0,
                time: recorded.time(),
                timer: None,
                event: None,
            },
            None => Self {
                aggregate: aggregate.clone(),
                id: recorded.id(),
                version: recorded.version(),
                time: recorded.time(),
                timer: None,
                event: Some(recorded.clone()),
            },
        }
    }
}
