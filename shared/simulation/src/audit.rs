//! The auditor: reads every event the moment it is stored, and what workers saw, keeps small books
//! of its own, and names the first rule that was broken.
//!
//! It shares nothing with the deciders and their fold but the contracts, so that a mistake there
//! is not made here again. It does no I/O and costs little per event.
//!
//! * [`rule`]: what must hold
//! * [`chains`]: versions, hashes, times and writers, of every aggregate
//! * [`catalogue`]: skills and policies by position, and since when
//! * [`execution`], [`step`]: the books; [`decided`]: how fresh an executor's facts must be
//! * [`planning`], [`questions`], [`votes`], [`starts`], [`ends`], [`ending`]: what each event may follow
//! * [`rests`]: what is waited for while nobody is at work
//! * [`dispatches`], [`promises`]: what workers saw, and what callers were told

mod catalogue;
mod chains;
mod decided;
mod dispatches;
mod ending;
mod ends;
mod execution;
mod planning;
mod promises;
mod questions;
mod rests;
mod rule;
mod starts;
mod step;
mod votes;

use std::collections::{BTreeMap, BTreeSet};

use contracts::{
    canonical::Digest,
    event::{Event, EventName},
    events::executor::StepStarted,
    ids::{EventId, ExecutionId, Incarnation, StepId},
    position::Position,
    record::Recorded,
    subject::{AggregateId, AggregateKind},
    time::Timestamp,
};

use self::{
    catalogue::Catalogue,
    chains::Chains,
    execution::Execution,
    rule::{Check, Fault, broken, ensure},
};

pub use dispatches::Dispatch;
pub use promises::{Answered, Pauses};
pub use rule::{Rule, Violation};

pub struct Auditor {
    chains: Chains,
    executions: BTreeMap<ExecutionId, Execution>,
    books: Books,
    message_ms_max: u64,
    events: BTreeMap<EventName, u64>,
    first: Option<Violation>,
}

/// What is not of one execution.
struct Books {
    /// The instant of what is looked at.
    now: Timestamp,
    catalogue: Catalogue,
    /// The one step whose effect has a key.
    keys: BTreeMap<Digest, (ExecutionId, StepId)>,
    /// Who received which wake-up.
    deliveries: BTreeSet<(Incarnation, EventId)>,
    /// Whether no process's clock was ever stepped.
    clocks_are_right: bool,
    /// When the broker last gave to others what somebody was still at work on.
    delivered_again: Option<Timestamp>,
}

impl Books {
    /// What must be seen by whoever answers what is stored now. What was stored at the same
    /// instant need not be: a confirmation that began then may have been before it.
    fn asked_at(&self) -> u64 {
        self.catalogue.before(self.now)
    }

    /// By recorded times everything is judged that expires; where all clocks are right, true time
    /// has come as far.
    fn is_over(&self, due: Option<Timestamp>) -> Check {
        let early = due.filter(|due| self.clocks_are_right && self.now < *due);
        ensure(early.is_none(), Rule::GivenUpEarly, || {
            format!("it is given up at {}, and is due at {early:?}", self.now)
        })
    }

    /// Of the attempts of one step, and of nothing else.
    fn has_own_key(&mut self, execution: ExecutionId, event: &StepStarted) -> Check {
        let own = (execution, event.step_id.clone());
        let key = event.idempotency_key;
        let owner = self.keys.entry(key).or_insert_with(|| own.clone());
        ensure(*owner == own, Rule::IdempotencyKey, || {
            format!(
                "step `{}` of {execution} has the key of {owner:?}",
                event.step_id
            )
        })
    }

    /// Known only where somebody tells who received what.
    fn has_received(&self, who: Incarnation, wake: Option<EventId>) -> bool {
        let received = |wake| self.deliveries.contains(&(who, wake));
        self.deliveries.is_empty() || wake.is_some_and(received)
    }
}

impl Default for Auditor {
    fn default() -> Self {
        Self::new()
    }
}

impl Auditor {
    pub fn new() -> Self {
        Self {
            chains: Chains::default(),
            executions: BTreeMap::new(),
            books: Books {
                now: Timestamp::from_millis(0),
                catalogue: Catalogue::default(),
                keys: BTreeMap::new(),
                deliveries: BTreeSet::new(),
                clocks_are_right: true,
                delivered_again: None,
            },
            message_ms_max: 0,
            events: BTreeMap::new(),
            first: None,
        }
    }

    /// How long a message may be on its way.
    pub fn allow_for_messages(&mut self, ms_max: u64) {
        self.message_ms_max = ms_max;
    }

    /// Every event, in the order of storing and at the true instant of it: `at` is of no process's
    /// clock, and never runs backwards.
    pub fn stored(&mut self, at: Timestamp, position: Position, recorded: &Recorded) {
        *self.events.entry(recorded.event.name()).or_default() += 1;
        self.books.now = at;
        let about = recorded.subject.aggregate.execution_id();
        self.check(at, about, |auditor| auditor.check_event(position, recorded));
    }

