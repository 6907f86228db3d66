//! Appends of concurrent writers that are committed together, on a broker that fsyncs each.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use contracts::{envelope::Envelope, event::EventName, position::Position};
use futures::future::join_all;
use journal::{
    Journal,
    append::AppendError,
    broker::Durability,
    history::Read,
    jetstream::{ConnectOptions, Fate, JetStreamJournal},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{
    samples::{execution, history, sealed},
    world::{World, soon},
};

/// Enough for a group, and few enough that a join polls them all before the group is made.
const WRITERS: usize = 20;

/// The sizes of the batches that a log with one stream has, in order. Each name is that of one
/// batch, of which everything is there, in its order.
pub async fn batches(world: &World) -> Vec<usize> {
    let client = world.raw_client().await.unwrap();
    let stream = async_nats::jetstream::new(client)
        .get_stream("CONTROL_PLANE_00")
        .await
        .unwrap();
    let mut batches = BTreeMap::<String, Vec<(u64, u64)>>::new();
    for sequence in 1..=stream.cached_info().state.last_sequence {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let header = |name| message.headers.get(name).map(ToString::to_string);
        if let Some(batch) = header("Nats-Batch-Id") {
            let number = header("Nats-Batch-Sequence").unwrap().parse().unwrap();
            batches.entry(batch).or_default().push((sequence, number));
        }
    }
    let mut sizes = Vec::new();
    for (name, members) in batches {
        let first = members[0].0;
        let whole = (first..).zip(1..).take(members.len()).collect::<Vec<_>>();
        assert_eq!(members, whole, "{name}");
        sizes.push((first, members.len()));
    }
    sizes.sort_unstable();
    sizes.into_iter().map(|(_, size)| size).collect()
}

/// The first event of so many executions.
fn firsts(count: usize) -> Vec<Envelope> {
    let mut events = (0..count).map(|_| history(&execution(), 1));
    events.by_ref().flatten().collect()
}

/// All at once: what was answered to each.
async fn append_at_once(
    journal: &dyn Journal,
    events: &[Envelope],
) -> Vec<Result<Position, AppendError>> {
    let appends = events.iter().map(|event| journal.append(event));
    soon(join_all(appends)).await
}

/// Of each event, that it is stored where it was said to be, and nothing else of its aggregate.
async fn stored(journal: &dyn Journal, event: &Envelope, position: Position) {
    let aggregate = &event.subject.aggregate;
    let found = journal.load(aggregate, Read::Confirmed).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|(position, _)| position).collect();
    assert_eq!(found, [position]);
}

/// Long enough for whoever was spawned before to have come to where it waits for others.
async fn gathered() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// While the broker is held up by one event, others gather behind it.
fn gathering(journal: &Arc<dyn Journal>, events: &[Envelope]) -> Vec<JoinHandle<Answer>> {
    let spawn = |event: &Envelope| {
        let (journal, event) = (Arc::clone(journal), event.clone());
        tokio::spawn(async move { journal.append(&event).await })
    };
    events.iter().map(spawn).collect()
}

type Answer = Result<Position, AppendError>;

#[tokio::test]
async fn what_comes_at_once_is_one_group_and_each_learns_its_own_place() {
    let world = World::one_server_that_fsyncs(1).await;
    let journal = world.journal().await;
    let events = firsts(WRITERS);
    let answers = append_at_once(&*journal, &events).await;
    for (event, answer) in events.iter().zip(answers) {
        stored(&*journal, event, answer.unwrap()).await;
    }
    assert_eq!(batches(&world).await, [WRITERS]);
}

#[tokio::test]
async fn a_group_holds_so_many_events_and_bytes_and_the_rest_is_in_the_next() {
    let world = World::one_server_that_fsyncs(1).await;
    let World::One { server, .. } = &world else {
        panic!("one server was asked for");
    };
    let journal = world.journal().await;
    // Ten of these are a little less than a mebibyte.
    let text = "x".repeat(100_000);
    let large = |_| sealed(&execution(), None, EventName::Paused, &text).0;
    let large: Vec<_> = (0..WRITERS).map(large).collect();
    // More than may wait, too.
    let many = firsts(1_200);
    for (events, sizes) in [(large, &[10, 10][..]), (many, &[512, 512, 176])] {
        let before = batches(&world).await.len();
        server.pause();
        let held_up = gathering(&journal, &firsts(1));
        gathered().await;
        let appends = gathering(&journal, &events);
        gathered().await;
        server.resume();
        let answers = join_all(held_up.into_iter().chain(appends));
        assert!(
            soon(answers)
                .await
                .into_iter()
                .all(|it| it.unwrap().is_ok())
        );
        assert_eq!(batches(&world).await[before..], *sizes);
    }
}

#[tokio::test]
async fn processes_never_use_a_name_twice() {
    let world = World::one_server_that_fsyncs(1).await;
    let journals = [world.journal().await, world.journal().await];
    for _ in 0..3 {
        let (one, other) = (firsts(WRITERS), firsts(WRITERS));
        let (some, others) = tokio::join!(
            append_at_once(&*journals[0], &one),
            append_at_once(&*journals[1], &other)
        );
        assert!(some.iter().chain(&others).all(Result::is_ok));
    }
    assert_eq!(batches(&world).await, [WRITERS; 6]);
}

