//! Votes: which are taken, which count, and what they lead to.

use contracts::{
    canonical::Digest,
    event::{Event, Service},
    ids::BlockId,
    plan::{Mode, Status},
};
use domain::execution::intake::Ballot;
use uuid::Uuid;

use super::kit::{
    DAY, HOUR, Input, SECOND, World, assist, ballot, draft, given, paused, step, submission,
    submitted, tried, who,
};

fn blocked() -> World {
    given(&[step("a")])
        .says("a", assist())
        .driven()
        .then(["run 1 started", "a blocked"])
        .is(Status::Blocked)
}

#[test]
fn a_step_that_needs_a_human_waits_for_one() {
    blocked()
        .again()
        .then_nothing()
        .when_approved("a", "ann")
        .then(["a approved by ann"])
        .when_woken(1)
        .then(["a started #1"])
        .again()
        .then_nothing();
}

#[test]
fn an_approval_just_before_the_expiry_counts_for_an_executor_that_wakes_after_it() {
    blocked()
        .at(HOUR - 1)
        .when_approved("a", "ann")
        .then(["a approved by ann"])
        .at(HOUR + SECOND)
        .when_woken(1)
        .then(["a started #1"])
        .when_timer(1)
        .then_nothing();
}

#[test]
fn an_approval_after_the_expiry_is_refused_though_no_executor_woke() {
    blocked()
        .at(HOUR)
        .when_approved("a", "ann")
        .then_refused("APPROVAL_EXPIRED")
        .when_timer(1)
        .then(["failed: APPROVAL_EXPIRED"])
        .again()
        .then_nothing()
        .when_approved("a", "ann")
        .then_refused("EXECUTION_ENDED");
}

#[test]
fn an_approval_that_was_recorded_after_the_expiry_does_not_count() {
    // Another intake's clock was behind when it decided.
    let mut world = blocked();
    let events = world.decide(&Input::Approve(ballot("a", "ann"))).unwrap();
    world = world.at(HOUR);
    for event in events {
        world.store(event, Service::Intake, None);
    }
    world
        .is(Status::Blocked)
        .when_woken(1)
        .then(["failed: APPROVAL_EXPIRED"]);
}

#[test]
fn a_vote_is_refused_where_the_log_is_past_the_expiry_and_the_clock_is_not() {
    let mut world = paused(blocked().at(HOUR));
    world.now = HOUR - SECOND;
    world
        .when_approved("a", "ann")
        .then_refused("APPROVAL_EXPIRED");
}

#[test]
fn the_same_person_twice_is_one_vote() {
    given(&[step("a")])
        .says("a", assist().quorum(2))
        .driven()
        .when_approved("a", "ann")
        .then(["a approved by ann"])
        .again()
        .then_nothing()
        .when_woken(1)
        .then_nothing()
        .is(Status::Blocked);
}

#[test]
fn two_people_are_a_quorum_of_two() {
    given(&[step("a")])
        .says("a", assist().quorum(2))
        .driven()
        .when_approved("a", "ann")
        .then(["a approved by ann"])
        .when_approved("a", "bob")
        .then(["a approved by bob"])
        .when_woken(1)
        .then(["a started #1"])
        .when_approved("a", "cid")
        .then_refused("NO_OPEN_BLOCK")
        .when_approved("a", "ann")
        .then_nothing();
}

#[test]
fn a_quorum_that_is_not_reached_in_time_is_no() {
    given(&[step("a")])
        .says("a", assist().quorum(2))
        .driven()
        .when_approved("a", "ann")
        .at(HOUR)
        .when_timer(1)
        .then(["failed: APPROVAL_EXPIRED"]);
}

#[test]
fn one_rejection_ends_the_run() {
    blocked()
        .when_rejected("a", "ann")
        .then(["a rejected by ann"])
        .again()
        .then_nothing()
        .when_woken(1)
        .then(["failed: APPROVAL_REJECTED"])
        .again()
        .then_nothing()
        .when_rejected("a", "ann")
        .then_nothing()
        .when_rejected("a", "eve")
        .then_refused("EXECUTION_ENDED");
}

#[test]
fn who_approved_may_still_reject_before_the_quorum() {
    given(&[step("a")])
        .says("a", assist().quorum(2))
        .driven()
        .when_approved("a", "ann")
        .when_rejected("a", "ann")
        .then(["a rejected by ann"])
        .is(Status::Stopping);
}

