//! Given a history, when something comes in, then these events follow.
//!
//! A [`World`] is one execution with everything its decisions read. Its events are sealed as in
//! the log, so ids, hashes, times and versions are real; its verdicts are a test's.

use std::collections::BTreeSet;

use contracts::{
    canonical::Digest,
    envelope::Envelope,
    event::{Event, Service},
    events::executor::EffectOutcome,
    facts::facts_digest,
    ids::{EventId, ExecutionId, Incarnation, StepId},
    plan::{Mode, Start, Status},
    record::{Cause, Recorded, seal},
    subject::AggregateId,
    time::Timestamp,
};
use domain::execution::{
    Execution, Known, Step,
    ending::{self, Failure, Outcome},
    intake::{self, Ballot, Submission},
    planning,
    running::{self, Context},
    verification::{self, Basis, Question},
    waits::{self, Wait},
};
use serde_json::{Value, json};
use uuid::Uuid;

mod control;
pub mod judge;
pub mod life;
pub mod people;
pub mod samples;
pub mod shop;
pub mod states;
mod words;

pub use control::{DEADLINE, paused, resumed, retried, with_deadline};
pub use judge::{Ruling, assist, autonomous, blocked, rule};
pub use people::{DAY, HOUR, MINUTE, SECOND, at, process, who, workspace};
pub use shop::{Shop, policy};
pub use words::words;

/// What comes in.
#[derive(Debug, Clone)]
pub enum Input {
    Submit(Box<Submission>),
    Offer(Value),
    Verify,
    Start(Option<Mode>),
    Approve(Ballot),
    Reject(Ballot),
    Cancel(&'static str),
    Planner,
    Verifier,
    /// A delivery to an executor, which drives until nothing more follows.
    Executor(Incarnation, EventId),
    /// What an attempt of a step brought to its executor.
    Result(StepId, u32, Outcome),
}

#[derive(Clone)]
pub struct World {
    pub shop: Shop,
    pub judge: judge::Judge,
    pub now: i64,
    pub log: Vec<Recorded>,
    pub envelopes: Vec<Envelope>,
    pub state: Execution,
    /// Whether executors have lost sight of their own attempts.
    forgetful: bool,
    /// Whether the timers have come that attempts are left with.
    overdue: bool,
    last: Option<Input>,
    answer: Result<Vec<String>, String>,
}

pub fn execution_id() -> ExecutionId {
    ExecutionId::of(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001))
}

pub fn submission(draft: Option<Value>) -> Submission {
    Submission {
        actor: who("sam"),
        channel_key: None,
        text: "do it".to_owned(),
        metadata: None,
        draft,
        start: Start::Auto,
        mode: Mode::Autonomous,
        deadline_at: None,
    }
}

/// Steps of a draft.
pub fn draft(steps: &[Value]) -> Value {
    json!({ "steps": steps })
}

/// A step that takes anything and is tried once.
pub fn step(id: &str) -> Value {
    json!({ "id": id, "uses": "ops/act", "retry": { "maxAttempts": 1 } })
}

pub fn after(id: &str, needs: &[&str]) -> Value {
    let mut step = step(id);
    step["needs"] = json!(needs);
    step
}

/// A step whose input is the output of another.
pub fn bound(id: &str, from: &str) -> Value {
    let mut step = step(id);
    step["with"] = json!({ "value": { "$from": format!("/steps/{from}/output/value") } });
    step
}

pub fn tried(id: &str, attempts: u32) -> Value {
    let mut step = step(id);
    step["retry"] = json!({ "maxAttempts": attempts, "backoffMs": 1000, "backoffMsMax": 8000 });
    step
}

pub fn wait(id: &str, ms: i64) -> Value {
    json!({ "id": id, "uses": "core.wait/wait", "with": { "ms": ms } })
}

/// An intent with these steps was received.
pub fn given(steps: &[Value]) -> World {
    submitted(submission(Some(draft(steps))))
}

