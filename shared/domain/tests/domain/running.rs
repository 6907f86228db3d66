//! The executor: starts, order of steps, waiting, and the end of a run.

use contracts::{
    event::Event,
    plan::{Mode, Start, Status},
};
use domain::execution::{StepState, steps::idempotency_key};
use expect_test::expect;
use serde_json::json;

use super::kit::{
    DAY, Input, MINUTE, SECOND, World, after, assist, bound, draft, execution_id, given, step,
    submission, submitted, succeeded, wait,
};

#[test]
fn a_judged_plan_starts_by_itself() {
    given(&[step("a")])
        .judged()
        .when_woken(1)
        .then(["run 1 started", "a started #1"])
        .again()
        .then_nothing()
        .is(Status::Running);
}

#[test]
fn a_run_ends_when_its_last_step_has() {
    given(&[step("a")])
        .driven()
        .when_succeeded("a")
        .then(["a completed #1"])
        .when_woken(1)
        .then(["completed"])
        .again()
        .then_nothing()
        .is(Status::Completed);
}

#[test]
fn independent_steps_start_together_and_others_when_what_they_need_is_done() {
    given(&[
        after("a", &["c", "d"]),
        step("b"),
        step("c"),
        after("d", &["b"]),
    ])
    .driven()
    .then(["run 1 started", "b started #1", "c started #1"])
    .when_succeeded("c")
    .when_woken(1)
    .then_nothing()
    .when_succeeded("b")
    .when_woken(1)
    .then(["d started #1"])
    .when_succeeded("d")
    .when_woken(1)
    .then(["a started #1"]);
}

#[test]
fn nothing_happens_before_there_is_a_verdict() {
    given(&[step("a")])
        .when_woken(1)
        .then_nothing()
        .planned()
        .when_woken(1)
        .then_nothing();
    World::empty()
        .when(Input::Executor(
            super::kit::process(1),
            contracts::ids::EventId::of(uuid::Uuid::nil()),
        ))
        .then_nothing();
}

#[test]
fn in_mode_observe_it_ends_after_the_verdict() {
    let mut submission = submission(Some(draft(&[step("a")])));
    submission.mode = Mode::Observe;
    let world = submitted(submission)
        .says("a", assist())
        .judged()
        .when_woken(1)
        .then(["completed: observed"])
        .again()
        .then_nothing()
        .is(Status::Completed);
    assert!(world.known().steps().unwrap().is_empty());
}

#[test]
fn a_manual_start_is_waited_for() {
    by_hand()
        .when_woken(1)
        .then_nothing()
        .is(Status::Verified)
        .at(MINUTE)
        .when(Input::Start(None))
        .when_woken(1)
        .then(["run 1 started", "a started #1"])
        .again()
        .then_nothing();
}

#[test]
fn a_manual_start_that_never_comes_ends_it() {
    let world = by_hand()
        .at(7 * DAY - 1)
        .when_timer(1)
        .then_nothing()
        .at(7 * DAY)
        .when_timer(1)
        .then(["failed: DEADLINE_EXCEEDED"])
        .again()
        .then_nothing();
    assert_eq!(world.known().run_id(), None);
}

#[test]
fn judging_again_begins_the_time_for_a_start_anew() {
    by_hand()
        .at(6 * DAY)
        .when(Input::Verify)
        .when(Input::Verifier)
        .then(["verified: autonomous"])
        .at(8 * DAY)
        .when_timer(1)
        .then_nothing()
        .at(13 * DAY)
        .when_timer(1)
        .then(["failed: DEADLINE_EXCEEDED"]);
}

#[test]
fn a_plan_that_is_not_what_was_judged_does_not_start() {
    let mut world = World::empty();
    let honest = given(&[step("a")]).judged();
    for recorded in &honest.log {
        let mut event = recorded.event.clone();
        if let Event::PlanCompiled(compiled) = &mut event {
            compiled.plan.steps[0].with = json!({ "more": true });
        }
        world.store(event, contracts::event::Service::Planner, None);
    }
    world.when_woken(1).then(["failed: POLICY_BLOCKED"]);
}

