//! The feed of a workspace.

use std::time::Duration;

use contracts::{plan::Mode, position::Positions};
use policy::shipped::default_bundle;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use super::{
    feeds::slow_reader,
    story::{TEXT, chained, echo, faulty},
    world::{AUDITOR, Caller, NOBODY, ODD, READER, STRANGER, World},
};

const ALL: &str = "/v1/events?after=v1";

/// Every event of the workspace as the log has it, stream by stream.
async fn in_the_log(world: &World) -> Vec<(String, u64, String)> {
    let mut events = Vec::new();
    for stream in world.story.journal.streams() {
        let entries = world.story.journal.read(stream, 0, 10_000).await.unwrap();
        for entry in entries {
            let recorded = entry.recorded.unwrap();
            if recorded.subject.aggregate.workspace() == &world.story.workspace {
                events.push((
                    stream.name(),
                    entry.position.sequence,
                    recorded.id().to_string(),
                ));
            }
        }
    }
    events.sort();
    events
}

fn told(events: &[(String, Value)]) -> Vec<(String, u64, String)> {
    let text = |event: &Value, member: &str| event[member].as_str().unwrap().to_owned();
    let mut told: Vec<_> = events
        .iter()
        .map(|(_, event)| {
            let sequence = text(event, "sequence").parse().unwrap();
            (text(event, "stream"), sequence, text(event, "id"))
        })
        .collect();
    // In the order of each stream.
    let in_order = told.clone();
    told.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(told.is_sorted(), "{in_order:?}");
    told
}

async fn some_history(world: &World) {
    let story = &world.story;
    story.activate(&default_bundle()).await;
    let other = world.other_workspace();
    other.activate(&default_bundle()).await;
    for _ in 0..9 {
        story.submitted(Mode::Autonomous, &chained()).await;
        other.submitted(Mode::Autonomous, &echo()).await;
        story.submitted(Mode::Autonomous, &faulty()).await;
    }
}

#[tokio::test]
async fn from_the_beginning_it_tells_everything_of_the_workspace_once() {
    let world = World::new();
    some_history(&world).await;
    let log = in_the_log(&world).await;
    // More than a page.
    assert!(log.len() > 100, "{}", log.len());
    let projector = world.projector().await;
    let caller = projector.caller(AUDITOR);
    caller
        .ok(&format!(
            "/v1/executions?atLeast={}",
            world.story.end().await
        ))
        .await;
    let mut feed = caller.open(ALL, None).await;
    assert_eq!(feed.response.headers()["content-type"], "text/event-stream");
    let mut events = feed.some(log.len()).await;
    assert_eq!(told(&events), log);
    // Then what comes.
    world.story.submitted(Mode::Autonomous, &echo()).await;
    let more = in_the_log(&world).await.len() - log.len();
    events.extend(feed.some(more).await);
    assert_eq!(told(&events), in_the_log(&world).await);
    // From any event on, the rest, however it is asked for.
    for index in [0, 1, 63, 64, 65, events.len() - 2] {
        let rest = &events[index + 1..];
        let mut resumed = caller.open("/v1/events", Some(&events[index].0)).await;
        assert_eq!(told(&resumed.some(rest.len()).await), told(rest));
        let path = format!("/v1/events?after={}", events[index].0);
        let mut resumed = caller.open(&path, None).await;
        assert_eq!(told(&resumed.some(rest.len()).await), told(rest));
    }
    projector.stop().await;
}

#[tokio::test]
async fn without_a_position_it_tells_what_comes_from_then_on() {
    let world = World::new();
    some_history(&world).await;
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let end = world.story.end().await;
    caller.ok(&format!("/v1/executions?atLeast={end}")).await;
    let mut feed = caller.open("/v1/events", None).await;
    let begun: Positions = feed.begun().await.parse().unwrap();
    assert_eq!(begun, end);
    let (id, _) = world.story.received(Mode::Autonomous, &echo()).await;
    let (_, first) = feed.next().await.unwrap();
    assert_eq!(first["type"], "controlPlane.intent.received");
    assert_eq!(first["correlationid"], id.to_string());
    // What the two have read at the end is the same place.
    let other = world.other_workspace();
    other.submitted(Mode::Autonomous, &echo()).await;
    let (_, at) = world.story.received(Mode::Autonomous, &echo()).await;
    let (last, _) = feed.next().await.unwrap();
    let last: Positions = last.parse().unwrap();
    assert!(last.covers(&at) && last.covers(&begun));
    projector.stop().await;
}

