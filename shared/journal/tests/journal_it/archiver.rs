//! Sealing, verifying and purging: each stage twice, by several at once, and cut short.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use contracts::{
    event::EventName,
    position::{Position, StreamId},
    subject::AggregateId,
};
use futures::future::join_all;
use journal::{
    Journal,
    archive::{ArchiveError, Due, InvalidLiveWindow, LiveWindow, Purged, WindowSize},
    delivery::{ConsumerSpec, Message, on_executions},
    history::Read,
    jetstream::{Archiver, ConnectOptions},
};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{
    archiving::{execution_in, write_on},
    samples::{KINDS, execution, history, sealed},
    world::{WINDOW, World, archiver, live, soon},
};

pub const STREAM: StreamId = StreamId::Log(0);

fn url(world: &World) -> String {
    match world {
        World::Memory(_) => panic!("a broker was asked for"),
        World::One { server, .. } => server.url(),
        World::Three { cluster, .. } => cluster.url(),
    }
}

pub async fn archiver_of(world: &World) -> Archiver {
    archiver(&url(world), world.journal().await.stream_count()).await
}

/// Asks the broker as nobody in particular.
async fn ask(world: &World, operation: &str, request: Value) -> Value {
    let client = world.raw_client().await.unwrap();
    let request = if request.is_null() {
        String::new()
    } else {
        request.to_string()
    };
    let subject = format!("$JS.API.{operation}");
    let answer = client.request(subject, request.into()).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

async fn archived_messages(world: &World) -> u64 {
    let info = ask(world, "STREAM.INFO.CONTROL_PLANE_ARCHIVE", Value::Null).await;
    info["state"]["messages"].as_u64().unwrap()
}

/// As many executions of five events as fill some windows and one event more.
pub async fn written(world: &World, windows: u64) -> Vec<(AggregateId, Vec<Position>)> {
    let journal = world.journal().await;
    let mut all = Vec::new();
    while journal.last_sequence(STREAM).await.unwrap() <= windows * WINDOW.get() {
        let aggregate = execution_in(&*journal, STREAM);
        let positions = journal.append_all(&history(&aggregate, 5)).await.unwrap();
        all.push((aggregate, positions));
    }
    all
}

async fn all_is_there(journal: &dyn Journal, all: &[(AggregateId, Vec<Position>)]) {
    for (aggregate, positions) in all {
        let loaded = journal.load(aggregate, Read::Confirmed).await.unwrap();
        let loaded: Vec<_> = loaded.into_iter().map(|(position, _)| position).collect();
        assert_eq!(loaded, *positions);
    }
}

/// All stages of all windows that are due.
pub async fn run(archiver: &Archiver) -> u64 {
    let mut standing = archiver.standing(STREAM).await.unwrap();
    let due = async |index| archiver.due(STREAM, index, standing.last).await.unwrap();
    while due(standing.sealed).await == Due::Now {
        let sealing = archiver.open(STREAM, standing.sealed).await.unwrap();
        sealing.seal().await.unwrap();
        standing.sealed += 1;
    }
    for index in archiver.first_live(&standing)..standing.sealed {
        let verified = archiver.verify(STREAM, index).await.unwrap();
        let purged = archiver.purge(verified).await.unwrap();
        assert_eq!(purged, Purged::UpTo((index + 1) * WINDOW.get()));
    }
    archiver.standing(STREAM).await.unwrap().first - 1
}

#[tokio::test]
async fn a_window_sealed_again_is_sealed_once() {
    let world = World::one_server(1).await;
    written(&world, 2).await;
    let first = archiver_of(&world).await;
    for index in [0, 0, 1, 0] {
        first
            .open(STREAM, index)
            .await
            .unwrap()
            .seal()
            .await
            .unwrap();
    }
    let messages = archived_messages(&world).await;
    let second = archiver_of(&world).await;
    for index in [0, 1] {
        second
            .open(STREAM, index)
            .await
            .unwrap()
            .seal()
            .await
            .unwrap();
        assert!(second.verify(STREAM, index).await.is_ok());
    }
    assert_eq!(archived_messages(&world).await, messages);
    let standing = second.standing(STREAM).await.unwrap();
    assert_eq!(standing.sealed, 2);
    let Err(early) = second.open(STREAM, 3).await else {
        panic!("a window that is not full was opened");
    };
    assert!(matches!(early, ArchiveError::OutOfOrder { index: 3, .. }));
}

async fn several_at_once(world: &World) {
    let all = written(world, 4).await;
    let archivers = join_all((0..3).map(|_| archiver_of(world))).await;
    let running = archivers.iter().map(|archiver| async {
        for index in 0..4 {
            let sealing = archiver.open(STREAM, index).await.unwrap();
            sealing.seal().await.unwrap();
        }
    });
    join_all(running).await;
    let standing = archivers[0].standing(STREAM).await.unwrap();
    assert_eq!((standing.first, standing.sealed), (1, 4));
    for index in 0..4 {
        let verified = join_all(archivers.iter().map(|it| it.verify(STREAM, index))).await;
        let verified = verified.into_iter().map(Result::unwrap);
        let purging = verified
            .zip(&archivers)
            .map(|(it, archiver)| archiver.purge(it));
        for purged in join_all(purging).await {
            assert_eq!(purged.unwrap(), Purged::UpTo((index + 1) * WINDOW.get()));
        }
    }
    all_is_there(&*world.journal().await, &all).await;
}

#[tokio::test]
async fn several_archivers_at_once_seal_and_purge_the_same() {
    several_at_once(&World::one_server(1).await).await;
}

#[tokio::test]
async fn several_archivers_at_once_seal_and_purge_the_same_on_three_servers() {
    several_at_once(&World::three_servers(1).await).await;
}

/// What a killed archiver leaves behind, the next one takes up.
#[tokio::test]
async fn an_archiver_that_is_cut_short_anywhere_is_gone_on_from() {
    let world = World::one_server(1).await;
    let all = written(&world, 3).await;
    let journal = world.journal().await;
    // In the first window after each part, and all of them without a seal.
    for parts in 0..6 {
        let archiver = archiver_of(&world).await;
        let mut sealing = archiver.open(STREAM, 0).await.unwrap();
        let (stored, is_cut) = (AtomicUsize::new(0), Notify::new());
        let told = || {
            if stored.fetch_add(1, Ordering::Relaxed) + 1 == parts {
                is_cut.notify_one();
            }
        };
        if parts > 0 {
            tokio::select! {
                biased;
                () = is_cut.notified() => {}
                written = sealing.write_next(told) => assert!(written.unwrap()),
            }
        }
        drop(sealing);
        assert_eq!(archiver.standing(STREAM).await.unwrap().sealed, 0);
        all_is_there(&*journal, &all).await;
    }
    // Sealed and not verified; verified and not purged.
    let archiver = archiver_of(&world).await;
    archiver
        .open(STREAM, 0)
        .await
        .unwrap()
        .seal()
        .await
        .unwrap();
    drop(archiver);
    let archiver = archiver_of(&world).await;
    archiver.verify(STREAM, 0).await.unwrap();
    all_is_there(&*journal, &all).await;
    // Purged in the middle of a window, as by a broker that was killed while it did.
    archiver
        .open(STREAM, 1)
        .await
        .unwrap()
        .seal()
        .await
        .unwrap();
    let answer = ask(&world, "STREAM.PURGE.CONTROL_PLANE_00", json!({ "seq": 6 })).await;
    assert_eq!(answer["success"], json!(true));
    all_is_there(&*journal, &all).await;
    drop(archiver);
    let archiver = archiver_of(&world).await;
    assert_eq!(run(&archiver).await, 3 * WINDOW.get());
    all_is_there(&*journal, &all).await;
    let again = archived_messages(&world).await;
    assert_eq!(run(&archiver).await, 3 * WINDOW.get());
    assert_eq!(archived_messages(&world).await, again);
}

#[tokio::test]
async fn what_was_written_otherwise_is_found_and_nothing_is_purged() {
    let world = World::one_server(1).await;
    let all = written(&world, 2).await;
    let client = world.raw_client().await.unwrap();
    let prefix = all[0]
        .0
        .prefix()
        .replacen("controlPlane.", "cp.archive.", 1);
    let store = async |subject: String, bytes: &str| {
        let answer = client
            .request(subject, bytes.to_owned().into())
            .await
            .unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert!(answer.get("error").is_none(), "{answer}");
    };
    store(format!("{prefix}.1"), "something else").await;
    let archiver = archiver_of(&world).await;
    let forked = archiver.open(STREAM, 0).await.unwrap().seal().await;
    let Err(ArchiveError::Forked { subject }) = forked else {
        panic!("{forked:?}");
    };
    assert_eq!(subject, format!("{prefix}.1"));
    assert_eq!(archiver.standing(STREAM).await.unwrap().sealed, 0);
    assert!(archiver.verify(STREAM, 0).await.is_err());

    // A seal that says other things is found too.
    let world = World::one_server(1).await;
    written(&world, 2).await;
    let archiver = archiver_of(&world).await;
    archiver
        .open(STREAM, 0)
        .await
        .unwrap()
        .seal()
        .await
        .unwrap();
    let subject = "cp.sealed.CONTROL_PLANE_00";
    let seal = ask(
        &world,
        "STREAM.MSG.GET.CONTROL_PLANE_ARCHIVE",
        json!({ "last_by_subj": format!("{subject}.0") }),
    )
    .await;
    let seal = seal["message"]["data"].as_str().unwrap().to_owned();
    let client = world.raw_client().await.unwrap();
    let answer = client
        .request(format!("{subject}.1"), seal.into())
        .await
        .unwrap();
    assert!(!answer.payload.windows(7).any(|it| it == b"\"error\""));
    assert!(archiver.verify(STREAM, 1).await.is_err());
    let forked = archiver.open(STREAM, 1).await.unwrap().seal().await;
    assert!(matches!(forked, Err(ArchiveError::Forked { .. })));
    assert_eq!(archiver.standing(STREAM).await.unwrap().first, 1);
}

/// Nothing leaves the log that a service has not seen.
#[tokio::test]
async fn a_consumer_that_lags_or_is_missing_holds_up_the_purge() {
    let world = World::one_server(1).await;
    written(&world, 2).await;
    let journal = world.journal().await;
    let options = ConnectOptions::new(url(&world), "archiver");
    // As every projector has it.
    let archiver = Archiver::connect(&options, live(1)).await.unwrap();
    archiver
        .open(STREAM, 0)
        .await
        .unwrap()
        .seal()
        .await
        .unwrap();
    let purge = async || {
        let verified = archiver.verify(STREAM, 0).await.unwrap();
        archiver.purge(verified).await.unwrap()
    };
    let mut seen = BTreeSet::new();
    let mut standing = purge().await;
    for (service, purpose, event) in on_executions() {
        let spec = ConsumerSpec::events(service, purpose, [event]);
        let name = spec.name_for(event);
        let consumer = name.clone();
        let missing = Purged::Awaited {
            consumer,
            floor: None,
        };
        assert_eq!(standing, missing);
        let mut deliveries = journal.consume(spec).await.unwrap();
        standing = purge().await;
        while let Purged::Awaited {
            consumer,
            floor: Some(floor),
        } = &standing
        {
            assert_eq!(*consumer, name);
            assert!(*floor < WINDOW.get());
            let delivery = soon(deliveries.next()).await;
            let Message::Event { position, .. } = &*delivery.message else {
                panic!("it is no event");
            };
            delivery.handle.ack().await.unwrap();
            seen.insert(position.sequence);
            // An acknowledgement is sent, and not confirmed.
            soon(async {
                loop {
                    let info = format!("CONSUMER.INFO.CONTROL_PLANE_00.{name}");
                    let info = ask(&world, &info, Value::Null);
                    let floor = info.await["ack_floor"]["stream_seq"].as_u64();
                    if floor.unwrap() >= position.sequence {
                        return;
                    }
                }
            })
            .await;
            standing = purge().await;
        }
    }
    assert_eq!(standing, Purged::UpTo(WINDOW.get()));
    let wanted: Vec<_> = on_executions().map(|(_, _, event)| event).collect();
    for (sequence, kind) in (1..).zip(window_kinds()) {
        assert_eq!(seen.contains(&sequence), wanted.contains(&kind), "{kind}");
    }
}

/// Of the first window that [`written`] has written.
fn window_kinds() -> impl Iterator<Item = EventName> {
    let histories = std::iter::repeat_with(|| KINDS.into_iter().take(5)).flatten();
    histories.take(usize::try_from(WINDOW.get()).unwrap())
}

#[tokio::test]
async fn what_is_young_or_among_the_newest_stays_live() {
    let world = World::one_server(1).await;
    written(&world, 1).await;
    let options = ConnectOptions::new(url(&world), "archiver");
    let keeping = async |events, age| {
        let live = LiveWindow::try_new(events, age).unwrap();
        Archiver::heeding(&options, live, Vec::new()).await.unwrap()
    };
    let last = world.journal().await.last_sequence(STREAM).await.unwrap();
    let over = last - WINDOW.get();
    let many = keeping(over + 3, Duration::ZERO).await;
    let due = many.due(STREAM, 0, last).await.unwrap();
    assert_eq!(due, Due::AfterEvents(3));
    let old = keeping(1, Duration::from_hours(1)).await;
    let Due::AfterTime(left) = old.due(STREAM, 0, last).await.unwrap() else {
        panic!("it is not old");
    };
    let hour = Duration::from_hours(1);
    assert!(left <= hour && left > Duration::from_mins(59), "{left:?}");
    old.open(STREAM, 0).await.unwrap().seal().await.unwrap();
    let verified = old.verify(STREAM, 0).await.unwrap();
    let purged = old.purge(verified).await.unwrap();
    assert!(matches!(purged, Purged::StillLive(Due::AfterTime(_))));
    // One is purged after the one before it.
    written(&world, 2).await;
    let any = keeping(1, Duration::ZERO).await;
    any.open(STREAM, 1).await.unwrap().seal().await.unwrap();
    let verified = any.verify(STREAM, 1).await.unwrap();
    let purged = any.purge(verified).await;
    assert!(matches!(
        purged,
        Err(ArchiveError::OutOfOrder { index: 1, .. })
    ));
    let nothing = LiveWindow::try_new(0, Duration::from_hours(1));
    assert_eq!(nothing, Err(InvalidLiveWindow::Events));
    for size in [0, 8_193] {
        assert!(WindowSize::try_new(size).is_none());
    }
}

/// What nobody can read, and what only a newer version can, is archived as it is stored.
#[tokio::test]
async fn whatever_a_message_says_it_is_archived_as_it_is_stored() {
    let world = World::one_server(1).await;
    let journal = world.journal().await;
    let client = world.raw_client().await.unwrap();
    let store = async |subject: &str, bytes: &str| {
        let subject = subject.to_owned();
        let answer = client
            .request(subject, bytes.to_owned().into())
            .await
            .unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert!(answer.get("error").is_none(), "{answer}");
    };
    let (newer, holed) = (execution(), execution());
    let large = execution();
    store("controlPlane.acme.execution.x", "no aggregate").await;
    store("controlPlane.acme.execution.zz.some-id.01.x", "no version").await;
    store(&format!("{}.1.invented", newer.prefix()), "newer").await;
    store(&format!("{}.3.execution.paused", holed.prefix()), "a hole").await;
    let (mut head, mut sent) = (None, Vec::new());
    // Too much for one part, and what is kept apart.
    for size in [200_000, 200_000, 200_000, 400_000, 1] {
        let text = "x".repeat(size);
        let (envelope, recorded) = sealed(&large, head.as_ref(), EventName::Paused, &text);
        sent.push(journal.append(&envelope).await.unwrap());
        head = Some(recorded.head());
    }
    write_on(&*journal, STREAM, 16).await;
    let end = journal.last_sequence(STREAM).await.unwrap();
    let before = journal.read(STREAM, 0, 9).await.unwrap();
    let archiver = archiver_of(&world).await;
    let mut sealing = archiver.open(STREAM, 0).await.unwrap();
    while sealing.write_next(|| {}).await.unwrap() {}
    let aside = sealing.aside().to_vec();
    // Neither continues a history: one has no chain, and before the other nothing stands.
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert!(aside[0].starts_with(holed.prefix()));
    drop(sealing);
    assert_eq!(run(&archiver).await, WINDOW.get());
    assert!(end > WINDOW.get());
    let mut after = 0;
    for known in &before {
        let entry = journal.read(STREAM, after, 1).await.unwrap().remove(0);
        assert_eq!(entry.position, known.position);
        assert_eq!((&entry.raw, entry.stored_at), (&known.raw, known.stored_at));
        assert_eq!(entry.recorded.is_ok(), known.recorded.is_ok());
        after = entry.position.sequence;
    }
    let loaded = journal.load(&large, Read::Confirmed).await.unwrap();
    let positions: Vec<_> = loaded.iter().map(|(position, _)| *position).collect();
    assert_eq!(positions, sent);
    let subjects = ask(
        &world,
        "STREAM.INFO.CONTROL_PLANE_ARCHIVE",
        json!({ "subjects_filter": ">" }),
    )
    .await;
    let subjects = subjects["state"]["subjects"].as_object().unwrap();
    let parts = large.prefix().replacen("controlPlane.", "cp.archive.", 1);
    let parts = subjects.keys().filter(|it| it.starts_with(&parts));
    assert_eq!(parts.count(), 2);
    for aggregate in [newer, holed] {
        assert!(journal.load(&aggregate, Read::Confirmed).await.is_err());
    }
}
