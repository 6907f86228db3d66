//! The books of one execution, and the events that are of no step.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{
    canonical::Digest,
    event::Event,
    events::{
        executor::{ExecutionStarted, FailureCode},
        intake::IntentReceived,
    },
    facts::{Actor, StepVerdict},
    ids::{ExecutionId, PlanId, RunId, StepId},
    plan::{Mode, Start, Verdict},
    record::Recorded,
    subject::AggregateId,
    time::Timestamp,
};

use super::{
    Books,
    decided::Decided,
    promises::Pauses,
    rule::{Check, Rule, broken, ensure},
    step::Step,
};

pub(super) struct Execution {
    pub id: ExecutionId,
    pub aggregate: AggregateId,
    pub requester: Actor,
    /// As the intent asked.
    pub start: Start,
    pub mode: Mode,
    pub deadline: Option<Timestamp>,
    pub stage: Stage,
    /// How many drafts were asked for.
    pub drafts: u32,
    pub plan: Option<Plan>,
    pub verdict: Option<PlanVerdict>,
    /// How many verdicts there were on it.
    pub verdicts: u32,
    /// Asked for by hand, or that of the run that is tried again.
    pub wanted: Option<Mode>,
    /// How many runs have begun.
    pub runs: u32,
    /// Of the run under way.
    pub run_mode: Mode,
    pub paused: bool,
    /// Of each run that was paused, by its number.
    pub pauses: BTreeMap<u32, Pauses>,
    /// The numbers of the runs of which a retry was asked for.
    pub retries: BTreeSet<u32>,
    pub stop: Option<FailureCode>,
    pub cancelled: bool,
    pub steps: BTreeMap<StepId, Step>,
    /// The latest position of the catalogue that is named.
    pub facts: u64,
    /// Since when what is stored now may have been decided.
    pub decided: Decided,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The planner is to answer what was stored when the catalogue ended there.
    Received {
        asked: u64,
    },
    AwaitingDraft {
        expires_at: Timestamp,
    },
    Drafted {
        asked: u64,
    },
    DraftRefused,
    /// The verifier is to answer what was stored when the catalogue ended there.
    Compiled {
        asked: u64,
    },
    Verified,
    Running,
    Ended(End),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Completed,
    Rejected,
    Failed(FailureCode),
}

pub(super) struct Plan {
    pub id: PlanId,
    pub hash: Digest,
}

pub(super) struct PlanVerdict {
    pub verdict: Verdict,
    pub steps: BTreeMap<StepId, StepVerdict>,
    pub policy: Option<Digest>,
    pub verified_at: Timestamp,
}

impl Execution {
    pub fn received(recorded: &Recorded, books: &Books) -> Check<Self> {
        let Event::IntentReceived(event) = &recorded.event else {
            let name = recorded.event.name();
            return broken(
                Rule::OutOfTurn,
                format!("an execution begins with `{name}`"),
            );
        };
        let aggregate = recorded.subject.aggregate.clone();
        let IntentReceived {
            execution_id: id, ..
        } = *event;
        ensure(
            aggregate.execution_id() == Some(id),
            Rule::OutOfTurn,
            || format!("the intent of {id} is stored under {aggregate}"),
        )?;
        Ok(Self {
            id,
            aggregate,
            requester: event.actor.clone(),
            start: event.start,
            mode: event.mode,
            deadline: event.deadline_at,
            stage: Stage::Received {
                asked: books.asked_at(),
            },
            drafts: 0,
            plan: None,
            verdict: None,
            verdicts: 0,
            wanted: None,
            runs: 0,
            run_mode: event.mode,
            paused: false,
            pauses: BTreeMap::new(),
            retries: BTreeSet::new(),
            stop: None,
            cancelled: false,
            steps: BTreeMap::new(),
            facts: 0,
            decided: Decided::at(books.now),
        })
    }

