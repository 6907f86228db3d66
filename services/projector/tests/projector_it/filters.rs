//! `execution.list` by what people look for.

use std::collections::{BTreeMap, BTreeSet};

use contracts::plan::{Mode, Start};
use domain::execution::intake::Submission;
use policy::shipped::default_bundle;
use serde_json::{Value, json};

use super::{
    story::{actor, chained, echo, faulty, submission},
    world::{Caller, READER, World},
};

/// One of each kind, by a name for the table below.
async fn shelf(world: &World) -> BTreeMap<String, &'static str> {
    let story = &world.story;
    story.activate(&default_bundle()).await;
    let other = world.other_workspace();
    other.activate(&default_bundle()).await;
    other.submitted(Mode::Autonomous, &echo()).await;
    let by_bea = Submission {
        actor: actor("bea", &["intent.submit"]),
        channel_key: Some("chat".to_owned()),
        text: r"100% sure_ÄRGER C:\tmp".to_owned(),
        ..submission(Start::Auto, Mode::Assist, &echo())
    };
    let by_hand = Submission {
        channel_key: None,
        text: "Later, Please".to_owned(),
        ..submission(Start::Manual, Mode::Assist, &chained())
    };
    let undrafted = Submission {
        draft: None,
        text: "something nobody has words for".to_owned(),
        ..submission(Start::Auto, Mode::Autonomous, &echo())
    };
    let mut shelf = BTreeMap::new();
    let done = story.submitted(Mode::Autonomous, &echo()).await;
    shelf.insert(done.to_string(), "done");
    let blocked = story.submitted_as(&by_bea).await;
    shelf.insert(blocked.to_string(), "blocked");
    let later = story.submitted_as(&by_hand).await;
    shelf.insert(later.to_string(), "later");
    let drafting = story.submitted_as(&undrafted).await;
    shelf.insert(drafting.to_string(), "drafting");
    let refused = story.submitted(Mode::Autonomous, &faulty()).await;
    shelf.insert(refused.to_string(), "refused");
    let cancelled = story.submitted(Mode::Assist, &echo()).await;
    story.cancel(cancelled).await;
    shelf.insert(cancelled.to_string(), "cancelled");
    shelf
}

fn names<'a>(list: &Value, shelf: &BTreeMap<String, &'a str>) -> BTreeSet<&'a str> {
    let items = list["items"].as_array().unwrap();
    assert_eq!(list["total"], items.len());
    items
        .iter()
        .map(|item| shelf[item["executionId"].as_str().unwrap()])
        .collect()
}

/// It is completed as one that ran is; only its mode says that nothing of it did.
#[tokio::test]
async fn what_was_only_observed_is_told_from_what_ran() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let ran = world.story.submitted(Mode::Autonomous, &echo()).await;
    let observed = world.story.submitted(Mode::Observe, &echo()).await;
    let waits = world.story.submitted(Mode::Assist, &echo()).await;
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let end = world.story.end().await;
    let told = async |query: &str| -> Vec<(String, String, String)> {
        let list = caller
            .ok(&format!("/v1/executions?atLeast={end}{query}"))
            .await;
        let text = |item: &Value, member: &str| item[member].as_str().unwrap().to_owned();
        let items = list["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| {
                (
                    text(item, "executionId"),
                    text(item, "status"),
                    text(item, "mode"),
                )
            })
            .collect()
    };
    let of = |id: contracts::ids::ExecutionId, status: &str, mode: &str| {
        (id.to_string(), status.to_owned(), mode.to_owned())
    };
    let (ran, observed, waits) = (
        of(ran, "completed", "autonomous"),
        of(observed, "completed", "observe"),
        of(waits, "blocked", "assist"),
    );
    assert_eq!(
        told("").await,
        [waits.clone(), observed.clone(), ran.clone()]
    );
    assert_eq!(told("&mode=observe").await, std::slice::from_ref(&observed));
    assert_eq!(
        told("&status=completed&mode=autonomous,assist").await,
        [ran]
    );
    let got = caller.ok(&format!("/v1/executions/{}", observed.0)).await;
    assert_eq!(got["execution"]["mode"], "observe");
    let answer = caller.get("/v1/executions?mode=asleep").await;
    Caller::refused(&answer, 400, "INVALID_INPUT");
    projector.stop().await;
}

