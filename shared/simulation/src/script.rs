//! A history as it was drawn or written down: what is done to the world, and when.
//!
//! Its text is what a failure prints and what a scenario keeps: one line an action, with the
//! instant in seconds, or with the event that it waits for and the seconds since.

mod text;

pub use text::InvalidScript;

use contracts::{
    event::{EventName, Service},
    plan::Mode,
};

/// Everything that makes one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Of the noise: latencies, moods of workers, how outages take what is in flight.
    pub seed: u64,
    pub wire: Wire,
    pub workers: Workers,
    pub ending: Ending,
    /// Into how many streams executions are spread.
    pub streams: u8,
    /// In the order of their instants; last those that wait for an event.
    pub actions: Vec<Timed>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timed {
    pub when: When,
    pub action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// In milliseconds since the world began.
    At(u64),
    /// So many milliseconds after an event of this name was first stored for an execution.
    After { of: Name, event: EventName, ms: u64 },
}

/// How messages travel between a process and the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Prompt,
    /// Mostly prompt, sometimes late, rarely by seconds.
    Noisy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// Each does what it is asked, at once.
    Honest,
    /// They fail, answer late, or never.
    Moody,
}

/// What people do once the faults have stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Whatever waits for people is answered.
    Answered,
    /// Nobody answers: every expiry is waited for.
    Silence,
}

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance {
    pub service: Service,
    /// 1 or 2.
    pub number: u8,
}

