//! Who may dispatch, and who takes over what another process left.

use contracts::event::Event;
use domain::execution::StepState;

use super::kit::{
    HOUR, MINUTE, SECOND, World, after, given, process, step, succeeded, tried, wait, words,
};

#[test]
fn a_delivery_to_the_process_that_drives_changes_nothing() {
    given(&[step("a"), step("b")])
        .driven()
        .when_delivered(1, "a")
        .then_nothing()
        .again()
        .then_nothing();
}

#[test]
fn a_first_delivery_of_a_wake_up_takes_over_what_another_incarnation_left_under_it() {
    let world = given(&[step("a"), step("b")])
        .driven()
        .at(SECOND)
        .when_delivered(2, "a")
        .then(["a taken over #2", "b taken over #2"])
        .again()
        .then_nothing();
    let StepState::Started(attempt) = &world.step("a").state else {
        panic!("{:?}", world.step("a"));
    };
    assert_eq!(attempt.owner, process(2));
    world
        .when_succeeded("a")
        .when_succeeded("b")
        .when_woken(2)
        .then(["completed"]);
}

#[test]
fn a_process_takes_over_its_own_attempts_that_it_lost_sight_of_whatever_woke_it() {
    let world = given(&[step("a"), step("b")]).driven().forgetting();
    let said: Vec<String> = world
        .drive(process(1), world.last_event())
        .iter()
        .map(words)
        .collect();
    assert_eq!(said, ["a taken over #2", "b taken over #2"]);
}

#[test]
fn another_wake_up_gives_no_right_to_take_over() {
    given(&[step("a"), after("b", &["a"])])
        .driven()
        .when_timer(2)
        .then_nothing()
        .when_woken(2)
        .then_nothing();
}

#[test]
fn only_what_stands_under_the_wake_up_is_taken_over() {
    let world = given(&[step("a"), step("b"), after("c", &["a"])])
        .driven()
        .when_succeeded("a")
        .when_woken(1)
        .then(["c started #1"]);
    world
        .when_delivered(2, "b")
        .then(["b taken over #2"])
        .when_delivered(2, "c")
        .then(["c taken over #2"]);
}

#[test]
fn a_takeover_uses_the_same_key_and_is_no_retry() {
    let world = given(&[tried("a", 1)])
        .driven()
        .when_delivered(2, "a")
        .then(["a taken over #2"])
        .when_delivered(3, "a")
        .then(["a taken over #3"]);
    assert_eq!((world.step("a").attempts, world.step("a").tries), (3, 1));
    let mut keys: Vec<_> = started(&world).map(|event| event.idempotency_key).collect();
    keys.dedup();
    assert_eq!(keys.len(), 1);
}

#[test]
fn after_a_takeover_the_step_may_still_be_tried_again() {
    given(&[tried("a", 2)])
        .driven()
        .when_delivered(2, "a")
        .then(["a taken over #2"])
        .when_failed("a")
        .then(["a failed #2: BROKEN, again"])
        .at(MINUTE)
        .when_timer(2)
        .then(["a started #3"])
        .when_failed("a")
        .then(["a failed #3: BROKEN"]);
}

#[test]
fn a_takeover_after_the_time_out_is_a_failure_of_unknown_outcome_first() {
    let world = given(&[tried("a", 2)])
        .driven()
        .at(30 * SECOND)
        .when_delivered(2, "a")
        .then(["a failed #1: TIMEOUT, again"])
        .again()
        .then_nothing();
    let Some(Event::StepFailed(failed)) = world.log.last().map(|last| &last.event) else {
        panic!("{:?}", world.log.last());
    };
    assert_eq!(
        failed.outcome,
        contracts::events::executor::EffectOutcome::Unknown
    );
    world.at(HOUR).when_timer(2).then(["a started #2"]);
}

#[test]
fn a_takeover_after_the_time_out_with_no_tries_left_ends_the_run() {
    given(&[step("a")])
        .driven()
        .at(30 * SECOND)
        .when_delivered(2, "a")
        .then(["a failed #1: TIMEOUT", "failed: STEP_FAILED"])
        .again()
        .then_nothing();
}

#[test]
fn who_is_not_given_the_wake_up_ends_an_attempt_once_its_timer_has_come() {
    given(&[tried("a", 2)])
        .driven()
        .at(HOUR)
        .when_timer(2)
        .then_nothing()
        .overdue()
        .when_timer(2)
        .then(["a failed #1: TIMEOUT, again"])
        .again()
        .then_nothing();
}

#[test]
fn the_timer_of_an_attempt_never_gives_the_right_to_start_it_anew() {
    given(&[tried("a", 2)])
        .driven()
        .overdue()
        .at(30 * SECOND - 1)
        .when_timer(2)
        .then_nothing()
        .at(30 * SECOND)
        .when_timer(2)
        .then(["a failed #1: TIMEOUT, again"]);
}

#[test]
fn while_the_run_stops_the_timer_of_an_attempt_ends_it_too() {
    given(&[step("a"), step("b")])
        .driven()
        .when_failed("b")
        .at(HOUR)
        .when_timer(2)
        .then_nothing()
        .overdue()
        .when_timer(2)
        .then(["a failed #1: ABANDONED", "failed: STEP_FAILED"]);
}

#[test]
fn a_time_out_that_ends_the_run_starts_no_sibling() {
    given(&[step("a"), step("b"), after("c", &["b"])])
        .driven()
        .when_succeeded("b")
        .at(30 * SECOND)
        .when_delivered(2, "a")
        .then(["a failed #1: TIMEOUT", "failed: STEP_FAILED"]);
}

#[test]
fn a_takeover_has_a_time_of_its_own() {
    let world = given(&[step("a")])
        .driven()
        .at(20 * SECOND)
        .when_delivered(2, "a")
        .then(["a taken over #2"])
        .at(40 * SECOND)
        .when_delivered(3, "a")
        .then(["a taken over #3"]);
    let timeouts: Vec<i64> = started(&world)
        .map(|event| event.timeout_at.as_millis() - super::kit::at(0).as_millis())
        .collect();
    assert_eq!(timeouts, [30 * SECOND, 50 * SECOND, 70 * SECOND]);
}

#[test]
fn the_process_that_was_taken_over_may_still_bring_the_success() {
    given(&[step("a"), after("b", &["a"])])
        .driven()
        .when_delivered(2, "a")
        .then(["a taken over #2"])
        .when(succeeded("a", 1))
        .then(["a completed #1"])
        .when_woken(2)
        .then(["b started #1"]);
}

#[test]
fn a_wait_is_nobodys_and_is_not_taken_over() {
    given(&[wait("a", HOUR)])
        .driven()
        .when_delivered(2, "a")
        .then_nothing();
}

#[test]
fn what_may_not_start_any_more_may_still_be_taken_over() {
    // The effect may have happened: only its end tells.
    given(&[step("a")])
        .driven()
        .catalogue(|shop| {
            shop.disable("ops", None);
            shop.activate("other");
        })
        .when_delivered(2, "a")
        .then(["a taken over #2"]);
}

fn started(world: &World) -> impl Iterator<Item = &contracts::events::executor::StepStarted> {
    world
        .log
        .iter()
        .filter_map(|recorded| match &recorded.event {
            Event::StepStarted(event) => Some(event),
            _ => None,
        })
}