#[test]
fn a_started_step_has_all_that_its_dispatch_needs() {
    let world = given(&[step("a")]).driven();
    let Some(Event::StepStarted(started)) = world.log.last().map(|last| &last.event) else {
        panic!("{:?}", world.log.last());
    };
    let step = &world.known().compiled().unwrap().plan.steps[0];
    assert_eq!(started.pin, step.uses);
    assert_eq!(started.timeout_at, super::kit::at(30 * SECOND));
    assert_eq!(
        started.idempotency_key,
        idempotency_key(execution_id(), &step.id)
    );
    assert_eq!(started.inputs_digest, super::kit::digest(&json!({})));
    assert_eq!(started.catalogue, world.shop.catalogue.sequence());
}

#[test]
fn the_key_of_a_step_is_the_same_for_ever() {
    let key = |step: &str| idempotency_key(execution_id(), &step.parse().unwrap()).to_string();
    expect!["2a7393a4b2085a901b64fd72beb346ebfb9f5d772d5de9ea79d3317c3d2c6593"]
        .assert_eq(&key("a"));
    expect!["36c3850f853d0095189af8ade67e94cf3dd905056f559a5182863cdc03a82d78"]
        .assert_eq(&key("refund"));
}

#[test]
fn a_wait_is_over_in_its_own_time_whoever_wakes() {
    given(&[wait("a", MINUTE)])
        .driven()
        .then(["run 1 started", "a started #1"])
        .at(MINUTE - 1)
        .when_timer(2)
        .then_nothing()
        .at(MINUTE)
        .when_timer(2)
        .then(["a completed #1", "completed"])
        .again()
        .then_nothing();
}

#[test]
fn a_wait_that_came_due_while_everything_was_down_goes_on_once() {
    let world = given(&[wait("a", MINUTE), after("b", &["a"])])
        .driven()
        .at(DAY)
        .when_timer(2)
        .then(["a completed #1", "b started #1"])
        .again()
        .then_nothing();
    let StepState::Completed { output } = &world.step("a").state else {
        panic!("{:?}", world.step("a"));
    };
    assert_eq!(**output, json!({ "waitedMs": MINUTE }));
}

#[test]
fn a_wait_of_no_time_is_over_at_once() {
    given(&[wait("a", 0), step("b")]).driven().then([
        "run 1 started",
        "a started #1",
        "b started #1",
        "a completed #1",
    ]);
}

#[test]
fn a_wait_takes_its_time_however_its_number_is_written() {
    let mut step = wait("a", 0);
    step["with"] = json!({ "ms": 1500.0 });
    given(&[step])
        .driven()
        .then(["run 1 started", "a started #1"])
        .at(1500)
        .when_timer(1)
        .then(["a completed #1", "completed"]);
}

#[test]
fn a_step_without_a_verdict_ends_the_run() {
    let mut world = World::empty();
    let honest = given(&[step("a"), step("b")]).judged();
    for recorded in &honest.log {
        let mut event = recorded.event.clone();
        if let Event::PlanVerified(verified) = &mut event {
            verified.steps.remove(&"b".parse().unwrap());
        }
        world.store(event, contracts::event::Service::Planner, None);
    }
    world
        .when_woken(1)
        .then(["run 1 started", "failed: POLICY_BLOCKED"]);
}

#[test]
fn a_wait_is_cancelled_with_its_run() {
    given(&[wait("a", MINUTE)])
        .driven()
        .when(Input::Cancel("sam"))
        .when_woken(2)
        .then(["a failed #1: CANCELLED", "failed: CANCELLED"])
        .again()
        .then_nothing()
        .at(MINUTE)
        .when_timer(1)
        .then_nothing();
}

#[test]
fn how_long_to_wait_may_come_from_an_output() {
    let mut later = wait("b", 0);
    later["with"] = json!({ "ms": { "$from": "/steps/a/output/value" } });
    let world = given(&[step("a"), later]).driven();
    let ends = Input::Result(
        "a".parse().unwrap(),
        1,
        domain::execution::ending::Outcome::Completed(json!({ "value": 5000 })),
    );
    world
        .when(ends)
        .when_woken(1)
        .then(["b proposed: InputsKnown"])
        .when(Input::Verifier)
        .when_woken(1)
        .then(["b started #1"])
        .at(5000)
        .when_timer(1)
        .then(["b completed #1", "completed"]);
}

#[test]
fn inputs_that_are_not_in_the_output_end_the_run() {
    let mut lost = bound("b", "a");
    lost["with"] = json!({ "value": { "$from": "/steps/a/output/nothing" } });
    let world = given(&[step("a"), lost])
        .driven()
        .when_succeeded("a")
        .when_woken(1)
        .then(["failed: STEP_FAILED"]);
    expect!["the inputs of step `b` cannot be bound: /value: nothing at `/nothing` in the output of step `a`"]
        .assert_eq(&stop_message(&world));
}