/// Executions in the order in which they are first asked for: `e1`, `e2` …
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub u8);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Submit(Submit),
    /// The same request once more, or another one under its key.
    Repeat {
        of: Name,
        other_body: bool,
        via: u8,
    },
    /// `plan.compile` with a draft.
    OfferDraft {
        of: Name,
        plan: Plan,
        via: u8,
    },
    /// `plan.compile` without one.
    AskPlan {
        of: Name,
        via: u8,
    },
    Vote(Vote),
    Cancel {
        of: Name,
        by: Person,
        via: u8,
    },
    Start {
        of: Name,
        mode: Option<Mode>,
        via: u8,
    },
    Verify {
        of: Name,
        via: u8,
    },
    /// What is asked of a run by its own id: the one under way, or the last.
    Control {
        of: Name,
        what: Control,
        via: u8,
    },
    Activate {
        bundle: Bundle,
        via: u8,
    },
    Install {
        skill: Skill,
        via: u8,
    },
    Disable {
        skill: Skill,
        via: u8,
    },
    /// kill -9.
    Crash {
        who: Instance,
        at: Point,
    },
    /// SIGSTOP, and SIGCONT later.
    Pause {
        who: Instance,
        ms: u64,
    },
    /// SIGTERM, and a new process.
    Restart {
        who: Instance,
    },
    /// The wall clock of one process.
    StepClock {
        who: Instance,
        ms: i64,
    },
    /// A change of leaders: nothing is answered, and some of what was sent is stored.
    Outage {
        ms: u64,
    },
    /// The broker has no room: it refuses what is to be stored.
    Full {
        ms: u64,
    },
    /// The answers to its next appends do not arrive.
    LoseAnswers {
        who: Instance,
        count: u32,
    },
    /// Its next acknowledgements do not arrive.
    LoseAcks {
        who: Instance,
        count: u32,
    },
    /// Whatever is held, or all there is, is delivered once more, to anyone.
    DeliverAgain {
        what: Again,
    },
    /// How many events reads from replicas miss.
    Lag {
        events: u32,
    },
    /// Every connection is lost and found again.
    Reconnect,
    /// Everything stands still at once, the broker too.
    Jump {
        ms: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submit {
    pub name: Name,
    pub by: Person,
    pub plan: Plan,
    pub keyed: bool,
    pub by_hand: bool,
    pub mode: Mode,
    /// In milliseconds from then.
    pub deadline_ms: Option<u64>,
    pub via: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    pub of: Name,
    pub by: Person,
    pub approves: bool,
    /// How long it takes from looking to voting.
    pub thinks_ms: u64,
    pub shows: Shown,
    pub via: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Control {
    Pause,
    Resume,
    Retry,
    Abort,
}

/// What a voter says to have looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Plan, inputs and block as they were.
    Everything,
    Nothing,
    OtherPlan,
    OtherInputs,
    OtherBlock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    Held,
    /// As after a broker that lost what its consumers had acknowledged.
    Everything,
}

/// Where a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    Now,
    BeforeAppend,
    AfterAppend,
    BeforeDispatch,
    AfterDispatch,
    BeforeArm,
    AfterArm,
    BeforeAck,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Person {
    /// Submits, and may vote, but not on what is hers.
    Ada,
    /// Submits, and may not vote.
    Bob,
    Grace,
    Heidi,
    /// Offers drafts, nothing else.
    Pat,
    /// Holds everything.
    Root,
    /// An agent that submits.
    Bot,
    /// A worker, which reports what it has done.
    Walt,
}

/// What an intent wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plan {
    /// Nothing leaves the executor.
    Echo,
    /// One step after the other, the second with what the first found.
    Chain,
    /// Two at once, then a third.
    Pair,
    /// One step by itself, one that a human approves.
    Change,
    /// An amount that is known only when it has been looked up.
    Pay,
    /// What cannot be undone.
    Erase,
    /// Time passes: a little, and a lot.
    Wait,
    /// Tried again when it fails.
    Retry,
    /// Many at once, two of them approved.
    Wide,
    /// By a second skill, which may be disabled.
    Mail,
    /// A step that is completed later, between two that are not.
    Later,
    /// What no bundle permits.
    Forbidden,
    /// Does not compile.
    Broken,
    /// A playbook of the shop.
    Playbook,
    /// None: an outside planner is asked.
    Absent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bundle {
    Base,
    /// Two people where one was enough, and less money by itself.
    Strict,
    /// Notes need a human, payments are blocked.
    Closed,
    /// Does not validate.
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Skill {
    Shop,
    /// A newer version of the shop.
    Shop2,
    Mail,
    /// Signed with a key that nobody trusts.
    Forged,
}

impl Action {
    /// The first word of each.
    pub const VERBS: [&str; 28] = [
        "submit",
        "repeat",
        "offer-draft",
        "ask-plan",
        "approve",
        "reject",
        "cancel",
        "start",
        "verify",
        "pause-run",
        "resume-run",
        "retry-run",
        "abort-run",
        "activate",
        "install",
        "disable",
        "crash",
        "pause",
        "restart",
        "step-clock",
        "outage",
        "full",
        "lose-answers",
        "lose-acks",
        "deliver-again",
        "lag",
        "reconnect",
        "jump",
    ];

    /// Whether someone asks for it through an intake; otherwise it happens to the world.
    pub const fn is_asked(&self) -> bool {
        match self {
            Self::Submit(_)
            | Self::Repeat { .. }
            | Self::OfferDraft { .. }
            | Self::AskPlan { .. }
            | Self::Vote(_)
            | Self::Cancel { .. }
            | Self::Start { .. }
            | Self::Verify { .. }
            | Self::Control { .. }
            | Self::Activate { .. }
            | Self::Install { .. }
            | Self::Disable { .. } => true,
            Self::Crash { .. }
            | Self::Pause { .. }
            | Self::Restart { .. }
            | Self::StepClock { .. }
            | Self::Outage { .. }
            | Self::Full { .. }
            | Self::LoseAnswers { .. }
            | Self::LoseAcks { .. }
            | Self::DeliverAgain { .. }
            | Self::Lag { .. }
            | Self::Reconnect
            | Self::Jump { .. } => false,
        }
    }
}

impl Instance {
    pub const fn of(service: Service, number: u8) -> Self {
        Self { service, number }
    }
}

/// Every process of the world.
pub const INSTANCES: [Instance; 8] = [
    Instance::of(Service::Intake, 1),
    Instance::of(Service::Intake, 2),
    Instance::of(Service::Planner, 1),
    Instance::of(Service::Planner, 2),
    Instance::of(Service::Verifier, 1),
    Instance::of(Service::Verifier, 2),
    Instance::of(Service::Executor, 1),
    Instance::of(Service::Executor, 2),
];
