//! A control plane in one process: the deciders of all services over the log in memory, and a
//! clock that a test moves.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{
    bundle::Bundle,
    canonical::Digest,
    event::{Event, EventName, Service},
    events::executor::StepStarted,
    facts::{Actor, ActorType},
    ids::{EventId, ExecutionId, Incarnation, StepId, WorkspaceId},
    plan::{Mode, Start},
    position::StreamId,
    record::{Cause, seal},
    subject::AggregateId,
    time::Timestamp,
};
use domain::{
    catalogue::{Builtin, Catalogue, EntryPoint},
    execution::{
        Execution, Known, StepState,
        ending::{self, Outcome},
        intake::{self, Ballot, Door, Submission},
        planning,
        running::{self, Context},
        steps, waits,
    },
    policy::{self, Policy},
    skill::{self, Install, Skill},
};
use host::{
    aggregate::{self, Aggregate},
    judge::Judge,
};
use journal::{Journal as _, layout::StreamCount, memory::MemoryJournal};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    documents::{bundle, manifest},
    worker::Worker,
};

const START: &str = "2030-06-01T12:00:00Z";

/// Of the caller.
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

pub struct World {
    pub journal: MemoryJournal,
    judge: Judge,
    catalogue: Catalogue,
    /// The broker's clock.
    now: Timestamp,
    /// By how many milliseconds the clock of a service is wrong.
    wrong: BTreeMap<Service, i64>,
    /// The executor's incarnation.
    owner: Incarnation,
    /// Whether every wake-up comes again, to a new executor.
    restarted: bool,
    /// The wake-up that is being driven.
    wake: Option<EventId>,
    /// What the executor has dispatched.
    dispatched: Vec<StepStarted>,
}

/// Where a process stands still that has asked for its facts.
#[derive(Clone, Copy)]
pub enum Pause {
    BeforeDeciding,
    BeforeAppending,
}

pub fn workspace() -> WorkspaceId {
    "demo".parse().unwrap()
}

pub fn actor(id: &str, grants: &[&str]) -> Actor {
    Actor {
        via: None,
        kind: ActorType::User,
        id: id.parse().unwrap(),
        grants: grants.iter().map(ToString::to_string).collect(),
    }
}

pub fn ada() -> Actor {
    actor("ada", &["intent.submit"])
}

pub fn grace() -> Actor {
    actor("grace", &["execution.approve"])
}

pub fn step(id: &str) -> StepId {
    id.parse().unwrap()
}

fn execution(number: u128) -> ExecutionId {
    ExecutionId::of(Uuid::from_u128(
        0x0198_f3a0_7c1e_7d2a_9b3c_0000_0000_0000 + number,
    ))
}

impl World {
    /// The default bundle is active, and the skill `orders` is installed under its trust.
    pub async fn new(streams: u8) -> Self {
        let now: Timestamp = START.parse().unwrap();
        let journal = MemoryJournal::new(StreamCount::try_new(streams).unwrap(), now);
        let mut world = Self::on(journal, now);
        world.activate(bundle()).await;
        world.install("1.0.0").await;
        world
    }

    pub fn on(journal: MemoryJournal, now: Timestamp) -> Self {
        Self {
            journal,
            judge: Judge::default(),
            catalogue: Catalogue::empty(),
            now,
            wrong: BTreeMap::new(),
            owner: Incarnation::of(Uuid::from_u128(1)),
            restarted: false,
            wake: None,
            dispatched: Vec::new(),
        }
    }

    pub fn pass(&mut self, ms: u64) {
        self.until(self.now.plus_ms(ms));
    }

    fn until(&mut self, instant: Timestamp) {
        self.now = self.now.max(instant);
        self.journal.advance(self.now);
    }

    /// Sets the clock of a service wrong.
    pub fn step_clock(&mut self, service: Service, ms: i64) {
        self.wrong.insert(service, ms);
    }

    fn clock(&self, service: Service) -> Timestamp {
        let wrong = self.wrong.get(&service).copied().unwrap_or(0);
        Timestamp::from_millis(self.now.as_millis() + wrong)
    }