#[tokio::test]
async fn what_does_not_fit_the_filters_is_left_out() {
    let world = World::new();
    some_history(&world).await;
    let id = world.story.submitted(Mode::Assist, &echo()).await;
    let projector = world.projector().await;
    let caller = projector.caller(AUDITOR);
    caller
        .ok(&format!(
            "/v1/executions?atLeast={}",
            world.story.end().await
        ))
        .await;
    let types = |events: &[(String, Value)]| -> Vec<String> {
        let of =
            |event: &Value| event["type"].as_str().unwrap()["controlPlane.".len()..].to_owned();
        events.iter().map(|(_, event)| of(event)).collect()
    };
    let one = format!("{ALL}&executionId={id}");
    let mut feed = caller.open(&one, None).await;
    let mut by_status = caller
        .open(&format!("{ALL}&status=completed,failed"), None)
        .await;
    let mut by_type = caller
        .open(
            &format!(
                "{ALL}&type=execution.step.*&type=controlPlane.plan.rejected&executionId={id}"
            ),
            None,
        )
        .await;
    let history = world.story.history(&world.story.aggregate(id)).await;
    let names: Vec<String> = history
        .iter()
        .map(|it| it.event.name().to_string())
        .collect();
    assert_eq!(types(&feed.some(history.len()).await), names);
    assert_eq!(types(&by_type.some(1).await), ["execution.step.blocked"]);
    assert_eq!(types(&by_status.some(9).await), ["execution.completed"; 9]);
    // Of what comes it is the same.
    world.story.submitted(Mode::Autonomous, &echo()).await;
    world.story.cancel(id).await;
    assert_eq!(
        types(&by_status.some(2).await),
        ["execution.completed", "execution.failed"]
    );
    assert_eq!(
        types(&feed.some(2).await),
        ["execution.cancel.requested", "execution.failed"]
    );
    projector.stop().await;
}

