//! Reading from a position, following live, asking and answering.

use std::time::Duration;

use bytes::Bytes;
use contracts::{
    event::EventName,
    position::{Position, Positions, StreamId},
};
use futures::future::join_all;
use journal::{
    Journal,
    request::{Reply, Request, RequestError, skill_subject},
    tail::{Scope, TailError},
};
use uuid::Uuid;

use crate::{
    samples::{execution, history, sealed, skill, workspace},
    world::{World, nothing, soon},
};

/// Where the log ends now.
async fn end(journal: &dyn Journal) -> Positions {
    let mut end = Positions::beginning();
    for stream in journal.streams() {
        let sequence = journal.last_sequence(stream).await.unwrap();
        end.advance(Position { stream, sequence });
    }
    end
}

pub async fn reading_goes_on_from_a_position(world: &World) {
    let journal = world.journal().await;
    let aggregate = execution();
    let stream = journal.stream_count().stream_of(&aggregate);
    let before = journal.last_sequence(stream).await.unwrap();
    let events = history(&aggregate, 25);
    let written = journal.append_all(&events).await.unwrap();
    let mut after = before;
    let mut read = Vec::new();
    while read.len() < 25 {
        let page = journal.read(stream, after, 10).await.unwrap();
        assert!(page.len() <= 10);
        after = page.last().map_or(after, |entry| entry.position.sequence);
        read.extend(page);
    }
    let positions: Vec<_> = read.iter().map(|entry| entry.position).collect();
    assert_eq!(positions, written);
    let envelopes: Vec<_> = read
        .iter()
        .map(|entry| entry.raw.envelope().unwrap())
        .collect();
    assert_eq!(envelopes, events);
    assert_eq!(journal.last_sequence(stream).await.unwrap(), after);
    assert!(journal.read(stream, after, 10).await.unwrap().is_empty());
}

pub async fn what_is_read_and_followed_says_when_the_broker_stored_it(world: &World) {
    /// Servers of a test share one clock, and tell it to the millisecond.
    const PRECISION_MS: u64 = 1;
    let journal = world.journal().await;
    let from = end(&*journal).await;
    let aggregate = execution();
    let stream = journal.stream_count().stream_of(&aggregate);
    let scope = Scope::Aggregate(aggregate.clone());
    let mut tail = journal.tail(&from, scope).await.unwrap();
    let mut after = from.get(stream);
    for envelope in history(&aggregate, 3) {
        let before = world.now();
        journal.append(&envelope).await.unwrap();
        // A replica that answers may be behind.
        let read = loop {
            let read = journal.read(stream, after, 1).await.unwrap();
            if let Some(entry) = read.into_iter().next() {
                break entry;
            }
        };
        let stored_at = read.stored_at.unwrap();
        assert!(before.since_ms(stored_at) <= PRECISION_MS, "{stored_at}");
        assert!(
            stored_at.since_ms(world.now()) <= PRECISION_MS,
            "{stored_at}"
        );
        let followed = soon(tail.next()).await;
        assert_eq!(followed.position, read.position);
        assert_eq!(followed.stored_at, read.stored_at);
        after = read.position.sequence;
        world.pass(Duration::from_mins(1));
    }
}

pub async fn a_tail_shows_what_was_and_what_comes(world: &World) {
    let journal = world.journal().await;
    let from = end(&*journal).await;
    let (one, other) = (execution(), skill());
    let events = history(&one, 10);
    let before = journal.append_all(&events[..5]).await.unwrap();
    let mut tail = world
        .journal()
        .await
        .tail(&from, Scope::Everything)
        .await
        .unwrap();
    for position in before {
        assert_eq!(soon(tail.next()).await.position, position);
    }
    let mut after = journal.append_all(&events[5..]).await.unwrap();
    let (disabled, recorded) = sealed(&other, None, EventName::SkillDisabled, "");
    after.push(journal.append(&disabled).await.unwrap());
    let mut seen = Vec::new();
    while seen.len() < 6 {
        seen.extend(soon(tail.next_batch(4)).await);
    }
    let catalogue = seen
        .iter()
        .find(|entry| entry.position.stream == StreamId::Catalogue);
    assert_eq!(catalogue.unwrap().recorded.as_ref().unwrap(), &recorded);
    let mut positions: Vec<_> = seen.iter().map(|entry| entry.position).collect();
    // Streams have no order among each other.
    positions.sort();
    after.sort();
    assert_eq!(positions, after);
    nothing(world, tail.next()).await;
}

pub async fn a_stream_that_is_longer_than_what_is_taken_at_once_comes_whole_and_alone(
    world: &World,
) {
    const AGGREGATES: usize = 60;
    let journal = world.journal().await;
    let from = end(&*journal).await;
    let stream = journal.stream_count().stream_of(&execution());
    let appending = (0..AGGREGATES).map(|_| async {
        let aggregate = execution();
        let written = journal.append_all(&history(&aggregate, 25)).await.unwrap();
        written.into_iter().filter(|at| at.stream == stream)
    });
    let (other, _) = sealed(&skill(), None, EventName::SkillDisabled, "");
    journal.append(&other).await.unwrap();
    let written = join_all(appending).await.into_iter().flatten();
    let mut written: Vec<_> = written.collect();
    written.sort();
    let mut tail = journal.tail(&from, Scope::Stream(stream)).await.unwrap();
    let mut seen = vec![soon(tail.next()).await.position];
    for max in (1..).map(|it| it * 7) {
        if seen.len() == written.len() {
            break;
        }
        let batch = soon(tail.next_batch(max)).await;
        assert!(batch.len() <= max);
        seen.extend(batch.iter().map(|entry| entry.position));
    }
    assert_eq!(seen, written);
    nothing(world, tail.next()).await;
}