#[tokio::test]
async fn of_a_group_that_is_refused_only_the_guilty_one_conflicts() {
    let world = World::one_server_that_fsyncs(1).await;
    let journal = world.journal().await;
    let mut events = firsts(WRITERS);
    let aggregate = &events[7].subject.aggregate;
    let (foreign, _) = sealed(aggregate, None, EventName::Paused, "another's");
    let before = world.journal().await.append(&foreign).await.unwrap();
    // Its own bytes are no reason to refuse it, and have the group refused all the same.
    let own = journal.append(&events[3]).await.unwrap();

    let mut answers = append_at_once(&*journal, &events).await;
    let guilty = answers.remove(7);
    assert!(matches!(guilty, Err(AppendError::Conflict { .. })));
    stored(&*journal, &events.remove(7), before).await;
    assert_eq!(*answers[3].as_ref().unwrap(), own);
    for (event, answer) in events.iter().zip(answers) {
        stored(&*journal, event, answer.unwrap()).await;
    }
    assert!(batches(&world).await.is_empty());

    // The next group is none the worse for it.
    let answers = append_at_once(&*journal, &firsts(WRITERS)).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(batches(&world).await, [WRITERS]);
}

/// The broker lets 50 batches of a stream be open.
#[tokio::test]
async fn where_the_broker_has_no_room_for_a_group_each_goes_alone() {
    let world = World::one_server_that_fsyncs(1).await;
    let journal = world.journal().await;
    let client = world.raw_client().await.unwrap();
    for (number, event) in firsts(50).iter().enumerate() {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Batch-Id", format!("never-ended-{number}"));
        headers.insert("Nats-Batch-Sequence", "1");
        let subject = event.subject.to_string();
        let opened = client.request_with_headers(subject, headers, "".into());
        assert!(opened.await.unwrap().payload.is_empty());
    }
    let events = firsts(WRITERS);
    let answers = append_at_once(&*journal, &events).await;
    for (event, answer) in events.iter().zip(answers) {
        stored(&*journal, event, answer.unwrap()).await;
    }
    assert!(batches(&world).await.is_empty());
}

#[tokio::test]
async fn who_does_nothing_with_its_turn_does_not_hold_up_the_others() {
    let world = World::one_server_that_fsyncs(1).await;
    let journal = world.journal().await;
    let events = firsts(2);
    let mut idle = journal.append(&events[0]);
    assert!(futures::poll!(&mut idle).is_pending());
    gathered().await;
    soon(journal.append(&events[1])).await.unwrap();
    soon(idle).await.unwrap();
}

#[tokio::test]
async fn two_events_of_one_aggregate_are_in_no_group_together() {
    let world = World::one_server_that_fsyncs(1).await;
    let journal = world.journal().await;
    // Two writers of one version; two events that follow each other; one event, sent twice.
    let (torn, long, twice) = (execution(), execution(), execution());
    let (one, _) = sealed(&torn, None, EventName::Paused, "one");
    let (other, _) = sealed(&torn, None, EventName::Paused, "other");
    let twice = history(&twice, 1);
    let mut events = vec![one, other];
    events.extend(history(&long, 2));
    events.extend([twice[0].clone(), twice[0].clone()]);
    events.extend(firsts(WRITERS - 6));

    let answers = append_at_once(&*journal, &events).await;
    assert!(answers[0].is_ok());
    assert!(matches!(answers[1], Err(AppendError::Conflict { .. })));
    assert!(answers[2..].iter().all(Result::is_ok));
    assert_eq!(
        answers[4].as_ref().unwrap(),
        answers[5].as_ref().unwrap(),
        "an event is stored once"
    );
    let found = journal.load(&long, Read::Confirmed).await.unwrap();
    assert_eq!(found.len(), 2);
    // The first of each two, and all others.
    assert_eq!(batches(&world).await, [WRITERS - 3]);
}

#[tokio::test]
async fn a_group_that_is_acknowledged_survives_kill_9() {
    let mut world = World::one_server_that_fsyncs(1).await;
    let journal = world.journal().await;
    let mut written = Vec::new();
    for _ in 0..3 {
        let events = firsts(WRITERS);
        let answers = append_at_once(&*journal, &events).await;
        let World::One { server, .. } = &mut world else {
            panic!("one server was asked for");
        };
        server.kill9().await;
        server.restart().await;
        written.extend(events.into_iter().zip(answers));
    }
    for (event, answer) in written {
        stored(&*journal, &event, answer.unwrap()).await;
    }
    assert_eq!(batches(&world).await, [WRITERS; 3]);
}

