//! Steps that are completed later, by what is reported from outside.

use contracts::{canonical::Digest, event::Service};
use domain::execution::{
    ending::{ACCEPTED_MS_DEFAULT, ACCEPTED_MS_MAX, Outcome},
    intake::{Decision, Failed, Report, report},
};
use serde_json::{Value, json};

use super::kit::{
    DEADLINE, HOUR, Input, World, after, at, given, step, succeeded, tried, who, with_deadline,
};

fn a_report(attempt: u32, result: Result<Value, Failed>) -> Report {
    Report {
        step: "a".parse().unwrap(),
        // As the kit's executors draw them.
        token_hash: Digest::of(format!("a {attempt}").as_bytes()),
        by: who("fulfilment"),
        result,
    }
}

fn done() -> Value {
    json!({ "value": 7 })
}

fn broken(retryable: bool) -> Failed {
    Failed {
        code: Some("SOLD_OUT".to_owned()),
        message: Some("no lamp is left".to_owned()),
        retryable,
    }
}

fn ask(world: &World, attempt: u32, result: Result<Value, Failed>) -> Decision {
    report(world.known(), &a_report(attempt, result), at(world.now))
}

/// It is stored, and said again it is the same.
fn reported(mut world: World, attempt: u32, result: Result<Value, Failed>) -> World {
    let events = ask(&world, attempt, result.clone()).unwrap();
    assert_eq!(events.len(), 1);
    for event in events {
        world.store(event, Service::Intake, None);
    }
    assert_eq!(ask(&world, attempt, result), Ok(Vec::new()));
    world
}

fn refused(world: &World, attempt: u32, result: Result<Value, Failed>) -> &'static str {
    ask(world, attempt, result).unwrap_err().code()
}

fn accepting(within_ms: u64) -> Input {
    let outcome = Outcome::Accepted { within_ms };
    Input::Result("a".parse().unwrap(), 1, outcome)
}

fn accepted() -> World {
    given(&[tried("a", 2), after("b", &["a"])])
        .driven()
        .when(accepting(ACCEPTED_MS_DEFAULT))
        .then(["execution.step.accepted"])
}

#[test]
fn whoever_is_woken_by_a_report_ends_the_step() {
    reported(accepted(), 1, Ok(done()))
        .when_woken(2)
        .then(["a completed #1", "b started #1"])
        .again()
        .then_nothing();
}

#[test]
fn a_report_may_come_before_the_worker_has_answered() {
    let world = reported(given(&[step("a")]).driven(), 1, Ok(done()));
    world
        .clone()
        .when_woken(2)
        .then(["a completed #1", "completed"])
        // The worker's own answer comes after it.
        .when(succeeded("a", 1))
        .then_refused("AlreadyEnded");
    world
        .when(succeeded("a", 1))
        .then(["a completed #1"])
        .when_woken(2)
        .then(["completed"]);
}

#[test]
fn a_failure_that_is_reported_is_tried_again_where_it_may() {
    reported(accepted(), 1, Err(broken(true)))
        .when_woken(2)
        .then(["a failed #1: SOLD_OUT, again"])
        .at(HOUR)
        .when_timer(2)
        .then(["a started #2"]);
    reported(accepted(), 1, Err(broken(false)))
        .when_woken(2)
        .then(["a failed #1: SOLD_OUT", "failed: STEP_FAILED"]);
}

#[test]
fn what_was_reported_in_time_counts_although_it_is_read_late() {
    let late = i64::try_from(ACCEPTED_MS_DEFAULT).unwrap() + 1;
    reported(accepted(), 1, Ok(done()))
        .at(late)
        .when_woken(2)
        .then(["a completed #1", "b started #1"]);
}

/// The deadline is met by when the report was recorded.
#[test]
fn what_was_reported_before_the_deadline_completes_a_run_that_is_read_after_it() {
    let accepted = || {
        with_deadline(&[step("a")])
            .driven()
            .when(accepting(ACCEPTED_MS_DEFAULT))
    };
    reported(accepted().at(DEADLINE - 1), 1, Ok(done()))
        .at(DEADLINE)
        .when_woken(2)
        .then(["a completed #1", "completed"])
        .again()
        .then_nothing();
    reported(accepted().at(DEADLINE), 1, Ok(done()))
        .when_woken(2)
        .then(["a completed #1", "failed: DEADLINE_EXCEEDED"]);
    reported(accepted().at(DEADLINE - 1), 1, Err(broken(false)))
        .at(DEADLINE)
        .when_woken(2)
        .then(["a failed #1: SOLD_OUT", "failed: STEP_FAILED"]);
}

