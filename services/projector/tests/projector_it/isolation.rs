//! What a caller may not see.

use contracts::plan::Mode;
use policy::shipped::default_bundle;
use serde_json::json;

use super::{
    story::echo,
    world::{Caller, NOBODY, READER, STRANGER, World},
};

#[tokio::test]
async fn another_workspaces_execution_is_not_found() {
    let world = World::new();
    let (ours, theirs) = (&world.story, world.other_workspace());
    ours.activate(&default_bundle()).await;
    theirs.activate(&default_bundle()).await;
    let mine = ours.submitted(Mode::Autonomous, &echo()).await;
    let other = theirs.submitted(Mode::Autonomous, &echo()).await;
    let projector = world.projector().await;
    let (caller, stranger) = (projector.caller(READER), projector.caller(STRANGER));
    for id in [
        mine.to_string(),
        "018f0000-0000-7000-8000-000000000000".to_owned(),
    ] {
        for path in [
            format!("/v1/executions/{id}"),
            format!("/v1/executions/{id}/trace"),
            format!("/v1/executions/{id}/events"),
            format!("/v1/executions/{id}/policy"),
            format!("/v1/policy.explain?executionId={id}"),
        ] {
            Caller::refused(&stranger.get(&path).await, 404, "EXECUTION_NOT_FOUND");
        }
    }
    let position = stranger.ok(&format!("/v1/executions/{other}")).await["position"].clone();
    let list = |caller: Caller| {
        let path = format!("/v1/executions?atLeast={}", position.as_str().unwrap());
        async move { caller.ok(&path).await }
    };
    let found = list(stranger).await;
    assert_eq!(found["total"], 1);
    assert_eq!(found["items"][0]["executionId"], other.to_string());
    let found = list(caller).await;
    assert_eq!(found["items"][0]["executionId"], mine.to_string());
    projector.stop().await;
}

#[tokio::test]
async fn each_query_needs_its_grant() {
    let world = World::new();
    let (id, _) = world.story.received(Mode::Autonomous, &echo()).await;
    let projector = world.projector().await;
    let nobody = projector.caller(NOBODY);
    for path in [
        format!("/v1/executions/{id}"),
        format!("/v1/executions/{id}/trace"),
        format!("/v1/executions/{id}/events"),
        format!("/v1/executions/{id}/policy"),
        format!("/v1/policy.explain?executionId={id}"),
        "/v1/executions".to_owned(),
        "/v1/skills".to_owned(),
        "/v1/skill.list".to_owned(),
        "/v1/skill.verify".to_owned(),
    ] {
        Caller::refused(&nobody.get(&path).await, 403, "FORBIDDEN");
    }
    let unknown = Caller::new(projector.address, "nobody-knows");
    Caller::refused(&unknown.get("/v1/executions").await, 401, "UNAUTHENTICATED");
    projector.stop().await;
}

#[tokio::test]
async fn what_is_not_served_is_said() {
    let world = World::new();
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    Caller::refused(&caller.get("/v1/weather.get").await, 404, "NOT_FOUND");
    Caller::refused(
        &caller.post("intent.submit", &json!({})).await,
        404,
        "NOT_FOUND",
    );
    Caller::refused(&caller.get("/v2/executions").await, 404, "NOT_FOUND");
    Caller::refused(&caller.get("/v1/executions/7").await, 400, "INVALID_INPUT");
    Caller::refused(
        &caller.post("executions", &json!({})).await,
        405,
        "METHOD_NOT_ALLOWED",
    );
    projector.stop().await;
}