/// The group is given up before its answer comes; each of its events meets itself.
#[tokio::test]
async fn a_group_whose_answer_was_lost_is_found_to_be_stored() {
    let world = World::one_server_that_fsyncs(1).await;
    let World::One { server, .. } = &world else {
        panic!("one server was asked for");
    };
    let journal = world.journal().await;
    server.pause();
    let events = firsts(WRITERS);
    let appending = tokio::spawn({
        let (journal, events) = (Arc::clone(&journal), events.clone());
        async move { append_at_once(&*journal, &events).await }
    });
    sleep(Duration::from_millis(2_500)).await;
    server.resume();
    let answers = soon(appending).await.unwrap();
    for (event, answer) in events.iter().zip(answers) {
        stored(&*journal, event, answer.unwrap()).await;
    }
    assert_eq!(batches(&world).await, [WRITERS]);
}

/// Killed while it has a group before it, so that nobody knows; then there again.
#[tokio::test]
async fn a_group_that_the_broker_takes_down_with_it_is_stored_when_it_is_back() {
    let mut world = World::one_server_that_fsyncs(1).await;
    let journal = world.journal().await;
    let events = firsts(WRITERS);
    let World::One { server, .. } = &mut world else {
        panic!("one server was asked for");
    };
    server.pause();
    let appending = tokio::spawn({
        let (journal, events) = (Arc::clone(&journal), events.clone());
        async move { append_at_once(&*journal, &events).await }
    });
    gathered().await;
    server.kill9().await;
    server.restart().await;
    let answers = soon(appending).await.unwrap();
    for (event, answer) in events.iter().zip(answers) {
        stored(&*journal, event, answer.unwrap()).await;
    }
    let last = journal.last_sequence(journal.streams()[0]).await.unwrap();
    assert_eq!(last, WRITERS as u64);
}

#[tokio::test]
async fn who_comes_alone_goes_alone_and_at_once() {
    const APPENDS: usize = 200;
    let world = World::one_server_that_fsyncs(1).await;
    let World::One { server, count, .. } = &world else {
        panic!("one server was asked for");
    };
    let plain = crate::world::connect(&server.url(), *count).await;
    let gathering = world.journal().await;
    let mut took = Vec::new();
    for journal in [&plain, &gathering] {
        let began = Instant::now();
        for event in history(&execution(), APPENDS) {
            journal.append(&event).await.unwrap();
        }
        took.push(began.elapsed());
    }
    assert!(batches(&world).await.is_empty());
    // A wait of 20 ms would be seen, and a busy machine is not.
    assert!(
        took[1] < took[0] * 3 + Duration::from_secs(2),
        "plain {:?}, gathering {:?}",
        took[0],
        took[1]
    );
}

#[tokio::test]
async fn what_gathers_while_a_service_stops_is_stored_and_answered() {
    let world = World::one_server_that_fsyncs(1).await;
    let World::One { server, .. } = &world else {
        panic!("one server was asked for");
    };
    let (journal, reader) = (world.journal().await, world.journal().await);
    server.pause();
    let first = gathering(&journal, &firsts(1));
    gathered().await;
    let events = firsts(WRITERS);
    let appends = gathering(&journal, &events);
    gathered().await;
    let closing = tokio::spawn({
        let journal = Arc::clone(&journal);
        async move { journal.close().await }
    });
    gathered().await;
    server.resume();
    soon(closing).await.unwrap();
    for answer in soon(join_all(first)).await {
        answer.unwrap().unwrap();
    }
    for (event, answer) in events.iter().zip(soon(join_all(appends)).await) {
        stored(&*reader, event, answer.unwrap().unwrap()).await;
    }
    assert_eq!(batches(&world).await, [WRITERS]);
    // Who comes too late is answered too.
    soon(journal.append(&firsts(1)[0])).await.unwrap_err();
}

#[tokio::test]
async fn what_gathers_while_a_service_stops_is_answered_without_the_broker_too() {
    let world = World::one_server_that_fsyncs(1).await;
    let World::One { server, .. } = &world else {
        panic!("one server was asked for");
    };
    let journal = world.journal().await;
    server.pause();
    let first = gathering(&journal, &firsts(1));
    gathered().await;
    let appends = gathering(&journal, &firsts(WRITERS));
    gathered().await;
    soon(journal.close()).await;
    for answer in soon(join_all(first.into_iter().chain(appends))).await {
        answer.unwrap().unwrap_err();
    }
    server.resume();
}

#[tokio::test]
async fn who_counts_is_told_of_each_group_and_of_nothing_else() {
    let world = World::one_server_that_fsyncs(1).await;
    let World::One { server, count, .. } = &world else {
        panic!("one server was asked for");
    };
    let options = ConnectOptions::new(server.url(), "counted")
        .streams(*count)
        .durability(Durability::Disk);
    let journal = JetStreamJournal::connect(&options).await.unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    journal.tell_of_groups({
        let told = Arc::clone(&told);
        move |events, fate| told.lock().unwrap().push((events, fate))
    });
    let events = firsts(WRITERS);
    journal.append(&events[0]).await.unwrap();
    for events in [&events[..], &firsts(WRITERS), &firsts(2)] {
        let answers = append_at_once(&journal, events).await;
        assert!(answers.iter().all(Result::is_ok));
    }
    let writers = u32::try_from(WRITERS).unwrap();
    let expected = [(writers, Fate::Refused), (writers, Fate::Stored)];
    assert_eq!(*told.lock().unwrap(), expected);
}