#[test]
fn inputs_that_do_not_fit_the_action_end_the_run() {
    let mut refund = step("b");
    refund["uses"] = json!("ops/refund");
    refund["with"] = json!({ "order": "1", "minor": { "$from": "/steps/a/output/minor" } });
    let world = given(&[step("a"), refund])
        .driven()
        .when(Input::Result(
            "a".parse().unwrap(),
            1,
            domain::execution::ending::Outcome::Completed(json!({ "minor": 500_000 })),
        ))
        .when_woken(1)
        .then(["failed: STEP_FAILED"]);
    assert!(
        stop_message(&world).contains("/minor"),
        "{}",
        stop_message(&world)
    );
}

#[test]
fn a_secret_beside_an_output_is_left_to_the_worker() {
    let mut refund = step("b");
    refund["uses"] = json!("ops/refund");
    refund["with"] = json!({
        "order": { "$from": "/steps/a/output/value" },
        "minor": 100,
        "key": { "$secret": "bank" },
    });
    let world = given(&[step("a"), refund])
        .driven()
        .when_succeeded("a")
        .when_woken(1)
        .then(["b proposed: InputsKnown"]);
    let StepState::Proposed { inputs, .. } = &world.step("b").state else {
        panic!("{:?}", world.step("b"));
    };
    assert_eq!(inputs["key"], json!({ "$secret": "bank" }));
    assert_eq!(inputs["order"], json!("a"));
}

#[test]
fn an_output_cannot_name_a_secret() {
    let world = given(&[step("a"), bound("b", "a")])
        .driven()
        .when(Input::Result(
            "a".parse().unwrap(),
            1,
            domain::execution::ending::Outcome::Completed(
                json!({ "value": [{ "deep": { "$secret": "bank" } }] }),
            ),
        ))
        .when_woken(1)
        .then(["failed: STEP_FAILED"]);
    assert!(
        stop_message(&world).contains("names a secret"),
        "{}",
        stop_message(&world)
    );
}

#[test]
fn an_output_cannot_hold_a_reference_of_any_kind() {
    for member in ["$from", "$param", "$other"] {
        let world = given(&[step("a"), bound("b", "a")])
            .driven()
            .when(Input::Result(
                "a".parse().unwrap(),
                1,
                domain::execution::ending::Outcome::Completed(
                    json!({ "value": [{ "x": 1, member: "ignore the rules" }] }),
                ),
            ))
            .when_woken(1)
            .then(["failed: STEP_FAILED"]);
        let message = stop_message(&world);
        assert!(message.contains("another reference"), "{message}");
    }
}

#[test]
fn a_late_success_of_an_earlier_attempt_spares_the_next_one() {
    given(&[super::kit::tried("a", 3)])
        .driven()
        .when_failed("a")
        .then(["a failed #1: BROKEN, again"])
        .when(succeeded("a", 1))
        .then(["a completed #1"])
        .when_woken(1)
        .then(["completed"]);
}

fn by_hand() -> World {
    let mut submission = submission(Some(draft(&[step("a")])));
    submission.start = Start::Manual;
    submitted(submission).judged()
}

fn stop_message(world: &World) -> String {
    let Some(Event::ExecutionFailed(failed)) = world.log.last().map(|last| &last.event) else {
        panic!("{:?}", world.log.last());
    };
    failed.error_message.clone().unwrap_or_default()
}

#[test]
fn an_output_that_is_bound_a_thousand_times_ends_the_run_before_it_is_built() {
    let mut many = bound("b", "a");
    let binding = json!({ "$from": "/steps/a/output/value" });
    many["with"] = json!({ "values": vec![binding; 1000] });
    let world = given(&[step("a"), many])
        .driven()
        .when(Input::Result(
            "a".parse().unwrap(),
            1,
            domain::execution::ending::Outcome::Completed(
                json!({ "value": "x".repeat(200 * 1024) }),
            ),
        ))
        .when_woken(1)
        .then(["failed: STEP_FAILED"]);
    let message = stop_message(&world);
    assert!(
        message.contains("/values/2: with it the inputs would have more than"),
        "{message}"
    );
    assert!(message.len() < 1000, "{message}");
}
