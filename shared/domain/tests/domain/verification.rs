//! The verifier: verdicts on plans, and the rejection that follows a blocked one.

use contracts::{event::Event, plan::Status};
use domain::execution::verification::{Question, question};

use super::kit::{Input, assist, blocked, bound, given, policy, step};

#[test]
fn a_compiled_plan_is_judged() {
    given(&[step("a")])
        .planned()
        .when(Input::Verifier)
        .then(["verified: autonomous"])
        .again()
        .then_nothing()
        .is(Status::Verified);
}

#[test]
fn the_strictest_step_is_the_verdict_of_the_plan() {
    given(&[step("a"), step("b")])
        .says("b", assist())
        .planned()
        .when(Input::Verifier)
        .then(["verified: assist"]);
}

#[test]
fn a_blocked_plan_is_rejected_straight_after_its_verdict() {
    given(&[step("a"), step("b")])
        .says("b", blocked())
        .planned()
        .when(Input::Verifier)
        .then(["verified: blocked", "rejected: policy for good"])
        .again()
        .then_nothing()
        .is(Status::Rejected);
}

#[test]
fn a_verdict_without_its_rejection_is_gone_on_from() {
    let mut world = given(&[step("a")]).says("a", blocked()).planned();
    let events = world.decide(&Input::Verifier).unwrap();
    let first = events.into_iter().next().unwrap();
    world.store(first, contracts::event::Service::Verifier, None);
    world
        .is(Status::Verified)
        .when_woken(1)
        .then_nothing()
        .when(Input::Verifier)
        .then(["rejected: policy for good"])
        .again()
        .then_nothing();
}

#[test]
fn without_a_policy_everything_is_blocked() {
    given(&[step("a")])
        .catalogue(|shop| {
            let mut empty = super::kit::Shop::empty();
            empty.install("ops", "1.0.0", &super::kit::shop::ops());
            *shop = empty;
        })
        .planned()
        .when(Input::Verifier)
        .then(["verified: blocked", "rejected: policy for good"]);
}

#[test]
fn nothing_is_asked_before_there_is_a_plan() {
    given(&[step("a")]).when(Input::Verifier).then_nothing();
}

#[test]
fn nothing_is_judged_after_a_cancel() {
    given(&[step("a")])
        .planned()
        .when(Input::Cancel("sam"))
        .when(Input::Verifier)
        .then_nothing()
        .when_woken(1)
        .then(["failed: CANCELLED"]);
}

#[test]
fn a_verdict_names_its_policy_and_its_facts() {
    let world = given(&[step("a")]).judged();
    let Some(Event::PlanVerified(verified)) = world.log.last().map(|last| &last.event) else {
        panic!("{:?}", world.log.last());
    };
    assert_eq!(verified.policy_version, Some(policy("base")));
    assert_eq!(
        verified.facts_digest,
        contracts::facts::facts_digest(&verified.facts)
    );
    assert_eq!(verified.catalogue, world.shop.catalogue.sequence());
}

#[test]
fn a_rejection_says_which_step_and_why() {
    let world = given(&[step("a"), step("b")]).says("b", blocked()).judged();
    let Some(Event::PlanRejected(rejected)) = world.log.last().map(|last| &last.event) else {
        panic!("{:?}", world.log.last());
    };
    assert_eq!(rejected.reasons, Some(vec!["forbidden".to_owned()]));
    assert_eq!(rejected.findings[0].path, "/steps/1");
    assert_eq!(rejected.findings[0].code, "POLICY_BLOCKED");
}

#[test]
fn proposals_are_asked_in_their_order() {
    // `z` is done first, so `x` is proposed before `b`, which stands before it in the plan.
    let world = given(&[step("a"), bound("b", "a"), bound("x", "z"), step("z")])
        .driven()
        .when_succeeded("z")
        .when_woken(1)
        .then(["x proposed: InputsKnown"])
        .when_succeeded("a")
        .when_woken(1)
        .then(["b proposed: InputsKnown"]);
    let Question::Steps(proposed) = question(&world.state) else {
        panic!("{:?}", question(&world.state));
    };
    let steps: Vec<&str> = proposed
        .iter()
        .map(|proposed| proposed.step.as_str())
        .collect();
    assert_eq!(steps, ["x", "b"]);
    world
        .when(Input::Verifier)
        .then(["x judged: autonomous", "b judged: autonomous"])
        .again()
        .then_nothing();
}
