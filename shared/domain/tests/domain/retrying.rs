//! A retry of a run that failed: where it may follow, and what it keeps.

use contracts::{events::executor::FailureCode, plan::Status};

use super::kit::{
    DAY, DEADLINE, HOUR, Input, after, assist, given, retried, step, succeeded, tried,
    with_deadline,
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
