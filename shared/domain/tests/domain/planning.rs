//! The planner: from an intent or a draft to a plan, a request for a draft, or a rejection.

use contracts::{
    event::Event,
    events::planner::{PlanSource, RejectionCause},
    plan::Status,
};
use domain::execution::{Stage, waits};
use serde_json::json;

use super::kit::{DAY, HOUR, Input, MINUTE, World, at, draft, given, step, submission, submitted};

#[test]
fn a_draft_in_the_intent_is_compiled() {
    given(&[step("a")])
        .when(Input::Planner)
        .then(["compiled"])
        .again()
        .then_nothing()
        .is(Status::Compiled);
}

#[test]
fn a_draft_in_the_intent_that_does_not_compile_ends_it() {
    given(&[])
        .when(Input::Planner)
        .then(["rejected: compile for good"])
        .again()
        .then_nothing()
        .is(Status::Rejected);
}

#[test]
fn an_intent_without_a_draft_asks_for_one() {
    submitted(submission(None))
        .when(Input::Planner)
        .then(["draft requested #1"])
        .again()
        .then_nothing()
        .is(Status::AwaitingDraft);
}

#[test]
fn a_playbook_that_is_not_there_ends_it() {
    let mut submission = submission(None);
    submission.metadata = Some(json!({ "playbook": "none" }).as_object().unwrap().clone());
    submitted(submission)
        .when(Input::Planner)
        .then(["rejected: compile for good"])
        .again()
        .then_nothing();
}

#[test]
fn an_offered_draft_is_compiled() {
    let world = offered(draft(&[step("a")]))
        .when(Input::Planner)
        .then(["compiled"])
        .again()
        .then_nothing();
    let compiled = world.known().compiled().unwrap();
    assert!(matches!(compiled.source, PlanSource::Draft { .. }));
}

#[test]
fn a_compile_rejection_and_then_a_good_draft() {
    offered(draft(&[]))
        .when(Input::Planner)
        .then(["rejected: compile"])
        .is(Status::AwaitingDraft)
        .when(Input::Planner)
        .then(["draft requested #2"])
        .again()
        .then_nothing()
        .when(Input::Offer(draft(&[step("a")])))
        .then(["drafted"])
        .when(Input::Planner)
        .then(["compiled"]);
}

#[test]
fn what_is_wrong_with_a_draft_is_kept_until_the_next() {
    let world = offered(draft(&[])).when(Input::Planner);
    let Stage::DraftRefused { attempt, findings } = &world.known().stage else {
        panic!("{:?}", world.known().stage);
    };
    assert_eq!(*attempt, 1);
    assert_eq!(findings[0].code, "STEPS_MISSING");
}

#[test]
fn the_same_bad_draft_may_be_offered_again_and_is_refused_again() {
    offered(draft(&[]))
        .when(Input::Planner)
        .when(Input::Planner)
        .when(Input::Offer(draft(&[])))
        .then(["drafted"])
        .when(Input::Planner)
        .then(["rejected: compile"]);
}

#[test]
fn the_fifth_bad_draft_ends_it() {
    let mut world = awaiting();
    for _ in 1..5 {
        world = world
            .when(Input::Offer(draft(&[])))
            .then(["drafted"])
            .when(Input::Planner)
            .then(["rejected: compile"])
            .when(Input::Planner);
    }
    world
        .when(Input::Offer(draft(&[])))
        .then(["drafted"])
        .when(Input::Planner)
        .then(["rejected: compile for good"])
        .again()
        .then_nothing()
        .is(Status::Rejected);
}

#[test]
fn a_draft_that_never_comes_ends_it() {
    awaiting()
        .at(HOUR - 1)
        .when(Input::Planner)
        .then_nothing()
        .at(HOUR)
        .when(Input::Planner)
        .then(["rejected: draft_timeout for good"])
        .again()
        .then_nothing()
        .is(Status::Rejected);
}

#[test]
fn a_draft_that_came_in_time_is_compiled_after_the_time() {
    awaiting()
        .at(HOUR - 1)
        .when(Input::Offer(draft(&[step("a")])))
        .at(DAY)
        .when(Input::Planner)
        .then(["compiled"]);
}

#[test]
fn the_planner_waits_for_the_draft_it_asked_for() {
    let world = awaiting();
    let waits: Vec<_> = waits::of_planner(&world.state)
        .into_iter()
        .map(|wait| (wait.due, wait.kind.key()))
        .collect();
    assert_eq!(waits, [(at(HOUR), "draft".to_owned())]);
    let world = world.when(Input::Offer(draft(&[step("a")])));
    assert_eq!(waits::of_planner(&world.state), []);
}

#[test]
fn nothing_is_planned_after_a_cancel() {
    for world in [given(&[step("a")]), offered(draft(&[step("a")]))] {
        world
            .when(Input::Cancel("sam"))
            .when(Input::Planner)
            .then_nothing()
            .when_woken(1)
            .then(["failed: CANCELLED"])
            .when(Input::Planner)
            .then_nothing();
    }
}

#[test]
fn a_plan_names_what_it_was_compiled_on() {
    let world = given(&[step("a")]).planned();
    let compiled = world.known().compiled().unwrap();
    assert_eq!(compiled.catalogue, world.shop.catalogue.sequence());
    assert_eq!(compiled.deterministic_hash, compiled.plan.hash().unwrap());
    assert_eq!(compiled.step_count, 1);
    assert_eq!(compiled.pins, [compiled.plan.steps[0].uses.clone()]);
}

#[test]
fn a_rejection_has_each_finding_in_words_too() {
    let world = given(&[]).when(Input::Planner);
    let Some(Event::PlanRejected(rejected)) = world.log.last().map(|last| &last.event) else {
        panic!("{:?}", world.log.last());
    };
    assert_eq!(rejected.cause, RejectionCause::Compile);
    assert_eq!(
        rejected.reasons.as_deref(),
        Some(
            &["STEPS_MISSING at `/steps`: a draft has at least one step in `steps`".to_owned()][..]
        )
    );
}

fn awaiting() -> World {
    submitted(submission(None))
        .when(Input::Planner)
        .then(["draft requested #1"])
}

fn offered(draft: serde_json::Value) -> World {
    awaiting()
        .at(MINUTE)
        .when(Input::Offer(draft))
        .then(["drafted"])
}
