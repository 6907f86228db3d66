//! The instants a state waits for, and timers that come early, late and again.

use contracts::plan::Start;
use domain::execution::waits::{self, Left};

use super::kit::{
    DAY, HOUR, Input, MINUTE, SECOND, World, after, assist, at, draft, given, paused, process,
    step, submission, submitted, tried, wait,
};

/// What is waited for, in milliseconds since the beginning.
#[track_caller]
fn waits_for<const N: usize>(world: &World, expected: [(&str, i64); N]) {
    let waits: Vec<(String, i64)> = world
        .waits()
        .into_iter()
        .map(|wait| (wait.kind.key(), wait.due.as_millis() - at(0).as_millis()))
        .collect();
    let expected = expected.map(|(key, due)| (key.to_owned(), due));
    assert_eq!(waits, expected);
}

#[test]
fn what_is_in_flight_has_its_process_and_no_timer() {
    waits_for(&given(&[step("a")]).driven(), []);
}

/// What a process leaves to others, with the timers it arms for that.
#[track_caller]
fn leaves<const N: usize>(world: &World, number: u128, expected: [(&str, i64, u64); N]) {
    let left = waits::left_to_others(&world.state, process(number));
    let left: Vec<(String, i64, u64)> = left
        .into_iter()
        .map(|left| {
            let key = Left::key(&left.step, left.attempt);
            let due = left.due.as_millis() - at(0).as_millis();
            (key, due, left.after_ms)
        })
        .collect();
    let expected = expected.map(|(key, due, after_ms)| (key.to_owned(), due, after_ms));
    assert_eq!(left, expected);
}

#[test]
fn what_another_process_is_at_work_on_has_a_timer_of_its_whole_time() {
    let world = given(&[step("a"), wait("b", HOUR), after("c", &["a"])])
        .at(SECOND)
        .driven();
    leaves(&world, 1, []);
    leaves(&world, 2, [("left-a-1", 51 * SECOND, 50_000)]);
    let world = world.at(2 * SECOND).when_delivered(2, "a");
    leaves(&world, 2, []);
    leaves(&world, 1, [("left-a-2", 52 * SECOND, 50_000)]);
    let world = world.when(Input::Cancel("sam"));
    leaves(&world, 1, [("left-a-2", 52 * SECOND, 50_000)]);
    leaves(&world.when_failed("a"), 1, []);
}

#[test]
fn a_manual_start_is_waited_for_and_then_no_more() {
    let mut submission = submission(Some(draft(&[step("a")])));
    submission.start = Start::Manual;
    let world = submitted(submission).judged();
    waits_for(&world, [("start", 7 * DAY)]);
    waits_for(&world.when(Input::Start(None)), []);
}

#[test]
fn every_open_block_is_waited_for() {
    let world = given(&[step("a"), step("b"), step("c")])
        .says("a", assist())
        .driven()
        .says("b", assist());
    waits_for(&world, [("approval-a", HOUR)]);
    waits_for(&world.when_approved("a", "ann"), []);
}

#[test]
fn the_deadline_is_waited_for_until_the_end() {
    let mut submission = submission(Some(draft(&[step("a")])));
    submission.deadline_at = Some(at(MINUTE));
    let world = submitted(submission);
    assert_eq!(waits::deadline(&world.state).unwrap().due, at(MINUTE));
    let world = world.driven();
    waits_for(&world, [("deadline", MINUTE)]);
    let world = world.when_succeeded("a").when_woken(1).then(["completed"]);
    waits_for(&world, []);
    assert_eq!(waits::deadline(&world.state), None);
}

#[test]
fn a_timer_that_fires_early_decides_nothing_and_is_armed_again() {
    let world = given(&[wait("a", HOUR)]).driven();
    waits_for(&world, [("elapsed-a", HOUR)]);
    let world = world.at(HOUR - 1).when_timer(1).then_nothing();
    waits_for(&world, [("elapsed-a", HOUR)]);
    world
        .at(HOUR)
        .when_timer(1)
        .then(["a completed #1", "completed"]);
}

#[test]
fn a_timer_that_comes_again_decides_nothing() {
    given(&[wait("a", HOUR), step("b")])
        .driven()
        .at(HOUR)
        .when_timer(1)
        .then(["a completed #1"])
        .again()
        .then_nothing();
}

#[test]
fn a_timer_for_an_older_instant_decides_nothing() {
    // The approval timer of a block that people have passed.
    given(&[step("a")])
        .says("a", assist())
        .driven()
        .when_approved("a", "ann")
        .when_woken(1)
        .at(HOUR)
        .when_timer(1)
        .then_nothing();
}

#[test]
fn a_retry_is_waited_for_but_in_a_pause() {
    let world = given(&[tried("a", 2)]).driven().when_failed("a");
    let [due] = world.waits().try_into().unwrap();
    assert_eq!(due.kind.key(), "retry-a");
    assert!(due.due > at(0) && due.due <= at(SECOND));
    // Its end is an event, which is a wake-up of its own.
    waits_for(&paused(world), []);
}

#[test]
fn the_soonest_stands_first() {
    let mut submission = submission(Some(draft(&[
        step("a"),
        wait("b", 30 * MINUTE),
        wait("c", 10 * MINUTE),
    ])));
    submission.deadline_at = Some(at(2 * HOUR));
    let world = submitted(submission).says("a", assist()).driven();
    waits_for(
        &world,
        [
            ("elapsed-c", 10 * MINUTE),
            ("elapsed-b", 30 * MINUTE),
            ("approval-a", HOUR),
            ("deadline", 2 * HOUR),
        ],
    );
}

#[test]
fn what_stops_waits_for_nothing_but_ends() {
    let world = given(&[step("a"), step("b")])
        .says("a", assist())
        .driven()
        .when(Input::Cancel("sam"));
    waits_for(&world, []);
    waits_for(&World::empty(), []);
}
