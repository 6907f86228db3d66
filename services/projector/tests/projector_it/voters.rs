//! `approval.list` and its feed: what someone may vote on, and when that changes.

use contracts::plan::{Mode, Start};
use domain::execution::intake::Submission;
use policy::shipped::default_bundle;
use serde_json::Value;

use super::{
    story::{Story, actor, echo, submission},
    world::{Caller, Projector, READER, REQUESTER, STRANGER, VOTER, World},
};

/// Whose blocks are open now.
async fn world() -> World {
    let world = World::new();
    world.story.go_on_now();
    world.story.activate(&default_bundle()).await;
    world
}

async fn list(caller: &Caller, world: &World, query: &str) -> Value {
    let end = world.story.end().await;
    caller
        .ok(&format!("/v1/approvals?atLeast={end}{query}"))
        .await
}

fn executions(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["executionId"].as_str().unwrap().to_owned())
        .collect()
}

async fn by(story: &Story, who: &str) -> String {
    let submission = Submission {
        actor: actor(who, &["intent.submit"]),
        ..submission(Start::Auto, Mode::Assist, &echo())
    };
    story.submitted_as(&submission).await.to_string()
}

#[tokio::test]
async fn someone_is_shown_what_his_vote_counts_for() {
    let world = world().await;
    let by_sam = by(&world.story, "sam").await;
    let by_ann = by(&world.story, "ann").await;
    let done = world.story.submitted(Mode::Autonomous, &echo()).await;
    let projector = world.projector().await;
    let [voter, requester, reader] = [VOTER, REQUESTER, READER].map(|name| projector.caller(name));
    let of_voter = list(&voter, &world, "").await;
    assert_eq!(executions(&of_voter), std::slice::from_ref(&by_sam));
    assert_eq!(of_voter["total"], 1);
    let item = &of_voter["items"][0];
    assert_eq!(item["stepId"], "say");
    assert_eq!(item["mayVote"], true);
    assert_eq!(item["actorId"], "sam");
    let execution = reader.ok(&format!("/v1/executions/{by_sam}")).await;
    assert_eq!(
        item["approval"],
        execution["execution"]["steps"][0]["approval"]
    );
    // Who asked for it does not vote on it.
    assert_eq!(
        executions(&list(&requester, &world, "").await),
        std::slice::from_ref(&by_ann)
    );
    // Who may not vote is shown nothing, unless all is asked for.
    assert_eq!(list(&reader, &world, "").await["total"], 0);
    let all = list(&reader, &world, "&all=true").await;
    assert_eq!(executions(&all), [by_sam.clone(), by_ann.clone()]);
    assert!(
        all["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|it| it["mayVote"] == false)
    );
    let all = list(&voter, &world, "&all=true").await;
    let may: Vec<_> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["mayVote"] == true)
        .collect();
    assert_eq!(may, [true, false]);
    let one = list(&voter, &world, &format!("&executionId={by_ann}&all=true")).await;
    assert_eq!(executions(&one), std::slice::from_ref(&by_ann));
    let stranger = projector.caller(STRANGER);
    assert_eq!(list(&stranger, &world, "&all=true").await["total"], 0);
    assert!(!executions(&all).contains(&done.to_string()));
    // In pages.
    let first = list(&voter, &world, "&all=true&limit=1").await;
    let next = first["nextCursor"].as_str().unwrap();
    let second = list(&voter, &world, &format!("&all=true&limit=1&cursor={next}")).await;
    assert_eq!(
        [executions(&first), executions(&second)].concat(),
        executions(&all)
    );
    assert!(second.get("nextCursor").is_none());

    // A vote that is given is not given again.
    world.story.approve(by_sam.parse().unwrap(), "say").await;
    assert_eq!(list(&voter, &world, "").await["total"], 0);
    projector.stop().await;
}

/// What has expired takes no vote, though nobody has said so yet.
#[tokio::test]
async fn what_has_expired_is_not_shown() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    by(&world.story, "sam").await;
    let projector = world.projector().await;
    assert_eq!(
        list(&projector.caller(VOTER), &world, "&all=true").await["total"],
        0
    );
    projector.stop().await;
}

async fn next(feed: &mut super::world::Feed) -> (String, String) {
    let (_, event) = feed.next().await.unwrap();
    let text = |member: &str| event[member].as_str().unwrap().to_owned();
    let kind = text("type");
    let kind = kind.trim_start_matches("controlPlane.").to_owned();
    (kind, text("correlationid"))
}

async fn feed(projector: &Projector, name: &'static str) -> super::world::Feed {
    let mut feed = projector
        .caller(name)
        .open("/v1/approvals/events", None)
        .await;
    feed.begun().await;
    feed
}

#[tokio::test]
async fn a_feed_tells_when_that_changes() {
    let world = world().await;
    let before = by(&world.story, "sam").await;
    let projector = world.projector().await;
    list(&projector.caller(VOTER), &world, "").await;
    let mut of_voter = feed(&projector, VOTER).await;
    let mut of_requester = feed(&projector, REQUESTER).await;
    let told = |kind: &str, id: &String| (kind.to_owned(), id.clone());
    // One after the other: what is told of two executions has no order.
    let by_sam = by(&world.story, "sam").await;
    assert_eq!(
        next(&mut of_voter).await,
        told("execution.step.blocked", &by_sam)
    );
    let by_ann = by(&world.story, "ann").await;
    world.story.approve(before.parse().unwrap(), "say").await;
    assert_eq!(
        next(&mut of_voter).await,
        told("execution.approved", &before)
    );
    world.story.cancel(by_sam.parse().unwrap()).await;
    assert_eq!(
        next(&mut of_voter).await,
        told("execution.cancel.requested", &by_sam)
    );
    assert_eq!(next(&mut of_voter).await, told("execution.failed", &by_sam));
    assert_eq!(
        next(&mut of_requester).await,
        told("execution.step.blocked", &by_ann)
    );
    projector.stop().await;
}
