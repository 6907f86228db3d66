//! `execution.list` and `execution.get`: the rows are the fold, and lists are what was asked for.

use contracts::{
    operations::execution::ExecutionRecord,
    plan::{Mode, Status},
    position::Positions,
};
use domain::record;
use policy::shipped::default_bundle;
use serde_json::{Value, json};

use super::{
    story::{chained, echo, faulty},
    world::{Caller, READER, World},
};

/// One of each kind of end and of waiting.
async fn several(world: &World) -> Vec<(String, Status)> {
    let story = &world.story;
    story.activate(&default_bundle()).await;
    let mut all = Vec::new();
    let (received, _) = story.received(Mode::Autonomous, &echo()).await;
    all.push((received, Status::Received));
    all.push((
        story.submitted(Mode::Autonomous, &echo()).await,
        Status::Completed,
    ));
    all.push((
        story.submitted(Mode::Autonomous, &chained()).await,
        Status::Completed,
    ));
    all.push((
        story.submitted(Mode::Autonomous, &faulty()).await,
        Status::Rejected,
    ));
    all.push((
        story.submitted(Mode::Observe, &echo()).await,
        Status::Completed,
    ));
    all.push((
        story.submitted(Mode::Assist, &echo()).await,
        Status::Blocked,
    ));
    let approved = story.submitted(Mode::Assist, &echo()).await;
    story.approve(approved, "say").await;
    story.finish(approved).await;
    all.push((approved, Status::Completed));
    let cancelled = story.submitted(Mode::Assist, &echo()).await;
    story.cancel(cancelled).await;
    all.push((cancelled, Status::Failed));
    for (id, status) in &all {
        assert_eq!(story.status(*id).await, *status, "{id}");
    }
    all.into_iter()
        .map(|(id, status)| (id.to_string(), status))
        .collect()
}

fn row_of(record: &ExecutionRecord) -> Value {
    let record = serde_json::to_value(record).unwrap();
    let mut row = serde_json::Map::new();
    for member in [
        "executionId",
        "status",
        "updatedAt",
        "createdAt",
        "riskTier",
        "text",
        "requiresApproval",
        "verdict",
        "channelKey",
        "mode",
        "waitingFor",
    ] {
        if let Some(value) = record.get(member) {
            row.insert(member.to_owned(), value.clone());
        }
    }
    row.insert("actorId".to_owned(), record["actor"]["id"].clone());
    if let Some(failure) = record.get("failure") {
        row.insert("errorCode".to_owned(), failure["code"].clone());
    }
    Value::Object(row)
}

#[tokio::test]
async fn every_row_is_the_fold_of_its_events() {
    let world = World::new();
    let all = several(&world).await;
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let list = caller
        .ok(&format!(
            "/v1/executions?atLeast={}",
            world.story.end().await
        ))
        .await;
    assert_eq!(list["total"], all.len());
    assert_eq!(list["position"], world.story.end().await.to_string());
    for (row, (id, status)) in list["items"]
        .as_array()
        .unwrap()
        .iter()
        .zip(all.iter().rev())
    {
        let aggregate = world.story.aggregate(id.parse().unwrap());
        let record = record::of(&world.story.history(&aggregate).await).unwrap();
        assert_eq!(*row, row_of(&record));
        assert_eq!(record.status, *status);
        let got = caller.ok(&format!("/v1/executions/{id}")).await;
        assert_eq!(got["execution"], serde_json::to_value(&record).unwrap());
    }
    projector.stop().await;
}

#[tokio::test]
async fn an_execution_that_waits_for_a_vote_says_what_a_voter_has_to_know() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let id = world.story.submitted(Mode::Assist, &echo()).await;
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let get = |id| format!("/v1/execution.get?executionId={id}");
    let execution = &caller.ok(&get(id)).await["execution"];
    let step = &execution["steps"][0];
    assert_eq!(step["status"], "blocked");
    assert_eq!(step["approval"]["quorum"], 1);
    assert_eq!(step["approval"]["planHash"], execution["planHash"]);
    assert_eq!(step["approval"]["votes"], json!([]));

    let voted = world.story.approve(id, "say").await;
    let path = format!("{}&atLeast={voted}", get(id));
    let execution = &caller.ok(&path).await["execution"];
    assert_eq!(execution["status"], "running");
    assert_eq!(execution["steps"][0]["status"], "permitted");
    world.story.finish(id).await;
    let execution = &caller.ok(&get(id)).await["execution"];
    assert_eq!(execution["steps"][0]["status"], "completed");
    assert_eq!(execution["status"], "completed");
    projector.stop().await;
}

