//! Histories as the deciders write them, without the services around them.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use contracts::{
    bundle::Bundle,
    canonical::Digest,
    event::Event,
    events::{RULES, executor::StepCompleted},
    facts::{Actor, ActorType},
    ids::{ExecutionId, Incarnation, WorkspaceId},
    plan::{Mode, Start, Status},
    position::{Position, Positions, StreamId},
    record::{Cause, Head, Recorded, seal},
    subject::AggregateId,
    time::Timestamp,
};
use domain::{
    catalogue::Catalogue,
    execution::{Execution, Stage, intake, planning, running},
    policy::{self, Policy},
    skill::{self, Skill},
};
use host::{
    catalogue::fold_to,
    clock::{Ambient as _, System},
    judge::Judge,
};
use journal::{Journal, history::Read};
use serde_json::{Value, json};

pub const TEXT: &str = "tell alice@example.com about it";

pub fn workspace() -> WorkspaceId {
    "acme".parse().unwrap()
}

pub fn actor(id: &str, grants: &[&str]) -> Actor {
    Actor {
        via: None,
        kind: ActorType::User,
        id: id.parse().unwrap(),
        grants: grants.iter().map(|grant| (*grant).to_owned()).collect(),
    }
}

/// Whoever writes the log: one clock, which goes on by a millisecond with each event.
pub struct Story {
    pub journal: Arc<dyn Journal>,
    pub workspace: WorkspaceId,
    judge: Judge,
    clock: AtomicI64,
    executions: AtomicU64,
}

impl Story {
    pub fn new(journal: Arc<dyn Journal>) -> Self {
        Self::of(journal, workspace())
    }

    pub fn of(journal: Arc<dyn Journal>, workspace: WorkspaceId) -> Self {
        Self {
            journal,
            workspace,
            judge: Judge::default(),
            clock: AtomicI64::new(1_760_000_000_000),
            executions: AtomicU64::new(0),
        }
    }

