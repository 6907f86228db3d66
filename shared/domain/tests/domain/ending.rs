//! The ends of attempts: which result counts, when a step is tried again, and how soon.

use contracts::{
    event::{Event, Service},
    events::{
        RULES,
        executor::{EffectOutcome, StepAccepted},
    },
    plan::Status,
};
use domain::execution::{
    StepState,
    ending::{Failure, Outcome},
};
use serde_json::json;

use super::kit::{
    HOUR, Input, MINUTE, SECOND, World, after, at, bound, failed, given, step, succeeded, tried,
};

fn failure(change: impl FnOnce(&mut Failure)) -> Input {
    let Input::Result(step, attempt, Outcome::Failed(mut failure)) = failed("a", 1) else {
        unreachable!();
    };
    change(&mut failure);
    Input::Result(step, attempt, Outcome::Failed(failure))
}

#[test]
fn a_result_again_is_refused() {
    given(&[step("a"), step("b")])
        .driven()
        .when_succeeded("a")
        .then(["a completed #1"])
        .again()
        .then_refused("AlreadyEnded")
        .when_failed("b")
        .then(["b failed #1: BROKEN"])
        .again()
        .then_refused("AlreadyEnded");
}

#[test]
fn of_two_results_for_one_attempt_the_first_counts() {
    given(&[step("a"), step("b")])
        .driven()
        .when(succeeded("a", 1))
        .then(["a completed #1"])
        .when(failed("a", 1))
        .then_refused("AlreadyEnded")
        .when(failed("b", 1))
        .then(["b failed #1: BROKEN"])
        .when(succeeded("b", 1))
        .then_refused("AlreadyEnded");
}

#[test]
fn a_result_after_the_end_is_refused() {
    given(&[step("a")])
        .driven()
        .when_succeeded("a")
        .when_woken(1)
        .then(["completed"])
        .when(succeeded("a", 1))
        .then_refused("AlreadyEnded");
    given(&[step("a")])
        .driven()
        .when_failed("a")
        .when_woken(1)
        .then(["failed: STEP_FAILED"])
        .when(succeeded("a", 1))
        .then_refused("AlreadyEnded");
}

#[test]
fn a_result_for_a_step_that_never_started_is_refused() {
    given(&[step("a"), after("b", &["a"])])
        .driven()
        .when(succeeded("b", 1))
        .then_refused("NeverStarted")
        .when(succeeded("a", 2))
        .then_refused("NeverStarted")
        .when(succeeded("a", 0))
        .then_refused("NeverStarted")
        .when(succeeded("z", 1))
        .then_refused("NeverStarted");
    given(&[step("a")])
        .judged()
        .when(succeeded("a", 1))
        .then_refused("NeverStarted");
    World::empty()
        .when(succeeded("a", 1))
        .then_refused("NeverStarted");
}

#[test]
fn a_failure_that_may_be_tried_again_is() {
    given(&[tried("a", 2)])
        .driven()
        .when_failed("a")
        .then(["a failed #1: BROKEN, again"])
        .is(Status::Running)
        .when_woken(1)
        .then_nothing()
        .at(MINUTE)
        .when_timer(1)
        .then(["a started #2"])
        .again()
        .then_nothing();
}

#[test]
fn when_the_tries_are_spent_the_run_fails() {
    given(&[tried("a", 2)])
        .driven()
        .when_failed("a")
        .at(MINUTE)
        .when_timer(1)
        .then(["a started #2"])
        .when_failed("a")
        .then(["a failed #2: BROKEN"])
        .when_woken(1)
        .then(["failed: STEP_FAILED"])
        .again()
        .then_nothing();
}

#[test]
fn a_failure_that_may_not_be_tried_again_ends_the_run_at_once() {
    given(&[tried("a", 5)])
        .driven()
        .when(failure(|failure| failure.retryable = false))
        .then(["a failed #1: BROKEN"])
        .when_woken(1)
        .then(["failed: STEP_FAILED"]);
}

#[test]
fn a_failed_step_lets_its_siblings_end_and_starts_nothing_new() {
    given(&[step("a"), step("b"), after("c", &["b"]), bound("d", "b")])
        .driven()
        .then(["run 1 started", "a started #1", "b started #1"])
        .when_failed("a")
        .then(["a failed #1: BROKEN"])
        .when_woken(1)
        .then_nothing()
        .is(Status::Stopping)
        .when_succeeded("b")
        .then(["b completed #1"])
        .when_woken(1)
        .then(["failed: STEP_FAILED"])
        .is(Status::Failed);
}

#[test]
fn the_first_failure_is_the_reason() {
    let world = given(&[step("a"), step("b")])
        .driven()
        .when_failed("b")
        .when_failed("a")
        .when_woken(1)
        .then(["failed: STEP_FAILED"]);
    let stop = world
        .known()
        .ends_by(contracts::events::executor::FailureCode::StepFailed);
    assert_eq!(stop.unwrap().step, Some("b".parse().unwrap()));
}

#[test]
fn nothing_is_tried_again_while_it_stops() {
    given(&[step("a"), tried("b", 5)])
        .driven()
        .when_failed("a")
        .when_failed("b")
        .then(["b failed #1: BROKEN"])
        .when_woken(1)
        .then(["failed: STEP_FAILED"]);
}

