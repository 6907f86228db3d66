//! What callers ask: submissions, drafts, verification, starts, cancels.

use contracts::plan::{Mode, Start, Status};
use domain::execution::intake::{Door, keyed_id, submit};
use expect_test::expect;

use super::kit::{
    HOUR, Input, World, assist, at, blocked, draft, execution_id, given, step, submission,
    submitted, workspace,
};

#[test]
fn the_same_submission_again_is_the_same_execution() {
    given(&[step("a")]).again().then_nothing();
}

#[test]
fn a_retried_submission_with_other_grants_is_the_same() {
    let mut other = submission(Some(draft(&[step("a")])));
    other.actor.grants.insert("more".to_owned());
    given(&[step("a")])
        .when(Input::Submit(Box::new(other)))
        .then_nothing();
}

#[test]
fn another_body_under_one_key_is_a_conflict() {
    let mut other = submission(Some(draft(&[step("a")])));
    other.text = "do something else".to_owned();
    given(&[step("a")])
        .when(Input::Submit(Box::new(other)))
        .then_refused("IDEMPOTENCY_CONFLICT");
}

#[test]
fn nothing_is_submitted_to_a_corrupt_execution() {
    let mut world = given(&[step("a")]);
    let again = world.log[0].clone();
    world.state = world.state.evolve(&again);
    let answer = submit(&world.state, execution_id(), &submission(None), at(0));
    assert_eq!(answer.unwrap_err().code(), "EXECUTION_CORRUPT");
}

#[test]
fn an_execution_that_is_not_there_is_not_found() {
    World::empty()
        .when(Input::Cancel("sam"))
        .then_refused("EXECUTION_NOT_FOUND");
}

#[test]
fn a_key_names_one_execution_per_workspace_door_and_sender() {
    let id = |door, sender, key| keyed_id(&workspace(), door, sender, key).to_string();
    expect!["186f7809-5af0-5223-99de-b17bff4fabec"].assert_eq(&id(Door::Http, "sam", "order-1"));
    let others = [
        id(Door::CloudEvents, "sam", "order-1"),
        id(Door::Http, "ann", "order-1"),
        id(Door::Http, "sam", "order-2"),
        // The parts are told apart by their lengths.
        id(Door::Http, "samo", "rder-1"),
    ];
    for other in others {
        assert_ne!(other, id(Door::Http, "sam", "order-1"));
    }
}

#[test]
fn a_draft_is_taken_while_one_is_awaited() {
    awaiting()
        .when(Input::Offer(draft(&[step("a")])))
        .then(["drafted"])
        .again()
        .then_nothing();
}

#[test]
fn of_two_drafts_at_once_the_first_is_taken() {
    awaiting()
        .when(Input::Offer(draft(&[step("a")])))
        .then(["drafted"])
        .when(Input::Offer(draft(&[step("b")])))
        .then_refused("NOT_AWAITING_DRAFT");
}

#[test]
fn a_draft_that_comes_too_late_is_refused() {
    awaiting()
        .at(HOUR)
        .when(Input::Offer(draft(&[step("a")])))
        .then_refused("NOT_AWAITING_DRAFT");
}

#[test]
fn no_draft_is_taken_where_the_intent_brought_its_own() {
    given(&[step("a")])
        .when(Input::Offer(draft(&[step("b")])))
        .then_refused("NOT_AWAITING_DRAFT")
        .planned()
        .when(Input::Offer(draft(&[step("b")])))
        .then_refused("NOT_AWAITING_DRAFT");
}

#[test]
fn no_draft_is_taken_after_a_cancel() {
    awaiting()
        .when(Input::Cancel("sam"))
        .then(["execution.cancel.requested"])
        .when(Input::Offer(draft(&[step("a")])))
        .then_refused("NOT_AWAITING_DRAFT");
}

#[test]
fn a_plan_is_judged_again_before_its_start() {
    by_hand()
        .when(Input::Verify)
        .then(["plan.verification.requested"])
        .again()
        .then_nothing()
        .is(Status::Compiled)
        .when(Input::Verifier)
        .then(["verified: autonomous"])
        .is(Status::Verified);
}

