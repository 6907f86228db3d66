//! Steps that their worker completes later, by the token of the call.

use contracts::{
    event::{Event, EventName, Service},
    ids::ExecutionId,
};
use journal::request::{Reply, skill_subject};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    door::{ANN, Door, SAM},
    world::{World, intent, names, workspace},
};

/// Answers every call of the shop that it will be completed later, and gives the tokens.
async fn accepting(world: &World) -> mpsc::UnboundedReceiver<String> {
    let (tokens, given) = mpsc::unbounded_channel();
    let subject = skill_subject(&workspace(), "shop");
    let mut requests = world.journal.serve(&subject, "shop").await.unwrap();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let token = request.headers.iter().find(|(name, _)| name == "Cp-Token");
            tokens.send(token.unwrap().1.clone()).unwrap();
            let payload = json!({ "accepted": { "expiresAfterMs": 3_600_000 } });
            let reply = Reply {
                headers: Vec::new(),
                payload: payload.to_string().into_bytes().into(),
            };
            // Whoever asked may be dead by now.
            let _ = request.respond(reply).await;
        }
    });
    given
}

async fn report(door: &Door, who: &str, id: ExecutionId, more: &Value) -> (u16, Value) {
    let mut body = json!({ "executionId": id, "stepId": "look" });
    for (member, value) in more.as_object().unwrap() {
        body[member] = value.clone();
    }
    door.ask(who, "execution.step.report", &body).await
}

fn looking() -> Value {
    json!([{ "id": "look", "uses": "test.shop/look", "with": { "order": "7" } }])
}

#[tokio::test]
async fn a_step_is_completed_later_whoever_runs_the_executor_by_then() {
    let (world, services) = World::running(1).await;
    let door = Door::open(&world, "intake").await;
    let mut tokens = accepting(&world).await;
    let id = world.submit(&intent(&looking())).await;
    let token = tokens.recv().await.unwrap();
    let accepted = world.until(id, EventName::StepAccepted).await;
    let Event::StepAccepted(accepted) = accepted.event else {
        panic!("{accepted:?}");
    };
    assert_eq!(
        accepted.expires_at.since_ms(accepted.accepted_at),
        3_600_000
    );
    services.executor.kill9().await;
    let _another = world.spawn(Service::Executor, "executor-2");

    let done = json!({ "token": token, "outcome": "completed", "output": { "found": true } });
    assert_eq!(report(&door, SAM, id, &done).await.1["code"], "FORBIDDEN");
    let mut forged = done.clone();
    forged["token"] = "f".repeat(64).into();
    assert_eq!(
        report(&door, ANN, id, &forged).await.1["code"],
        "TOKEN_INVALID"
    );
    let (status, first) = report(&door, ANN, id, &done).await;
    assert_eq!(status, 200, "{first}");
    let history = world.finished(id).await;
    let told = names(&history);
    assert_eq!(told.last().unwrap(), "execution.completed", "{told:#?}");
    let output = history.iter().find_map(|recorded| match &recorded.event {
        Event::StepCompleted(completed) => Some(completed.output.clone()),
        _ => None,
    });
    assert_eq!(output, Some(json!({ "found": true })));
    // It was called once, and a report after the end is refused.
    assert!(tokens.try_recv().is_err());
    assert_eq!(
        report(&door, ANN, id, &done).await.1["code"],
        "EXECUTION_ENDED"
    );
}

#[tokio::test]
async fn what_is_reported_is_held_against_the_actions_schema() {
    let (world, _services) = World::running(1).await;
    let door = Door::open(&world, "intake").await;
    let mut tokens = accepting(&world).await;
    let id = world.submit(&intent(&looking())).await;
    let token = tokens.recv().await.unwrap();
    let both = json!({ "token": token, "outcome": "failed", "output": 1, "errorCode": "X" });
    let (status, refused) = report(&door, ANN, id, &both).await;
    assert_eq!((status, &refused["code"]), (400, &json!("INVALID_INPUT")));
    assert_eq!(refused["findings"][0]["path"], "/output");
    let text = json!({ "token": token, "outcome": "completed", "output": "a text" });
    assert_eq!(report(&door, ANN, id, &text).await.0, 200);
    let history = world.finished(id).await;
    let failed = history.iter().find_map(|recorded| match &recorded.event {
        Event::StepFailed(failed) => Some(failed.error_code.clone()),
        _ => None,
    });
    assert_eq!(failed.as_deref(), Some("OUTPUT_INVALID"));
}
