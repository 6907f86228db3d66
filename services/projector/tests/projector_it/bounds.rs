//! What readers of feeds may take, together and each: memory, the read model's time, and turns to
//! read what was.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use contracts::{
    event::{EventName, Service},
    plan::Mode,
    position::{Positions, StreamId},
    record::Recorded,
    subject::AggregateId,
    time::Timestamp,
};
use host::metrics::Metrics;
use journal::{Journal as _, history::Read};
use policy::shipped::default_bundle;
use projector::{
    database::{
        Database,
        read::{
            Reader,
            events::{LOOKED_AT_MAX, Wanted},
        },
    },
    feed::{
        Feeds,
        page::Page,
        places::Places,
        watch::{FellBehind, Told, Watches},
    },
};
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use tokio::io::AsyncReadExt as _;

use super::{
    engines::principal,
    feeds::{slow_reader, slow_reader_as},
    story::{Story, echo, workspace},
    world::{AUDITOR, Caller, READER, STRANGER, VOTER, World},
};

const MIB: usize = 1024 * 1024;

/// One event of each of so many executions.
async fn received(story: &Story, executions: usize) -> Vec<(AggregateId, Recorded)> {
    let mut received = Vec::new();
    for _ in 0..executions {
        let (id, _) = story.received(Mode::Autonomous, &echo()).await;
        let aggregate = story.aggregate(id);
        let history = story.history(&aggregate).await;
        received.push((aggregate, history[0].clone()));
    }
    received
}

fn send(watches: &Watches, recorded: &Recorded, bytes: usize) {
    watches.send(&Arc::new(Told {
        position: contracts::position::Position {
            stream: StreamId::Log(0),
            sequence: 1,
        },
        recorded: recorded.clone(),
        standing: None,
        before: Arc::new(Positions::beginning()),
        weight: watches.weight(bytes),
    }));
}

#[tokio::test]
async fn who_does_not_read_is_let_go_by_the_bytes_that_wait() {
    let world = World::new();
    let (aggregate, recorded) = received(&world.story, 1).await.remove(0);
    let watches = Watches::default();
    let mut reads = watches.of_execution(&aggregate);
    let mut does_not = watches.of_execution(&aggregate);
    for _ in 0..9 {
        send(&watches, &recorded, MIB);
        assert!(reads.next().await.is_ok());
    }
    assert_eq!(does_not.next().await.err(), Some(FellBehind));
    // One that is larger than all that may wait is told all the same.
    send(&watches, &recorded, 30 * MIB);
    assert!(reads.next().await.is_ok());
    // Few bytes, and too many events.
    for _ in 0..2_000 {
        send(&watches, &recorded, 1);
    }
    assert_eq!(reads.next().await.err(), Some(FellBehind));
}

#[tokio::test]
async fn what_waits_for_all_together_is_bounded_and_who_has_the_most_to_read_goes_first() {
    let world = World::new();
    let executions = received(&world.story, 13).await;
    let watches = Watches::default();
    let mut readers: Vec<_> = executions
        .iter()
        .map(|(aggregate, _)| watches.of_execution(aggregate))
        .collect();
    // Of one workspace, all of them: what waits for two counts once.
    for (index, (_, recorded)) in executions.iter().enumerate() {
        for _ in 0..(if index == 5 { 6 } else { 5 }) {
            send(&watches, recorded, MIB);
        }
    }
    let mut behind = Vec::new();
    for (index, reader) in readers.iter_mut().enumerate() {
        if reader.next().await.is_err() {
            behind.push(index);
        }
    }
    assert_eq!(behind, [5]);
}

#[tokio::test]
async fn an_event_that_two_wait_for_counts_once() {
    let world = World::new();
    let (aggregate, recorded) = received(&world.story, 1).await.remove(0);
    let watches = Watches::default();
    let mut readers: Vec<_> = (0..100)
        .map(|_| watches.of_workspace(&workspace()))
        .collect();
    readers.push(watches.of_execution(&aggregate));
    for _ in 0..5 {
        send(&watches, &recorded, MIB);
    }
    for reader in &mut readers {
        assert!(reader.next().await.is_ok());
    }
}

#[tokio::test]
async fn an_event_that_nobody_waits_for_weighs_nothing() {
    let world = World::new();
    let executions = received(&world.story, 2).await;
    let (read, unread) = (&executions[0], &executions[1]);
    let watches = Watches::default();
    let mut reader = watches.of_execution(&read.0);
    send(&watches, &read.1, MIB);
    send(&watches, &unread.1, 100 * MIB);
    assert!(reader.next().await.is_ok());
}

