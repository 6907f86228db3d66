//! What is wrong with a log, or with a read model, and what becomes of it.

use std::os::unix::fs::PermissionsExt as _;

use contracts::{
    event::Event,
    events::{
        RULES,
        intake::{CancelRequested, Paused},
    },
    ids::{ExecutionId, RunId},
    plan::Mode,
    position::{Position, Positions, StreamId},
    record::{Cause, seal},
    subject::AggregateId,
};
use journal::{Journal as _, stored::Raw};
use policy::shipped::default_bundle;
use serde_json::Value;
use sqlx::{Connection as _, SqliteConnection};

use super::{
    story::{actor, echo},
    world::{Caller, READER, World},
};

async fn count(world: &World, sql: &'static str) -> i64 {
    let url = format!("sqlite://{}", world.database().display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query_scalar(sql)
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

async fn incidents(world: &World, about: &str) -> Vec<(String, String)> {
    let aggregate = AggregateId::incident(world.story.workspace.clone(), about);
    let history = world.story.history(&aggregate).await;
    history
        .into_iter()
        .map(|recorded| {
            let Event::IncidentRaised(raised) = recorded.event else {
                panic!("{} is not an incident", recorded.subject);
            };
            (raised.code, raised.cause)
        })
        .collect()
}

/// An entry of the log as it is stored.
async fn stored(world: &World, aggregate: &AggregateId, version: u64) -> (StreamId, Raw) {
    let history = world
        .journal
        .load(aggregate, journal::history::Read::Confirmed)
        .await
        .unwrap();
    let (position, _) = history
        .into_iter()
        .find(|(_, recorded)| recorded.version() == version)
        .unwrap();
    let entries = world
        .journal
        .read(position.stream, position.sequence - 1, 1)
        .await
        .unwrap();
    (position.stream, entries.into_iter().next().unwrap().raw)
}

fn row(list: &Value, id: ExecutionId) -> Value {
    let id = id.to_string();
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .find(|item| item["executionId"] == id)
        .unwrap()
        .clone()
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_kept_said_and_passed_over() {
    let world = World::new();
    let story = &world.story;
    story.activate(&default_bundle()).await;
    let broken = story.submitted(Mode::Assist, &echo()).await;
    let aggregate = story.aggregate(broken);
    let (stream, mut raw) = stored(&world, &aggregate, 5).await;
    raw.subject = format!("{}.6.execution.approved", aggregate.prefix());
    raw.payload = vec![0xc1].into();
    world.journal.store_raw(stream, raw.clone());
    let sound = story.submitted(Mode::Autonomous, &echo()).await;

    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let path = format!("/v1/executions?atLeast={}", story.end().await);
    let list = caller.ok(&path).await;
    assert_eq!(row(&list, broken)["status"], "corrupt");
    assert_eq!(row(&list, sound)["status"], "completed");
    let (status, ready) = caller.get("/readyz").await;
    assert_eq!(status, 200, "{ready}");
    projector.stop().await;
    assert_eq!(
        count(
            &world,
            "SELECT COUNT(*) FROM events WHERE fault IS NOT NULL"
        )
        .await,
        1
    );
    assert_eq!(count(&world, "SELECT COUNT(*) FROM approvals").await, 0);
    let about = contracts::canonical::Digest::of(raw.subject.as_bytes()).to_string();
    let raised = incidents(&world, &about).await;
    assert_eq!(raised.len(), 1);
    assert_eq!(raised[0].0, "POISON_MESSAGE");
}

/// Its id would lead past what is missing.
#[tokio::test]
async fn an_event_that_does_not_follow_what_was_told_is_not_told() {
    let world = World::new();
    let story = &world.story;
    story.activate(&default_bundle()).await;
    let id = story.submitted(Mode::Assist, &echo()).await;
    let aggregate = story.aggregate(id);
    let history = story.history(&aggregate).await;
    let (stream, _) = stored(&world, &aggregate, 1).await;
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let mut feed = caller.watch(&id.to_string(), None).await;
    assert_eq!(feed.some(history.len()).await.len(), history.len());
    let mut head = history.last().unwrap().head();
    let mut envelopes = Vec::new();
    for _ in 0..2 {
        let event: Event = Paused {
            execution_id: id,
            run_id: RunId {
                execution: id,
                number: 1,
            },
            by: actor("ann", &[]),
            reason: None,
            paused_at: head.time,
            rules: RULES,
        }
        .into();
        let (writer, cause) = (event.name().writers()[0], Cause::default());
        let (envelope, recorded) =
            seal(&aggregate, Some(&head), event, writer, &cause, head.time).unwrap();
        head = recorded.head();
        envelopes.push(envelope);
    }
    world.journal.store_raw(stream, Raw::from(&envelopes[1]));
    assert_eq!(feed.all().await, []);
    projector.stop().await;
}

#[tokio::test]
async fn a_version_that_is_written_twice_is_an_incident() {
    let world = World::new();
    let story = &world.story;
    story.activate(&default_bundle()).await;
    let id = story.submitted(Mode::Assist, &echo()).await;
    let aggregate = story.aggregate(id);
    let (stream, mut raw) = stored(&world, &aggregate, 3).await;
    let (_, other) = stored(&world, &aggregate, 2).await;
    raw.subject = format!("{}.2.plan.compiled", aggregate.prefix());
    raw.payload = other.payload;
    raw.headers = other.headers;
    let at = world.journal.store_raw(stream, raw);
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let list = caller
        .ok(&format!("/v1/executions?atLeast={}", Positions::from(at)))
        .await;
    assert_eq!(row(&list, id)["status"], "corrupt");
    assert_eq!(row(&list, id)["errorCode"], "AGGREGATE_CORRUPT");
    let raised = incidents(&world, &id.to_string()).await;
    assert_eq!(
        raised,
        [(
            "LOG_FORKED".to_owned(),
            "version 2 was written twice".to_owned()
        )]
    );
    projector.stop().await;

    // Built anew, it finds the same, and says it once.
    std::fs::remove_dir_all(world.database().parent().unwrap()).unwrap();
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let again = caller
        .ok(&format!("/v1/executions?atLeast={}", Positions::from(at)))
        .await;
    assert_eq!(row(&again, id), row(&list, id));
    assert_eq!(incidents(&world, &id.to_string()).await.len(), 1);
    projector.stop().await;
}

/// Nothing is looked for of most executions that begin, and of this one something is stored.
#[tokio::test]
async fn a_first_version_that_is_written_again_after_the_end_is_an_incident() {
    let world = World::new();
    let story = &world.story;
    story.activate(&default_bundle()).await;
    let id = story.submitted(Mode::Autonomous, &echo()).await;
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let path = format!("/v1/executions?atLeast={}", story.end().await);
    assert_eq!(row(&caller.ok(&path).await, id)["status"], "completed");
    let (stream, raw) = stored(&world, &story.aggregate(id), 1).await;
    let at = world.journal.store_raw(stream, raw);
    let path = format!("/v1/executions?atLeast={}", Positions::from(at));
    assert_eq!(row(&caller.ok(&path).await, id)["status"], "corrupt");
    let raised = incidents(&world, &id.to_string()).await;
    assert_eq!(raised.len(), 1);
    assert_eq!(raised[0].0, "LOG_FORKED");
    projector.stop().await;
}

#[tokio::test]
async fn headers_are_kept_as_they_are_whatever_is_in_them() {
    let world = World::new();
    let story = &world.story;
    story.activate(&default_bundle()).await;
    let id = story.submitted(Mode::Assist, &echo()).await;
    let (stream, mut raw) = stored(&world, &story.aggregate(id), 1).await;
    raw.subject = "controlPlane.odd".to_owned();
    for (name, value) in [
        ("x-quoted", "a \"word\" and a \\"),
        ("x-lines", "one\ttwo\u{1}\u{7f}"),
        ("x-wide", "süß, \u{1f980}"),
        ("x-\"", ""),
    ] {
        raw.headers.push((name.to_owned(), value.to_owned()));
    }
    let at = world.journal.store_raw(stream, raw.clone());
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let path = format!("/v1/executions?atLeast={}", Positions::from(at));
    caller.ok(&path).await;
    projector.stop().await;
    let url = format!("sqlite://{}", world.database().display());
    let mut database = SqliteConnection::connect(&url).await.unwrap();
    let json: String = sqlx::query_scalar("SELECT headers FROM events WHERE fault IS NOT NULL")
        .fetch_one(&mut database)
        .await
        .unwrap();
    assert_eq!(json, serde_json::to_string(&raw.headers).unwrap());
}

#[tokio::test]
async fn an_event_that_is_illegal_in_its_state_is_an_incident() {
    let world = World::new();
    let (id, _) = world.story.received(Mode::Autonomous, &echo()).await;
    let paused = world
        .story
        .decide(id, |_, now| {
            vec![
                Paused {
                    execution_id: id,
                    run_id: RunId {
                        execution: id,
                        number: 1,
                    },
                    by: actor("ann", &[]),
                    reason: None,
                    paused_at: now,
                    rules: RULES,
                }
                .into(),
            ]
        })
        .await;
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let list = caller.ok(&format!("/v1/executions?atLeast={paused}")).await;
    assert_eq!(row(&list, id)["status"], "corrupt");
    let got = caller.ok(&format!("/v1/executions/{id}")).await;
    assert_eq!(got["execution"]["status"], "corrupt");
    assert_eq!(got["execution"]["failure"]["code"], "AGGREGATE_CORRUPT");
    let raised = incidents(&world, &id.to_string()).await;
    assert_eq!(raised.len(), 1);
    assert_eq!(raised[0].0, "AGGREGATE_CORRUPT");
    projector.stop().await;
}

#[tokio::test]
async fn a_newer_event_stops_the_read_model_before_it_and_readiness_says_why() {
    let world = World::new();
    let story = &world.story;
    let (id, before) = story.received(Mode::Autonomous, &echo()).await;
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let list = caller.ok(&format!("/v1/executions?atLeast={before}")).await;
    assert_eq!(list["total"], 1);

    let aggregate = story.aggregate(id);
    let (stream, mut raw) = stored(&world, &aggregate, 1).await;
    raw.subject = format!("{}.2.plan.dreamt", aggregate.prefix());
    let at = world.journal.store_raw(stream, raw);
    let answer = caller
        .get(&format!("/v1/executions?atLeast={}", Positions::from(at)))
        .await;
    Caller::refused(&answer, 503, "POSITION_NOT_REACHED");
    let reached: Positions = answer.1["position"].as_str().unwrap().parse().unwrap();
    assert!(reached.get(stream) < at.sequence);
    let (status, ready) = caller.get("/readyz").await;
    assert_eq!(status, 503);
    // Nobody had to say who asks: where it is, and nothing of whose it is.
    let why = ready["reasons"]["upgrade"].as_str().unwrap();
    let place = format!("at {} of `{}`", at.sequence, stream.name());
    assert!(why.contains("upgrade") && why.contains(&place), "{ready}");
    for whose in [id.to_string(), "acme".to_owned(), "dreamt".to_owned()] {
        assert!(!ready.to_string().contains(&whose), "{ready}");
    }
    projector.stop().await;
}

#[tokio::test]
async fn a_read_model_that_is_ahead_of_its_log_or_of_another_one_is_refused() {
    let first = World::new();
    let (_, position) = first.story.received(Mode::Autonomous, &echo()).await;
    let projector = first.projector().await;
    projector
        .caller(READER)
        .ok(&format!("/v1/executions?atLeast={position}"))
        .await;
    projector.stop().await;

    let empty = World::new();
    let error = empty.projector_at(&first.database()).await.err().unwrap();
    assert!(error.to_string().contains("ahead of the log"), "{error:#}");

    let other = World::new();
    for _ in 0..40 {
        other.story.received(Mode::Observe, &echo()).await;
    }
    let error = other.projector_at(&first.database()).await.err().unwrap();
    assert!(
        error.to_string().contains("made from another log"),
        "{error:#}"
    );
    let projector = first.projector().await;
    projector.stop().await;
}

#[tokio::test]
async fn two_projectors_on_one_database_do_not_both_go_on() {
    let world = World::new();
    let (mut first, mut second) = (world.projector().await, world.projector().await);
    let (id, _) = world.story.received(Mode::Autonomous, &echo()).await;
    let (ended, first_goes_on) = tokio::select! {
        ended = first.wait() => (ended, false),
        ended = second.wait() => (ended, true),
    };
    let other = if first_goes_on { first } else { second };
    let error = format!("{:#}", ended.unwrap_err());
    assert!(error.contains("run one projector per database"), "{error}");
    other.stop().await;
    assert_eq!(count(&world, "SELECT COUNT(*) FROM events").await, 1);
    assert_eq!(incidents(&world, &id.to_string()).await, []);
}

#[tokio::test]
async fn the_database_is_its_owners_alone() {
    let world = World::new();
    let projector = world.projector().await;
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&world.database()), 0o600);
    assert_eq!(mode(&world.database().with_extension("db-wal")), 0o600);
    assert_eq!(mode(world.database().parent().unwrap()), 0o700);
    projector.stop().await;
}

#[tokio::test]
async fn a_position_of_the_catalogue_alone_is_waited_for() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let projector = world.projector().await;
    let end = Position {
        stream: StreamId::Catalogue,
        sequence: 2,
    };
    let path = format!("/v1/skill.list?atLeast={}", Positions::from(end));
    projector.caller(READER).ok(&path).await;
    projector.stop().await;
    assert_eq!(
        count(
            &world,
            "SELECT COUNT(*) FROM policies WHERE status = 'active'"
        )
        .await,
        1
    );
}

