//! Readers on a broker while what they read goes from one tier to the other, and what that costs.

use std::sync::Arc;

use contracts::{event::EventName, position::Positions};
use futures::{StreamExt as _, future::join_all};
use journal::{history::Read, tail::Scope};

use crate::{
    archiver::{STREAM, archiver_of, run, written},
    archiving::{paged, write_on},
    samples::{execution, history, sealed},
    world::{WINDOW, World, soon},
};

/// What the broker is asked meanwhile, by anyone.
async fn asked(world: &World, doing: impl Future<Output = ()>) -> Vec<String> {
    let client = world.raw_client().await.unwrap();
    let mut requests = client.subscribe("$JS.API.>").await.unwrap();
    let [begin, end] = ["THE_BEGINNING", "THE_END"].map(|it| format!("$JS.API.STREAM.INFO.{it}"));
    // The broker knows of the subscription when it has answered.
    let _ = client.request(begin.clone(), "".into()).await.unwrap();
    doing.await;
    let _ = client.request(end.clone(), "".into()).await.unwrap();
    let mut asked = Vec::new();
    loop {
        let subject = soon(requests.next()).await.unwrap().subject.to_string();
        if subject == end {
            assert_eq!(asked.first(), Some(&begin));
            return asked.split_off(1);
        }
        asked.push(subject);
    }
}

/// Where all of an aggregate is live, what reads it asks for no more than without an archive.
#[tokio::test]
async fn what_is_live_is_read_without_asking_the_archive() {
    let world = World::one_server(1).await;
    let all = written(&world, 3).await;
    let archiver = archiver_of(&world).await;
    run(&archiver).await;
    let journal = world.journal().await;
    let aggregate = execution();
    let events = history(&aggregate, 3);
    let requests = asked(&world, async {
        for envelope in &events {
            journal.append(envelope).await.unwrap();
        }
        journal.load(&aggregate, Read::Nearest).await.unwrap();
        journal.load(&aggregate, Read::Confirmed).await.unwrap();
        journal.page(&aggregate, None).await.unwrap();
        let (position, head) = journal.head(&aggregate).await.unwrap().unwrap();
        journal.page(&aggregate, Some(&head)).await.unwrap();
        journal
            .read(STREAM, position.sequence - 3, 10)
            .await
            .unwrap();
        journal.read(STREAM, position.sequence, 10).await.unwrap();
        let scope = Scope::Aggregate(aggregate.clone());
        let mut tail = journal.tail(&position.into(), scope).await.unwrap();
        let (envelope, _) = sealed(&aggregate, Some(&head), EventName::Paused, "");
        journal.append(&envelope).await.unwrap();
        soon(tail.next()).await;
    });
    let requests = requests.await;
    let direct = "$JS.API.DIRECT.GET.CONTROL_PLANE_00";
    let leader = "$JS.API.STREAM.MSG.GET.CONTROL_PLANE_00";
    assert_eq!(
        requests,
        [
            direct, // near
            direct,
            leader, // confirmed
            direct,
            leader, // the page
            leader, // the head
            direct,
            leader, // after the last page
            direct,
            direct, // by sequence
            "$JS.API.STREAM.INFO.CONTROL_PLANE_00",
            "$JS.API.CONSUMER.CREATE.CONTROL_PLANE_00",
        ]
    );
    // Where it is archived, one question and one part are all there is beside.
    let old = all[0].0.clone();
    let requests = asked(&world, async {
        journal.load(&old, Read::Nearest).await.unwrap();
    });
    let info = "$JS.API.STREAM.INFO.CONTROL_PLANE_ARCHIVE";
    let part = "$JS.API.DIRECT.GET.CONTROL_PLANE_ARCHIVE";
    assert_eq!(requests.await, [direct, info, part]);
}

/// A reader that takes nothing for a while, while what it has yet to read is purged.
#[tokio::test]
async fn a_tail_that_falls_behind_a_purge_misses_nothing() {
    let world = World::one_server(1).await;
    let journal = world.journal().await;
    let aggregate = execution();
    let beginning = Positions::beginning();
    let everything = journal.tail(&beginning, Scope::Everything).await;
    let of_one = journal.tail(&beginning, Scope::Aggregate(aggregate.clone()));
    let mut tails = [everything.unwrap(), of_one.await.unwrap()];
    // More than a tail and its connection hold for who does not read.
    let text = "x".repeat(200_000);
    let (mut head, mut written) = (None, Vec::new());
    for _ in 0..400 {
        let (envelope, recorded) = sealed(&aggregate, head.as_ref(), EventName::Paused, &text);
        written.push(journal.append(&envelope).await.unwrap());
        head = Some(recorded.head());
    }
    write_on(&*journal, STREAM, 17).await;
    let archiver = archiver_of(&world).await;
    assert!(run(&archiver).await >= written[399].sequence);
    for tail in &mut tails {
        for position in &written {
            assert_eq!(soon(tail.next()).await.position, *position);
        }
    }
}

/// Readers at work while windows are sealed and purged below them.
#[tokio::test]
async fn reading_and_purging_at_once_gives_whole_histories() {
    let world = World::one_server(1).await;
    let all = Arc::new(written(&world, 24).await);
    let readers = (0..3).map(|reader| {
        let all = Arc::clone(&all);
        let world = &world;
        async move {
            let journal = world.journal().await;
            for round in 0..4 {
                for (aggregate, positions) in all.iter().skip((reader + round) % 3) {
                    let loaded = journal.load(aggregate, Read::Confirmed).await.unwrap();
                    let loaded: Vec<_> = loaded.into_iter().map(|(position, _)| position).collect();
                    assert_eq!(loaded, *positions);
                    assert_eq!(paged(&*journal, aggregate).await, *positions);
                }
            }
        }
    });
    let archiving = async {
        let archiver = archiver_of(&world).await;
        run(&archiver).await
    };
    let (purged, _) = tokio::join!(archiving, join_all(readers));
    assert_eq!(purged, 24 * WINDOW.get());
    let beginning = Positions::beginning();
    let journal = world.journal().await;
    let mut tail = journal.tail(&beginning, Scope::Everything).await.unwrap();
    for sequence in 1..=purged {
        assert_eq!(soon(tail.next()).await.position.sequence, sequence);
    }
}
