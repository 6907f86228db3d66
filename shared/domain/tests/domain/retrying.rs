//! A retry of a run that failed: where it may follow, and what it keeps.

use contracts::{events::executor::FailureCode, plan::Status};
use domain::execution::intake::{self, Decision};

use super::kit::{
    DAY, DEADLINE, HOUR, Input, World, after, assist, at, given, retried, step, succeeded, tried,
    who, with_deadline,
};

#[test]
fn a_retry_goes_on_from_the_failed_step_without_repeating_effects() {
    let world = given(&[step("a"), after("b", &["a"]), after("c", &["b"])])
        .driven()
        .when_succeeded("a")
        .when_woken(1)
        .when_failed("b")
        .when_woken(1)
        .then(["failed: STEP_FAILED"]);
    retried(world)
        .is(Status::Verified)
        .when_woken(1)
        .then(["run 2 started", "b started #2"])
        .again()
        .then_nothing()
        .when_succeeded("b")
        .when_woken(1)
        .then(["c started #1"]);
}

#[test]
fn a_retry_follows_every_code_that_decides_nothing() {
    let failed = given(&[step("a")]).driven().when_failed("a").when_woken(1);
    let gone = given(&[step("a")])
        .judged()
        .catalogue(|shop| shop.disable("ops", None))
        .when_woken(1);
    let late = with_deadline(&[step("a")])
        .says("a", assist())
        .driven()
        .at(DEADLINE)
        .when_timer(1);
    let unheard = given(&[step("a")])
        .says("a", assist())
        .driven()
        .at(HOUR)
        .when_timer(1);
    for (world, code) in [
        (failed, FailureCode::StepFailed),
        (gone, FailureCode::SkillUnavailable),
        (late, FailureCode::DeadlineExceeded),
        (unheard, FailureCode::ApprovalExpired),
    ] {
        assert!(code.may_retry());
        assert!(
            world.known().ends_by(code).is_some(),
            "{:?}",
            world.known().stage
        );
        retried(world).is(Status::Verified);
    }
}

#[test]
fn a_retry_never_goes_round_a_decision() {
    let cancelled = given(&[step("a")])
        .driven()
        .when(Input::Cancel("sam"))
        .when_succeeded("a");
    let rejected = given(&[step("a")])
        .says("a", assist())
        .driven()
        .when_rejected("a", "ann");
    let blocked = given(&[step("a")])
        .policy_says("other", "a", super::kit::blocked())
        .judged()
        .catalogue(|shop| shop.activate("other"))
        .when_woken(1)
        .when(Input::Verifier);
    for (world, code) in [
        (cancelled, FailureCode::Cancelled),
        (rejected, FailureCode::ApprovalRejected),
        (blocked, FailureCode::PolicyBlocked),
    ] {
        let world = world.when_woken(1);
        assert!(!code.may_retry());
        assert!(
            world.known().ends_by(code).is_some(),
            "{:?}",
            world.known().stage
        );
        retried(world).is(Status::Corrupt);
    }
}

#[test]
fn a_retry_of_what_never_ran_is_illegal() {
    let world = with_deadline(&[step("a")]).at(DEADLINE).when_timer(1);
    retried(world).is(Status::Corrupt);
}

#[test]
fn who_retries_after_the_deadline_sets_it_aside() {
    let world = with_deadline(&[step("a")])
        .says("a", assist())
        .driven()
        .at(DEADLINE)
        .when_timer(1);
    retried(world.at(DAY))
        .when_woken(1)
        .then(["run 2 started", "a blocked"])
        .when_approved("a", "ann")
        .when_woken(1)
        .then(["a started #1"]);
}

#[test]
fn a_retry_before_the_deadline_keeps_it() {
    let world = with_deadline(&[step("a")])
        .driven()
        .when_failed("a")
        .when_woken(1);
    retried(world)
        .when_woken(1)
        .then(["run 2 started", "a started #2"])
        .at(DEADLINE)
        .when_timer(1)
        .then(["stopping: DEADLINE_EXCEEDED"]);
}

#[test]
fn a_retry_that_could_not_start_may_be_asked_for_again() {
    let world = with_deadline(&[step("a"), after("b", &["a"])])
        .driven()
        .when_succeeded("a")
        .when_woken(1)
        .when_failed("b")
        .when_woken(1);
    let world = retried(world)
        .at(DEADLINE)
        .when_timer(1)
        .then(["failed: DEADLINE_EXCEEDED"]);
    assert!(world.known().steps().is_some());
    retried(world)
        .when_woken(1)
        .then(["run 2 started", "b started #2"]);
}

#[test]
fn an_expired_approval_is_asked_for_anew_by_a_retry() {
    let world = given(&[step("a")])
        .says("a", assist())
        .driven()
        .at(HOUR)
        .when_timer(1);
    let first = world.step("a").block.as_ref().unwrap().opened.block_id;
    let world = retried(world)
        .when_woken(1)
        .then(["run 2 started", "a blocked"]);
    assert_ne!(
        world.step("a").block.as_ref().unwrap().opened.block_id,
        first
    );
}

#[test]
fn an_approval_that_was_given_serves_the_retry() {
    let world = given(&[step("a")])
        .says("a", assist())
        .driven()
        .when_approved("a", "ann")
        .when_woken(1)
        .when_failed("a")
        .when_woken(1)
        .then(["failed: STEP_FAILED"]);
    retried(world)
        .when_woken(1)
        .then(["run 2 started", "a started #2"]);
}

#[test]
fn tries_begin_anew_with_a_retry_and_attempts_count_on() {
    let world = given(&[tried("a", 1)])
        .driven()
        .when_failed("a")
        .when_woken(1);
    let world = retried(world)
        .when_woken(1)
        .then(["run 2 started", "a started #2"]);
    assert_eq!((world.step("a").attempts, world.step("a").tries), (2, 1));
    world
        .when(succeeded("a", 1))
        .then(["a completed #1"])
        .when_woken(1)
        .then(["completed"]);
}

/// Asked again, by the id of a run that was called off before it began, it is the same answer.
#[test]
fn a_run_that_was_called_off_before_it_began_is_called_off_once() {
    let to_come = retried(
        given(&[step("a")])
            .driven()
            .when_failed("a")
            .when_woken(1)
            .then(["failed: STEP_FAILED"]),
    );
    let mut run = to_come.known().run_id().unwrap();
    assert_eq!(run.number, 2);
    let abort = |world: &World| {
        let now = at(world.now);
        intake::cancel_run(world.known(), run, &who("ann"), None, now)
    };
    assert_eq!(abort(&to_come).unwrap().len(), 1);
    let called_off = to_come.when(Input::Cancel("ann"));
    assert_eq!(abort(&called_off), Ok(Vec::new()));
    let ended = called_off.when_woken(1).then(["failed: CANCELLED"]);
    assert_eq!(abort(&ended), Ok(Vec::new()));
    let refused = |decision: Decision| decision.unwrap_err().code();
    let paused = intake::pause(ended.known(), run, &who("ann"), None, at(ended.now));
    assert_eq!(refused(paused), "RUN_ENDED");
    run.number += 1;
    let none = intake::cancel_run(ended.known(), run, &who("ann"), None, at(ended.now));
    assert_eq!(refused(none), "RUN_NOT_FOUND");
}
