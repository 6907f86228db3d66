//! What holds for every history that the deciders can write.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{
    canonical,
    event::{Event, EventName},
    events::{
        executor::{StepBlocked, StepStarted},
        planner::PlanSource,
    },
    facts::StepVerdict,
    ids::{PrincipalId, StepId},
    plan::{Mode, RiskTier, Verdict},
    record::Recorded,
    time::Timestamp,
};
use domain::{
    compile::{Source, compile},
    execution::{Execution, Step, StepState},
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed},
};
use serde_json::{Map, Value, json};

use super::kit::{
    Shop, World, draft,
    life::{self, Beginning, Happening},
    shop, workspace,
};

/// The same cases on every machine.
fn config(cases: u32) -> Config {
    Config {
        cases,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..Config::default()
    }
}

fn live(beginning: &Beginning, happenings: &[Happening]) -> World {
    happenings.iter().fold(life::begin(beginning), life::happen)
}

proptest! {
    #![proptest_config(config(500))]

    /// On the way, of every decision: it never leaves the legal states, it yields nothing when it
    /// is made again, it goes on from any prefix of itself, and whoever is at rest waits for a
    /// later instant.
    #[test]
    fn a_decided_history_holds_together(
        beginning in life::beginning(),
        happenings in life::happenings(),
    ) {
        let world = live(&beginning, &happenings);
        check_history(&world);
        let world = life::settle(world);
        life::assert_not_stuck(&world);
    }

    #[test]
    fn every_history_can_be_brought_to_its_end(
        beginning in life::beginning(),
        happenings in life::happenings(),
    ) {
        let world = life::finish(live(&beginning, &happenings));
        prop_assert!(world.known().is_ended());
        check_history(&world);
    }
}

fn check_history(world: &World) {
    assert_eq!(Execution::fold(&world.log), world.state);
    let mut history = History::default();
    for (envelope, recorded) in world.envelopes.iter().zip(&world.log) {
        assert_eq!(&Recorded::decode(envelope).unwrap(), recorded);
        let event = &recorded.event;
        let json = event.to_json().unwrap();
        assert_eq!(&Event::from_json(event.name(), json).unwrap(), event);
        assert!(
            life::may_write(event, &recorded.attributes.source),
            "{recorded:?}"
        );
        history.take(recorded);
    }
}

/// A second account of what may run, kept without the fold.
#[derive(Default)]
struct History {
    ended: bool,
    mode: Mode,
    requester: Option<PrincipalId>,
    needs: BTreeMap<StepId, Vec<StepId>>,
    verdicts: BTreeMap<StepId, StepVerdict>,
    proposals: BTreeMap<StepId, u64>,
    blocks: BTreeMap<StepId, (StepBlocked, BTreeSet<PrincipalId>)>,
    attempts: BTreeMap<StepId, StepStarted>,
    completed: BTreeSet<StepId>,
}

impl History {
    fn take(&mut self, recorded: &Recorded) {
        let event = &recorded.event;
        assert!(
            !self.ended || event.name() == EventName::RetryRequested,
            "`{}` follows the end",
            event.name()
        );
        match event {
            Event::IntentReceived(event) => self.requester = Some(event.actor.id.clone()),
            Event::PlanCompiled(event) => {
                for step in &event.plan.steps {
                    self.needs.insert(step.id.clone(), step.needs.clone());
                }
            }
            Event::PlanVerified(event) => self.verdicts = event.steps.clone(),
            Event::ExecutionStarted(event) => self.mode = event.mode,
            Event::StepProposed(event) => {
                self.proposals
                    .insert(event.step_id.clone(), recorded.version());
            }
            Event::StepJudged(event)
                if self.proposals.get(&event.step_id) == Some(&event.answers) =>
            {
                self.verdicts
                    .insert(event.step_id.clone(), event.verdict.clone());
            }
            Event::StepBlocked(event) => {
                let opened = (event.clone(), BTreeSet::new());
                self.blocks.insert(event.step_id.clone(), opened);
            }
            Event::ExecutionApproved(event) => {
                if let Some((block, votes)) = self.blocks.get_mut(&event.step_id)
                    && block.block_id == event.block_id
                    && recorded.time() < block.expires_at
                    && Some(&event.by.id) != self.requester.as_ref()
                {
                    votes.insert(event.by.id.clone());
                }
            }
            Event::StepStarted(event) => self.started(event),
            Event::StepCompleted(event) => {
                assert!(
                    self.completed.insert(event.step_id.clone()),
                    "two effects of one key"
                );
                assert!(self.attempts.contains_key(&event.step_id));
            }
            Event::PlanRejected(event) => self.ended = event.is_final,
            Event::ExecutionCompleted(_) | Event::ExecutionFailed(_) => self.ended = true,
            Event::RetryRequested(_) => self.ended = false,
            _ => {}
        }
    }

