//! Durable consumption: every message is delivered until it is acknowledged.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use contracts::{
    event::{EventName, Service},
    ids::{EventId, WorkspaceId},
    position::Position,
    record::Recorded,
};
use tokio::time::Instant;

use crate::{
    Unavailable,
    stored::{Raw, Unreadable},
    timer::Timer,
};

/// How long a message stays with one process before it is given to another, unless the process
/// says that it is still at it. Long enough for a pause of the process, short enough that a
/// killed one is taken over within 20 s.
pub const ACK_WAIT: Duration = Duration::from_secs(15);

/// How many messages of one stream wait in this process for [`Deliveries::next`]: enough to hide
/// the round trip to the broker, few enough that none waits as long as [`ACK_WAIT`].
pub const PREFETCH: usize = 64;

/// How many messages of one consumer and stream may be unacknowledged, all processes together.
/// Delayed ones count, so this is well above what the engines hold.
pub const UNACKNOWLEDGED_MAX: usize = 10_000;

/// Why a service consumes. Part of the consumer's name, and so of what its broker user may do:
/// the set is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// What makes the service start new work, again and again.
    Drive,
    /// What does so seldom, because it is asked for.
    Asked,
    /// What a run needs of a step: a verdict, or an answer to one.
    Steps,
    /// What interrupts work that is under way, heard even when the engine is full.
    Control,
    /// Wake-ups of its own.
    Timers,
    /// What others have published for it.
    Inbox,
}

impl Purpose {
    pub const ALL: [Self; 6] = [
        Self::Drive,
        Self::Asked,
        Self::Steps,
        Self::Control,
        Self::Timers,
        Self::Inbox,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drive => "drive",
            Self::Asked => "asked",
            Self::Steps => "steps",
            Self::Control => "control",
            Self::Timers => "timers",
            Self::Inbox => "inbox",
        }
    }
}

/// Which events wake a service, and why. On the broker each has a durable consumer of its own in each
/// stream that may hold it: for one with several filters the broker walks through every subject of the
/// stream, a block at a time and with appends waiting, while one with a single filter costs the same on
/// any stream.
pub const fn wakes(service: Service) -> &'static [(Purpose, &'static [EventName])] {
    match service {
        Service::Planner => &[
            (Purpose::Drive, &[EventName::IntentReceived]),
            (
                Purpose::Asked,
                &[EventName::PlanDrafted, EventName::IncidentResolved],
            ),
        ],
        Service::Verifier => &[
            (Purpose::Drive, &[EventName::PlanCompiled]),
            (
                Purpose::Asked,
                &[
                    EventName::PlanVerificationRequested,
                    EventName::IncidentResolved,
                ],
            ),
            (Purpose::Steps, &[EventName::StepProposed]),
            // Apart from the executions, so that a full engine still takes a tighter policy.
            (
                Purpose::Control,
                &[
                    EventName::SkillInstallRequested,
                    EventName::PolicyActivationRequested,
                ],
            ),
        ],
        Service::Executor => &[
            (Purpose::Drive, &[EventName::PlanVerified]),
            (
                Purpose::Asked,
                &[
                    EventName::ExecutionStartRequested,
                    EventName::RetryRequested,
                ],
            ),
            (Purpose::Steps, &[EventName::StepJudged]),
            // Apart, so that a full engine still hears what its executions wait for, a vote or a cancel.
            (
                Purpose::Control,
                &[
                    EventName::StepReported,
                    EventName::ExecutionApproved,
                    EventName::ExecutionRejected,
                    EventName::CancelRequested,
                    EventName::Paused,
                    EventName::Resumed,
                    EventName::IncidentResolved,
                ],
            ),
        ],
        // One hears of its inboxes, the other follows the log without a durable consumer.
        Service::Intake | Service::Projector => &[],
    }
}

/// The durable consumers that each stream of executions has. Nothing is purged of what one of them
/// has not acknowledged, and nothing at all before each of them was made.
pub fn on_executions() -> impl Iterator<Item = (Service, Purpose, EventName)> {
    all().filter(|(_, _, event)| !event.aggregate().in_catalogue())
}

fn all() -> impl Iterator<Item = (Service, Purpose, EventName)> {
    Service::ALL.into_iter().flat_map(|service| {
        let wakes = wakes(service).iter();
        wakes.flat_map(move |&(purpose, events)| {
            events.iter().map(move |event| (service, purpose, *event))
        })
    })
}

/// A durable consumer, the same for every process of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerSpec {
    pub service: Service,
    pub purpose: Purpose,
    /// The events wanted, each from all streams that may hold it.
    pub events: Vec<EventName>,
    /// Whether the timers that were armed for this service are wanted.
    pub timers: bool,
    /// Whose inbox is.
    pub inbox: Option<WorkspaceId>,
    pub ack_wait: Duration,
    pub prefetch: usize,
}

