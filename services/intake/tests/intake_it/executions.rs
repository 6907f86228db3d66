use contracts::{problem::Code, record::Recorded};
use domain::execution::Known;
use serde_json::{Value, json};

use crate::{
    cases::{deletion, echo, intent, refund},
    world::{World, memory},
};

const NOBODY: &str = "0198f3b1-0000-7000-8000-000000000000";

fn approval(execution: &str, step: &str, by: &str) -> Value {
    json!({ "executionId": execution, "stepId": step, "approvedBy": by })
}

fn rejection(execution: &str, step: &str, by: &str) -> Value {
    json!({ "executionId": execution, "stepId": step, "rejectedBy": by, "reason": "no" })
}

fn cancellation(execution: &str, by: &str) -> Value {
    json!({ "executionId": execution, "cancelledBy": by })
}

/// Submitted to be started by hand, and judged.
async fn manual(world: &World, draft: Value, mode: &str) -> Value {
    let mut input = intent(draft);
    input["start"] = json!("manual");
    input["mode"] = json!(mode);
    let submitted = world.submit(&input).await;
    let execution = submitted.text("executionId");
    let ids = json!({ "executionId": execution, "intentId": submitted.text("intentId") });
    let plan = world.ask("sam", "plan.compile", &ids).await.text("planId");
    world
        .until(&execution, |state| {
            state.known().is_some_and(|known| known.judged().is_some())
        })
        .await;
    json!({ "executionId": execution, "planId": plan })
}

#[tokio::test]
async fn start_waits_for_the_run() {
    let world = World::new().await.equipped().await;
    let input = manual(&world, refund(), "autonomous").await;
    let answer = world.ask("sam", "execution.start", &input).await;
    let execution = input["executionId"].as_str().unwrap();
    assert_eq!(answer.text("runId"), format!("{execution}:1"));
    assert_eq!(answer.text("planHash").len(), 64);
    assert!(
        ["running", "blocked"].contains(&answer.text("status").as_str()),
        "{answer:#?}"
    );
}

#[tokio::test]
async fn starting_twice_is_the_same_run() {
    let world = World::new().await.equipped().await;
    let mut input = manual(&world, refund(), "autonomous").await;
    let first = world.ask("sam", "execution.start", &input).await;
    let again = world.ask("sam", "execution.start", &input).await;
    for member in ["runId", "startedAt", "planHash"] {
        assert_eq!(first.text(member), again.text(member));
    }
    input["mode"] = json!("assist");
    world
        .ask("sam", "execution.start", &input)
        .await
        .is(Code::AlreadyStarted);
}