/// What newer rules decided is not folded by older ones, in whatever way it is asked for.
#[tokio::test]
async fn what_newer_rules_decided_is_not_told_by_older_ones() {
    let world = World::new();
    let (id, _) = world.story.received(Mode::Autonomous, &echo()).await;
    world
        .story
        .decide(id, |_, now| {
            vec![
                CancelRequested {
                    execution_id: id,
                    by: actor("ann", &[]),
                    reason: None,
                    requested_at: now,
                    rules: RULES + 1,
                }
                .into(),
            ]
        })
        .await;
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    for path in ["", "/trace", "/events"] {
        let answer = caller.get(&format!("/v1/executions/{id}{path}")).await;
        Caller::refused(&answer, 503, "LOG_UNAVAILABLE");
    }
    projector.stop().await;
}

/// Whoever asks a read model that is being built would miss most of it.
#[tokio::test]
async fn it_is_ready_once_it_has_caught_up() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    world.projector().await.stop().await;
    world.story.submitted(Mode::Autonomous, &echo()).await;
    let end = world.story.end().await;
    // For a while nothing can be stored.
    let url = format!("sqlite://{}", world.database().display());
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    let hold = "CREATE TRIGGER held BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'held'); END";
    sqlx::query(hold).execute(&mut other).await.unwrap();
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let (status, ready) = caller.get("/readyz").await;
    assert_eq!(status, 503);
    assert!(ready["reasons"]["catching up"].is_string(), "{ready}");
    // What is there is served, with the position it reflects.
    let list = caller.ok("/v1/executions").await;
    assert_eq!(list["total"], 0);
    sqlx::query("DROP TRIGGER held")
        .execute(&mut other)
        .await
        .unwrap();
    let list = caller.ok(&format!("/v1/executions?atLeast={end}")).await;
    assert_eq!(list["total"], 1);
    let (status, ready) = caller.get("/readyz").await;
    assert_eq!(status, 200, "{ready}");
    projector.stop().await;
}