/// What else was to be done is not begun after it.
#[test]
fn what_was_reported_before_the_deadline_starts_nothing_after_it() {
    let two = with_deadline(&[step("a"), after("b", &["a"])]);
    let accepted = two.driven().when(accepting(ACCEPTED_MS_DEFAULT));
    reported(accepted.at(DEADLINE - 1), 1, Ok(done()))
        .at(DEADLINE)
        .when_woken(2)
        .then(["a completed #1", "failed: DEADLINE_EXCEEDED"]);
}

#[test]
fn a_worker_says_how_long_it_takes_within_bounds() {
    for (asked, given_ms) in [(0, 1), (5000, 5000), (u64::MAX, ACCEPTED_MS_MAX)] {
        let world = given(&[step("a")]).driven().when(accepting(asked));
        assert_eq!(world.waits()[0].due, at(i64::try_from(given_ms).unwrap()));
    }
}

#[test]
fn the_token_says_of_which_attempt_a_report_is() {
    assert_eq!(refused(&accepted(), 2, Ok(done())), "TOKEN_INVALID");
    let mut elsewhere = a_report(1, Ok(done()));
    elsewhere.step = "z".parse().unwrap();
    let answer = report(accepted().known(), &elsewhere, at(0));
    assert_eq!(answer.unwrap_err().code(), "STEP_NOT_FOUND");
}

#[test]
fn a_success_counts_of_any_attempt_and_a_failure_of_the_last_one() {
    // Taken over: the first attempt's worker may still report.
    let taken = given(&[step("a")])
        .driven()
        .when_delivered(2, "a")
        .then(["a taken over #2"]);
    assert_eq!(refused(&taken, 1, Err(broken(true))), "STEP_NOT_IN_FLIGHT");
    reported(taken.clone(), 1, Ok(done()))
        .when_woken(2)
        .then(["a completed #1", "completed"]);
    reported(taken, 2, Err(broken(false)))
        .when_woken(2)
        .then(["a failed #2: SOLD_OUT", "failed: STEP_FAILED"]);
}

/// A failure of an attempt that was taken over since is of no attempt that is under way.
#[test]
fn a_failure_that_was_overtaken_ends_nothing() {
    let world = reported(given(&[step("a")]).driven(), 1, Err(broken(false)));
    let mut overtaken = world;
    let started = overtaken.clone().forgetting().when_delivered(2, "a");
    // Whoever is woken acts on the report first.
    started.then(["a failed #1: SOLD_OUT", "failed: STEP_FAILED"]);
    overtaken = overtaken.when_woken(2);
    assert_eq!(refused(&overtaken, 1, Ok(done())), "EXECUTION_ENDED");
}

#[test]
fn the_first_report_counts() {
    let world = reported(accepted(), 1, Ok(done()));
    assert_eq!(
        refused(&world, 1, Ok(json!({ "value": 8 }))),
        "ALREADY_REPORTED"
    );
    assert_eq!(refused(&world, 1, Err(broken(true))), "ALREADY_REPORTED");
    let ended = world.when_woken(2);
    assert_eq!(refused(&ended, 1, Ok(done())), "STEP_NOT_IN_FLIGHT");
}

#[test]
fn a_report_while_it_stops_is_the_end_that_is_waited_for() {
    reported(
        given(&[step("a")]).driven().when(Input::Cancel("sam")),
        1,
        Ok(done()),
    )
    .when_woken(2)
    .then(["a completed #1", "failed: CANCELLED"]);
    // Cancelled while it waits, it ends at once, and what is reported later is refused.
    let cancelled = accepted().when(Input::Cancel("sam")).when_woken(2);
    assert_eq!(refused(&cancelled, 1, Ok(done())), "EXECUTION_ENDED");
}

/// A success that is reported between two attempts spares the next one.
#[test]
fn a_success_counts_between_two_attempts_too() {
    let waiting = accepted().at(HOUR * 25).when_timer(2);
    let waiting = waiting.then(["a failed #1: TIMEOUT, again"]);
    assert_eq!(
        refused(&waiting, 1, Err(broken(true))),
        "STEP_NOT_IN_FLIGHT"
    );
    reported(waiting, 1, Ok(done()))
        .when_woken(2)
        .then(["a completed #1", "b started #1"]);
}