    fn started(&mut self, event: &StepStarted) {
        let id = &event.step_id;
        assert!(
            !self.completed.contains(id),
            "a completed effect is repeated"
        );
        assert!(
            self.needs[id]
                .iter()
                .all(|need| self.completed.contains(need))
        );
        let last = self.attempts.insert(id.clone(), event.clone());
        assert_eq!(
            event.attempt,
            last.as_ref().map_or(1, |last| last.attempt + 1)
        );
        if let Some(last) = last {
            assert_eq!(event.idempotency_key, last.idempotency_key);
            assert!(!event.takeover || event.owner != last.owner);
        }
        if event.takeover {
            return;
        }
        let verdict = &self.verdicts[id];
        assert_ne!(verdict.verdict, Verdict::Blocked);
        let by_people = verdict.verdict == Verdict::Assist
            || verdict.tier >= RiskTier::High
            || self.mode == Mode::Assist;
        if by_people {
            let (block, votes) = &self.blocks[id];
            assert!(u32::try_from(votes.len()).unwrap() >= block.approval.quorum);
        }
    }
}

/// How often each kind of state is met in the cases above: a law about states that are never
/// reached says nothing.
#[test]
fn the_random_histories_reach_every_kind_of_state() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};

    let mut runner = TestRunner::new(config(0));
    let mut met: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..300 {
        let strategy = (life::beginning(), life::happenings());
        let (beginning, happenings) = strategy.new_tree(&mut runner).unwrap().current();
        let world = live(&beginning, &happenings);
        for recorded in &world.log {
            let takeover = matches!(&recorded.event, Event::StepStarted(event) if event.takeover);
            let name = recorded.event.name().to_string();
            *met.entry(if takeover {
                "takeover".to_owned()
            } else {
                name
            })
            .or_default() += 1;
        }
    }
    let written_otherwise = [
        EventName::StepReported,
        EventName::StepAccepted,
        EventName::StepSkipped,
        EventName::StepCompensated,
    ];
    for name in EventName::ALL {
        let of_an_execution = name.aggregate() == contracts::subject::AggregateKind::Execution;
        if of_an_execution && !written_otherwise.contains(&name) {
            assert!(
                met.contains_key(name.as_str()),
                "`{name}` is never met: {met:#?}"
            );
        }
    }
    assert!(met.contains_key("takeover"), "{met:#?}");
}

