//! `ETag`: who has an answer is not sent it again.

use contracts::plan::Mode;
use policy::shipped::default_bundle;
use serde_json::json;

use super::{
    story::echo,
    world::{READER, World, token_of},
};

#[tokio::test]
async fn who_has_an_answer_is_told_so_until_it_is_another_one() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let id = world.story.submitted(Mode::Assist, &echo()).await;
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let end = world.story.end().await;
    caller.ok(&format!("/v1/executions?atLeast={end}")).await;
    for path in [
        "/v1/executions".to_owned(),
        "/v1/execution.list?status=blocked".to_owned(),
        format!("/v1/executions/{id}"),
        format!("/v1/executions/{id}/trace"),
        format!("/v1/executions/{id}/policy"),
        "/v1/skills".to_owned(),
        "/v1/approvals".to_owned(),
    ] {
        let answer = caller.revalidate(&path, "\"none\"").await;
        assert_eq!(answer.status(), 200, "{path}");
        let header = |name| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("cache-control"), "private, no-cache");
        assert_eq!(header("vary"), "authorization");
        let tag = header("etag");
        assert!(tag.starts_with('"') && tag.ends_with('"'), "strong: {tag}");
        for named in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
            let again = caller.revalidate(&path, &named).await;
            assert_eq!(again.status(), 304, "{path} {named}");
            assert_eq!(again.headers()["etag"], tag.as_str());
            assert_eq!(again.headers()["cache-control"], "private, no-cache");
            assert!(again.bytes().await.unwrap().is_empty());
        }
    }
    let path = format!("/v1/executions/{id}");
    let before = caller.revalidate(&path, "\"none\"").await;
    let tag = before.headers()["etag"].to_str().unwrap().to_owned();
    world.story.approve(id, "say").await;
    let after = caller.revalidate(&path, &tag).await;
    assert_eq!(after.status(), 200);
    assert_ne!(after.headers()["etag"], tag.as_str());
    projector.stop().await;
}

/// The same answer over POST has the same tag, and is always sent.
#[tokio::test]
async fn what_was_posted_is_answered() {
    let world = World::new();
    let projector = world.projector().await;
    let got = projector
        .caller(READER)
        .revalidate("/v1/skills", "\"none\"")
        .await;
    let tag = got.headers()["etag"].to_str().unwrap().to_owned();
    let url = format!("http://{}/v1/skill.list", projector.address);
    let posted = reqwest::Client::new()
        .post(url)
        .bearer_auth(token_of(READER))
        .header("If-None-Match", &tag)
        .json(&json!({}));
    let posted = posted.send().await.unwrap();
    assert_eq!(posted.status(), 200);
    assert_eq!(posted.headers()["etag"], tag.as_str());
    assert_eq!(posted.text().await.unwrap(), got.text().await.unwrap());
    projector.stop().await;
}
