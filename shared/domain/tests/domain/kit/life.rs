//! Lives of an execution, drawn at random: what comes in, in any order, to three executors.

use contracts::{
    event::{Event, Service},
    ids::{EventId, StepId},
    plan::{Mode, Start},
};
use domain::execution::{
    Stage, Step, StepState,
    ending::{Failure, Outcome},
    intake::{Ballot, Submission},
    waits,
};
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    HOUR, Input, MINUTE, SECOND, World, after, assist, at, autonomous, blocked, bound, draft,
    paused, process, resumed, retried, shop, step, submission, submitted, wait, who,
};

/// Something that happens.
#[derive(Debug, Clone)]
pub enum Happening {
    Planner,
    Verifier,
    Executor(u128, Wake),
    Result {
        step: usize,
        /// How many attempts before the last one.
        back: u32,
        outcome: End,
    },
    Approve(usize, &'static str),
    Reject(usize, &'static str),
    Cancel,
    Pause,
    Resume,
    Retry,
    Offer(usize),
    Start(Option<Mode>),
    Verify,
    Wait(i64),
    Activate(&'static str),
    Disable,
    Install,
}

#[derive(Debug, Clone, Copy)]
pub enum Wake {
    LastEvent,
    Timer,
    Of(usize),
}

#[derive(Debug, Clone, Copy)]
pub enum End {
    Success,
    Passing,
    Final,
}

#[derive(Debug, Clone)]
pub struct Beginning {
    pub plan: usize,
    pub draft_comes_later: bool,
    pub start: Start,
    pub mode: Mode,
    pub deadline: Option<i64>,
    /// Whether it runs, as far as it can, before anything else happens.
    pub settled: bool,
}

const STEPS: [&str; 4] = ["a", "b", "c", "d"];

fn at_once(id: &str) -> Value {
    let mut step = step(id);
    step["retry"] = json!({ "maxAttempts": 3, "backoffMs": 0, "backoffMsMax": 0 });
    step
}

/// Plans of different shapes; the last does not compile.
fn plans() -> Vec<Value> {
    vec![
        draft(&[step("a"), step("b")]),
        draft(&[
            at_once("a"),
            after("b", &["a"]),
            wait("c", 0),
            wait("d", MINUTE),
        ]),
        draft(&[
            step("a"),
            bound("b", "a"),
            wait("c", 10 * SECOND),
            after("d", &["c"]),
        ]),
        draft(&[
            super::tried("a", 3),
            after("b", &["a"]),
            after("c", &["a"]),
            after("d", &["b", "c"]),
        ]),
        draft(&[
            wait("a", MINUTE),
            wait("b", MINUTE),
            at_once("c"),
            after("d", &["a", "b"]),
        ]),
        draft(&[after("a", &["b"]), after("b", &["a"])]),
    ]
}

pub fn beginning() -> impl Strategy<Value = Beginning> {
    (
        select(vec![0, 1, 1, 2, 2, 3, 3, 4, 4, 5]),
        prop::bool::weighted(0.2),
        select(vec![Start::Auto, Start::Auto, Start::Auto, Start::Manual]),
        prop_oneof![8 => Just(Mode::Autonomous), 2 => Just(Mode::Assist), 1 => Just(Mode::Observe)],
        prop::option::weighted(0.2, select(vec![MINUTE, 2 * HOUR])),
        prop::bool::weighted(0.7),
    )
        .prop_map(
            |(plan, draft_comes_later, start, mode, deadline, settled)| Beginning {
                plan,
                draft_comes_later,
                start,
                mode,
                deadline,
                settled,
            },
        )
}

pub fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    vec(happening(), 1..60)
}

fn happening() -> impl Strategy<Value = Happening> {
    let process = 1..4_u128;
    let wake = prop_oneof![
        3 => Just(Wake::LastEvent),
        2 => Just(Wake::Timer),
        2 => (0..4_usize).prop_map(Wake::Of),
    ];
    let end = prop_oneof![
        5 => Just(End::Success),
        2 => Just(End::Passing),
        1 => Just(End::Final),
    ];
    let voter = select(vec!["ann", "bob", "sam", "eve"]);
    prop_oneof![
        6 => Just(Happening::Planner),
        10 => Just(Happening::Verifier),
        20 => (process, wake).prop_map(|(process, wake)| Happening::Executor(process, wake)),
        14 => (0..4_usize, 0..2_u32, end)
            .prop_map(|(step, back, outcome)| Happening::Result { step, back, outcome }),
        10 => (0..4_usize, voter.clone()).prop_map(|(step, by)| Happening::Approve(step, by)),
        1 => (0..4_usize, voter).prop_map(|(step, by)| Happening::Reject(step, by)),
        1 => Just(Happening::Cancel),
        1 => Just(Happening::Pause),
        2 => Just(Happening::Resume),
        3 => Just(Happening::Retry),
        3 => (0..6_usize).prop_map(Happening::Offer),
        2 => select(vec![None, Some(Mode::Assist), Some(Mode::Autonomous)])
            .prop_map(Happening::Start),
        1 => Just(Happening::Verify),
        5 => select(vec![SECOND, 31 * SECOND, 31 * SECOND, HOUR]).prop_map(Happening::Wait),
        2 => select(vec!["base", "other", "strict", "harsh"]).prop_map(Happening::Activate),
        1 => Just(Happening::Disable),
        2 => Just(Happening::Install),
    ]
}

pub fn begin(beginning: &Beginning) -> World {
    let draft = plans().remove(beginning.plan);
    let submission = Submission {
        start: beginning.start,
        mode: beginning.mode,
        deadline_at: beginning.deadline.map(at),
        ..submission((!beginning.draft_comes_later).then_some(draft))
    };
    let world = submitted(submission)
        .says("b", assist())
        .policy_says("other", "b", assist().quorum(2))
        .policy_says("other", "c", assist())
        .policy_says("strict", "a", assist().high())
        .policy_says("strict", "b", assist().quorum(2))
        .policy_says("strict", "d", assist())
        .policy_says("harsh", "b", autonomous())
        .policy_says("harsh", "c", blocked());
    if beginning.settled {
        settle(world)
    } else {
        world
    }
}

/// Takes what happens, checking each decision on the way.
pub fn happen(mut world: World, happening: &Happening) -> World {
    let input = match happening {
        Happening::Planner => Input::Planner,
        Happening::Verifier => Input::Verifier,
        Happening::Executor(number, wake) => match wake_up(&world, *wake) {
            Some(wake) => Input::Executor(process(*number), wake),
            None => return world,
        },
        Happening::Result {
            step,
            back,
            outcome,
        } => {
            let id: StepId = pick(&world, *step, Step::in_flight).parse().unwrap();
            let attempts = attempts(&world, &id);
            Input::Result(id, attempts.saturating_sub(*back), outcome_of(*outcome))
        }
        Happening::Approve(step, by) => {
            Input::Approve(ballot(&world, pick(&world, *step, is_blocked), by))
        }
        Happening::Reject(step, by) => {
            Input::Reject(ballot(&world, pick(&world, *step, is_blocked), by))
        }
        Happening::Cancel => Input::Cancel("sam"),
        Happening::Offer(plan) => Input::Offer(plans().remove(*plan)),
        Happening::Start(mode) => Input::Start(*mode),
        Happening::Verify => Input::Verify,
        Happening::Pause => {
            return if may_pause(&world, false) {
                paused(world)
            } else {
                world
            };
        }
        Happening::Resume => {
            return if may_pause(&world, true) {
                resumed(world)
            } else {
                world
            };
        }
        Happening::Retry => {
            return if may_retry(&world) {
                retried(world)
            } else {
                world
            };
        }
        Happening::Wait(ms) => {
            world.now += ms;
            return world;
        }
        Happening::Activate(name) => {
            world.shop.activate(name);
            return world;
        }
        Happening::Disable => {
            world.shop.disable("ops", None);
            return world;
        }
        Happening::Install => {
            world.shop.install("ops", "1.0.0", &shop::ops());
            return world;
        }
    };
    decide_to_rest(world, &input)
}

/// Decides `input` again and again until nothing follows. Every prefix of a decision that is
/// stored is gone on from as if it had not been cut off.
fn decide_to_rest(mut world: World, input: &Input) -> World {
    let mut rounds = 0;
    loop {
        let events = world.decide(input).unwrap_or_default();
        if events.is_empty() {
            break;
        }
        for cut in 1..events.len() {
            let mut prefix = world.clone();
            for event in &events[..cut] {
                prefix.append(input, event.clone());
            }
            let rest = prefix.decide(input).unwrap_or_default();
            assert_eq!(rest, events[cut..], "after {cut} of {events:#?}");
        }
        for event in events {
            world.append(input, event);
            world.known();
        }
        rounds += 1;
        assert!(rounds < 100, "{input:?} never comes to rest");
        let once = match input {
            Input::Planner | Input::Verifier | Input::Executor(..) => false,
            Input::Submit(_)
            | Input::Offer(_)
            | Input::Verify
            | Input::Start(_)
            | Input::Approve(_)
            | Input::Reject(_)
            | Input::Cancel(_)
            | Input::Result(..) => true,
        };
        if once {
            let again = world.decide(input).unwrap_or_default();
            assert_eq!(again, [], "{input:?} again");
            break;
        }
    }
    match input {
        Input::Planner => {
            for wait in waits::of_planner(&world.state) {
                assert!(wait.due > at(world.now), "the planner parks: {wait:?}");
            }
        }
        Input::Executor(..) => {
            for wait in world.waits() {
                assert!(wait.due > at(world.now), "an executor parks: {wait:?}");
            }
            // Nobody else has anything to do either.
            let nobody = EventId::of(Uuid::from_u128(0xdead));
            assert_eq!(world.drive(process(9), nobody), []);
        }
        Input::Verifier
        | Input::Submit(_)
        | Input::Offer(_)
        | Input::Verify
        | Input::Start(_)
        | Input::Approve(_)
        | Input::Reject(_)
        | Input::Cancel(_)
        | Input::Result(..) => {}
    }
    world
}

fn is_blocked(step: &Step) -> bool {
    step.open_block().is_some()
}

/// One of the steps that are so; any, where none is.
fn pick(world: &World, index: usize, so: impl Fn(&Step) -> bool) -> &'static str {
    let steps = world.known().steps();
    let mut fitting = STEPS.iter().filter(|id| {
        let step = steps.and_then(|steps| steps.get(&id.parse().unwrap()));
        step.is_some_and(&so)
    });
    let number = fitting.clone().count().max(1);
    fitting.nth(index % number).unwrap_or(&STEPS[index])
}

fn wake_up(world: &World, wake: Wake) -> Option<EventId> {
    match wake {
        Wake::LastEvent => Some(world.last_event()),
        Wake::Timer => Some(EventId::of(Uuid::from_u128(
            0xff00 + world.log.len() as u128,
        ))),
        Wake::Of(step) => {
            let id: StepId = STEPS[step].parse().unwrap();
            (attempts(world, &id) > 0).then(|| world.wake_of(STEPS[step]))
        }
    }
}

fn attempts(world: &World, id: &StepId) -> u32 {
    let steps = world.known().steps();
    steps
        .and_then(|steps| steps.get(id))
        .map_or(0, |step| step.attempts)
}

fn outcome_of(end: End) -> Outcome {
    let failure = |retryable| {
        Outcome::Failed(Failure {
            code: "BROKEN".to_owned(),
            message: None,
            retryable,
            outcome: contracts::events::executor::EffectOutcome::NotDone,
        })
    };
    match end {
        End::Success => Outcome::Completed(json!({ "value": 1 })),
        End::Passing => failure(true),
        End::Final => failure(false),
    }
}

fn ballot(world: &World, step: &str, by: &str) -> Ballot {
    Ballot {
        plan_hash: world
            .known()
            .compiled()
            .map(|compiled| compiled.deterministic_hash),
        by: who(by),
        ..super::ballot(step, by)
    }
}

fn may_pause(world: &World, is_paused: bool) -> bool {
    let known = world.known();
    match &known.stage {
        Stage::Running(run) => known.stop.is_none() && run.paused == is_paused,
        _ => false,
    }
}

fn may_retry(world: &World) -> bool {
    match &world.known().stage {
        Stage::Failed { stop, run, .. } => run.is_some() && stop.code.may_retry(),
        _ => false,
    }
}

/// Lets planner, verifier and an executor work until none has anything to do.
pub fn settle(mut world: World) -> World {
    loop {
        let before = world.log.len();
        for happening in [
            Happening::Planner,
            Happening::Verifier,
            Happening::Executor(1, Wake::Timer),
        ] {
            world = happen(world, &happening);
        }
        if world.log.len() == before {
            return world;
        }
    }
}

/// What a settled execution waits for, if it has not ended: never nothing.
pub fn assert_not_stuck(world: &World) {
    let known = world.known();
    let waits = world.waits().len() + waits::of_planner(&world.state).len();
    let in_flight = known.run().is_some_and(domain::execution::Run::in_flight);
    let is_paused = known.run().is_some_and(|run| run.paused);
    assert!(
        known.is_ended() || waits > 0 || in_flight || is_paused,
        "nothing will ever wake it: {:#?}",
        known.stage
    );
}

/// Does whatever is waited for until the execution has ended.
pub fn finish(mut world: World) -> World {
    for _ in 0..40 {
        world = settle(world);
        assert_not_stuck(&world);
        if world.known().is_ended() {
            return world;
        }
        world = happen(world, &Happening::Resume);
        for (index, id) in STEPS.iter().enumerate() {
            world = happen(world, &Happening::Approve(index, "ann"));
            world = happen(world, &Happening::Approve(index, "bob"));
            let id: StepId = id.parse().unwrap();
            let started = world
                .known()
                .steps()
                .and_then(|steps| steps.get(&id))
                .is_some_and(|step| matches!(step.state, StepState::Started(_)));
            if started
                && world
                    .waits()
                    .iter()
                    .all(|wait| wait.kind.key() != format!("elapsed-{id}"))
            {
                let outcome = End::Success;
                world = happen(
                    world,
                    &Happening::Result {
                        step: index,
                        back: 0,
                        outcome,
                    },
                );
            }
        }
        world = happen(world, &Happening::Offer(0));
        world = happen(world, &Happening::Start(None));
        world.now += 10 * MINUTE;
    }
    panic!("it never ends: {:#?}", world.known().stage);
}

impl World {
    fn append(&mut self, input: &Input, event: Event) {
        let (writer, cause) = self.author(input);
        self.store(event, writer, cause);
    }
}

/// Who may write an event; a retry, a pause and a resume have intake's.
pub fn may_write(event: &Event, source: &str) -> bool {
    event
        .name()
        .writers()
        .iter()
        .any(|service: &Service| service.source() == source)
}
