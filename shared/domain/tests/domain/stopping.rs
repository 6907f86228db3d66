//! Stopping: cancels, deadlines, skills that are gone; and pauses.

use contracts::{
    event::Event,
    plan::{Start, Status},
};
use domain::execution::{Execution, Stage};

use super::kit::{
    DAY, DEADLINE, HOUR, Input, after, assist, at, draft, failed, given, paused, resumed, step,
    submission, submitted, tried, wait, with_deadline,
};

#[test]
fn a_cancel_against_a_completion_in_flight_records_both() {
    given(&[step("a"), after("b", &["a"])])
        .driven()
        .when(Input::Cancel("sam"))
        .when_woken(2)
        .then_nothing()
        .is(Status::Stopping)
        .when_succeeded("a")
        .then(["a completed #1"])
        .when_woken(1)
        .then(["failed: CANCELLED"])
        .again()
        .then_nothing();
}

#[test]
fn a_cancel_after_the_last_completion_still_cancels_before_the_end_is_stored() {
    given(&[step("a")])
        .driven()
        .when_succeeded("a")
        .when(Input::Cancel("sam"))
        .when_woken(1)
        .then(["failed: CANCELLED"]);
}

#[test]
fn a_cancel_of_a_blocked_step_leaves_nothing_to_vote_on() {
    given(&[step("a")])
        .says("a", assist())
        .driven()
        .when(Input::Cancel("sam"))
        .when_approved("a", "ann")
        .then_refused("EXECUTION_ENDED")
        .when_woken(1)
        .then(["failed: CANCELLED"])
        .again()
        .then_nothing();
}

#[test]
fn a_cancel_after_the_vote_stops_what_the_vote_let_through() {
    given(&[step("a")])
        .says("a", assist())
        .driven()
        .when_approved("a", "ann")
        .when(Input::Cancel("sam"))
        .when_woken(1)
        .then(["failed: CANCELLED"]);
}

#[test]
fn a_cancel_before_the_run_ends_it_without_a_run() {
    for world in [
        given(&[step("a")]),
        given(&[step("a")]).planned(),
        given(&[step("a")]).judged(),
    ] {
        let world = world
            .when(Input::Cancel("sam"))
            .when_woken(1)
            .then(["failed: CANCELLED"]);
        let Some(Event::ExecutionFailed(failed)) = world.log.last().map(|last| &last.event) else {
            panic!("{:?}", world.log.last());
        };
        assert_eq!(failed.run_id, None);
    }
}

#[test]
fn a_cancel_ends_what_waits_to_be_tried_again() {
    given(&[tried("a", 2)])
        .driven()
        .when_failed("a")
        .then(["a failed #1: BROKEN, again"])
        .when(Input::Cancel("sam"))
        .when_woken(1)
        .then(["failed: CANCELLED"])
        .at(HOUR)
        .when_timer(1)
        .then_nothing();
}

#[test]
fn an_attempt_that_its_process_abandoned_ends_when_its_wake_up_comes_again() {
    let stopping = given(&[step("a"), step("b")])
        .driven()
        .when(Input::Cancel("sam"))
        .when_woken(2)
        .then_nothing();
    stopping
        .when_delivered(2, "a")
        .then([
            "a failed #1: ABANDONED",
            "b failed #1: ABANDONED",
            "failed: CANCELLED",
        ])
        .again()
        .then_nothing();
}

#[test]
fn the_deadline_acts_at_every_stage() {
    let drafted = || {
        let mut submission = submission(None);
        submission.deadline_at = Some(at(DEADLINE));
        submitted(submission).when(Input::Planner)
    };
    let manual = || {
        let mut submission = submission(Some(draft(&[step("a")])));
        submission.deadline_at = Some(at(DEADLINE));
        submission.start = Start::Manual;
        submitted(submission).judged()
    };
    let steps = [step("a")];
    let stages = [
        with_deadline(&steps),
        drafted(),
        drafted().when(Input::Offer(draft(&steps))),
        drafted()
            .when(Input::Offer(draft(&[])))
            .when(Input::Planner),
        with_deadline(&steps).planned(),
        with_deadline(&steps).judged(),
        manual(),
        with_deadline(&steps).says("a", assist()).driven(),
        paused(with_deadline(&steps).says("a", assist()).driven()),
        with_deadline(&[tried("a", 2)])
            .driven()
            .at(DEADLINE - 1)
            .when_failed("a"),
    ];
    for world in stages {
        world
            .at(DEADLINE)
            .when_timer(1)
            .then(["failed: DEADLINE_EXCEEDED"])
            .again()
            .then_nothing()
            .is(Status::Failed);
    }
}