pub fn submitted(submission: Submission) -> World {
    World::empty()
        .when(Input::Submit(Box::new(submission)))
        .then(["intent.received"])
}

impl World {
    pub fn empty() -> Self {
        Self {
            shop: Shop::stocked(),
            judge: judge::Judge::default(),
            now: 0,
            log: Vec::new(),
            envelopes: Vec::new(),
            state: Execution::NeverReceived,
            forgetful: false,
            overdue: false,
            last: None,
            answer: Ok(Vec::new()),
        }
    }

    pub fn known(&self) -> &Known {
        match &self.state {
            Execution::Known(known) => known,
            Execution::NeverReceived => panic!("nothing was received"),
            Execution::Corrupt(corruption) => panic!("{corruption}"),
        }
    }

    pub fn step(&self, id: &str) -> &Step {
        &self.known().steps().expect("there is a run")[&id.parse().unwrap()]
    }

    /// The last event of the log, as a wake-up.
    pub fn last_event(&self) -> EventId {
        self.log.last().expect("something was received").id()
    }

    /// The wake-up under which the attempt of a step was started.
    pub fn wake_of(&self, id: &str) -> EventId {
        let id: StepId = id.parse().unwrap();
        let started = self
            .log
            .iter()
            .rev()
            .find_map(|recorded| match &recorded.event {
                Event::StepStarted(event) if event.step_id == id => recorded.attributes.causation,
                _ => None,
            });
        started.expect("the step was started")
    }

    pub fn waits(&self) -> Vec<Wait> {
        waits::of_executor(&self.state, &self.shop.catalogue)
    }

    /// Sets the clock, in milliseconds since the beginning.
    pub fn at(mut self, now: i64) -> Self {
        assert!(now >= self.now, "time does not go back");
        self.now = now;
        self
    }

    /// What the policy of this name says of a step.
    pub fn policy_says(mut self, name: &str, step: &str, ruling: Ruling) -> Self {
        self.judge.set(policy(name), step, ruling);
        self
    }

    pub fn says(self, step: &str, ruling: Ruling) -> Self {
        self.policy_says("base", step, ruling)
    }

    pub fn catalogue(mut self, change: impl FnOnce(&mut Shop)) -> Self {
        change(&mut self.shop);
        self
    }

    pub fn planned(self) -> Self {
        self.when(Input::Planner).then(["compiled"])
    }

    /// Compiled and judged, whatever the verdict.
    pub fn judged(self) -> Self {
        self.planned().when(Input::Verifier)
    }

    /// Compiled, judged and taken by the first executor.
    pub fn driven(self) -> Self {
        self.judged().when_woken(1)
    }

    pub fn when(mut self, input: Input) -> Self {
        self.answer = self
            .take(&input)
            .map(|events| events.iter().map(words).collect());
        self.last = Some(input);
        self
    }

    /// A fault came between: executors do not know any more what they were at work on.
    pub fn forgetting(mut self) -> Self {
        self.forgetful = true;
        self
    }

    /// The timer of every attempt that is under way has come.
    pub fn overdue(mut self) -> Self {
        self.overdue = true;
        self
    }

    /// The last event is delivered to an executor for the first time.
    pub fn when_woken(self, number: u128) -> Self {
        let wake = self.last_event();
        self.when(Input::Executor(process(number), wake))
    }

    /// A timer is delivered to an executor.
    pub fn when_timer(self, number: u128) -> Self {
        let wake = EventId::of(Uuid::from_u128(
            0xff00 + u128::from(self.now.unsigned_abs()),
        ));
        self.when(Input::Executor(process(number), wake))
    }

    /// A delivery of the wake-up that started a step.
    pub fn when_delivered(self, number: u128, step: &str) -> Self {
        let wake = self.wake_of(step);
        self.when(Input::Executor(process(number), wake))
    }

    pub fn when_approved(self, step: &str, by: &str) -> Self {
        self.when(Input::Approve(ballot(step, by)))
    }