    pub fn take(&mut self, recorded: &Recorded, books: &mut Books) -> Check {
        self.decided.take(recorded, books.now);
        self.gate(recorded)?;
        self.sees_forward(recorded)?;
        match &recorded.event {
            Event::DraftRequested(event) => self.draft_requested(event),
            Event::PlanDrafted(_) => self.drafted(recorded, books),
            Event::PlanCompiled(event) => self.compiled(event, books),
            Event::PlanRejected(event) => self.plan_rejected(recorded, event, books),
            Event::PlanVerified(event) => self.verified(event, books),
            Event::PlanVerificationRequested(event) => self.asked_again(event, books),
            Event::ExecutionStartRequested(event) => self.start_requested(event),
            Event::ExecutionStarted(event) => self.started(event),
            Event::StepProposed(event) => self.proposed(recorded.version(), event, books),
            Event::StepJudged(event) => self.judged(event, books),
            Event::StepBlocked(event) => self.blocked(event, books),
            Event::StepStarted(event) => self.step_started(recorded, event, books),
            Event::StepAccepted(event) => self.accepted(event),
            Event::StepReported(event) => self.reported(&event.step_id),
            Event::StepCompleted(event) => self.step_completed(event, books),
            Event::StepFailed(event) => self.step_failed(event, books),
            Event::StepSkipped(event) => self.skipped(&event.step_id),
            Event::ExecutionApproved(event) => self.approved(recorded, event),
            Event::ExecutionRejected(event) => self.rejected(recorded, event),
            Event::CancelRequested(_) => {
                self.stop = Some(FailureCode::Cancelled);
                self.cancelled = true;
                Ok(())
            }
            Event::Paused(_) => self.pause(true),
            Event::Resumed(_) => self.pause(false),
            Event::ExecutionStopping(event) => self.stopping(recorded, event, books),
            Event::ExecutionCompleted(event) => self.completed(event),
            Event::ExecutionFailed(event) => self.failed(recorded, event, books),
            Event::RetryRequested(event) => self.retried(recorded, event.run_id),
            Event::IntentReceived(_)
            | Event::StepCompensated(_)
            | Event::SkillInstallRequested(_)
            | Event::SkillDisabled(_)
            | Event::SkillInstalled(_)
            | Event::SkillRejected(_)
            | Event::PolicyActivationRequested(_)
            | Event::PolicyActivated(_)
            | Event::PolicyRefused(_)
            | Event::HoldPlaced(_)
            | Event::HoldLifted(_)
            | Event::IncidentRaised(_)
            | Event::IncidentResolved(_) => self.misplaced(recorded),
        }
    }

    /// What holds whatever the event: ended, stopping, paused, and of which run.
    fn gate(&self, recorded: &Recorded) -> Check {
        let name = recorded.event.name();
        let version = recorded.version();
        let event = &recorded.event;
        if let Stage::Ended(end) = self.stage {
            let retry = matches!(event, Event::RetryRequested(_));
            return ensure(retry, Rule::AfterTheEnd, || {
                format!("`{name}` at version {version} follows {end:?}")
            });
        }
        if let Some(code) = self.stop {
            let ends = matches!(
                event,
                Event::StepAccepted(_)
                    | Event::StepReported(_)
                    | Event::StepCompleted(_)
                    | Event::StepFailed(_)
                    | Event::ExecutionFailed(_)
            );
            ensure(ends, Rule::AfterAStop, || {
                let code = code.as_str();
                format!("`{name}` at version {version} follows a stop for {code}")
            })?;
        }
        let goes_on = matches!(
            event,
            Event::ExecutionStarted(_)
                | Event::StepStarted(_)
                | Event::StepProposed(_)
                | Event::StepBlocked(_)
        );
        let in_time = self.deadline.is_none_or(|at| recorded.time() < at);
        ensure(in_time || !goes_on, Rule::AfterTheDeadline, || {
            let (time, deadline) = (recorded.time(), self.deadline);
            format!("`{name}` at version {version} is stored at {time}, after {deadline:?}")
        })?;
        if self.paused {
            let takes_over = matches!(event, Event::StepStarted(event) if event.takeover);
            let begins = matches!(
                event,
                Event::StepStarted(_) | Event::StepProposed(_) | Event::StepBlocked(_)
            ) && !takes_over;
            ensure(!begins, Rule::WhilePaused, || {
                format!("`{name}` at version {version} is stored while it is paused")
            })?;
        }
        let under_way = self.stage == Stage::Running;
        match run_of(event) {
            None => Ok(()),
            Some(run) => ensure(under_way && run == self.run(), Rule::OtherRun, || {
                let own = self.run();
                format!(
                    "`{name}` at version {version} is of run {run}; {own} is at {:?}",
                    self.stage
                )
            }),
        }
    }

    fn sees_forward(&mut self, recorded: &Recorded) -> Check {
        let Some(named) = recorded.event.catalogue() else {
            return Ok(());
        };
        let (name, version, last) = (recorded.event.name(), recorded.version(), self.facts);
        ensure(named >= last, Rule::FactsBackwards, || {
            format!("`{name}` at version {version} names position {named}, after {last}")
        })?;
        self.facts = named;
        Ok(())
    }