    /// A process received a delivery of a wake-up, an event or a timer: it may take over what was
    /// begun under it.
    pub fn delivered(&mut self, to: Incarnation, wake: EventId) {
        self.books.deliveries.insert((to, wake));
    }

    /// The clock of a process is wrong from now on.
    pub fn clock_stepped(&mut self) {
        self.books.clocks_are_right = false;
    }

    /// The broker gives to others what somebody is still at work on, though he says so.
    pub fn delivered_again(&mut self, at: Timestamp) {
        self.books.delivered_again = Some(at);
    }

    /// A request has come to a worker; `at` is when it left its sender: how long it took from there
    /// is nobody's fault.
    pub fn dispatched(&mut self, at: Timestamp, dispatch: &Dispatch<'_>) {
        let about = Some(dispatch.execution);
        self.check(at, about, |auditor| auditor.check_dispatch(at, dispatch));
    }

    /// A worker did what it was asked for in an attempt.
    pub fn effect(
        &mut self,
        at: Timestamp,
        key: Digest,
        attempt: u32,
        execution: ExecutionId,
        step: &StepId,
    ) {
        self.check(at, Some(execution), |auditor| {
            let owner = auditor.books.keys.get(&key);
            let own = owner.is_some_and(|(id, of)| *id == execution && of == step);
            ensure(own, Rule::IdempotencyKey, || {
                format!("step `{step}` had an effect under the key {key} of {owner:?}")
            })?;
            auditor.check_effect(execution, step, attempt)
        });
    }

    /// A worker answered that it is still at it, so that it will be asked again.
    pub fn in_progress(&mut self, at: Timestamp, key: Digest, attempt: u32) {
        self.check(at, None, |auditor| auditor.check_in_progress(key, attempt));
    }

    /// A caller got a success: what it says must be in the log by now.
    pub fn answered(&mut self, at: Timestamp, answered: &Answered) {
        self.check(at, answered.execution(), |auditor| {
            auditor.check_answer(answered)
        });
    }

    /// The executions that have not ended.
    pub fn open(&self) -> Vec<AggregateId> {
        let open = self.executions.values().filter(|it| it.is_open());
        open.map(|it| it.aggregate.clone()).collect()
    }

    /// The first rule that was broken.
    pub fn violation(&self) -> Option<&Violation> {
        self.first.as_ref()
    }

    /// How often each event was stored.
    pub fn events(&self) -> &BTreeMap<EventName, u64> {
        &self.events
    }

    /// The faults have stopped, and everything had its time to end.
    pub fn close(&mut self, at: Timestamp) {
        if self.first.is_none()
            && let Err((about, fault)) = self.check_close()
        {
            self.broken(at, about, fault);
        }
    }

    /// After the first violation the books are not to be trusted, and nothing is checked.
    fn check(
        &mut self,
        at: Timestamp,
        about: Option<ExecutionId>,
        check: impl FnOnce(&mut Self) -> Check,
    ) {
        if self.first.is_some() {
            return;
        }
        if let Err(fault) = check(self) {
            self.broken(at, about, fault);
        }
    }

    fn broken(&mut self, at: Timestamp, execution: Option<ExecutionId>, fault: Fault) {
        let Fault { rule, detail } = fault;
        self.first = Some(Violation {
            rule,
            execution,
            detail,
            at,
        });
    }

    fn check_event(&mut self, position: Position, recorded: &Recorded) -> Check {
        self.chains.take(recorded)?;
        match recorded.subject.aggregate.kind() {
            AggregateKind::Execution => self.check_execution(recorded),
            AggregateKind::Incident => check_incident(recorded),
            AggregateKind::Skill
            | AggregateKind::Policy
            | AggregateKind::Hold
            | AggregateKind::Schedule => {
                self.books
                    .catalogue
                    .take(self.books.now, position.sequence, recorded)
            }
        }
    }

    fn check_execution(&mut self, recorded: &Recorded) -> Check {
        let aggregate = &recorded.subject.aggregate;
        let Some(id) = aggregate.execution_id() else {
            return broken(
                Rule::OutOfTurn,
                format!("`{aggregate}` has no execution's id"),
            );
        };
        if let Some(execution) = self.executions.get_mut(&id) {
            return execution.take(recorded, &mut self.books);
        }
        let execution = Execution::received(recorded, &self.books)?;
        self.executions.insert(id, execution);
        Ok(())
    }
}

/// Nothing that happens here is poison.
fn check_incident(recorded: &Recorded) -> Check {
    let Event::IncidentRaised(event) = &recorded.event else {
        return Ok(());
    };
    let detail = format!("{} raised {}: {}", event.service, event.code, event.cause);
    broken(Rule::Incident, detail)
}