#[test]
fn the_deadline_waits_for_what_is_in_flight() {
    with_deadline(&[step("a"), wait("b", DAY), after("c", &["a"])])
        .driven()
        .at(DEADLINE)
        .when_timer(2)
        .then([
            "stopping: DEADLINE_EXCEEDED",
            "b failed #1: DEADLINE_EXCEEDED",
        ])
        .again()
        .then_nothing()
        .is(Status::Stopping)
        .when_succeeded("a")
        .when_woken(1)
        .then(["failed: DEADLINE_EXCEEDED"]);
}

#[test]
fn a_skill_that_is_disabled_between_compile_and_dispatch_ends_the_run() {
    given(&[step("a")])
        .judged()
        .catalogue(|shop| shop.disable("ops", None))
        .when_woken(1)
        .then(["run 1 started", "failed: SKILL_UNAVAILABLE"])
        .again()
        .then_nothing();
}

#[test]
fn a_skill_that_is_disabled_during_the_run_waits_for_what_runs() {
    given(&[step("a"), step("b"), after("c", &["a"])])
        .driven()
        .catalogue(|shop| shop.disable("ops", Some("1.0.0")))
        .when_succeeded("a")
        .when_woken(1)
        .then(["stopping: SKILL_UNAVAILABLE"])
        .when_succeeded("b")
        .when_woken(1)
        .then(["failed: SKILL_UNAVAILABLE"]);
}

#[test]
fn the_end_names_the_step_it_came_from() {
    let direct = given(&[step("a")])
        .judged()
        .catalogue(|shop| shop.disable("ops", None))
        .when_woken(1);
    let by_way_of_stopping = given(&[step("a"), step("b")])
        .says("b", assist())
        .driven()
        .at(HOUR)
        .when_timer(1)
        .then(["stopping: APPROVAL_EXPIRED"])
        .when_succeeded("a")
        .when_woken(1);
    for (world, step) in [(direct, "a"), (by_way_of_stopping, "b")] {
        let Stage::Failed { stop, .. } = &world.known().stage else {
            panic!("{:?}", world.known().stage);
        };
        assert_eq!(stop.step, Some(step.parse().unwrap()));
    }
}

#[test]
fn a_pause_starts_nothing_new_and_records_what_ends() {
    let world = paused(given(&[step("a"), after("b", &["a"])]).driven())
        .is(Status::Paused)
        .when_succeeded("a")
        .then(["a completed #1"])
        .when_woken(1)
        .then_nothing();
    resumed(world)
        .is(Status::Running)
        .when_woken(1)
        .then(["b started #1"]);
}

#[test]
fn a_run_ends_though_it_is_paused_when_nothing_is_left_to_start() {
    paused(given(&[step("a")]).driven())
        .when_succeeded("a")
        .when_woken(1)
        .then(["completed"]);
}

#[test]
fn a_retry_that_came_due_in_a_pause_starts_when_it_is_lifted() {
    let world = paused(given(&[tried("a", 2)]).driven().when_failed("a"))
        .at(HOUR)
        .when_timer(1)
        .then_nothing();
    resumed(world).when_woken(1).then(["a started #2"]);
}

#[test]
fn votes_are_taken_in_a_pause_and_acted_on_after_it() {
    let world = paused(given(&[step("a")]).says("a", assist()).driven())
        .when_approved("a", "ann")
        .then(["a approved by ann"])
        .when_woken(1)
        .then_nothing()
        .at(2 * HOUR)
        .when_timer(1)
        .then_nothing();
    resumed(world).when_woken(1).then(["a started #1"]);
}

#[test]
fn a_cancel_acts_in_a_pause() {
    paused(given(&[step("a")]).driven())
        .when(Input::Cancel("sam"))
        .when(failed("a", 1))
        .then(["a failed #1: BROKEN"])
        .when_woken(1)
        .then(["failed: CANCELLED"]);
}

#[test]
fn pausing_twice_and_resuming_what_runs_are_illegal() {
    let once = paused(given(&[step("a")]).driven());
    assert!(matches!(paused(once).state, Execution::Corrupt(_)));
    assert!(matches!(
        resumed(given(&[step("a")]).driven()).state,
        Execution::Corrupt(_)
    ));
}

#[test]
fn a_run_that_was_done_before_the_deadline_is_completed_by_who_wakes_after_it() {
    with_deadline(&[step("a")])
        .driven()
        .when_succeeded("a")
        .at(DEADLINE)
        .when_timer(1)
        .then(["completed"]);
}