    /// When a service decides.
    fn instant<A: Aggregate>(&self, service: Service, state: &A) -> Timestamp {
        let clock = self.clock(service);
        state.head().map_or(clock, |head| head.time.max(clock))
    }

    pub fn in_ms(&self, ms: u64) -> Timestamp {
        self.now.plus_ms(ms)
    }

    /// The executor is started anew, and every wake-up comes to it again.
    pub fn restart_executor(&mut self) {
        let number = self.owner.uuid().as_u128();
        self.owner = Incarnation::of(Uuid::from_u128(number + 1));
        self.restarted = true;
        self.dispatched.clear();
    }

    /// A fault came between: the executor goes on, and what it dispatched is nobody's.
    pub fn lose_sight(&mut self) {
        self.dispatched.clear();
    }

    /// A moment later, as intake's clock shows it.
    fn tick(&mut self) -> Timestamp {
        self.pass(7);
        self.clock(Service::Intake)
    }

    async fn state<A: Aggregate>(&self, aggregate: &AggregateId) -> A {
        let journal = &self.journal;
        aggregate::confirmed(journal, aggregate)
            .await
            .unwrap()
            .state
    }

    async fn follow_catalogue(&mut self) {
        let end = self
            .journal
            .last_sequence(StreamId::Catalogue)
            .await
            .unwrap();
        host::catalogue::fold_to(&self.journal, &mut self.catalogue, end)
            .await
            .unwrap();
    }

    pub async fn activate(&mut self, bundle: Bundle) {
        let aggregate = AggregateId::policy(workspace());
        let state: Policy = self.state(&aggregate).await;
        let by = actor("root", &["policy.activate"]);
        let now = self.tick();
        let (events, _) = policy::request_activation(&state, &bundle, &by, now).unwrap();
        let state = self
            .store(&aggregate, state, events, Service::Intake, now)
            .await;
        self.pass(7);
        let now = self.instant(Service::Verifier, &state);
        let answers = self.judge.policy(&state, now);
        self.store(&aggregate, state, answers, Service::Verifier, now)
            .await;
        self.follow_catalogue().await;
    }

    pub async fn install(&mut self, version: &str) {
        let manifest = manifest(version);
        let install = Install {
            key: "orders".parse().unwrap(),
            version: version.parse().unwrap(),
            artifact_digest: manifest.artifact.digest.clone(),
            manifest,
            by: actor("root", &["skill.install"]),
        };
        let aggregate = AggregateId::skill(workspace(), &install.key);
        let state: Skill = self.state(&aggregate).await;
        let now = self.tick();
        let (events, _) = skill::request_install(&state, &install, now).unwrap();
        let state = self
            .store(&aggregate, state, events, Service::Intake, now)
            .await;
        self.follow_catalogue().await;
        self.pass(7);
        let now = self.instant(Service::Verifier, &state);
        let answers = (self.judge).skill(&workspace(), &state, &self.catalogue, now);
        self.store(&aggregate, state, answers, Service::Verifier, now)
            .await;
        self.follow_catalogue().await;
    }

    pub async fn disable_skill(&mut self) {
        let key = "orders".parse().unwrap();
        let aggregate = AggregateId::skill(workspace(), &key);
        let state: Skill = self.state(&aggregate).await;
        let by = actor("root", &["skill.disable"]);
        let now = self.tick();
        let events = skill::disable(&state, &key, None, &by, Some("withdrawn"), now).unwrap();
        self.store(&aggregate, state, events, Service::Intake, now)
            .await;
        self.follow_catalogue().await;
    }

    pub async fn submit(&mut self, number: u128, text: &str, draft: Option<Value>) -> ExecutionId {
        let submission = Submission {
            draft,
            ..submission(text)
        };
        self.submit_as(execution(number), submission).await
    }

    pub async fn submit_keyed(&mut self, key: &str, submission: Submission) -> ExecutionId {
        let id = intake::keyed_id(&workspace(), Door::Http, "ada", key);
        self.submit_as(id, submission).await
    }

    async fn submit_as(&mut self, id: ExecutionId, submission: Submission) -> ExecutionId {
        let aggregate = AggregateId::execution(workspace(), id);
        let now = self.tick();
        let events = intake::submit(&Execution::NeverReceived, id, &submission, now).unwrap();
        let state = Execution::NeverReceived;
        self.store(&aggregate, state, events, Service::Intake, now)
            .await;
        id
    }