    /// Moves the clock from where it stands in the past to the machine's.
    pub fn go_on_now(&self) {
        let now = System.now().as_millis();
        self.clock.store(now, Ordering::Relaxed);
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.fetch_add(1, Ordering::Relaxed))
    }

    fn next_id(&self) -> ExecutionId {
        let number = self.executions.fetch_add(1, Ordering::Relaxed);
        let of_workspace = Digest::of(self.workspace.as_str().as_bytes()).to_string();
        format!("{}-0000-7000-8000-{number:012x}", &of_workspace[..8])
            .parse()
            .unwrap()
    }

    /// The last position of each stream.
    pub async fn end(&self) -> Positions {
        let mut end = Positions::beginning();
        for stream in self.journal.streams() {
            let sequence = self.journal.last_sequence(stream).await.unwrap();
            if sequence > 0 {
                end.advance(Position { stream, sequence });
            }
        }
        end
    }

    pub fn aggregate(&self, id: ExecutionId) -> AggregateId {
        AggregateId::execution(self.workspace.clone(), id)
    }

    pub async fn history(&self, aggregate: &AggregateId) -> Vec<Recorded> {
        let history = self.journal.load(aggregate, Read::Confirmed).await.unwrap();
        history.into_iter().map(|(_, recorded)| recorded).collect()
    }

    pub async fn append(
        &self,
        aggregate: &AggregateId,
        head: Option<Head>,
        events: Vec<Event>,
    ) -> Option<Position> {
        let (mut head, mut last) = (head, None);
        for event in events {
            let writer = event.name().writers()[0];
            let cause = Cause::default();
            let (envelope, recorded) =
                seal(aggregate, head.as_ref(), event, writer, &cause, self.now()).unwrap();
            last = Some(self.journal.append(&envelope).await.unwrap());
            head = Some(recorded.head());
        }
        last
    }

    pub async fn catalogue(&self) -> Catalogue {
        let mut catalogue = Catalogue::empty();
        let end = self
            .journal
            .last_sequence(StreamId::Catalogue)
            .await
            .unwrap();
        fold_to(self.journal.as_ref(), &mut catalogue, end)
            .await
            .unwrap();
        catalogue
    }

    /// Asked for, and answered.
    pub async fn activate(&self, bundle: &Bundle) -> Digest {
        let aggregate = AggregateId::policy(self.workspace.clone());
        let by = actor("root", &["policy.activate"]);
        let state = Policy::fold(&self.history(&aggregate).await);
        let (events, hash) = policy::request_activation(&state, bundle, &by, self.now()).unwrap();
        self.append(&aggregate, state.head, events).await;
        let state = Policy::fold(&self.history(&aggregate).await);
        self.append(
            &aggregate,
            state.head,
            self.judge.policy(&state, self.now()),
        )
        .await;
        hash
    }

    pub async fn install(&self, install: &skill::Install) {
        let aggregate = AggregateId::skill(self.workspace.clone(), &install.key);
        let state = Skill::fold(&self.history(&aggregate).await);
        let (events, _) = skill::request_install(&state, install, self.now()).unwrap();
        self.append(&aggregate, state.head, events).await;
        let state = Skill::fold(&self.history(&aggregate).await);
        let catalogue = self.catalogue().await;
        let answers = self
            .judge
            .skill(&self.workspace, &state, &catalogue, self.now());
        self.append(&aggregate, state.head, answers).await;
    }

    pub async fn disable(&self, install: &skill::Install) {
        let aggregate = AggregateId::skill(self.workspace.clone(), &install.key);
        let state = Skill::fold(&self.history(&aggregate).await);
        let (key, version) = (&install.key, Some(&install.version));
        let events = skill::disable(&state, key, version, &install.by, None, self.now()).unwrap();
        self.append(&aggregate, state.head, events).await;
    }

    /// Received, and nothing more.
    pub async fn received(&self, mode: Mode, steps: &Value) -> (ExecutionId, Positions) {
        self.received_as(&submission(Start::Auto, mode, steps))
            .await
    }

    /// A plan that waits to be started, and was judged again and again meanwhile: an execution of
    /// `events` events. Gives what appends the next two.
    pub async fn long(&self, events: u64) -> Long<'_> {
        let manual = submission(Start::Manual, Mode::Assist, &echo());
        let (id, _) = self.received_as(&manual).await;
        while self.goes_on(id).await {}
        let mut long = Long {
            story: self,
            id,
            state: Execution::fold(&self.history(&self.aggregate(id)).await),
            catalogue: self.catalogue().await,
        };
        while long.state.version() < events {
            long.goes_on().await;
        }
        long
    }

    pub async fn received_as(&self, submission: &intake::Submission) -> (ExecutionId, Positions) {
        let id = self.next_id();
        let at = self
            .decide(id, |state, now| {
                intake::submit(state, id, submission, now).unwrap()
            })
            .await;
        (id, at)
    }

    /// As [`Self::submitted`], of anything.
    pub async fn submitted_as(&self, submission: &intake::Submission) -> ExecutionId {
        let (id, _) = self.received_as(submission).await;
        while self.goes_on(id).await {}
        id
    }

    /// Received, and taken as far as it goes without anyone from outside.
    pub async fn submitted(&self, mode: Mode, steps: &Value) -> ExecutionId {
        let (id, _) = self.received(mode, steps).await;
        while self.goes_on(id).await {}
        id
    }

    pub async fn approve(&self, id: ExecutionId, step: &str) -> Positions {
        let ballot = intake::Ballot {
            step: step.parse().unwrap(),
            block: None,
            by: actor("ann", &["execution.approve"]),
            plan_hash: None,
            inputs_digest: None,
        };
        self.decide(id, |state, now| {
            let known = intake::existing(state, id).unwrap();
            intake::approve(known, &ballot, Some("looks fine to Bob"), now).unwrap()
        })
        .await
    }

    pub async fn cancel(&self, id: ExecutionId) {
        let by = actor("ann", &["execution.cancel"]);
        self.decide(id, |state, now| {
            intake::cancel(
                intake::existing(state, id).unwrap(),
                &by,
                Some("enough"),
                now,
            )
            .unwrap()
        })
        .await;
        while self.goes_on(id).await {}
    }

    pub async fn finish(&self, id: ExecutionId) {
        while self.goes_on(id).await {}
    }

    pub async fn decide(
        &self,
        id: ExecutionId,
        decide: impl FnOnce(&Execution, Timestamp) -> Vec<Event>,
    ) -> Positions {
        let aggregate = self.aggregate(id);
        let state = Execution::fold(&self.history(&aggregate).await);
        let events = decide(&state, self.now());
        let at = self.append(&aggregate, state.head().copied(), events).await;
        at.map(Positions::from).unwrap_or_default()
    }

    /// The next decision of planner, verifier or executor, or the end of what a skill does.
    pub async fn goes_on(&self, id: ExecutionId) -> bool {
        let catalogue = self.catalogue().await;
        let mut went_on = false;
        self.decide(id, |state, now| {
            let events = next(&self.judge, state, &catalogue, now);
            went_on = !events.is_empty();
            events
        })
        .await;
        went_on
    }

    /// As [`Self::goes_on`], with what is decided changed before it is stored.
    pub async fn decide_with(&self, id: ExecutionId, change: impl FnOnce(&mut Vec<Event>)) {
        let catalogue = self.catalogue().await;
        self.decide(id, |state, now| {
            let mut events = next(&self.judge, state, &catalogue, now);
            change(&mut events);
            events
        })
        .await;
    }

    pub async fn status(&self, id: ExecutionId) -> Status {
        Execution::fold(&self.history(&self.aggregate(id)).await)
            .status()
            .unwrap()
    }
}

