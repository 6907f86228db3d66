//! The execution: one intent and all that follows from it, as the fold of its events.
//!
//! * [`intake`]: what callers may ask, and why not
//! * [`planning`]: the planner's decisions
//! * [`verification`]: what the verifier is asked, and its answers as events
//! * [`running`], [`steps`], [`ending`]: the executor's decisions
//! * [`waits`]: the timers that a state waits for
//! * `fold`, `reading`: what each event may follow, and what a state says of itself
//!
//! Deciding the same input again on the resulting state yields nothing, so redelivery is
//! harmless. An event that is illegal in its state folds to `Corrupt`, and nothing follows.

use std::{collections::BTreeMap, sync::Arc};

use contracts::{
    canonical::Digest,
    event::{Event, EventName},
    events::{
        executor::{CompletionOutcome, EffectOutcome, FailureCode, StepBlocked},
        intake::{IntentReceived, PlanDrafted, ReportedOutcome, StepReported},
        planner::{PlanCompiled, RejectionCause},
        verifier::PlanVerified,
    },
    facts::StepVerdict,
    ids::{EventId, ExecutionId, Incarnation, PrincipalId, RunId, StepId, WorkspaceId},
    plan::{Finding, Mode, RiskTier, Start, Status},
    record::{Head, Recorded},
    time::Timestamp,
};
use serde_json::Value;

pub mod ending;
pub mod intake;
pub mod planning;
pub mod running;
pub mod steps;
pub mod verification;
pub mod waits;

mod fold;
mod reading;

/// Drafts that are taken of an outside planner before the plan is rejected for good.
pub const DRAFTS_MAX: u32 = 5;

/// How an execution stands after some of its events.
#[derive(Debug, Clone, PartialEq)]
pub enum Execution {
    NeverReceived,
    Known(Box<Known>),
    Corrupt(Corruption),
}

/// Where a history stops to hold together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{event}` at version {version} is illegal: {reason}")]
pub struct Corruption {
    pub version: u64,
    pub event: EventName,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    pub workspace: WorkspaceId,
    pub id: ExecutionId,
    pub head: Head,
    /// The latest position of the catalogue that something in it was decided on: what follows is
    /// decided on none before it, or two processes would contradict each other for ever.
    pub catalogue: u64,
    pub intent: Arc<IntentReceived>,
    /// The intent's, until someone asks for a retry after it.
    pub deadline_at: Option<Timestamp>,
    /// The trace that the caller's request belongs to.
    pub traceparent: Option<String>,
    pub stage: Stage,
    /// Set from the event that stops it on: nothing new is started.
    pub stop: Option<Stop>,
}

/// Why an execution stops before its plan is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    pub code: FailureCode,
    pub step: Option<StepId>,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    Received,
    AwaitingDraft {
        attempt: u32,
        expires_at: Timestamp,
    },
    Drafted {
        attempt: u32,
        draft: Arc<PlanDrafted>,
    },
    /// A draft did not compile and another one may follow.
    DraftRefused {
        attempt: u32,
        findings: Vec<Finding>,
    },
    /// A verdict is awaited.
    Compiled {
        compiled: Arc<PlanCompiled>,
    },
    Verified(Verified),
    Running(Run),
    Rejected {
        cause: RejectionCause,
        findings: Vec<Finding>,
        judged: Option<Judged>,
    },
    Completed {
        run_id: RunId,
        mode: Mode,
        outcome: CompletionOutcome,
        judged: Judged,
        steps: BTreeMap<StepId, Step>,
    },
    Failed {
        stop: Stop,
        /// Absent where it failed before it ran.
        run: Option<Run>,
        /// The run after it, where that was asked for and this came before it began.
        never_begun: Option<u32>,
        /// As far as it had come.
        compiled: Option<Arc<PlanCompiled>>,
        judged: Option<Judged>,
    },
}

/// A plan with its verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    pub compiled: Arc<PlanCompiled>,
    pub verdict: Arc<PlanVerified>,
}