#[test]
fn who_approved_cannot_reject_what_stops_or_has_expired() {
    let voted = given(&[step("a"), step("b")])
        .says("a", assist().quorum(2))
        .driven()
        .when_approved("a", "ann");
    voted
        .clone()
        .when(Input::Cancel("sam"))
        .when_rejected("a", "ann")
        .then_refused("EXECUTION_ENDED");
    voted
        .at(HOUR)
        .when_rejected("a", "ann")
        .then_refused("APPROVAL_EXPIRED");
}

#[test]
fn a_rejection_lets_running_siblings_end_and_starts_nothing_new() {
    given(&[
        step("a"),
        step("b"),
        step("c"),
        super::kit::after("d", &["b"]),
    ])
    .says("a", assist())
    .driven()
    .then(["run 1 started", "a blocked", "b started #1", "c started #1"])
    .when_rejected("a", "ann")
    .then(["a rejected by ann"])
    .when_woken(1)
    .then_nothing()
    .is(Status::Stopping)
    .when_succeeded("b")
    .then(["b completed #1"])
    .when_woken(1)
    .then_nothing()
    .when_failed("c")
    .then(["c failed #1: BROKEN"])
    .when_woken(1)
    .then(["failed: APPROVAL_REJECTED"])
    .is(Status::Failed);
}

#[test]
fn several_steps_are_blocked_at_once_and_go_on_one_by_one() {
    given(&[step("a"), step("b"), step("c")])
        .says("a", assist())
        .says("b", assist())
        .driven()
        .then(["run 1 started", "a blocked", "b blocked", "c started #1"])
        .is(Status::Running)
        .when_succeeded("c")
        .when_woken(1)
        .then_nothing()
        .is(Status::Blocked)
        .when_approved("b", "ann")
        .when_woken(1)
        .then(["b started #1"])
        .is(Status::Running)
        .when_succeeded("b")
        .when_woken(1)
        .then_nothing()
        .is(Status::Blocked)
        .when_approved("a", "ann")
        .when_woken(1)
        .then(["a started #1"])
        .when_succeeded("a")
        .when_woken(1)
        .then(["completed"]);
}

#[test]
fn the_requester_cannot_vote() {
    blocked()
        .when_approved("a", "sam")
        .then_refused("REQUESTER_CANNOT_APPROVE")
        .when_rejected("a", "sam")
        .then_refused("REQUESTER_CANNOT_APPROVE");
}

#[test]
fn an_agent_cannot_vote() {
    blocked()
        .when_approved("a", "bot")
        .then_refused("NOT_ELIGIBLE");
}

#[test]
fn who_holds_no_grant_cannot_vote() {
    blocked()
        .when_approved("a", "eve")
        .then_refused("NOT_ELIGIBLE");
}

#[test]
fn who_is_named_may_vote_and_nobody_else() {
    given(&[step("a")])
        .says("a", assist().by("eve"))
        .driven()
        .when_approved("a", "ann")
        .then_refused("NOT_ELIGIBLE")
        .when_approved("a", "eve")
        .then(["a approved by eve"])
        .when_woken(1)
        .then(["a started #1"]);
}

#[test]
fn votes_that_may_not_be_cast_do_not_count_where_they_are_recorded() {
    for voter in ["sam", "bot", "eve"] {
        let mut world = blocked();
        let taken = world.decide(&Input::Approve(ballot("a", "ann"))).unwrap();
        let Some(Event::ExecutionApproved(mut vote)) = taken.into_iter().next() else {
            panic!("an approval is one event");
        };
        vote.by = who(voter);
        world.store(vote.into(), Service::Intake, None);
        world.is(Status::Blocked).when_woken(1).then_nothing();
    }
}

#[test]
fn a_vote_names_a_step_of_the_plan_that_is_blocked() {
    given(&[step("a"), step("b")])
        .says("a", assist())
        .driven()
        .when_approved("b", "ann")
        .then_refused("NO_OPEN_BLOCK")
        .when_approved("z", "ann")
        .then_refused("STEP_NOT_FOUND");
}

#[test]
fn a_vote_before_the_run_finds_nothing_to_vote_on() {
    given(&[step("a")])
        .says("a", assist())
        .judged()
        .when_approved("a", "ann")
        .then_refused("NO_OPEN_BLOCK");
}