#[tokio::test]
async fn each_filter_finds_what_fits_and_nothing_else() {
    let world = World::new();
    let shelf = shelf(&world).await;
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let end = world.story.end().await;
    let everything = caller.ok(&format!("/v1/executions?atLeast={end}")).await;
    assert_eq!(
        names(&everything, &shelf),
        shelf.values().copied().collect()
    );
    for (query, expected) in [
        ("status=completed", "done"),
        ("statuses=completed", "done"),
        ("statuses=completed,failed", "done cancelled"),
        ("statuses=completed&statuses=rejected", "done refused"),
        ("status=blocked&statuses=failed", "blocked cancelled"),
        ("verdict=autonomous", "done"),
        ("verdict=assist", "blocked later cancelled"),
        ("verdict=autonomous,assist", "done blocked later cancelled"),
        ("verdict=blocked", ""),
        ("riskTier=low", "done blocked later cancelled"),
        ("riskTier=high", ""),
        ("skillKey=core.echo", "done blocked later cancelled"),
        ("skillKey=core.wait", ""),
        ("actorId=bea", "blocked"),
        ("actorId=sam", "done later drafting refused cancelled"),
        ("actorId=BEA", ""),
        ("channelKey=chat", "blocked"),
        ("channelKey=mail", "done drafting refused cancelled"),
        ("channelKey=http", ""),
        ("waitingFor=approval", "blocked"),
        ("waitingFor=start", "later"),
        ("waitingFor=draft", "drafting"),
        ("waitingFor=draft,start", "later drafting"),
        ("waitingFor=retry,completion,time,resume", ""),
        ("text=please", "later"),
        ("text=LATER%2C%20p", "later"),
        ("text=%C3%A4rger", "blocked"),
        ("text=100%25", "blocked"),
        ("text=100_", ""),
        ("text=1%25e", ""),
        ("text=sure_", "blocked"),
        ("text=sure%20", ""),
        ("text=c:%5Ctmp", "blocked"),
        ("text=alice@example.com", "done refused cancelled"),
        ("text=x'%20OR%20'1'='1", ""),
        (
            "status=blocked&verdict=assist&skillKey=core.echo&actorId=bea&text=ärger",
            "blocked",
        ),
        ("status=blocked&actorId=sam", ""),
    ] {
        let list = caller.ok(&format!("/v1/executions?{query}")).await;
        let expected: BTreeSet<&str> = expected.split_whitespace().collect();
        assert_eq!(names(&list, &shelf), expected, "{query}");
    }
    projector.stop().await;
}

#[tokio::test]
async fn a_span_of_time_has_its_beginning_and_not_its_end() {
    let world = World::new();
    let shelf = shelf(&world).await;
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let end = world.story.end().await;
    let list = caller.ok(&format!("/v1/executions?atLeast={end}")).await;
    for (member, from, to) in [
        ("createdAt", "createdFrom", "createdTo"),
        ("updatedAt", "updatedFrom", "updatedTo"),
    ] {
        let mut instants: Vec<(String, &str)> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| {
                let at = item[member].as_str().unwrap().to_owned();
                (at, shelf[item["executionId"].as_str().unwrap()])
            })
            .collect();
        instants.sort();
        let (begin, until) = (&instants[1].0, &instants[4].0);
        let found = caller
            .ok(&format!("/v1/executions?{from}={begin}&{to}={until}"))
            .await;
        let expected: BTreeSet<&str> = instants[1..4].iter().map(|(_, name)| *name).collect();
        assert_eq!(names(&found, &shelf), expected, "{member}");
    }
    projector.stop().await;
}

/// All that is wrong, each where it stands.
#[tokio::test]
async fn what_is_wrong_with_a_filter_is_named_at_once() {
    let world = World::new();
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    for (input, paths) in [
        (
            json!({ "statuses": ["sleeping"], "verdict": "maybe", "createdFrom": "yesterday" }),
            ["/createdFrom", "/statuses", "/verdict"].as_slice(),
        ),
        (json!({ "statuses": [] }), &["/statuses"]),
        (json!({ "waitingFor": "godot" }), &["/waitingFor"]),
        (json!({ "riskTier": 7 }), &["/riskTier"]),
        (json!({ "skillKey": "Not A Key" }), &["/skillKey"]),
        (
            json!({ "limit": 0, "text": "", "cursor": "?", "offset": 1 }),
            &["/cursor", "/limit", "/offset", "/text"],
        ),
        (json!({ "text": "x".repeat(201) }), &["/text"]),
    ] {
        let answer = caller.post("execution.list", &input).await;
        Caller::refused(&answer, 400, "INVALID_INPUT");
        let findings = answer.1["findings"].as_array().unwrap();
        let mut found: Vec<&str> = findings
            .iter()
            .map(|finding| finding["path"].as_str().unwrap())
            .collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, paths, "{input}: {findings:#?}");
    }
    let asleep = json!({ "status": "sleeping" });
    let (_, answer) = caller.post("execution.list", &asleep).await;
    let message = answer["findings"][0]["message"].as_str().unwrap();
    for status in ["received", "completed", "blocked", "corrupt"] {
        assert!(message.contains(&format!("`{status}`")), "{message}");
    }
    projector.stop().await;
}