/// Judged, and not yet running.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    pub judged: Judged,
    /// A start by hand, or a retry.
    pub start: Option<Mode>,
    /// The steps of the run that is retried.
    pub retried: Option<Retried>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Retried {
    pub number: u32,
    pub steps: BTreeMap<StepId, Step>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// From 1.
    pub number: u32,
    pub mode: Mode,
    pub judged: Judged,
    /// One for each step of the plan.
    pub steps: BTreeMap<StepId, Step>,
    pub paused: bool,
    /// Whether it is or ever was.
    pub was_paused: bool,
    /// When the last of its steps that ended well did so; of one before the run began, the verdict.
    pub last_end_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub state: StepState,
    /// The number of the last attempt, over all runs.
    pub attempts: u32,
    /// Attempts of this run that count as tries: takeovers do not.
    pub tries: u32,
    /// The answer to its last proposal, where there was one.
    pub judgement: Option<Judgement>,
    /// Open, or passed by enough votes.
    pub block: Option<Block>,
    /// How often it was blocked, over all runs.
    pub blocks: u32,
    /// The hashes of the completion tokens of its attempts, over all runs.
    pub tokens: BTreeMap<u32, Digest>,
    /// What was reported from outside of an attempt that has not ended.
    pub report: Option<Arc<StepReported>>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum StepState {
    Pending,
    /// A second verdict is awaited.
    Proposed {
        /// Of the proposal.
        version: u64,
        inputs: Arc<Value>,
        inputs_digest: Digest,
    },
    Started(Attempt),
    /// Will be completed from outside.
    Accepted {
        attempt: u32,
        expires_at: Timestamp,
    },
    RetryWait {
        at: Timestamp,
    },
    Completed {
        output: Arc<Value>,
    },
    Failed {
        code: String,
        message: Option<String>,
        outcome: EffectOutcome,
    },
    Skipped,
}

/// An attempt whose end is not stored yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    pub number: u32,
    pub owner: Incarnation,
    /// Whoever holds a delivery of it may take the attempt over.
    pub wake: Option<EventId>,
    pub started_at: Timestamp,
    pub timeout_at: Timestamp,
    pub inputs_digest: Digest,
    pub token_hash: Digest,
}

/// A second verdict, for these inputs under this policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    pub inputs_digest: Digest,
    pub policy_version: Option<Digest>,
    pub verdict: StepVerdict,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    pub opened: Arc<StepBlocked>,
    /// Of the verdict that it was opened for.
    pub tier: RiskTier,
    /// Votes that count, by voter.
    pub votes: BTreeMap<PrincipalId, Timestamp>,
}

impl Block {
    /// Whether enough people have voted.
    pub fn is_passed(&self) -> bool {
        u32::try_from(self.votes.len()).unwrap_or(u32::MAX) >= self.opened.approval.quorum
    }
}

impl Verified {
    /// How it runs, once someone wants it to run.
    pub fn mode(&self, intent: &IntentReceived) -> Option<Mode> {
        self.start.or(match (intent.start, intent.mode) {
            // Where nothing is run there is nothing to start by hand.
            (Start::Auto, mode) | (Start::Manual, mode @ Mode::Observe) => Some(mode),
            (Start::Manual, Mode::Autonomous | Mode::Assist) => None,
        })
    }

    /// The run that comes next.
    pub fn run_id(&self, execution: ExecutionId) -> RunId {
        RunId {
            execution,
            number: self.retried.as_ref().map_or(1, |retried| retried.number),
        }
    }

    fn run(&self, mode: Mode) -> Run {
        let pending = || {
            let steps = self.judged.compiled.plan.steps.iter();
            steps
                .map(|step| (step.id.clone(), Step::pending()))
                .collect()
        };
        let (number, steps) = match &self.retried {
            Some(retried) => (retried.number, retried.steps.clone()),
            None => (1, pending()),
        };
        Run {
            number,
            mode,
            judged: self.judged.clone(),
            steps,
            paused: false,
            was_paused: false,
            last_end_at: self.judged.verdict.verified_at,
        }
    }

    /// The run before the one that comes next.
    fn last_run(&self) -> Option<Run> {
        self.retried.as_ref()?;
        let next = self.run(self.start?);
        Some(Run {
            number: next.number - 1,
            ..next
        })
    }
}

impl Step {
    fn pending() -> Self {
        Self {
            state: StepState::Pending,
            attempts: 0,
            tries: 0,
            judgement: None,
            block: None,
            blocks: 0,
            tokens: BTreeMap::new(),
            report: None,
        }
    }