/// In one batch, as long as it reads.
#[tokio::test]
async fn a_large_event_after_a_small_one_finds_its_reader_ready() {
    let world = World::new();
    let (aggregate, recorded) = received(&world.story, 1).await.remove(0);
    let feeds = Feeds::default();
    let mut reader = feeds.watches.of_execution(&aggregate);
    let reading = tokio::spawn(async move {
        for _ in 0..3 {
            reader.next().await?;
        }
        Ok::<_, FellBehind>(())
    });
    // So that it waits.
    tokio::task::yield_now().await;
    let stream = world.journal.stream_count().stream_of(&aggregate);
    let mut entries = Vec::new();
    for _ in 0..3 {
        entries.extend(world.journal.read(stream, 0, 1).await.unwrap());
    }
    assert_eq!(entries[0].recorded.as_ref().unwrap().id(), recorded.id());
    entries[1].raw.payload = vec![0; 9 * MIB].into();
    feeds
        .publish(entries, vec![None; 3], Positions::beginning())
        .await;
    assert_eq!(reading.await.unwrap(), Ok(()));
}

/// Rows of the workspace that nobody asks for, after what is there.
async fn padded(world: &World, stream: StreamId, rows: u32) {
    // So that it goes on after them.
    let projector = world.projector().await;
    let end = world.story.end().await;
    let caller = projector.caller(READER);
    caller.ok(&format!("/v1/executions?atLeast={end}")).await;
    projector.stop().await;
    let url = format!("sqlite://{}", world.database().display());
    let mut database = SqliteConnection::connect(&url).await.unwrap();
    let insert = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
         INSERT INTO events (ordinal, stream, sequence, subject, workspace, kind, aggregate, \
         version, event, headers, payload, status) \
         SELECT (SELECT MAX(ordinal) FROM events) + i, '{}', 1000000 + i, '', 'acme', \
         'execution', 'none', i, 'execution.step.started', '[]', x'00', 'running' FROM n",
        stream.name()
    );
    sqlx::query(AssertSqlSafe(insert))
        .execute(&mut database)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_page_looks_at_so_many_events_and_says_how_far_it_has_looked() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    world.story.submitted(Mode::Autonomous, &echo()).await;
    padded(&world, StreamId::Log(0), 2 * LOOKED_AT_MAX + 5).await;

    let url = format!("sqlite://{}", world.database().display());
    let readers = Database::open(&url).await.unwrap().readers;
    let reader = Reader::new(readers, world.story.journal.streams());
    for aggregate in [None, Some("none".to_owned())] {
        let wanted = Wanted {
            workspace: workspace(),
            events: [EventName::HoldPlaced].into(),
            aggregate,
            statuses: None,
        };
        let mut place = reader.place_after(&Positions::beginning()).await.unwrap();
        let mut looked_at = Vec::new();
        let pages = loop {
            let page = reader.events(&wanted, place).await.unwrap();
            assert!(page.events.is_empty());
            assert!(page.place > place);
            place = page.place;
            if page.end.is_some() {
                assert_eq!(page.looked_at, None);
                break looked_at.len() + 1;
            }
            looked_at.push(page.looked_at.unwrap().sequence);
        };
        assert_eq!(pages, 3, "{looked_at:?}");
        assert!(looked_at[0] < looked_at[1], "{looked_at:?}");
    }
}

/// Full pages, each of which would count them anew from where it begins.
#[tokio::test]
async fn how_far_pages_look_is_kept_until_one_has_come_there() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    padded(&world, StreamId::Log(0), 2 * LOOKED_AT_MAX + 5).await;
    let url = format!("sqlite://{}", world.database().display());
    let readers = Database::open(&url).await.unwrap().readers;
    let reader = Reader::new(readers, world.story.journal.streams());
    let wanted = Wanted {
        workspace: workspace(),
        events: [EventName::StepStarted].into(),
        aggregate: Some("none".to_owned()),
        statuses: None,
    };
    let mut place = reader.place_after(&Positions::beginning()).await.unwrap();
    let mut looked_at = Vec::new();
    loop {
        let page = reader.events(&wanted, place).await.unwrap();
        place = page.place;
        looked_at.extend(page.looked_at.map(|position| position.sequence));
        if page.end.is_some() {
            break;
        }
    }
    let portion = u64::from(LOOKED_AT_MAX);
    assert_eq!(looked_at, [1_000_000 + portion, 1_000_000 + 2 * portion]);
}