    /// Asks something of an execution.
    pub async fn ask(
        &mut self,
        id: ExecutionId,
        decide: impl FnOnce(&Known, Timestamp) -> intake::Decision,
    ) {
        let aggregate = AggregateId::execution(workspace(), id);
        let state: Execution = self.state(&aggregate).await;
        let now = self.tick();
        let events = decide(intake::existing(&state, id).unwrap(), now).unwrap();
        self.store(&aggregate, state, events, Service::Intake, now)
            .await;
    }

    pub async fn approve(&mut self, id: ExecutionId, step_id: &str, by: Actor) {
        let known = self.execution(id).await;
        let run = known.known().unwrap().run().unwrap();
        let block = run.steps[&step(step_id)].open_block().unwrap();
        let ballot = Ballot {
            step: step(step_id),
            block: Some(block.opened.block_id),
            by,
            plan_hash: Some(block.opened.plan_hash),
            inputs_digest: Some(block.opened.inputs_digest),
        };
        self.ask(id, |known, now| {
            intake::approve(known, &ballot, Some("looked at it"), now)
        })
        .await;
    }

    pub async fn execution(&self, id: ExecutionId) -> Execution {
        self.state(&AggregateId::execution(workspace(), id)).await
    }

    pub async fn names(&self, id: ExecutionId) -> Vec<EventName> {
        let aggregate = AggregateId::execution(workspace(), id);
        let events = self
            .journal
            .load(&aggregate, journal::history::Read::Confirmed)
            .await;
        events
            .unwrap()
            .iter()
            .map(|(_, recorded)| recorded.event.name())
            .collect()
    }

    /// Lets planner, verifier and executor go on until nothing is due and no worker answers.
    pub async fn rest(&mut self, id: ExecutionId, mut worker: Worker) {
        let aggregate = AggregateId::execution(workspace(), id);
        let mut state: Execution = self.state(&aggregate).await;
        loop {
            self.follow_catalogue().await;
            self.pass(7);
            if let Some((service, events, now)) = self.decide(&state) {
                self.dispatched.extend(events.iter().filter_map(started));
                state = self.store(&aggregate, state, events, service, now).await;
                continue;
            }
            self.restarted = false;
            let Some((started, outcome)) = self.brought(&state, &mut worker) else {
                return;
            };
            let (step, attempt) = (&started.step_id, started.attempt);
            let now = self.instant(Service::Executor, &state);
            if let Ok(end) = ending::end(&state, step, attempt, &outcome, now) {
                state = self
                    .store(&aggregate, state, vec![end], Service::Executor, now)
                    .await;
            }
        }
    }

    /// What is due, and when that was decided.
    fn decide(&self, state: &Execution) -> Option<(Service, Vec<Event>, Timestamp)> {
        let now = self.instant(Service::Planner, state);
        let planned = planning::decide(state, &self.catalogue, now);
        if !planned.is_empty() {
            return Some((Service::Planner, planned, now));
        }
        let now = self.instant(Service::Verifier, state);
        let judged = self.judge.execution(state, &self.catalogue, now);
        if !judged.is_empty() {
            return Some((Service::Verifier, judged, now));
        }
        let now = self.instant(Service::Executor, state);
        let driven = self.drive(state, now);
        (!driven.is_empty()).then_some((Service::Executor, driven, now))
    }

    /// Decides what is due next and stores it, with a pause on the way.
    pub async fn decide_with_pause(
        &mut self,
        id: ExecutionId,
        pause: Pause,
        meanwhile: impl AsyncFnOnce(&mut Self),
    ) {
        let aggregate = AggregateId::execution(workspace(), id);
        let state: Execution = self.state(&aggregate).await;
        self.follow_catalogue().await;
        self.pass(7);
        let (wake, facts) = (self.wake, self.catalogue.clone());
        let before = self.decide(&state);
        meanwhile(self).await;
        self.wake = wake;
        self.catalogue = facts;
        let due = match pause {
            Pause::BeforeDeciding => self.decide(&state),
            Pause::BeforeAppending => before,
        };
        let (service, events, now) = due.expect("nothing is due");
        self.store(&aggregate, state, events, service, now).await;
    }