/// Objects with their members in another order.
fn reordered(value: &Value, order: &mut impl FnMut(usize) -> usize) -> Value {
    match value {
        Value::Object(members) => {
            let mut left: Vec<_> = members.iter().collect();
            let mut map = Map::new();
            while !left.is_empty() {
                let (key, item) = left.remove(order(left.len()));
                map.insert(key.clone(), reordered(item, order));
            }
            Value::Object(map)
        }
        Value::Array(items) => items.iter().map(|item| reordered(item, order)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn wide() -> Vec<Value> {
    vec![
        json!({
            "id": "z",
            "uses": "ops/refund",
            "needs": ["m", "b"],
            "with": {
                "order": { "$from": "/steps/b/output/name" },
                "minor": 12,
                "key": { "$secret": "bank" },
            },
            "retry": { "maxAttempts": 2, "backoffMs": 1, "backoffMsMax": 9 },
            "timeoutMs": 1000,
        }),
        json!({ "id": "m", "uses": "shared/act", "with": { "b": { "y": 1, "x": [0.25] }, "a": null } }),
        json!({ "id": "b", "uses": "ops/lookup", "with": { "order": "A-1" } }),
        json!({ "id": "e", "uses": "core.echo/echo" }),
    ]
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn a_plan_has_the_same_bytes_whatever_the_order_of_what_it_comes_from(
        keys in any::<u64>(),
        steps in Just(wide()).prop_shuffle(),
        skills in Just(vec!["ops", "shared", "alpha", "zeta"]).prop_shuffle(),
    ) {
        let mut shop = Shop::empty();
        for key in skills {
            shop.install(key, "1.0.0", &shop::ops());
        }
        let mut state = keys;
        let mut order = move |count: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(state >> 33).unwrap() % count
        };
        let shuffled = reordered(&draft(&steps), &mut order);
        let plan = |draft: &Value, shop: &Shop| {
            let source = Source::Draft { draft, origin: PlanSource::Intent };
            compile(source, &workspace(), &shop.catalogue).unwrap()
        };
        let mut plain = Shop::empty();
        plain.install("shared", "1.0.0", &shop::ops());
        plain.install("ops", "1.0.0", &shop::ops());
        let expected = plan(&draft(&wide()), &plain);
        let actual = plan(&shuffled, &shop);
        prop_assert_eq!(actual.hash, expected.hash);
        prop_assert_eq!(
            canonical::to_bytes(&actual.plan).unwrap(),
            canonical::to_bytes(&expected.plan).unwrap()
        );
        prop_assert_eq!(actual.pins, expected.pins);
        prop_assert_eq!(actual.facts_digest, expected.facts_digest);
    }

    #[test]
    fn anything_may_be_offered_as_a_draft(noise in noise()) {
        let source = Source::Draft { draft: &noise, origin: PlanSource::Intent };
        let shop = Shop::empty();
        if let Err(refused) = compile(source, &workspace(), &shop.catalogue) {
            prop_assert!(!refused.findings.is_empty());
            for finding in &refused.findings {
                prop_assert!(finding.path.is_empty() || finding.path.starts_with('/'));
            }
        }
    }
}

/// JSON that looks a little like a draft.
fn noise() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "steps",
        "id",
        "uses",
        "needs",
        "with",
        "a",
        "b",
        "core.echo/echo",
        "$from",
        "$secret",
        "/steps/a/output",
        "retry",
        "timeoutMs",
        "when",
        "",
        "~/",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..5).prop_map(|members| {
                members
                    .into_iter()
                    .map(|(key, item)| (key.to_owned(), item))
                    .collect()
            }),
        ]
    });
    prop_oneof![
        value.clone(),
        prop::collection::vec(value, 1..4).prop_map(|steps| draft(&steps)),
    ]
}

#[test]
fn a_backoff_of_none_is_the_next_decision_and_no_redelivery() {
    // The one wait that is over when it begins.
    let mut at_once = super::kit::step("a");
    at_once["retry"] = json!({ "maxAttempts": 2, "backoffMs": 0, "backoffMsMax": 0 });
    let world = super::kit::given(&[at_once])
        .driven()
        .when_failed("a")
        .then(["a failed #1: BROKEN, again"]);
    let Step {
        state: StepState::RetryWait { at },
        ..
    } = world.step("a")
    else {
        panic!("{:?}", world.step("a"));
    };
    assert_eq!(*at, Timestamp::from_millis(super::kit::at(0).as_millis()));
    world
        .when_woken(1)
        .then(["a started #2"])
        .again()
        .then_nothing();
}