#[tokio::test]
async fn who_asks_for_what_is_rare_hears_how_far_it_is() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let before = world.story.end().await;
    let id = world.story.submitted(Mode::Assist, &echo()).await;
    let own = world
        .journal
        .stream_count()
        .stream_of(&world.story.aggregate(id));
    let other = u8::from(own == StreamId::Log(0));
    padded(&world, StreamId::Log(other), 2 * LOOKED_AT_MAX + 5).await;
    let projector = world.projector().await;
    let path = format!("/v1/events?after={before}&type=execution.cancel.requested");
    let mut stream = slow_reader(&projector, &path).await;
    let (mut said, mut piece) = (String::new(), [0; 4096]);
    while said.matches(": heartbeat").count() < 2 {
        let read = stream.read(&mut piece).await.unwrap();
        assert!(read > 0, "the feed has ended: {said}");
        said.push_str(std::str::from_utf8(&piece[..read]).unwrap());
    }
    let mut ids = said.lines().filter_map(|line| line.strip_prefix("id: "));
    let first: Positions = ids.next().unwrap().parse().unwrap();
    let last: Positions = ids.next_back().unwrap().parse().unwrap();
    assert!(last.covers(&first) && last != first, "{said}");
    // And what it asks for, once it comes.
    world.story.cancel(id).await;
    while !said.contains("execution.cancel.requested") {
        let read = stream.read(&mut piece).await.unwrap();
        assert!(read > 0, "the feed has ended: {said}");
        said.push_str(std::str::from_utf8(&piece[..read]).unwrap());
    }
    projector.stop().await;
}

/// Readers that take nothing stand in the midst of what was.
#[tokio::test]
async fn who_reads_too_much_of_what_was_at_once_waits_and_others_do_not() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let long = world.story.long(600).await;
    let end = world.story.end().await;
    let of_one = format!("/v1/executions/{}/events", long.id);
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    caller.ok(&format!("/v1/executions?atLeast={end}")).await;
    let mut readers = Vec::new();
    for number in 0..16 {
        let path = if number % 2 == 0 {
            "/v1/events?after=v1"
        } else {
            of_one.as_str()
        };
        let mut stream = slow_reader(&projector, path).await;
        let mut said = [0; 64];
        stream.read_exact(&mut said).await.unwrap();
        assert!(said.starts_with(b"HTTP/1.1 200"), "{number}");
        readers.push(stream);
    }
    for path in ["/v1/events?after=v1", of_one.as_str()] {
        let response = caller.open(path, None).await.response;
        assert_eq!(response.status(), 429, "{path}");
        assert!(response.headers().contains_key("retry-after"));
        let answer: serde_json::Value = response.json().await.unwrap();
        let answer = (429, answer);
        Caller::refused(&answer, 429, "RATE_LIMITED");
        let detail = answer.1["detail"].as_str().unwrap();
        assert!(
            detail.contains("16 feeds") && detail.contains("one principal"),
            "{detail}"
        );
    }
    let mut other = projector.caller(AUDITOR).open(&of_one, None).await;
    assert!(other.next().await.is_some());
    // Those who go leave room.
    drop(readers);
    let limit = Duration::from_secs(20);
    let opens = async {
        loop {
            let mut feed = caller.open(&of_one, None).await;
            if feed.response.status() == 200 {
                return feed.next().await;
            }
        }
    };
    let opened = tokio::time::timeout(limit, opens).await;
    assert!(opened.expect("there is room again").is_some());
    projector.stop().await;
}

/// However slowly its readers read; and what is live takes no turn.
#[tokio::test]
async fn a_workspace_whose_readers_take_nothing_leaves_turns_to_others() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let ours = world.story.long(600).await;
    let other = world.other_workspace();
    other.activate(&default_bundle()).await;
    let theirs = other.long(1).await;
    let end = other.end().await;
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    caller.ok(&format!("/v1/executions?atLeast={end}")).await;
    let path = format!("/v1/executions/{}/events", ours.id);
    let mut readers = Vec::new();
    for (name, count) in [(READER, 12), (AUDITOR, 12)] {
        for number in 0..count {
            let mut stream = slow_reader_as(&projector, name, &path).await;
            let mut said = [0; 12];
            stream.read_exact(&mut said).await.unwrap();
            assert_eq!(&said, b"HTTP/1.1 200", "{name} {number}");
            readers.push(stream);
        }
    }
    let response = projector.caller(VOTER).open(&path, None).await.response;
    assert_eq!(response.status(), 429);
    let answer: serde_json::Value = response.json().await.unwrap();
    let detail = answer["detail"].as_str().unwrap();
    assert!(
        detail.contains("24 feeds") && detail.contains("one workspace"),
        "{detail}"
    );
    let path = format!("/v1/executions/{}/events", theirs.id);
    let mut stranger = projector.caller(STRANGER).open(&path, None).await;
    assert!(stranger.next().await.is_some());
    for path in ["/v1/events".to_owned(), format!("/v1/events?after={end}")] {
        let live = projector.caller(VOTER).open(&path, None).await;
        assert_eq!(live.response.status(), 200, "{path}");
    }
    drop(readers);
    projector.stop().await;
}