#[tokio::test]
async fn a_run_that_starts_by_itself_is_found_by_start() {
    let world = World::new().await.equipped().await;
    let submitted = world.submit(&intent(refund())).await;
    let ids = json!({
        "executionId": submitted.text("executionId"), "intentId": submitted.text("intentId"),
    });
    let plan = world.ask("sam", "plan.compile", &ids).await.text("planId");
    world
        .until(&submitted.text("executionId"), |state| {
            state.known().is_some_and(|known| known.judged().is_some())
        })
        .await;
    let input = json!({ "executionId": ids["executionId"], "planId": plan });
    let answer = world.ask("sam", "execution.start", &input).await;
    assert_eq!(
        answer.text("runId"),
        format!("{}:1", submitted.text("executionId"))
    );
    let names = world.names(&submitted.text("executionId")).await;
    assert!(
        !names.iter().any(|name| name == "execution.start.requested"),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_mode_tightens_and_never_loosens() {
    let world = World::new().await.equipped().await;
    let mut input = manual(&world, echo(), "assist").await;
    input["mode"] = json!("autonomous");
    world
        .ask("sam", "execution.start", &input)
        .await
        .is(Code::ModeNotPermitted);
    input["mode"] = json!("observe");
    let answer = world.ask("sam", "execution.start", &input).await;
    assert_eq!(
        answer.ok()["status"],
        "completed",
        "only observed: {answer:#?}"
    );
    let again = world.ask("sam", "execution.start", &input).await;
    assert_eq!(again.body, answer.body);
}

/// Whoever lost the answer asks again, and the run may be over by then.
#[tokio::test]
async fn a_run_that_has_ended_is_still_the_run_that_was_started() {
    let world = World::new().await.equipped().await;
    let mut input = manual(&world, refund(), "autonomous").await;
    let first = world.ask("sam", "execution.start", &input).await;
    let execution = input["executionId"].as_str().unwrap();
    let cancel = cancellation(execution, "sam");
    world.ask("sam", "execution.cancel", &cancel).await.ok();
    world
        .until(execution, |state| {
            state.known().is_some_and(Known::is_ended)
        })
        .await;
    let again = world.ask("sam", "execution.start", &input).await;
    for member in ["runId", "startedAt", "planHash"] {
        assert_eq!(first.text(member), again.text(member));
    }
    assert_eq!(again.body["status"], "failed");
    input["mode"] = json!("assist");
    world
        .ask("sam", "execution.start", &input)
        .await
        .is(Code::AlreadyStarted);
}

#[tokio::test]
async fn what_ended_before_it_ran_cannot_be_started() {
    let world = World::new().await.equipped().await;
    let input = manual(&world, refund(), "autonomous").await;
    let execution = input["executionId"].as_str().unwrap();
    let cancel = cancellation(execution, "sam");
    world.ask("sam", "execution.cancel", &cancel).await.ok();
    world
        .until(execution, |state| {
            state.known().is_some_and(Known::is_ended)
        })
        .await;
    world
        .ask("sam", "execution.start", &input)
        .await
        .is(Code::ExecutionEnded);
}

#[tokio::test]
async fn a_vote_lets_the_step_go_on() {
    let world = World::new().await.equipped().await;
    let (execution, block) = world.blocked(refund(), "refund").await;
    let mut vote = approval(&execution, "refund", "ada");
    vote["note"] = json!("checked with the customer");
    vote["planHash"] = block["planHash"].clone();
    vote["inputsDigest"] = block["inputsDigest"].clone();
    vote["blockId"] = block["blockId"].clone();
    let answer = world.ask("ada", "execution.approve", &vote).await;
    assert_eq!(answer.ok()["blockId"], block["blockId"]);
    assert_eq!(answer.body["planHash"], block["planHash"]);
    assert_eq!(answer.body["status"], "running");
    // Voting twice is one vote, and the same answer about it.
    let again = world.ask("ada", "execution.approve", &vote).await;
    assert_eq!(answer.text("approvedAt"), again.text("approvedAt"));
    let names = world.names(&execution).await;
    let votes = names
        .iter()
        .filter(|name| *name == "execution.approved")
        .count();
    assert_eq!(votes, 1, "{names:?}");
}

/// A vote says what its sender saw, and is never filled in.
#[tokio::test]
async fn a_vote_is_stored_as_it_was_sent() {
    let world = World::new().await.equipped().await;
    let (execution, _) = world.blocked(refund(), "refund").await;
    let vote = approval(&execution, "refund", "ada");
    world.ask("ada", "execution.approve", &vote).await.ok();
    let history = world.history(&execution).await;
    let stored = history
        .iter()
        .find(|recorded| recorded.event.name().as_str() == "execution.approved")
        .unwrap();
    let stored = stored.event.to_json().unwrap();
    assert_eq!(stored.get("planHash"), None, "{stored}");
    assert_eq!(stored.get("inputsDigest"), None);
    assert_eq!(stored["by"]["grants"], json!(["execution.approve"]));
    // One trace, and each event's own span in it.
    let part = |recorded: &Recorded, index: usize| {
        let traceparent = recorded.attributes.traceparent.as_ref().unwrap();
        traceparent.split('-').nth(index).unwrap().to_owned()
    };
    for recorded in &history {
        assert_eq!(part(recorded, 1), part(&history[0], 1));
        let id = recorded.id().uuid().simple().to_string();
        assert_eq!(part(recorded, 2), id[..16]);
    }
}

#[tokio::test]
async fn votes_that_do_not_count() {
    let world = World::new().await.equipped().await;
    let (execution, block) = world.blocked(refund(), "refund").await;
    let (other, other_block) = world.blocked(deletion(), "delete").await;
    let wrong = json!("0".repeat(64));
    let with = |member: &str, value: &Value| {
        let mut vote = approval(&execution, "refund", "ada");
        vote[member] = value.clone();
        vote
    };
    let table = [
        (with("executionId", &json!(NOBODY)), Code::ExecutionNotFound),
        (with("stepId", &json!("nothing")), Code::StepNotFound),
        (with("approvedBy", &json!("bob")), Code::ActorMismatch),
        (with("blockId", &json!(NOBODY)), Code::NoOpenBlock),
        (with("blockId", &other_block["blockId"]), Code::NoOpenBlock),
        (with("planHash", &wrong), Code::PlanHashMismatch),
        (
            with("planHash", &other_block["planHash"]),
            Code::PlanHashMismatch,
        ),
        (with("inputsDigest", &wrong), Code::InputsDigestMismatch),
        (approval(&other, "delete", "ada"), Code::PlanHashRequired),
    ];
    for (vote, code) in table {
        world.ask("ada", "execution.approve", &vote).await.is(code);
    }
    // Rejections are votes too, but for the hash that only an approval of high risk needs.
    for (member, value, code) in [
        ("executionId", json!(NOBODY), Code::ExecutionNotFound),
        ("stepId", json!("nothing"), Code::StepNotFound),
        ("rejectedBy", json!("bob"), Code::ActorMismatch),
        ("blockId", json!(NOBODY), Code::NoOpenBlock),
        ("planHash", wrong.clone(), Code::PlanHashMismatch),
        ("inputsDigest", wrong.clone(), Code::InputsDigestMismatch),
    ] {
        let mut vote = rejection(&execution, "refund", "ada");
        vote[member] = value;
        world.ask("ada", "execution.reject", &vote).await.is(code);
    }
    world
        .ask(
            "eve",
            "execution.approve",
            &approval(&execution, "refund", "eve"),
        )
        .await
        .is(Code::ExecutionNotFound);
    let names = world.names(&execution).await;
    assert_eq!(names.last().unwrap(), "execution.step.blocked", "{names:?}");
    // And one that does, to show that nothing was spoilt.
    let mut vote = approval(&execution, "refund", "ada");
    vote["blockId"] = block["blockId"].clone();
    world.ask("ada", "execution.approve", &vote).await.ok();
}

#[tokio::test]
async fn a_high_risk_step_is_approved_by_naming_its_plan() {
    let world = World::new().await.equipped().await;
    let (execution, block) = world.blocked(deletion(), "delete").await;
    let mut vote = approval(&execution, "delete", "ada");
    vote["planHash"] = block["planHash"].clone();
    world.ask("ada", "execution.approve", &vote).await.ok();
}

#[tokio::test]
async fn who_asked_does_not_vote() {
    let world = World::new().await.equipped().await;
    let mut input = intent(refund());
    input["actorId"] = json!("ada");
    let answer = world.ask("proxy", "intent.submit", &input).await;
    let execution = answer.text("executionId");
    world
        .until(&execution, |state| {
            state.status() == Some(contracts::plan::Status::Blocked)
        })
        .await;
    let vote = approval(&execution, "refund", "ada");
    world
        .ask("ada", "execution.approve", &vote)
        .await
        .is(Code::RequesterCannotApprove);
    let vote = rejection(&execution, "refund", "ada");
    world
        .ask("ada", "execution.reject", &vote)
        .await
        .is(Code::RequesterCannotApprove);
    let vote = approval(&execution, "refund", "bob");
    world.ask("bob", "execution.approve", &vote).await.ok();
}

#[tokio::test]
async fn acting_for_someone_lends_a_name_and_no_grant() {
    let world = World::new().await.equipped().await;
    let (execution, _) = world.blocked(refund(), "refund").await;
    // `sam` asked for it; a stranger holds nothing; `guest` neither.
    for (named, code) in [
        ("sam", Code::RequesterCannotApprove),
        ("stranger", Code::NotEligible),
        ("guest", Code::NotEligible),
        ("bot", Code::NotEligible),
    ] {
        let vote = approval(&execution, "refund", named);
        world
            .ask("proxy", "execution.approve", &vote)
            .await
            .is(code);
    }
    let vote = approval(&execution, "refund", "ada");
    world.ask("proxy", "execution.approve", &vote).await.ok();
    let history = world.history(&execution).await;
    let vote = history
        .iter()
        .find(|recorded| recorded.event.name().as_str() == "execution.approved")
        .unwrap();
    let by = &vote.event.to_json().unwrap()["by"];
    let expected = json!({
        "type": "user", "id": "ada", "grants": ["execution.approve"], "via": "proxy",
    });
    assert_eq!(*by, expected);
}

#[tokio::test]
async fn one_rejection_ends_the_run() {
    let world = World::new().await.equipped().await;
    let (execution, block) = world.blocked(refund(), "refund").await;
    let vote = rejection(&execution, "refund", "ada");
    let answer = world.ask("ada", "execution.reject", &vote).await;
    assert_eq!(answer.ok()["status"], "stopping");
    assert_eq!(answer.body["blockId"], block["blockId"]);
    assert_eq!(answer.body["planHash"], block["planHash"]);
    let state = world
        .until(&execution, |state| {
            state.known().is_some_and(Known::is_ended)
        })
        .await;
    assert_eq!(state.status(), Some(contracts::plan::Status::Failed));
    let vote = approval(&execution, "refund", "bob");
    world
        .ask("bob", "execution.approve", &vote)
        .await
        .is(Code::ExecutionEnded);
    let cancel = cancellation(&execution, "sam");
    world
        .ask("sam", "execution.cancel", &cancel)
        .await
        .is(Code::ExecutionEnded);
}

#[tokio::test]
async fn cancel_ends_what_waits() {
    let world = World::new().await.equipped().await;
    let (execution, _) = world.blocked(refund(), "refund").await;
    let mut input = cancellation(&execution, "sam");
    input["reason"] = json!("the customer called");
    let answer = world.ask("sam", "execution.cancel", &input).await;
    assert_eq!(answer.ok()["status"], "stopping");
    let state = world
        .until(&execution, |state| {
            state.known().is_some_and(Known::is_ended)
        })
        .await;
    assert_eq!(state.status(), Some(contracts::plan::Status::Failed));
    let again = world.ask("sam", "execution.cancel", &input).await;
    assert_eq!(again.text("cancelledAt"), answer.text("cancelledAt"));
    assert_eq!(again.body["status"], "failed");
    let vote = approval(&execution, "refund", "ada");
    world
        .ask("ada", "execution.approve", &vote)
        .await
        .is(Code::ExecutionEnded);
}

#[tokio::test]
async fn cancels_that_are_refused() {
    let world = World::new().await.equipped().await;
    let (execution, _) = world.blocked(refund(), "refund").await;
    let other = cancellation(&execution, "ada");
    world
        .ask("sam", "execution.cancel", &other)
        .await
        .is(Code::ActorMismatch);
    let unknown = cancellation(NOBODY, "sam");
    world
        .ask("sam", "execution.cancel", &unknown)
        .await
        .is(Code::ExecutionNotFound);
    let elsewhere = cancellation(&execution, "eve");
    world
        .ask("eve", "execution.cancel", &elsewhere)
        .await
        .is(Code::ExecutionNotFound);
    let stranger = cancellation(&execution, "stranger");
    world.ask("proxy", "execution.cancel", &stranger).await.ok();
}

/// It may be retried, which nothing that was cancelled may: so it must not look cancelled.
#[tokio::test]
async fn what_stops_for_another_reason_is_not_said_to_be_cancelled() {
    let log = memory();
    let world = World::on(&log).await.equipped().await;
    let (execution, _) = world.blocked(refund(), "refund").await;
    // Nobody is there to end what stops.
    drop(world);
    let world = World::alone_on(&log).await;
    let vote = rejection(&execution, "refund", "ada");
    world.ask("ada", "execution.reject", &vote).await.ok();
    let cancel = cancellation(&execution, "sam");
    world
        .ask("sam", "execution.cancel", &cancel)
        .await
        .is(Code::ExecutionEnded);
    assert_eq!(
        world.names(&execution).await.last().unwrap(),
        "execution.rejected"
    );
}

/// The name is lent; that two people look at it is not to be got round.
#[tokio::test]
async fn who_asked_for_it_does_not_vote_under_another_name() {
    let world = World::new().await.equipped().await;
    let submitted = world.ask("proxy", "intent.submit", &intent(refund())).await;
    let execution = submitted.text("executionId");
    world
        .until(&execution, |state| {
            state.status() == Some(contracts::plan::Status::Blocked)
        })
        .await;
    let votes = [
        ("execution.approve", approval(&execution, "refund", "ada")),
        ("execution.reject", rejection(&execution, "refund", "ada")),
    ];
    for (operation, vote) in votes {
        world
            .ask("proxy", operation, &vote)
            .await
            .is(Code::RequesterCannotApprove);
    }
    let vote = approval(&execution, "refund", "ada");
    world.ask("ada", "execution.approve", &vote).await.ok();
}

/// One person is one vote, whatever the names: the second is answered with the first.
#[tokio::test]
async fn one_person_under_two_names_is_answered_with_the_one_vote() {
    let world = World::new().await.equipped().await;
    let (execution, _) = world.blocked(refund(), "refund").await;
    let vote = approval(&execution, "refund", "ada");
    let first = world.ask("proxy", "execution.approve", &vote).await;
    let vote = approval(&execution, "refund", "bob");
    let again = world.ask("proxy", "execution.approve", &vote).await;
    assert_eq!(again.text("approvedAt"), first.text("approvedAt"));
}

/// Whoever stores first decides; the other is told.
#[tokio::test]
async fn a_vote_and_a_cancel_at_once_leave_one_history() {
    let world = World::new().await.equipped().await;
    for _ in 0..10 {
        let (execution, _) = world.blocked(refund(), "refund").await;
        let vote = approval(&execution, "refund", "ada");
        let cancel = cancellation(&execution, "sam");
        let (voted, cancelled) = tokio::join!(
            world.ask("ada", "execution.approve", &vote),
            world.ask("sam", "execution.cancel", &cancel),
        );
        cancelled.ok();
        let names = world.names(&execution).await;
        let at = |wanted: &str| names.iter().position(|name| name == wanted);
        match at("execution.approved") {
            Some(vote) => {
                voted.ok();
                assert!(Some(vote) < at("execution.cancel.requested"), "{names:?}");
            }
            None => {
                voted.is(Code::ExecutionEnded);
            }
        }
    }
}

#[tokio::test]
async fn the_whole_way_on_a_real_broker() {
    let world = World::on_broker().await.equipped().await;
    let input = manual(&world, refund(), "autonomous").await;
    let verdict = world.ask("sam", "plan.verify", &input).await;
    assert_eq!(verdict.ok()["verdict"], "assist");
    world.ask("sam", "execution.start", &input).await.ok();
    let execution = input["executionId"].as_str().unwrap();
    world
        .until(execution, |state| {
            state.status() == Some(contracts::plan::Status::Blocked)
        })
        .await;
    let vote = approval(execution, "refund", "ada");
    let (one, two) = tokio::join!(
        world.ask("ada", "execution.approve", &vote),
        world.ask("ada", "execution.approve", &vote),
    );
    assert_eq!(one.text("approvedAt"), two.text("approvedAt"));
    let cancel = cancellation(execution, "sam");
    world.ask("sam", "execution.cancel", &cancel).await.ok();

    let key = [("idempotency-key", "once")];
    let input = intent(refund());
    let asked = (0..16).map(|_| world.ask_with("sam", "intent.submit", &input, &key));
    let answers = futures::future::join_all(asked).await;
    let first = answers[0].text("executionId");
    assert!(
        answers
            .iter()
            .all(|answer| answer.text("executionId") == first)
    );
    let mut other = input.clone();
    other["text"] = json!("another");
    let conflict = world.ask_with("sam", "intent.submit", &other, &key).await;
    conflict.is(Code::IdempotencyConflict);
}