    pub fn when_rejected(self, step: &str, by: &str) -> Self {
        self.when(Input::Reject(ballot(step, by)))
    }

    /// The last attempt of a step succeeds.
    pub fn when_succeeded(self, step: &str) -> Self {
        let attempt = self.step(step).attempts;
        self.when(succeeded(step, attempt))
    }

    /// The last attempt of a step fails, and may be tried again.
    pub fn when_failed(self, step: &str) -> Self {
        let attempt = self.step(step).attempts;
        self.when(failed(step, attempt))
    }

    /// The same once more: a redelivery, or a caller who asks again.
    pub fn again(self) -> Self {
        let input = self.last.clone().expect("something came in");
        self.when(input)
    }

    #[track_caller]
    pub fn then<const N: usize>(self, expected: [&str; N]) -> Self {
        let events = self
            .answer
            .as_ref()
            .map(|events| events.iter().map(String::as_str).collect());
        assert_eq!(events, Ok(expected.to_vec()));
        self
    }

    #[track_caller]
    pub fn then_nothing(self) -> Self {
        self.then([])
    }

    #[track_caller]
    pub fn then_refused(self, code: &str) -> Self {
        assert_eq!(self.answer, Err(code.to_owned()));
        self
    }

    #[track_caller]
    pub fn is(self, status: Status) -> Self {
        assert_eq!(self.state.status(), Some(status));
        self
    }

    /// Decides `input` and stores what follows.
    pub fn take(&mut self, input: &Input) -> Result<Vec<Event>, String> {
        let Input::Executor(owner, wake) = input else {
            let events = self.decide(input)?;
            let (writer, cause) = self.author(input);
            for event in &events {
                self.store(event.clone(), writer, cause);
            }
            return Ok(events);
        };
        let mut stored = Vec::new();
        loop {
            let events = self.drive(*owner, *wake);
            for event in &events {
                self.store(event.clone(), Service::Executor, Some(*wake));
            }
            if events.is_empty() {
                return Ok(stored);
            }
            stored.extend(events);
            assert!(
                stored.len() < 200,
                "an executor comes to rest: {:?}",
                self.answer
            );
        }
    }

    fn author(&self, input: &Input) -> (Service, Option<EventId>) {
        match input {
            Input::Planner => (Service::Planner, Some(self.last_event())),
            Input::Verifier => (Service::Verifier, Some(self.last_event())),
            Input::Result(step, ..) => (Service::Executor, Some(self.wake_of(step.as_str()))),
            Input::Executor(_, wake) => (Service::Executor, Some(*wake)),
            Input::Submit(_)
            | Input::Offer(_)
            | Input::Verify
            | Input::Start(_)
            | Input::Approve(_)
            | Input::Reject(_)
            | Input::Cancel(_) => (Service::Intake, None),
        }
    }

    /// One decision.
    pub fn decide(&self, input: &Input) -> Result<Vec<Event>, String> {
        let now = at(self.now);
        let decision = match input {
            Input::Submit(submission) => {
                intake::submit(&self.state, execution_id(), submission, now)
            }
            Input::Offer(draft) => {
                intake::offer_draft(self.existing()?, draft, Some("llm"), &who("bot"), now)
            }
            Input::Verify => {
                let known = self.existing()?;
                intake::verify(known, plan_of(known), &who("sam"), now)
            }
            Input::Start(mode) => {
                let known = self.existing()?;
                intake::start(known, plan_of(known), *mode, &who("sam"), now)
            }
            Input::Approve(ballot) => intake::approve(self.existing()?, ballot, None, now),
            Input::Reject(ballot) => intake::reject(self.existing()?, ballot, "no", now),
            Input::Cancel(by) => intake::cancel(self.existing()?, &who(by), None, now),
            Input::Planner => Ok(planning::decide(&self.state, &self.shop.catalogue, now)),
            Input::Verifier => Ok(self.verify(now)),
            Input::Executor(owner, wake) => Ok(self.drive(*owner, *wake)),
            Input::Result(step, attempt, outcome) => {
                return ending::end(&self.state, step, *attempt, outcome, now)
                    .map(|event| vec![event])
                    .map_err(|refused| format!("{refused:?}"));
            }
        };
        decision.map_err(|rejection| rejection.code().to_owned())
    }

