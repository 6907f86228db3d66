//! Runs that are held back, let go on, and tried again.

use std::time::Duration;

use contracts::{event::EventName, ids::ExecutionId, plan::Status};
use domain::execution::Execution;
use serde_json::{Value, json};

use super::{
    door::{ANN, Door},
    worker::Worker,
    world::{World, intent, names},
};

async fn ask(door: &Door, operation: &str, id: ExecutionId, by: &str) -> (u16, Value) {
    let body = json!({ "runId": format!("{id}:1"), by: "ann" });
    door.ask(ANN, operation, &body).await
}

fn two_steps() -> Value {
    json!([
        { "id": "first", "uses": "test.shop/look", "with": { "order": "7" } },
        { "id": "then", "uses": "test.shop/look", "needs": ["first"], "with": { "order": "8" } },
    ])
}

#[tokio::test]
async fn a_paused_run_starts_nothing_until_it_goes_on_also_through_the_death_of_its_executor() {
    let (world, services) = World::running(1).await;
    let door = Door::open(&world, "intake").await;
    let worker = Worker::serve(&world.journal, Duration::from_millis(700)).await;
    let id = world.submit(&intent(&two_steps())).await;
    world.until(id, EventName::StepStarted).await;
    let (status, paused) = ask(&door, "execution.pause", id, "pausedBy").await;
    assert_eq!(
        (status, &paused["status"]),
        (200, &json!("paused")),
        "{paused}"
    );
    assert_eq!(
        ask(&door, "execution.pause", id, "pausedBy").await.1["pausedAt"],
        paused["pausedAt"]
    );
    // What was under way ends.
    world.until(id, EventName::StepCompleted).await;
    services.executor.kill9().await;
    let _another = world.spawn(contracts::event::Service::Executor, "executor-2");
    // It comes to rest where it finds a run that is paused: with a second one it shows.
    let other = world.submit(&intent(&two_steps())).await;
    world.finished(other).await;
    let state = Execution::fold(&world.history(id).await);
    assert_eq!(state.status(), Some(Status::Paused));
    assert_eq!(worker.counts().len(), 3);

    let (status, resumed) = ask(&door, "execution.resume", id, "resumedBy").await;
    assert_eq!(
        (status, &resumed["status"]),
        (200, &json!("running")),
        "{resumed}"
    );
    let history = world.finished(id).await;
    let told = names(&history);
    let place = |name: &str| told.iter().position(|told| told == name).unwrap();
    assert!(
        place("execution.resumed") < place("execution.step.started then #1"),
        "{told:#?}"
    );
    assert_eq!(told.last().unwrap(), "execution.completed");
    let (status, refused) = ask(&door, "execution.pause", id, "pausedBy").await;
    assert_eq!((status, &refused["code"]), (409, &json!("RUN_ENDED")));
}

#[tokio::test]
async fn a_failed_run_goes_on_from_what_it_had_not_done() {
    let (world, _services) = World::running(1).await;
    let door = Door::open(&world, "intake").await;
    let id = world
        .submit(&intent(&json!([
            { "id": "say", "uses": "core.echo/echo", "with": { "message": "hello" } },
            { "id": "look", "uses": "test.shop/look", "needs": ["say"], "with": { "order": "7" } },
        ])))
        .await;
    // Nobody serves the shop, so its tries are soon spent.
    let history = world.finished(id).await;
    assert_eq!(
        names(&history).last().unwrap(),
        "execution.failed STEP_FAILED"
    );
    let worker = Worker::serve(&world.journal, Duration::ZERO).await;
    let (status, retried) = ask(&door, "execution.retry", id, "retriedBy").await;
    assert_eq!(status, 200, "{retried}");
    assert_eq!(retried["runId"], format!("{id}:2"));
    assert_eq!(retried["phase"], "execution");
    let again = ask(&door, "execution.retry", id, "retriedBy").await.1;
    assert_eq!(again["retriedAt"], retried["retriedAt"]);
    world.until(id, EventName::ExecutionCompleted).await;
    let told = names(&world.history(id).await);
    let started = |step: &str| {
        let begin = format!("execution.step.started {step} ");
        told.iter().filter(|told| told.starts_with(&begin)).count()
    };
    assert_eq!(started("say"), 1, "{told:#?}");
    assert_eq!(worker.counts(), [1]);
}