    pub fn misplaced<T>(&self, recorded: &Recorded) -> Check<T> {
        let (name, version, stage) = (recorded.event.name(), recorded.version(), self.stage);
        broken(
            Rule::OutOfTurn,
            format!("`{name}` at version {version} follows {stage:?}"),
        )
    }

    /// The run under way, or the last one.
    pub fn run(&self) -> RunId {
        RunId {
            execution: self.id,
            number: self.runs,
        }
    }

    pub fn is_open(&self) -> bool {
        !matches!(self.stage, Stage::Ended(_))
    }

    pub fn step(&mut self, id: &StepId) -> Check<&mut Step> {
        self.steps.get_mut(id).ok_or_else(|| super::rule::Fault {
            rule: Rule::OtherThanPlanned,
            detail: format!("the plan has no step `{id}`"),
        })
    }

    /// The verdict on a step as it is now: the answer to its last proposal, or the plan's.
    pub fn verdict_on<'a>(&'a self, id: &StepId, step: &'a Step) -> Option<&'a StepVerdict> {
        let judged = step.judgement.as_ref().map(|judgement| &judgement.verdict);
        judged.or_else(|| self.verdict.as_ref()?.steps.get(id))
    }

    /// Whether everything that a step needs is there.
    pub fn has_what_it_needs(&self, step: &Step) -> bool {
        step.needs
            .iter()
            .all(|id| self.steps.get(id).is_some_and(Step::is_done))
    }

    fn started(&mut self, event: &ExecutionStarted) -> Check {
        let verdict = self.verdict.as_ref().map(|verdict| verdict.verdict);
        let permitted = verdict.is_some_and(|verdict| verdict != Verdict::Blocked)
            && self.stage == Stage::Verified
            && self.plan.as_ref().map(|plan| plan.id) == Some(event.plan_id);
        ensure(permitted, Rule::StartUnpermitted, || {
            format!(
                "run {} began on {verdict:?} at {:?}",
                event.run_id, self.stage
            )
        })?;
        let asked = self
            .wanted
            .or((self.start == Start::Auto).then_some(self.mode));
        let mode = event.mode;
        let in_mode = asked == Some(mode) && mode >= self.mode && mode != Mode::Observe;
        ensure(in_mode, Rule::StartUnpermitted, || {
            format!(
                "run {} began in mode {mode:?}, and asked for is {asked:?}",
                event.run_id
            )
        })?;
        self.runs += 1;
        ensure(event.run_id == self.run(), Rule::OtherRun, || {
            format!("run {} began, and {} is next", event.run_id, self.run())
        })?;
        self.run_mode = mode;
        self.stage = Stage::Running;
        Ok(())
    }

    fn pause(&mut self, paused: bool) -> Check {
        ensure(self.paused != paused, Rule::OutOfTurn, || {
            format!("it was paused before: {paused}")
        })?;
        self.paused = paused;
        let of_run = self.pauses.entry(self.runs).or_default();
        of_run.is_paused = paused;
        if paused {
            of_run.pauses += 1;
        } else {
            of_run.resumes += 1;
        }
        Ok(())
    }

    pub fn pauses(&self, run: u32) -> Pauses {
        self.pauses.get(&run).copied().unwrap_or_default()
    }
}

/// The run that an event of a run under way names.
fn run_of(event: &Event) -> Option<RunId> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the events that begin a run, end it or come before it are looked at where they are taken"
    )]
    match event {
        Event::StepProposed(event) => Some(event.run_id),
        Event::StepJudged(event) => Some(event.run_id),
        Event::StepBlocked(event) => Some(event.run_id),
        Event::StepStarted(event) => Some(event.run_id),
        Event::StepAccepted(event) => Some(event.run_id),
        Event::StepReported(event) => Some(event.run_id),
        Event::StepCompleted(event) => Some(event.run_id),
        Event::StepFailed(event) => Some(event.run_id),
        Event::StepSkipped(event) => Some(event.run_id),
        Event::ExecutionApproved(event) => Some(event.run_id),
        Event::ExecutionRejected(event) => Some(event.run_id),
        Event::Paused(event) => Some(event.run_id),
        Event::Resumed(event) => Some(event.run_id),
        _ => None,
    }
}