#[test]
fn a_failure_of_an_earlier_attempt_says_nothing_about_the_later_one() {
    taken_over()
        .when(failed("a", 1))
        .then_refused("Superseded")
        .when(failed("a", 2))
        .then(["a failed #2: BROKEN"]);
}

#[test]
fn a_success_of_an_earlier_attempt_is_a_success_of_the_step() {
    taken_over()
        .when(succeeded("a", 1))
        .then(["a completed #1"])
        .when(succeeded("a", 2))
        .then_refused("AlreadyEnded")
        .when_woken(2)
        .then(["completed"]);
}

#[test]
fn a_success_counts_while_the_next_attempt_is_judged() {
    given(&[tried("a", 2)])
        .driven()
        .when(failure(|failure| failure.outcome = EffectOutcome::Unknown))
        .then(["a failed #1: BROKEN, again"])
        .catalogue(|shop| shop.activate("other"))
        .at(MINUTE)
        .when_timer(1)
        .then(["a proposed: PolicyChanged"])
        .when(succeeded("a", 1))
        .then(["a completed #1"])
        .when(Input::Verifier)
        .then_nothing()
        .when_woken(1)
        .then(["completed"]);
}

#[test]
fn an_accepted_step_is_completed_later_or_not_in_time() {
    let accepted = || accepted(given(&[tried("a", 2)]).driven());
    assert_eq!(accepted().waits()[0].kind.key(), "accepted-a");
    accepted()
        .at(HOUR - 1)
        .when_timer(2)
        .then_nothing()
        .when(succeeded("a", 1))
        .then(["a completed #1"])
        .when_woken(2)
        .then(["completed"]);
    accepted()
        .at(HOUR)
        .when_timer(2)
        .then(["a failed #1: TIMEOUT, again"])
        .again()
        .then_nothing();
    // Nobody owns it: it is completed from outside.
    accepted().when_delivered(2, "a").then_nothing();
}

#[test]
fn an_accepted_step_ends_at_once_when_the_run_is_cancelled() {
    accepted(given(&[step("a")]).driven())
        .when(Input::Cancel("sam"))
        .when_woken(2)
        .then(["a failed #1: CANCELLED", "failed: CANCELLED"])
        .again()
        .then_nothing();
}

#[test]
fn an_unknown_outcome_stays_unknown() {
    let world = given(&[step("a")])
        .driven()
        .when(failure(|failure| failure.outcome = EffectOutcome::Unknown));
    let StepState::Failed { outcome, code, .. } = &world.step("a").state else {
        panic!("{:?}", world.step("a"));
    };
    assert_eq!(
        (*outcome, code.as_str()),
        (EffectOutcome::Unknown, "BROKEN")
    );
}

#[test]
fn the_wait_before_a_retry_doubles_up_to_its_cap_and_is_never_less_than_half() {
    let full = [1000, 2000, 4000, 8000, 8000];
    for (wait, full) in backoffs(5).into_iter().zip(full) {
        assert!((full / 2..=full).contains(&wait), "{wait} of {full}");
    }
}

#[test]
fn the_wait_before_a_retry_is_the_same_whenever_it_is_decided() {
    assert_eq!(backoffs(5), backoffs(5));
    expect_test::expect!["[907, 1770, 3476, 4368, 6344]"].assert_eq(&format!("{:?}", backoffs(5)));
}

#[test]
fn an_output_is_recorded_with_its_digest() {
    let world = given(&[step("a")]).driven().when_succeeded("a");
    let Some(Event::StepCompleted(completed)) = world.log.last().map(|last| &last.event) else {
        panic!("{:?}", world.log.last());
    };
    assert_eq!(completed.output, json!({ "value": "a" }));
    assert_eq!(
        completed.output_digest,
        super::kit::digest(&completed.output)
    );
}

#[test]
fn results_of_every_sibling_are_taken_in_any_order() {
    given(&[step("a"), step("b"), step("c")])
        .driven()
        .when_succeeded("c")
        .when_succeeded("a")
        .when_succeeded("b")
        .when_woken(1)
        .then(["completed"]);
}

/// The first attempt of `a` was accepted, to be completed within the hour.
fn accepted(mut world: World) -> World {
    let accepted = StepAccepted {
        execution_id: world.known().id,
        run_id: world.known().run_id().unwrap(),
        step_id: "a".parse().unwrap(),
        attempt: 1,
        accepted_at: at(0),
        expires_at: at(HOUR),
        rules: RULES,
    };
    let wake = world.wake_of("a");
    world.store(accepted.into(), Service::Executor, Some(wake));
    world
}

/// An attempt of `a` that a second process has taken over.
fn taken_over() -> World {
    given(&[step("a")])
        .driven()
        .at(SECOND)
        .when_delivered(2, "a")
        .then(["a taken over #2"])
}

/// The waits before each retry of a step that always fails.
fn backoffs(retries: u32) -> Vec<i64> {
    let mut world = given(&[tried("a", retries + 1)]).driven();
    let mut waits = Vec::new();
    for _ in 0..retries {
        world = world.when_failed("a");
        let StepState::RetryWait { at: due } = world.step("a").state else {
            panic!("{:?}", world.step("a"));
        };
        waits.push(due.as_millis() - at(world.now).as_millis());
        let later = world.now + HOUR;
        world = world.at(later).when_timer(1);
    }
    waits
}
