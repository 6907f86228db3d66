//! The second verdict: inputs that have become known, and a policy that has changed.

use contracts::{
    event::{Event, Service},
    plan::Status,
};
use domain::execution::StepState;
use serde_json::json;

use super::kit::{
    HOUR, Input, World, assist, autonomous, blocked, bound, given, policy, rule, step, tried,
};

/// `b` takes what `a` gives, and `a` has ended.
fn proposed(setting: impl FnOnce(World) -> World) -> World {
    setting(given(&[step("a"), bound("b", "a")]))
        .driven()
        .then(["run 1 started", "a started #1"])
        .when_succeeded("a")
        .when_woken(1)
        .then(["b proposed: InputsKnown"])
}

#[test]
fn a_step_whose_inputs_come_from_outputs_is_judged_before_it_starts() {
    let world = proposed(|world| world)
        .again()
        .then_nothing()
        .is(Status::Running);
    let StepState::Proposed { inputs, .. } = &world.step("b").state else {
        panic!("{:?}", world.step("b"));
    };
    assert_eq!(**inputs, json!({ "value": "a" }));
    world
        .when(Input::Verifier)
        .then(["b judged: autonomous"])
        .again()
        .then_nothing()
        .when_woken(1)
        .then(["b started #1"]);
}

#[test]
fn a_second_verdict_may_ask_for_a_human() {
    proposed(|world| world.says("b", assist()))
        .when(Input::Verifier)
        .then(["b judged: assist"])
        .when_woken(1)
        .then(["b blocked"])
        .again()
        .then_nothing()
        .when_approved("b", "ann")
        .when_woken(1)
        .then(["b started #1"]);
}

#[test]
fn a_second_verdict_may_end_the_run() {
    let world = proposed(|world| world);
    world
        .says("b", blocked())
        .when(Input::Verifier)
        .then(["b judged: blocked"])
        .when_woken(1)
        .then(["failed: POLICY_BLOCKED"])
        .again()
        .then_nothing();
}

#[test]
fn a_second_verdict_that_ends_the_run_waits_for_siblings() {
    given(&[step("a"), bound("b", "a"), step("c")])
        .driven()
        .when_succeeded("a")
        .when_woken(1)
        .says("b", blocked())
        .when(Input::Verifier)
        .when_woken(1)
        .then(["stopping: POLICY_BLOCKED"])
        .again()
        .then_nothing()
        .when_succeeded("c")
        .when_woken(1)
        .then(["failed: POLICY_BLOCKED"]);
}

#[test]
fn a_judgement_that_answers_an_older_proposal_changes_nothing() {
    let mut world = proposed(|world| world);
    let answer = world.decide(&Input::Verifier).unwrap();
    let Some(Event::StepJudged(mut stale)) = answer.into_iter().next() else {
        panic!("a second verdict is one event");
    };
    stale.answers -= 1;
    stale.verdict.verdict = contracts::plan::Verdict::Blocked;
    world.store(stale.into(), Service::Verifier, None);
    assert!(matches!(world.step("b").state, StepState::Proposed { .. }));
    world
        .when_woken(1)
        .then_nothing()
        .when(Input::Verifier)
        .then(["b judged: autonomous"])
        .when_woken(1)
        .then(["b started #1"]);
}

#[test]
fn a_policy_that_changes_before_the_start_is_asked_first() {
    given(&[step("a")])
        .judged()
        .catalogue(|shop| shop.activate("other"))
        .when_woken(1)
        .then(["run 1 started", "a proposed: PolicyChanged"])
        .when(Input::Verifier)
        .then(["a judged: autonomous"])
        .when_woken(1)
        .then(["a started #1"]);
}

#[test]
fn a_policy_that_changes_while_a_step_is_proposed_is_the_one_that_judges_it() {
    proposed(|world| world)
        .catalogue(|shop| shop.activate("other"))
        .when(Input::Verifier)
        .then(["b judged: autonomous"])
        .when_woken(1)
        .then(["b started #1"]);
}

#[test]
fn a_policy_that_changes_after_the_second_verdict_is_asked_again() {
    proposed(|world| world)
        .when(Input::Verifier)
        .catalogue(|shop| shop.activate("other"))
        .when_woken(1)
        .then(["b proposed: PolicyChanged"]);
}

