//! What happens when nothing fails.

use std::time::Duration;

use contracts::{
    event::{Event, EventName},
    plan::Verdict,
};
use domain::execution::intake;
use serde_json::json;

use super::{
    worker::Worker,
    world::{World, intent, names},
};

#[tokio::test]
async fn an_echo_runs_by_itself() {
    let (world, _services) = World::running(1).await;
    let id = world
        .submit(&intent(&json!([
            { "id": "say", "uses": "core.echo/echo", "with": { "message": "hello" } }
        ])))
        .await;
    let history = world.finished(id).await;
    assert_eq!(
        names(&history),
        [
            "intent.received",
            "plan.compiled",
            "plan.verified",
            "execution.started",
            "execution.step.started say #1",
            "execution.step.completed say #1",
            "execution.completed",
        ]
    );
}

#[tokio::test]
async fn a_refund_waits_for_a_human_and_binds_an_output() {
    let (world, _services) = World::running(4).await;
    let worker = Worker::serve(&world.journal, Duration::ZERO).await;
    let id = world
        .submit(&intent(&json!([
            { "id": "look", "uses": "test.shop/look", "with": { "order": "7" } },
            { "id": "pay", "uses": "test.shop/refund",
              "with": { "order": { "$from": "/steps/look/output/with/order" } } },
        ])))
        .await;
    let blocked = world.until(id, EventName::StepBlocked).await;
    let Event::StepBlocked(blocked) = blocked.event else {
        panic!("not a block");
    };
    assert_eq!(blocked.step_id.as_str(), "pay");

    world.approve(id, "pay").await.unwrap();
    let history = world.finished(id).await;
    assert_eq!(
        names(&history),
        [
            "intent.received",
            "plan.compiled",
            "plan.verified",
            "execution.started",
            "execution.step.started look #1",
            "execution.step.completed look #1",
            "execution.step.proposed",
            "execution.step.judged",
            "execution.step.blocked",
            "execution.approved",
            "execution.step.started pay #1",
            "execution.step.completed pay #1",
            "execution.completed",
        ]
    );
    let judged = history.iter().find_map(|recorded| match &recorded.event {
        Event::StepJudged(judged) => Some(judged),
        _ => None,
    });
    assert_eq!(judged.unwrap().verdict.verdict, Verdict::Assist);
    assert_eq!(worker.counts(), [1, 1]);
}

#[tokio::test]
async fn the_requester_cannot_approve_and_a_cancel_ends_a_blocked_run() {
    let (world, _services) = World::running(1).await;
    let _worker = Worker::serve(&world.journal, Duration::ZERO).await;
    let id = world
        .submit(&intent(&json!([
            { "id": "pay", "uses": "test.shop/refund", "with": { "order": "7" } },
        ])))
        .await;
    world.until(id, EventName::StepBlocked).await;
    let ballot = intake::Ballot {
        step: "pay".parse().unwrap(),
        block: None,
        by: super::world::actor("sam", &["execution.approve"]),
        plan_hash: None,
        inputs_digest: None,
    };
    let refused = world
        .decide(id, |state| {
            intake::approve(
                intake::existing(state, id)?,
                &ballot,
                None,
                super::world::now(),
            )
        })
        .await;
    assert_eq!(refused, Err(intake::Rejection::RequesterCannotVote));

    world.cancel(id).await;
    let history = world.finished(id).await;
    assert_eq!(
        names(&history).last().unwrap(),
        "execution.failed CANCELLED"
    );
}

#[tokio::test]
async fn eight_independent_steps_run_at_once() {
    let (world, _services) = World::running(1).await;
    let worker = Worker::serve(&world.journal, Duration::from_millis(1500)).await;
    let steps: Vec<_> = (0..8)
        .map(|n| json!({ "id": format!("s{n}"), "uses": "test.shop/look", "with": { "n": n } }))
        .collect();
    let id = world.submit(&intent(&json!(steps))).await;
    world.finished(id).await;
    assert_eq!(worker.widest(), 8);
    assert_eq!(worker.counts(), [1; 8]);
}

#[tokio::test]
async fn a_wait_ends_on_its_timer() {
    let (world, _services) = World::running(1).await;
    let id = world
        .submit(&intent(&json!([
            { "id": "pause", "uses": "core.wait/wait", "with": { "ms": 2500 } },
            { "id": "say", "uses": "core.echo/echo", "needs": ["pause"], "with": {} },
        ])))
        .await;
    let history = world.finished(id).await;
    let time = |name: &str| {
        let index = names(&history)
            .iter()
            .position(|found| found == name)
            .unwrap();
        history[index].time()
    };
    let waited =
        time("execution.step.completed pause #1").since_ms(time("execution.step.started pause #1"));
    assert!(waited >= 2500, "{waited} ms");
}

#[tokio::test]
async fn a_skill_without_a_worker_fails_the_run_after_its_tries() {
    let (world, _services) = World::running(1).await;
    let id = world
        .submit(&intent(&json!([
            { "id": "look", "uses": "test.shop/look", "with": {},
              "retry": { "maxAttempts": 2, "backoffMs": 20, "backoffMsMax": 20 } },
        ])))
        .await;
    let history = world.finished(id).await;
    assert_eq!(
        names(&history)[4..],
        [
            "execution.step.started look #1",
            "execution.step.failed look #1 NO_WORKER",
            "execution.step.started look #2",
            "execution.step.failed look #2 NO_WORKER",
            "execution.failed STEP_FAILED",
        ]
    );
}

#[tokio::test]
async fn a_worker_that_is_still_at_it_is_asked_again_and_that_is_no_try() {
    let (world, _services) = World::running(1).await;
    let worker = Worker::serve_busy(&world.journal, Duration::ZERO, 2).await;
    let id = world
        .submit(&intent(&json!([
            { "id": "look", "uses": "test.shop/look", "with": {},
              "retry": { "maxAttempts": 1, "backoffMs": 20, "backoffMsMax": 20 } },
        ])))
        .await;
    let history = world.finished(id).await;
    assert_eq!(
        names(&history)[4..],
        [
            "execution.step.started look #1",
            "execution.step.completed look #1",
            "execution.completed",
        ]
    );
    assert_eq!(worker.counts(), [3]);
}

#[tokio::test]
async fn inputs_that_would_grow_beyond_a_message_fail_the_run_and_nothing_spins() {
    let (world, _services) = World::running(1).await;
    let text = "x".repeat(200 * 1024);
    let binding = json!({ "$from": "/steps/big/output/text" });
    let id = world
        .submit(&intent(&json!([
            { "id": "big", "uses": "core.echo/echo", "with": { "text": text } },
            { "id": "many", "uses": "core.echo/echo", "with": { "texts": vec![binding; 1000] } },
        ])))
        .await;
    let history = world.finished(id).await;
    assert_eq!(
        names(&history).last().unwrap(),
        "execution.failed STEP_FAILED"
    );
}