/// A long execution, with its fold at hand.
pub struct Long<'a> {
    story: &'a Story,
    pub id: ExecutionId,
    state: Execution,
    catalogue: Catalogue,
}

impl Long<'_> {
    /// Another verdict is asked for, and given.
    pub async fn goes_on(&mut self) -> Positions {
        let by = actor("sam", &["plan.verify"]);
        let known = self.state.known().unwrap();
        let plan = known.compiled().unwrap().plan_id;
        let asked = intake::verify(known, plan, &by, self.story.now()).unwrap();
        self.append(asked).await;
        let (judge, now) = (&self.story.judge, self.story.now());
        let verdict = judge.execution(&self.state, &self.catalogue, now);
        self.append(verdict).await
    }

    async fn append(&mut self, events: Vec<Event>) -> Positions {
        let aggregate = self.story.aggregate(self.id);
        let mut at = Positions::beginning();
        for event in events {
            let (writer, now) = (event.name().writers()[0], self.story.now());
            let cause = Cause::default();
            let (envelope, recorded) =
                seal(&aggregate, self.state.head(), event, writer, &cause, now).unwrap();
            at.advance(self.story.journal.append(&envelope).await.unwrap());
            self.state = self.state.clone().evolve(&recorded);
        }
        at
    }
}

pub fn submission(start: Start, mode: Mode, steps: &Value) -> intake::Submission {
    intake::Submission {
        actor: actor("sam", &["intent.submit"]),
        channel_key: Some("mail".to_owned()),
        text: TEXT.to_owned(),
        metadata: None,
        draft: Some(json!({ "steps": steps })),
        start,
        mode,
        deadline_at: None,
    }
}

fn next(judge: &Judge, state: &Execution, catalogue: &Catalogue, now: Timestamp) -> Vec<Event> {
    let planned = planning::decide(state, catalogue, now);
    if !planned.is_empty() {
        return planned;
    }
    let judged = judge.execution(state, catalogue, now);
    if !judged.is_empty() {
        return judged;
    }
    let context = running::Context {
        now,
        owner: "00000000-0000-7000-8000-00000000000e"
            .parse::<Incarnation>()
            .unwrap(),
        fresh: &BTreeSet::new(),
        under_way: &|_, _| true,
        overdue: &|_, _| false,
        catalogue,
        token_hash: &|step, attempt| Digest::of(format!("{step}{attempt}").as_bytes()),
    };
    let driven = running::drive(state, &context);
    if driven.is_empty() {
        done(state, now)
    } else {
        driven
    }
}

/// What a skill answers: an echo.
fn done(state: &Execution, now: Timestamp) -> Vec<Event> {
    let Some(known) = state.known() else {
        return Vec::new();
    };
    let Stage::Running(run) = &known.stage else {
        return Vec::new();
    };
    let mut steps = run.steps.iter();
    let started = steps.find_map(|(id, step)| Some((id, step.attempt()?.number)));
    let Some((step_id, attempt)) = started else {
        return Vec::new();
    };
    let output = json!({ "message": "hello" });
    vec![
        StepCompleted {
            execution_id: known.id,
            run_id: run.id(known.id),
            step_id: step_id.clone(),
            completed_at: now,
            attempt,
            output_digest: Digest::of_json(&output).unwrap(),
            output,
            rules: RULES,
        }
        .into(),
    ]
}

pub fn echo() -> Value {
    json!([{ "id": "say", "uses": "core.echo/echo", "with": { "message": "hello" } }])
}

/// The second step is judged again when the first one's output is known.
pub fn chained() -> Value {
    json!([
        { "id": "say", "uses": "core.echo/echo", "with": { "message": "hello" } },
        { "id": "repeat", "uses": "core.echo/echo", "needs": ["say"],
          "with": { "message": { "$from": "/steps/say/output/message" } } },
    ])
}

pub fn faulty() -> Value {
    json!([{ "id": "say", "uses": "core.unknown/echo", "with": {} }])
}
