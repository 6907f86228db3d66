//! `trace.get`: everything that happened, and nothing that is not the reader's business.

use contracts::plan::Mode;
use policy::shipped::default_bundle;
use serde_json::json;

use super::{
    story::{TEXT, echo},
    world::{AUDITOR, Caller, READER, World},
};

#[tokio::test]
async fn a_trace_tells_stage_status_and_actor_of_each_event() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let id = world.story.submitted(Mode::Assist, &echo()).await;
    world.story.approve(id, "say").await;
    world.story.finish(id).await;
    let projector = world.projector().await;
    let trace = projector
        .caller(READER)
        .ok(&format!("/v1/executions/{id}/trace"))
        .await;
    let entries = trace["entries"].as_array().unwrap();
    let told: Vec<String> = entries
        .iter()
        .map(|entry| {
            let text = |member: &str| entry[member].as_str().unwrap_or("-").to_owned();
            format!(
                "{} {} {} {} {}",
                text("event"),
                text("stage"),
                text("status"),
                text("actorId"),
                text("service")
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "intent.received intent received sam intake",
            "plan.compiled plan compiled - planner",
            "plan.verified policy verified - verifier",
            "execution.started execution running - executor",
            "execution.step.blocked approval blocked - executor",
            "execution.approved approval running ann intake",
            "execution.step.started step running - executor",
            "execution.step.completed step running - executor",
            "execution.completed execution completed - executor",
        ]
    );
    assert_eq!(entries[4]["stepId"], "say");
    assert_eq!(entries[2]["metadata"]["verdict"], "assist");
    assert!(entries[2]["metadata"]["catalogue"].is_u64());
    for (index, entry) in entries.iter().enumerate() {
        assert_eq!(entry["version"], index + 1);
        assert_eq!(entry["hash"].as_str().unwrap().len(), 64);
    }
    projector.stop().await;
}

#[tokio::test]
async fn payloads_are_shown_only_to_who_asks_and_may() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let id = world.story.submitted(Mode::Assist, &echo()).await;
    world.story.approve(id, "say").await;
    world.story.finish(id).await;
    let projector = world.projector().await;
    let (reader, auditor) = (projector.caller(READER), projector.caller(AUDITOR));
    let plain = format!("/v1/trace.get?executionId={id}");
    let full = format!("{plain}&includePayloads=true");

    for trace in [reader.ok(&plain).await, auditor.ok(&plain).await] {
        let text = trace.to_string();
        for personal in [TEXT, "alice", "hello", "Bob"] {
            assert!(!text.contains(personal), "`{personal}` in {text}");
        }
    }
    Caller::refused(&reader.get(&full).await, 403, "FORBIDDEN");
    let input = json!({ "executionId": id, "includePayloads": true });
    Caller::refused(&reader.post("trace.get", &input).await, 403, "FORBIDDEN");
    let (status, trace) = auditor.post("trace.get", &input).await;
    assert_eq!(status, 200);
    assert_eq!(trace["entries"][0]["payload"]["text"], TEXT);
    assert_eq!(trace["entries"][5]["payload"]["note"], "looks fine to Bob");
    projector.stop().await;
}