    fn existing(&self) -> Result<&Known, String> {
        intake::existing(&self.state, execution_id())
            .map_err(|rejection| rejection.code().to_owned())
    }

    fn verify(&self, now: Timestamp) -> Vec<Event> {
        let policy = self.shop.catalogue.policy_version(&workspace());
        let basis = Basis {
            policy_version: policy,
            engine_version: "test",
            catalogue: self.shop.catalogue.sequence(),
        };
        match verification::question(&self.state) {
            Question::Plan(compiled) => {
                let answer = self.judge.plan(policy, &compiled.plan);
                verification::plan_verified(self.known(), compiled, answer, &basis, now)
            }
            Question::Reject(judged) => vec![verification::plan_rejected(
                self.known(),
                &judged.compiled,
                &judged.verdict,
                now,
            )],
            Question::Steps(proposed) => proposed
                .iter()
                .map(|proposed| {
                    let verdict = self.judge.step(policy, proposed.step, true);
                    let facts = proposed.planned.clone();
                    let known = self.known();
                    verification::step_judged(known, proposed, facts, verdict, &basis, now)
                })
                .collect(),
            Question::Nothing => Vec::new(),
        }
    }

    /// What an executor decides next.
    pub fn drive(&self, owner: Incarnation, wake: EventId) -> Vec<Event> {
        let head = self.state.head().map_or(at(self.now), |head| head.time);
        running::drive(
            &self.state,
            &Context {
                now: at(self.now).max(head),
                owner,
                fresh: &BTreeSet::from([wake]),
                under_way: &|_, _| !self.forgetful,
                overdue: &|_, _| self.overdue,
                catalogue: &self.shop.catalogue,
                token_hash: &|step, attempt| Digest::of(format!("{step} {attempt}").as_bytes()),
            },
        )
    }

    /// Seals an event as the next one and folds it.
    pub fn store(&mut self, event: Event, writer: Service, cause: Option<EventId>) {
        let aggregate = AggregateId::execution(workspace(), execution_id());
        let head = self.log.last().map(Recorded::head);
        let cause = Cause {
            id: cause,
            traceparent: None,
        };
        let (envelope, recorded) = seal(
            &aggregate,
            head.as_ref(),
            event,
            writer,
            &cause,
            at(self.now),
        )
        .unwrap();
        let state = std::mem::replace(&mut self.state, Execution::NeverReceived);
        self.state = state.evolve(&recorded);
        self.log.push(recorded);
        self.envelopes.push(envelope);
    }
}

fn plan_of(known: &Known) -> contracts::ids::PlanId {
    let none = contracts::ids::PlanId::of(Uuid::nil());
    known.compiled().map_or(none, |compiled| compiled.plan_id)
}

pub fn ballot(step: &str, by: &str) -> Ballot {
    Ballot {
        step: step.parse().unwrap(),
        block: None,
        by: who(by),
        plan_hash: None,
        inputs_digest: None,
    }
}

pub fn succeeded(step: &str, attempt: u32) -> Input {
    let output = json!({ "value": step });
    Input::Result(step.parse().unwrap(), attempt, Outcome::Completed(output))
}

pub fn failed(step: &str, attempt: u32) -> Input {
    let failure = Failure {
        code: "BROKEN".to_owned(),
        message: None,
        retryable: true,
        outcome: EffectOutcome::NotDone,
    };
    Input::Result(step.parse().unwrap(), attempt, Outcome::Failed(failure))
}

pub fn digest(value: &Value) -> Digest {
    facts_digest(value)
}