#[test]
fn a_step_that_is_tried_again_meets_the_policy_of_then() {
    given(&[tried("a", 2)])
        .policy_says("other", "a", blocked())
        .driven()
        .when_failed("a")
        .then(["a failed #1: BROKEN, again"])
        .catalogue(|shop| shop.activate("other"))
        .at(HOUR)
        .when_timer(1)
        .then(["a proposed: PolicyChanged"])
        .when(Input::Verifier)
        .then(["a judged: blocked"])
        .when_woken(1)
        .then(["failed: POLICY_BLOCKED"]);
}

fn approved_under_another_policy(setting: impl FnOnce(World) -> World) -> World {
    setting(given(&[step("a")]).says("a", assist()))
        .driven()
        .then(["run 1 started", "a blocked"])
        .catalogue(|shop| shop.activate("other"))
        .when_woken(1)
        .then_nothing()
        .when_approved("a", "ann")
        .when_woken(1)
        .then(["a proposed: PolicyChanged"])
        .when(Input::Verifier)
}

#[test]
fn a_block_and_its_votes_stand_where_the_new_policy_has_the_same_rule() {
    approved_under_another_policy(|world| world.policy_says("other", "a", assist()))
        .then(["a judged: assist"])
        .when_woken(1)
        .then(["a started #1"]);
}

#[test]
fn a_new_approval_rule_opens_a_new_block() {
    let world =
        approved_under_another_policy(|world| world.policy_says("other", "a", assist().quorum(2)))
            .then(["a judged: assist"]);
    let first = world.step("a").block.as_ref().unwrap().opened.block_id;
    let world = world
        .when_woken(1)
        .then(["a blocked"])
        .is(Status::Blocked)
        .when(Input::Approve(domain::execution::intake::Ballot {
            block: Some(first),
            ..super::kit::ballot("a", "ann")
        }))
        .then_refused("NO_OPEN_BLOCK");
    let block = world.step("a").block.as_ref().unwrap();
    assert_ne!(block.opened.block_id, first);
    assert_eq!(block.opened.approval, rule(2));
    assert!(block.votes.is_empty());
    world
        .when_approved("a", "ann")
        .then(["a approved by ann"])
        .when_approved("a", "bob")
        .when_woken(1)
        .then(["a started #1"]);
}

#[test]
fn a_new_tier_opens_a_new_block() {
    let mut higher = assist();
    higher.tier = contracts::plan::RiskTier::High;
    approved_under_another_policy(|world| world.policy_says("other", "a", higher))
        .when_woken(1)
        .then(["a blocked"]);
}

#[test]
fn a_new_policy_may_need_no_human_any_more() {
    approved_under_another_policy(|world| world.policy_says("other", "a", autonomous()))
        .then(["a judged: autonomous"])
        .when_woken(1)
        .then(["a started #1"]);
}

#[test]
fn a_new_policy_may_block_what_people_have_approved() {
    approved_under_another_policy(|world| world.policy_says("other", "a", blocked()))
        .then(["a judged: blocked"])
        .when_woken(1)
        .then(["failed: POLICY_BLOCKED"]);
}

#[test]
fn a_vote_for_a_superseded_block_does_not_count_where_it_is_recorded() {
    let mut world = given(&[step("a")])
        .says("a", assist())
        .policy_says("other", "a", assist().quorum(2))
        .driven();
    let vote = world
        .decide(&Input::Approve(super::kit::ballot("a", "bob")))
        .unwrap();
    world = world
        .catalogue(|shop| shop.activate("other"))
        .when_approved("a", "ann")
        .when_woken(1)
        .when(Input::Verifier)
        .when_woken(1)
        .then(["a blocked"]);
    for event in vote {
        world.store(event, Service::Intake, None);
    }
    assert!(world.step("a").block.as_ref().unwrap().votes.is_empty());
}

#[test]
fn a_judgement_names_the_policy_it_was_given_by() {
    let world = proposed(|world| world)
        .catalogue(|shop| shop.activate("other"))
        .when(Input::Verifier);
    let judgement = world.step("b").judgement.as_ref().unwrap();
    assert_eq!(judgement.policy_version, Some(policy("other")));
}