#[tokio::test]
async fn a_list_is_filtered_cut_and_newest_first() {
    let world = World::new();
    let all = several(&world).await;
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let at_least = world.story.end().await.to_string();
    let ids = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["executionId"].as_str().unwrap().to_owned())
            .collect()
    };
    let newest_first: Vec<String> = all.iter().rev().map(|(id, _)| id.clone()).collect();

    let input = json!({ "limit": 3, "offset": 2, "atLeast": at_least });
    let (status, list) = caller.post("controlPlane.execution.list", &input).await;
    assert_eq!(status, 200);
    assert_eq!(ids(&list), newest_first[2..5]);
    assert_eq!(list["total"], all.len());

    let list = caller.ok("/v1/executions?status=completed&limit=2").await;
    let completed: Vec<String> = all
        .iter()
        .rev()
        .filter(|(_, status)| *status == Status::Completed)
        .map(|(id, _)| id.clone())
        .collect();
    assert_eq!(ids(&list), completed[..2]);
    assert_eq!(list["total"], completed.len());
    assert_eq!(
        ids(&caller.ok("/v1/executions?offset=100").await),
        Vec::<String>::new()
    );
    assert_eq!(
        caller.ok("/v1/executions?workspaceId=acme").await["total"],
        all.len()
    );

    for (query, code, http) in [
        ("workspaceId=other", "WORKSPACE_MISMATCH", 403),
        ("limit=0", "INVALID_INPUT", 400),
        ("limit=501", "INVALID_INPUT", 400),
        ("status=sleeping", "INVALID_INPUT", 400),
        ("colour=red", "INVALID_INPUT", 400),
        ("atLeast=yesterday", "INVALID_INPUT", 400),
        ("atLeast=v1.09-1", "INVALID_INPUT", 400),
    ] {
        let answer = caller.get(&format!("/v1/executions?{query}")).await;
        Caller::refused(&answer, http, code);
    }
    projector.stop().await;
}

#[tokio::test]
async fn a_list_waits_for_what_its_caller_has_seen() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    for count in 1..=20 {
        let (_, position) = world.story.received(Mode::Autonomous, &echo()).await;
        let list = caller
            .ok(&format!("/v1/executions?atLeast={position}"))
            .await;
        assert_eq!(list["total"], count);
        let reached: Positions = list["position"].as_str().unwrap().parse().unwrap();
        assert!(reached.covers(&position));
    }
    let answer = caller.get("/v1/executions?atLeast=v1.00-ffff").await;
    Caller::refused(&answer, 503, "POSITION_NOT_REACHED");
    assert_eq!(answer.1["position"], world.story.end().await.to_string());
    projector.stop().await;
}

#[tokio::test]
async fn a_second_read_model_of_the_same_log_is_the_same() {
    let world = World::new();
    several(&world).await;
    let mut lists = Vec::new();
    for database in ["first.db", "second.db"] {
        let path = world.directory.path().join(database);
        let projector = world.projector_at(&path).await.unwrap();
        let caller = projector.caller(READER);
        lists.push(
            caller
                .ok(&format!(
                    "/v1/executions?atLeast={}",
                    world.story.end().await
                ))
                .await,
        );
        projector.stop().await;
    }
    assert_eq!(lists[0], lists[1]);
}

/// A log that was put back, or a token that was made up: nothing older is passed off as it.
#[tokio::test]
async fn what_the_log_has_not_reached_is_not_answered_for() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let id = world.story.submitted(Mode::Autonomous, &echo()).await;
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let paths = [
        format!("/v1/executions/{id}?"),
        format!("/v1/executions/{id}/trace?"),
        format!("/v1/policy.explain?executionId={id}&"),
    ];
    for path in &paths {
        for beyond in ["v1.00-ffff", "v1.c-ffff"] {
            let answer = caller.get(&format!("{path}atLeast={beyond}")).await;
            Caller::refused(&answer, 503, "POSITION_NOT_REACHED");
            let reached: Positions = answer.1["position"].as_str().unwrap().parse().unwrap();
            assert!(world.story.end().await.covers(&reached));
        }
    }
    // What others have written since is reflected by an answer that waited for it.
    world.story.submitted(Mode::Autonomous, &echo()).await;
    let end = world.story.end().await;
    for path in &paths {
        let answer = caller.ok(&format!("{path}atLeast={end}")).await;
        let reflected: Positions = answer["position"].as_str().unwrap().parse().unwrap();
        assert!(reflected.covers(&end), "{path}");
    }
    projector.stop().await;
}