/// More of them wait than may be held, and none is lost.
pub async fn a_tail_holds_so_many_bytes_and_the_rest_waits_in_the_log(world: &World) {
    /// What a tail holds, with what is kept beside a payload.
    const HELD_BYTES_MAX: usize = 33 * 1024 * 1024;
    let journal = world.journal().await;
    let from = end(&*journal).await;
    let (aggregate, text) = (execution(), "x".repeat(1_500_000));
    let (mut head, mut written) = (None, Vec::new());
    for _ in 0..32 {
        let (envelope, recorded) = sealed(&aggregate, head.as_ref(), EventName::Paused, &text);
        written.push(journal.append(&envelope).await.unwrap());
        head = Some(recorded.head());
    }
    let scope = Scope::Aggregate(aggregate.clone());
    let mut tail = journal.tail(&from, scope).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < written.len() {
        let batch = soon(tail.next_batch(512)).await;
        let bytes: usize = batch.iter().map(|entry| entry.raw.bytes()).sum();
        let is_held_elsewhere = matches!(world, World::Memory(_));
        assert!(is_held_elsewhere || bytes <= HELD_BYTES_MAX, "{bytes}");
        seen.extend(batch.into_iter().map(|entry| entry.position));
    }
    assert_eq!(seen, written);
}

pub async fn a_tail_of_one_aggregate_shows_nothing_else(world: &World) {
    let journal = world.journal().await;
    let from = end(&*journal).await;
    let aggregate = execution();
    let scope = Scope::Aggregate(aggregate.clone());
    let mut tail = journal.tail(&from, scope.clone()).await.unwrap();
    let mut written = Vec::new();
    let events = history(&aggregate, 10);
    for envelope in &events {
        journal.append(&history(&execution(), 1)[0]).await.unwrap();
        written.push(journal.append(envelope).await.unwrap());
    }
    for position in &written {
        assert_eq!(soon(tail.next()).await.position, *position);
    }
    let mut later = journal.tail(&written[6].into(), scope).await.unwrap();
    for position in &written[7..] {
        assert_eq!(soon(later.next()).await.position, *position);
    }
}

pub async fn a_tail_beyond_the_end_is_refused(world: &World) {
    let journal = world.journal().await;
    let mut from = end(&*journal).await;
    from.advance(Position {
        stream: StreamId::Catalogue,
        sequence: from.get(StreamId::Catalogue) + 1,
    });
    let refused = journal
        .tail(&from, Scope::Stream(StreamId::Catalogue))
        .await;
    assert!(matches!(refused, Err(TailError::BeyondEnd { .. })));
}

pub async fn a_request_is_answered_by_one_of_those_who_serve(world: &World) {
    let name = format!("echo.{}", Uuid::new_v4());
    let subject = skill_subject(&workspace("acme"), &name);
    let journal = world.journal().await;
    let ask = |timeout| Request {
        subject: subject.clone(),
        headers: vec![("idempotency-key".to_owned(), "k1".to_owned())],
        payload: Bytes::from_static(b"hello"),
        timeout,
        apart: false,
    };
    let patience = Duration::from_secs(10);
    let nobody = journal.request(ask(patience)).await;
    assert!(matches!(nobody, Err(RequestError::NoResponders { .. })));

    let mut servers = Vec::new();
    for _ in 0..2 {
        servers.push(
            world
                .journal()
                .await
                .serve(&subject, "workers")
                .await
                .unwrap(),
        );
    }
    let serving = servers.into_iter().map(|mut requests| async move {
        let mut served = 0;
        while let Some(incoming) = requests.next().await {
            served += 1;
            let headers = incoming.headers.clone();
            let payload = incoming.payload.clone();
            if payload.as_ref() == b"hello" {
                incoming.respond(Reply { headers, payload }).await.unwrap();
            }
        }
        served
    });
    let serving = tokio::spawn(join_all(serving));
    // Interest reaches the other servers of a cluster a little later than its own.
    let answered = async {
        loop {
            match journal.request(ask(patience)).await {
                Ok(reply) => return reply,
                Err(RequestError::NoResponders { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let reply = soon(answered).await;
    assert_eq!(reply.payload.as_ref(), b"hello");
    assert_eq!(reply.headers, ask(patience).headers);
    let answers = join_all((0..50).map(|_| journal.request(ask(patience)))).await;
    assert!(answers.iter().all(Result::is_ok));

    let silent = Request {
        payload: Bytes::from_static(b"?"),
        ..ask(Duration::from_millis(200))
    };
    let silence = journal.request(silent).await;
    assert!(matches!(silence, Err(RequestError::Timeout { .. })));
    serving.abort();
}