#[test]
fn a_vote_on_another_block_than_the_open_one_is_refused() {
    blocked()
        .when(Input::Approve(Ballot {
            block: Some(BlockId::of(Uuid::nil())),
            ..ballot("a", "ann")
        }))
        .then_refused("NO_OPEN_BLOCK");
}

#[test]
fn a_vote_on_what_has_changed_since_is_refused() {
    let seen = Digest::of(b"another plan");
    blocked()
        .when(Input::Approve(Ballot {
            plan_hash: Some(seen),
            ..ballot("a", "ann")
        }))
        .then_refused("PLAN_HASH_MISMATCH")
        .when(Input::Approve(Ballot {
            inputs_digest: Some(seen),
            ..ballot("a", "ann")
        }))
        .then_refused("INPUTS_DIGEST_MISMATCH");
}

#[test]
fn of_high_risk_a_vote_names_the_plan_it_saw() {
    let world = given(&[step("a")])
        .says("a", assist().high())
        .driven()
        .when_approved("a", "ann")
        .then_refused("PLAN_HASH_REQUIRED");
    let hash = world.known().compiled().unwrap().deterministic_hash;
    world
        .when(Input::Approve(Ballot {
            plan_hash: Some(hash),
            ..ballot("a", "ann")
        }))
        .then(["a approved by ann"])
        .when_woken(1)
        .then(["a started #1"]);
}

#[test]
fn a_vote_on_high_risk_that_names_no_plan_does_not_count() {
    let mut world = given(&[step("a")]).says("a", assist().high()).driven();
    let hash = world.known().compiled().unwrap().deterministic_hash;
    let informed = Input::Approve(Ballot {
        plan_hash: Some(hash),
        ..ballot("a", "ann")
    });
    let taken = world.decide(&informed).unwrap();
    let Some(Event::ExecutionApproved(mut vote)) = taken.into_iter().next() else {
        panic!("an approval is one event");
    };
    vote.plan_hash = None;
    world.store(vote.into(), Service::Intake, None);
    world.is(Status::Blocked);
}

#[test]
fn high_risk_never_runs_without_a_human_whatever_the_verdict() {
    let mut ruling = super::kit::autonomous();
    ruling.tier = contracts::plan::RiskTier::High;
    given(&[step("a")])
        .says("a", ruling)
        .driven()
        .then(["run 1 started", "a blocked"])
        .when_approved("a", "ann")
        .then_refused("PLAN_HASH_REQUIRED");
}

#[test]
fn in_mode_assist_a_human_approves_every_step() {
    let mut submission = submission(Some(draft(&[step("a"), step("b")])));
    submission.mode = Mode::Assist;
    submitted(submission)
        .driven()
        .then(["run 1 started", "a blocked", "b blocked"])
        .at(DAY - 1)
        .when_approved("a", "ann")
        .when_woken(1)
        .then(["a started #1"])
        .at(DAY)
        .when_timer(1)
        .then(["stopping: APPROVAL_EXPIRED"])
        .when_succeeded("a")
        .when_woken(1)
        .then(["failed: APPROVAL_EXPIRED"]);
}

#[test]
fn one_approval_serves_every_attempt_of_the_step() {
    given(&[tried("a", 2)])
        .says("a", assist())
        .driven()
        .when_approved("a", "ann")
        .when_woken(1)
        .then(["a started #1"])
        .when_failed("a")
        .then(["a failed #1: BROKEN, again"])
        .at(10 * SECOND)
        .when_timer(1)
        .then(["a started #2"]);
}

#[test]
fn an_approval_that_expires_while_the_run_is_paused_ends_it() {
    paused(blocked())
        .is(Status::Paused)
        .at(HOUR)
        .when_timer(1)
        .then(["failed: APPROVAL_EXPIRED"]);
}

#[test]
fn a_lent_name_makes_nobody_another_person() {
    // Who asked votes under another's name.
    blocked()
        .when_approved("a", "ann/sam")
        .then_refused("REQUESTER_CANNOT_APPROVE");
    // One person fills a quorum of two under two names.
    given(&[step("a")])
        .says("a", assist().quorum(2))
        .driven()
        .when_approved("a", "ann/bob")
        .then(["a approved by ann"])
        .when_approved("a", "cid/bob")
        .then_nothing()
        .when_approved("a", "bob")
        .then_nothing()
        .when_woken(1)
        .then_nothing()
        .when_approved("a", "dan")
        .then(["a approved by dan"])
        .when_woken(1)
        .then(["a started #1"]);
}