#[tokio::test]
async fn what_comes_before_an_event_that_was_told_is_in_the_read_model() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let long = world.story.long(1).await;
    let other = world.story.submitted(Mode::Assist, &echo()).await;
    let end = world.story.end().await;
    let aggregate = world.story.aggregate(long.id);
    let other = world.story.aggregate(other);
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    caller.ok(&format!("/v1/executions?atLeast={end}")).await;
    projector.stop().await;
    let url = format!("sqlite://{}", world.database().display());
    let readers = Database::open(&url).await.unwrap().readers;
    let reader = Reader::new(readers, world.story.journal.streams());
    let history = world.journal.load(&aggregate, Read::Confirmed);
    let (mut before, history) = (None, history.await.unwrap());
    assert!(history.len() > 2);
    for (position, recorded) in history {
        let found = reader.head_before(&aggregate, position).await.unwrap();
        assert_eq!(found, before);
        before = Some(recorded.head());
        // Of another one, it says nothing.
        let found = reader.head_before(&other, position).await.unwrap();
        assert_eq!(found, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_not_taken_is_let_go_of_and_others_have_its_turn() {
    let places = Arc::new(Places::default());
    let metrics = Metrics::new(Service::Projector, Timestamp::from_millis(0));
    let Ok(place) = places.take(&principal("ann"), &metrics) else {
        panic!("there is a place");
    };
    let mut pages = Vec::new();
    for _ in 0..16 {
        let turn = place.first_turn().await.ok().unwrap();
        pages.push(Page::new([1, 2].into(), turn));
    }
    assert!(place.first_turn().await.is_err());
    // Once all of it is told, there is a turn.
    let mut told = pages.remove(0);
    for next in [Some(1), Some(2)] {
        assert_eq!(told.pop(), Ok(next));
        assert!(place.first_turn().await.is_err());
    }
    assert_eq!(told.pop(), Ok(None));
    drop(place.first_turn().await.ok().unwrap());
    // And all have one once those who take nothing have had their time.
    let half = pages[0].pop();
    assert_eq!(half, Ok(Some(1)));
    tokio::time::sleep(Duration::from_secs(30)).await;
    let mut turns = Vec::new();
    for _ in 0..16 {
        turns.push(place.first_turn().await.ok().unwrap());
    }
    for page in &mut pages {
        assert_eq!(page.pop(), Err(FellBehind));
    }
    assert_eq!(told.pop(), Ok(None));
}

/// From any place of a history of many pages, nothing is left out and nothing comes twice.
#[tokio::test]
async fn a_long_history_is_told_page_by_page_from_wherever_its_reader_is() {
    let world = World::new();
    world.story.activate(&default_bundle()).await;
    let mut long = world.story.long(300).await;
    let id = long.id.to_string();
    let aggregate = world.story.aggregate(long.id);
    let ids: Vec<String> = world
        .story
        .history(&aggregate)
        .await
        .iter()
        .map(|recorded| recorded.id().to_string())
        .collect();
    let projector = world.projector().await;
    let caller = projector.caller(READER);
    let mut feed = caller.watch(&id, None).await;
    let events = feed.some(ids.len()).await;
    let mut feeds = vec![feed];
    let mut told = String::new();
    for (index, (_, event)) in events.iter().enumerate() {
        assert_eq!(event["id"], ids[index].as_str());
        write!(told, "{} ", event["sequence"]).unwrap();
    }
    for from in [0, 62, 63, 64, 127, 128, 200, ids.len() - 2, ids.len() - 1] {
        let mut feed = caller.watch(&id, Some(&events[from].0)).await;
        let rest = feed.some(ids.len() - from - 1).await;
        assert_eq!(rest, events[from + 1..], "from {from}");
        feeds.push(feed);
    }
    // They are live now, and none has anything left but what is new.
    long.goes_on().await;
    let history = world.story.history(&aggregate).await;
    let new = &history[ids.len()..];
    assert!(!new.is_empty());
    for feed in &mut feeds {
        let told = feed.some(new.len()).await;
        for ((_, event), recorded) in told.iter().zip(new) {
            assert_eq!(event["id"], recorded.id().to_string());
        }
    }
    projector.stop().await;
}