#[tokio::test]
async fn it_shows_no_more_than_its_reader_may_see() {
    let world = World::new();
    some_history(&world).await;
    let projector = world.projector().await;
    let end = world.story.end().await;
    let [auditor, reader, odd, stranger, nobody] =
        [AUDITOR, READER, ODD, STRANGER, NOBODY].map(|name| projector.caller(name));
    reader.ok(&format!("/v1/executions?atLeast={end}")).await;
    let log = in_the_log(&world).await;
    let events = reader.open(ALL, None).await.some(log.len()).await;
    for (_, event) in &events {
        let text = event.to_string();
        assert!(!text.contains(TEXT) && !text.contains("hello"), "{text}");
        assert_eq!(event["masked"], true);
        assert_eq!(event["workspace"], "acme");
    }
    let whole = auditor.open(ALL, None).await.some(log.len()).await;
    assert!(whole.iter().any(|(_, event)| event["data"]["text"] == TEXT));
    // Without the grants for policies and skills, what is the executions'.
    let of_executions = events
        .iter()
        .filter(|(_, event)| !event["type"].as_str().unwrap().contains(".policy."))
        .count();
    assert!(of_executions < events.len());
    let mut feed = odd.open(ALL, None).await;
    let shown = feed.some(of_executions).await;
    assert!(
        shown
            .iter()
            .all(|(_, event)| event["stream"] != "CONTROL_PLANE_CATALOGUE")
    );
    let (_, theirs) = stranger.open(ALL, None).await.next().await.unwrap();
    assert_eq!(theirs["workspace"], "other");
    let status = nobody.open(ALL, None).await.response.status();
    assert_eq!(status, 403);
    projector.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_all_findings() {
    let world = World::new();
    let (id, _) = world.story.received(Mode::Autonomous, &echo()).await;
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let answer = caller
        .get("/v1/events?type=plan.eaten&type=x.*&status=asleep&executionId=7&after=v0&colour=red")
        .await;
    Caller::refused(&answer, 400, "INVALID_INPUT");
    let findings = answer.1["findings"].as_array().unwrap();
    let mut paths: Vec<_> = findings
        .iter()
        .map(|it| it["path"].as_str().unwrap())
        .collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        [
            "/after",
            "/colour",
            "/executionId",
            "/status",
            "/type",
            "/type"
        ]
    );
    let of_one = format!("/v1/executions/{id}/events");
    for path in ["/v1/events", "/v1/approvals/events", &of_one] {
        for (token, status, code) in [
            ("garbage", 400, "INVALID_INPUT"),
            ("v1.09-1", 400, "INVALID_INPUT"),
            ("v1.00-ffff", 503, "POSITION_NOT_REACHED"),
        ] {
            let answer = caller.get(&format!("{path}?after={token}")).await;
            Caller::refused(&answer, status, code);
            let feed = caller.open(path, Some(token)).await;
            assert_eq!(feed.response.status(), status, "{path} {token}");
        }
        let (status, _) = caller
            .post(path.trim_start_matches("/v1/"), &Value::Null)
            .await;
        assert_eq!(status, 405, "{path}");
    }
    projector.stop().await;
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_let_go_and_goes_on_where_it_was() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let mut long = world.story.long(1).await;
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let before = world.story.end().await;
    caller.ok(&format!("/v1/executions?atLeast={before}")).await;
    let path = format!("/v1/events?after={before}");
    let mut stream = slow_reader(&projector, &path).await;
    let mut said = vec![0; 64];
    stream.read_exact(&mut said).await.unwrap();
    let mut end = long.goes_on().await;
    for _ in 0..900 {
        end = long.goes_on().await;
    }
    caller.ok(&format!("/v1/executions?atLeast={end}")).await;
    let reading = stream.read_to_end(&mut said);
    tokio::time::timeout(Duration::from_secs(20), reading)
        .await
        .expect("the feed ends")
        .unwrap();
    let said = String::from_utf8(said).unwrap();
    assert!(
        said.contains(": too slow: go on with `Last-Event-ID`"),
        "{}",
        said.len()
    );
    let ids: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .collect();
    let events = said
        .lines()
        .filter(|line| line.starts_with("data: "))
        .count();
    assert!((10..1800).contains(&events), "{events}");
    let mut rest = caller.open("/v1/events", ids.last().copied()).await;
    let rest = rest.some(1802 - events).await;
    let history = world.story.history(&world.story.aggregate(long.id)).await;
    let last = history.last().unwrap().id().to_string();
    assert_eq!(rest.last().unwrap().1["id"], last);
    let first = history[history.len() - rest.len()].id().to_string();
    assert_eq!(rest[0].1["id"], first);
    projector.stop().await;
}

/// Every path of the published description that is the projector's is served, feeds and health
/// among them.
#[tokio::test]
async fn what_is_described_is_served() {
    let world = World::new();
    let (id, _) = world.story.received(Mode::Autonomous, &echo()).await;
    let projector = world.projector().await;
    let caller = projector.caller(AUDITOR);
    let document = caller.ok("/openapi.json").await;
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let Some(described) = methods.get("get") else {
            continue;
        };
        let path = path.replace("{executionId}", &id.to_string());
        let answer = caller.open(&path, None).await.response;
        let status = answer.status().as_u16();
        let responses = described["responses"].as_object().unwrap();
        assert!(
            responses.contains_key(&status.to_string()),
            "{path}: {status}"
        );
        assert_ne!(status, 404, "{path}");
        let kind = answer.headers()["content-type"].to_str().unwrap();
        let content = &responses[&status.to_string()]["content"];
        assert!(content.get(kind).is_some(), "{path}: {kind}");
        asked += 1;
    }
    assert!(asked > 15, "{asked}");
    projector.stop().await;
}