impl ConsumerSpec {
    /// All that wakes a service for a purpose.
    pub fn of(service: Service, purpose: Purpose) -> Self {
        let wakes = wakes(service).iter();
        let events = wakes.filter(|(of, _)| *of == purpose);
        Self::events(
            service,
            purpose,
            events.flat_map(|(_, events)| events.iter().copied()),
        )
    }

    pub fn events(
        service: Service,
        purpose: Purpose,
        events: impl IntoIterator<Item = EventName>,
    ) -> Self {
        Self {
            service,
            purpose,
            events: events.into_iter().collect(),
            timers: false,
            inbox: None,
            ack_wait: ACK_WAIT,
            prefetch: PREFETCH,
        }
    }

    pub fn timers(service: Service) -> Self {
        Self {
            timers: true,
            ..Self::events(service, Purpose::Timers, [])
        }
    }

    pub fn inbox(service: Service, workspace: WorkspaceId) -> Self {
        Self {
            inbox: Some(workspace),
            ..Self::events(service, Purpose::Inbox, [])
        }
    }

    #[must_use]
    pub fn ack_wait(self, ack_wait: Duration) -> Self {
        Self { ack_wait, ..self }
    }

    #[must_use]
    pub fn prefetch(self, prefetch: usize) -> Self {
        Self { prefetch, ..self }
    }

    /// The name on the broker of what is in no log, and the first part of any other.
    pub fn name(&self) -> String {
        name(self.service, self.purpose)
    }

    /// The name on the broker of the consumer of one event.
    pub fn name_for(&self, event: EventName) -> String {
        name_for(self.service, self.purpose, event)
    }
}

pub(crate) fn name_for(service: Service, purpose: Purpose, event: EventName) -> String {
    // No name of a consumer holds a dot.
    let event = event.as_str().replace('.', "-");
    format!("{}-{event}", name(service, purpose))
}

pub(crate) fn name(service: Service, purpose: Purpose) -> String {
    format!("{service}-{}", purpose.as_str())
}

/// One delivery of a message.
#[derive(Clone)]
pub struct Delivery {
    pub message: Arc<Message>,
    /// Counts from 1: above that, this or another process was given the message before.
    pub delivered: u64,
    /// How many messages of the same stream this consumer had yet to be given, all processes
    /// together, when this one was sent; nothing where the broker does not say.
    pub pending: Option<u64>,
    /// When the broker gave it to this process: its `ack_wait` counts from here, however long it
    /// waits to be looked at.
    pub received: Instant,
    pub handle: Handle,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every message is an event, and it is behind an `Arc`"
)]
pub enum Message {
    Event {
        position: Position,
        recorded: Recorded,
    },
    Timer(Timer),
    /// Of the inbox: what somebody else wrote, whatever it is.
    Letter {
        sequence: u64,
        raw: Raw,
    },
    Unreadable {
        /// Nothing for a timer.
        position: Option<Position>,
        raw: Raw,
        error: Unreadable,
    },
}

impl Message {
    /// The event's id or the timer's: what its consequences name as their cause.
    pub fn id(&self) -> Option<EventId> {
        match self {
            Self::Event { recorded, .. } => Some(recorded.id()),
            Self::Timer(timer) => Some(timer.id()),
            Self::Letter { .. } | Self::Unreadable { .. } => None,
        }
    }
}

/// Answers one delivery, from wherever it has been passed to.
pub type Handle = Arc<dyn Acknowledge>;

#[async_trait]
pub trait Acknowledge: Send + Sync {
    /// The message is done with. Sent, not confirmed: a lost acknowledgement is a redelivery.
    async fn ack(&self) -> Result<(), Unavailable>;

    /// The message is being worked on: its `ack_wait` begins anew. An error where the broker
    /// cannot have heard it.
    async fn in_progress(&self) -> Result<(), Unavailable>;

    /// The message is another process's by now: nothing is said to the broker, neither here nor
    /// when consumption stops.
    fn release(&self);

    /// The message is to be delivered again, to anyone, after `delay`.
    async fn retry_later(&self, delay: Duration) -> Result<(), Unavailable>;
}

/// How many messages were given to this process and are not answered, whenever it is asked.
pub type Unanswered = Box<dyn Fn() -> usize + Send + Sync>;

/// The messages of a durable consumer, merged from all streams it spans. Dropped without
/// [`Deliveries::stop`], what it holds is delivered again after `ack_wait`, as after a crash.
#[async_trait]
pub trait Deliveries: Send {
    /// Waits for the next message, through any loss of the connection. Safe to cancel.
    async fn next(&mut self) -> Delivery;

    /// Tells how many messages were given to this process and are not answered, now and later.
    fn unanswered(&self) -> Unanswered;

    /// Takes no more, and gives everything unacknowledged back at once, also what was handed
    /// out.
    async fn stop(self: Box<Self>) -> Result<(), Unavailable>;
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("message", &self.message)
            .field("delivered", &self.delivered)
            .finish_non_exhaustive()
    }
}