    /// Stores the events of one decision.
    async fn store<A: Aggregate>(
        &mut self,
        aggregate: &AggregateId,
        mut state: A,
        events: Vec<Event>,
        service: Service,
        now: Timestamp,
    ) -> A {
        let wake = self.wake.filter(|_| service != Service::Intake);
        for event in events {
            let traceparent = state.traceparent().map(str::to_owned);
            let cause = Cause {
                id: wake,
                traceparent: traceparent.or_else(|| Some(TRACE.to_owned())),
            };
            let sealed = seal(aggregate, state.head(), event, service, &cause, now);
            let (envelope, recorded) = sealed.unwrap();
            self.journal.append(&envelope).await.unwrap();
            if service != Service::Executor {
                self.wake = Some(recorded.id());
            }
            state = state.evolve(&recorded);
        }
        state
    }

    fn drive(&self, state: &Execution, now: Timestamp) -> Vec<Event> {
        let token_hash = |step: &StepId, attempt: u32| {
            Digest::of(format!("{}{step}{attempt}", self.owner).as_bytes())
        };
        let fresh = if self.restarted {
            wakes(state)
        } else {
            BTreeSet::new()
        };
        let context = Context {
            now,
            owner: self.owner,
            fresh: &fresh,
            overdue: &|_, _| false,
            under_way: &|step, attempt| self.is_dispatched(state, step, attempt),
            catalogue: &self.catalogue,
            token_hash: &token_hash,
        };
        running::drive(state, &context)
    }

    fn is_dispatched(&self, state: &Execution, step: &StepId, attempt: u32) -> bool {
        self.dispatched.iter().any(|started| {
            state
                .known()
                .is_some_and(|known| known.id == started.execution_id)
                && started.step_id == *step
                && started.attempt == attempt
        })
    }

    /// What a dispatched attempt of this execution brought.
    fn brought(
        &mut self,
        state: &Execution,
        worker: &mut Worker,
    ) -> Option<(StepStarted, Outcome)> {
        let known = state.known()?;
        let run = known.run()?;
        let own = |started: &StepStarted| started.execution_id == known.id;
        for index in 0..self.dispatched.len() {
            if !own(&self.dispatched[index]) {
                continue;
            }
            let step = run
                .judged
                .compiled
                .plan
                .step(&self.dispatched[index].step_id)?;
            let skill = self.catalogue.skill(&workspace(), &step.uses)?;
            let outcome = match skill.entry_point {
                EntryPoint::Builtin(Builtin::Echo) => {
                    Some(Outcome::Completed(steps::inputs(run, step).ok()?))
                }
                EntryPoint::Builtin(Builtin::Wait) => None,
                EntryPoint::Nats(_) => worker.ask(&step.id),
            };
            if let Some(outcome) = outcome {
                return Some((self.dispatched.remove(index), outcome));
            }
        }
        None
    }

    /// Moves the clock to what the execution waits for next.
    pub async fn wait(&mut self, id: ExecutionId) {
        let state = self.execution(id).await;
        let waits = waits::of_executor(&state, &self.catalogue);
        let planner = waits::of_planner(&state);
        let due = waits.iter().chain(&planner).map(|wait| wait.due).min();
        self.until(due.expect("nothing is waited for"));
    }
}

fn started(event: &Event) -> Option<StepStarted> {
    match event {
        Event::StepStarted(started) => Some(started.clone()),
        _ => None,
    }
}

/// The wake-ups under which attempts were left.
fn wakes(state: &Execution) -> BTreeSet<EventId> {
    let run = state.known().and_then(Known::run);
    let steps = run.into_iter().flat_map(|run| run.steps.values());
    steps
        .filter_map(|step| match &step.state {
            StepState::Started(attempt) => attempt.wake,
            _ => None,
        })
        .collect()
}

pub fn submission(text: &str) -> Submission {
    Submission {
        actor: ada(),
        channel_key: Some("chat".to_owned()),
        text: text.to_owned(),
        metadata: None,
        draft: None,
        start: Start::Auto,
        mode: Mode::Autonomous,
        deadline_at: None,
    }
}