    /// The attempt that a process is at work on.
    pub fn attempt(&self) -> Option<&Attempt> {
        match &self.state {
            StepState::Started(attempt) => Some(attempt),
            StepState::Pending
            | StepState::Proposed { .. }
            | StepState::Accepted { .. }
            | StepState::RetryWait { .. }
            | StepState::Completed { .. }
            | StepState::Failed { .. }
            | StepState::Skipped => None,
        }
    }

    /// Whether an effect may be under way.
    pub fn in_flight(&self) -> bool {
        matches!(
            self.state,
            StepState::Started(_) | StepState::Accepted { .. }
        )
    }

    /// Whether a success counts of an attempt that was made: also between two of them.
    pub fn may_succeed(&self) -> bool {
        match self.state {
            StepState::Started(_)
            | StepState::Accepted { .. }
            | StepState::RetryWait { .. }
            | StepState::Pending
            | StepState::Proposed { .. } => true,
            StepState::Completed { .. } | StepState::Failed { .. } | StepState::Skipped => false,
        }
    }

    /// The report that its end follows from: a success, whichever attempt it is of, or a failure of
    /// the attempt that is under way.
    pub fn last_report(&self) -> Option<&StepReported> {
        self.report.as_deref().filter(|report| {
            let is_success = report.outcome == ReportedOutcome::Completed;
            is_success || report.attempt == self.attempts
        })
    }

    /// Blocked and waiting for votes.
    pub fn open_block(&self) -> Option<&Block> {
        self.block
            .as_ref()
            .filter(|block| !block.is_passed() && self.state == StepState::Pending)
    }
}

impl Run {
    pub fn id(&self, execution: ExecutionId) -> RunId {
        RunId {
            execution,
            number: self.number,
        }
    }

    pub fn in_flight(&self) -> bool {
        self.steps.values().any(Step::in_flight)
    }

    /// Whether every step has its effect, or is left out.
    pub fn is_done(&self) -> bool {
        self.steps
            .values()
            .all(|step| matches!(step.state, StepState::Completed { .. } | StepState::Skipped))
    }

    /// What policy says of a step now: the answer to its last proposal, or the plan's verdict.
    pub fn verdict(&self, id: &StepId) -> Option<&StepVerdict> {
        let judged = self.steps.get(id).and_then(|step| step.judgement.as_ref());
        judged
            .map(|judgement| &judgement.verdict)
            .or_else(|| self.judged.verdict.steps.get(id))
    }

    pub fn output(&self, id: &StepId) -> Option<&Value> {
        match &self.steps.get(id)?.state {
            StepState::Completed { output } => Some(output),
            StepState::Pending
            | StepState::Proposed { .. }
            | StepState::Started(_)
            | StepState::Accepted { .. }
            | StepState::RetryWait { .. }
            | StepState::Failed { .. }
            | StepState::Skipped => None,
        }
    }
}

impl Execution {
    /// Folds a whole history.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a Recorded>) -> Self {
        events.into_iter().fold(Self::NeverReceived, Self::evolve)
    }

    /// Takes the next event. Total: what is illegal here folds to `Corrupt`.
    #[must_use]
    pub fn evolve(self, recorded: &Recorded) -> Self {
        match self {
            Self::NeverReceived => fold::first(recorded),
            Self::Known(known) => fold::next(known, recorded),
            Self::Corrupt(corruption) => Self::Corrupt(corruption),
        }
    }

    pub fn known(&self) -> Option<&Known> {
        match self {
            Self::Known(known) => Some(known),
            Self::NeverReceived | Self::Corrupt(_) => None,
        }
    }

    /// The version of the last event in it; 0 before the first.
    pub fn version(&self) -> u64 {
        match self {
            Self::NeverReceived => 0,
            Self::Known(known) => known.head.version,
            Self::Corrupt(corruption) => corruption.version,
        }
    }

    pub fn head(&self) -> Option<&Head> {
        self.known().map(|known| &known.head)
    }

    pub fn status(&self) -> Option<Status> {
        match self {
            Self::NeverReceived => None,
            Self::Known(known) => Some(known.status()),
            Self::Corrupt(_) => Some(Status::Corrupt),
        }
    }
}

/// What a decision needs beside the state when it writes an event: the version of its rules.
pub(crate) const RULES: u32 = contracts::events::RULES;

/// An empty list of events: the state asks for nothing.
pub(crate) fn nothing() -> Vec<Event> {
    Vec::new()
}