#[test]
fn a_plan_is_not_judged_again_after_its_start() {
    by_hand()
        .when(Input::Start(None))
        .then(["start requested: Autonomous"])
        .when(Input::Verify)
        .then_refused("ALREADY_STARTED")
        .when_woken(1)
        .then(["run 1 started", "a started #1"])
        .when(Input::Verify)
        .then_refused("ALREADY_STARTED");
}

#[test]
fn a_plan_that_is_not_there_is_not_judged() {
    given(&[step("a")])
        .when(Input::Verify)
        .then_refused("PLAN_NOT_FOUND");
}

#[test]
fn starting_twice_is_the_same_run() {
    by_hand()
        .when(Input::Start(None))
        .then(["start requested: Autonomous"])
        .again()
        .then_nothing()
        .when_woken(1)
        .then(["run 1 started", "a started #1"])
        .when(Input::Start(None))
        .then_nothing();
}

#[test]
fn starting_what_starts_by_itself_is_the_same_run() {
    given(&[step("a")])
        .judged()
        .when(Input::Start(None))
        .then_nothing()
        .when_woken(1)
        .then(["run 1 started", "a started #1"])
        .when(Input::Start(Some(Mode::Assist)))
        .then_refused("ALREADY_STARTED");
}

#[test]
fn a_mode_may_tighten_what_the_intent_asked_for() {
    by_hand()
        .when(Input::Start(Some(Mode::Assist)))
        .then(["start requested: Assist"])
        .when(Input::Start(None))
        .then_refused("ALREADY_STARTED")
        .when_woken(1)
        .then(["run 1 started", "a blocked"]);
}

#[test]
fn a_mode_never_loosens_what_the_intent_asked_for() {
    let mut submission = submission(Some(draft(&[step("a")])));
    submission.start = Start::Manual;
    submission.mode = Mode::Assist;
    submitted(submission)
        .judged()
        .when(Input::Start(Some(Mode::Autonomous)))
        .then_refused("MODE_NOT_PERMITTED")
        .when(Input::Start(Some(Mode::Observe)))
        .then(["start requested: Observe"])
        .when_woken(1)
        .then(["completed: observed"]);
}

#[test]
fn nothing_starts_before_its_verdict() {
    given(&[step("a")])
        .planned()
        .when(Input::Start(None))
        .then_refused("NOT_VERIFIED");
}

#[test]
fn a_blocked_plan_is_not_started() {
    by_hand_with(|world| world.says("a", blocked()))
        .when(Input::Start(None))
        .then_refused("EXECUTION_ENDED");
}

#[test]
fn a_cancel_is_taken_at_every_stage_before_the_end() {
    let stages = [
        given(&[step("a")]),
        awaiting(),
        awaiting().when(Input::Offer(draft(&[step("a")]))),
        given(&[step("a")]).planned(),
        by_hand(),
        given(&[step("a")]).driven(),
        given(&[step("a")]).says("a", assist()).driven(),
    ];
    for world in stages {
        world
            .when(Input::Cancel("sam"))
            .then(["execution.cancel.requested"])
            .again()
            .then_nothing()
            .is(Status::Stopping);
    }
}

#[test]
fn a_cancel_is_refused_where_it_stops_for_another_reason() {
    given(&[step("a"), step("b")])
        .driven()
        .when_failed("a")
        .then(["a failed #1: BROKEN"])
        .when(Input::Cancel("sam"))
        .then_refused("EXECUTION_ENDED")
        .is(Status::Stopping);
}

#[test]
fn a_cancel_after_the_end_is_refused_unless_it_ended_by_one() {
    given(&[step("a")])
        .driven()
        .when_succeeded("a")
        .when_woken(1)
        .then(["completed"])
        .when(Input::Cancel("sam"))
        .then_refused("EXECUTION_ENDED");
    given(&[step("a")])
        .when(Input::Cancel("sam"))
        .when_woken(1)
        .then(["failed: CANCELLED"])
        .when(Input::Cancel("sam"))
        .then_nothing();
}

fn awaiting() -> World {
    submitted(submission(None))
        .when(Input::Planner)
        .then(["draft requested #1"])
}

fn by_hand() -> World {
    by_hand_with(|world| world)
}

fn by_hand_with(setting: impl FnOnce(World) -> World) -> World {
    let mut submission = submission(Some(draft(&[step("a")])));
    submission.start = Start::Manual;
    setting(submitted(submission)).judged()
}
