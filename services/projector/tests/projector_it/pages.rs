//! Lists in pages: nothing twice, nothing left out, whatever comes in between.

use contracts::plan::Mode;
use policy::shipped::default_bundle;
use serde_json::{Value, json};

use super::{
    story::echo,
    world::{Caller, READER, STRANGER, World},
};

fn ids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["executionId"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn pages_hold_everything_once_while_new_rows_come() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let mut all = Vec::new();
    for _ in 0..10 {
        let (id, _) = world.story.received(Mode::Autonomous, &echo()).await;
        all.insert(0, id.to_string());
    }
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let mut path = format!("/v1/executions?limit=3&atLeast={}", world.story.end().await);
    let mut told = Vec::new();
    let mut pages = 0;
    loop {
        let list = caller.ok(&path).await;
        pages += 1;
        told.extend(ids(&list));
        let Some(next) = list["nextCursor"].as_str() else {
            break;
        };
        // What comes is newer than all that is listed, and what is listed changes.
        let (_, at) = world.story.received(Mode::Autonomous, &echo()).await;
        world.story.finish(all[9].parse().unwrap()).await;
        path = format!("/v1/executions?limit=3&cursor={next}&atLeast={at}");
        assert_eq!(list["total"], 9 + pages);
    }
    assert_eq!(told, all);
    assert_eq!(pages, 4);
    projector.stop().await;
}

#[tokio::test]
async fn a_page_that_ends_with_the_list_has_no_next() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    for _ in 0..4 {
        world.story.received(Mode::Autonomous, &echo()).await;
    }
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let end = world.story.end().await;
    let list = caller
        .ok(&format!("/v1/executions?limit=4&atLeast={end}"))
        .await;
    assert!(list.get("nextCursor").is_none(), "{list}");
    let list = caller.ok("/v1/executions?limit=2").await;
    let next = list["nextCursor"].as_str().unwrap();
    let list = caller
        .ok(&format!("/v1/executions?limit=2&cursor={next}"))
        .await;
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    assert!(list.get("nextCursor").is_none(), "{list}");
    projector.stop().await;
}

#[tokio::test]
async fn a_cursor_is_of_one_list_and_no_other() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    for _ in 0..3 {
        world.story.submitted(Mode::Autonomous, &echo()).await;
    }
    let other = world.other_workspace();
    other.activate(&default_bundle()).await;
    for _ in 0..3 {
        other.submitted(Mode::Autonomous, &echo()).await;
    }
    let projector = world.projector().await;
    let (caller, stranger) = (projector.caller(READER), projector.caller(STRANGER));
    let end = world.story.end().await;
    let path = format!("/v1/executions?status=completed&limit=1&atLeast={end}");
    let list = caller.ok(&path).await;
    let cursor = list["nextCursor"].as_str().unwrap();
    // The same list, cut otherwise.
    let same = format!("/v1/executions?status=completed&limit=2&cursor={cursor}");
    assert_eq!(caller.ok(&same).await["items"].as_array().unwrap().len(), 2);
    let of_others = [
        caller.get(&format!("/v1/executions?cursor={cursor}")).await,
        caller
            .get(&format!("/v1/executions?status=failed&cursor={cursor}"))
            .await,
        caller.get(&format!("/v1/approvals?cursor={cursor}")).await,
        stranger.get(&same).await,
    ];
    for (index, answer) in of_others.iter().enumerate() {
        Caller::refused(answer, 400, "INVALID_INPUT");
        let finding = &answer.1["findings"][0];
        assert_eq!(finding["path"], "/cursor");
        // Of another kind of list not even the key can be read.
        let code = if index == 2 {
            "INVALID_VALUE"
        } else {
            "CURSOR_OF_OTHER_FILTERS"
        };
        assert_eq!(finding["code"], code, "{index}");
    }
    for cursor in ["", "x", "v1", "%00", &"A".repeat(5000), &cursor[1..]] {
        let path = format!("/v1/executions?status=completed&cursor={cursor}");
        let answer = caller.get(&path).await;
        Caller::refused(&answer, 400, "INVALID_INPUT");
        assert_eq!(answer.1["findings"][0]["path"], "/cursor", "{cursor}");
    }
    let answer = caller.get(&format!("{same}&offset=0")).await;
    Caller::refused(&answer, 400, "INVALID_INPUT");
    assert_eq!(answer.1["findings"][0]["path"], "/offset");
    projector.stop().await;
}

#[tokio::test]
async fn skills_come_in_pages_too() {
    let world = World::new();
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let whole = caller.ok("/v1/skills").await;
    let all = whole["items"].as_array().unwrap();
    assert!(all.len() > 1, "{whole}");
    let (mut told, mut input) = (Vec::new(), json!({ "limit": 1 }));
    loop {
        let (status, list) = caller.post("skill.list", &input).await;
        assert_eq!(status, 200, "{list}");
        assert_eq!(list["total"], all.len());
        told.extend(list["items"].as_array().unwrap().iter().cloned());
        match list.get("nextCursor") {
            Some(next) => input["cursor"] = next.clone(),
            None => break,
        }
    }
    assert_eq!(told, *all);
    input["includeDisabled"] = true.into();
    let answer = caller.post("skill.list", &input).await;
    Caller::refused(&answer, 400, "INVALID_INPUT");
    projector.stop().await;
}
