//! What has to hold when the broker dies under load.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use contracts::{
    event::{EventName, Service},
    position::{Position, Positions},
    subject::AggregateId,
};
use futures::future::join_all;
use journal::{
    Journal,
    delivery::{ConsumerSpec, Message, Purpose},
    history::Read,
    tail::Scope,
};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    grouping::batches,
    samples::{KINDS, execution, history},
    waking::{next_timer, timer},
    world::{World, now, soon},
};

/// Of all writers together.
const EVENTS: usize = 960;

/// Writers at work, each on an aggregate of its own.
struct Load {
    acknowledged: mpsc::UnboundedReceiver<()>,
    writers: Vec<JoinHandle<(AggregateId, Vec<Position>)>>,
}

impl Load {
    fn start(journal: &Arc<dyn Journal>, writers: usize) -> Self {
        let (tell, acknowledged) = mpsc::unbounded_channel();
        let writers = (0..writers).map(|_| {
            let (journal, tell) = (Arc::clone(journal), tell.clone());
            tokio::spawn(async move {
                let aggregate = execution();
                let mut positions = Vec::new();
                for envelope in history(&aggregate, EVENTS / writers) {
                    positions.push(journal.append(&envelope).await.unwrap());
                    let _ = tell.send(());
                }
                (aggregate, positions)
            })
        });
        Self {
            writers: writers.collect(),
            acknowledged,
        }
    }

    async fn acknowledged(&mut self, appends: usize) {
        for _ in 0..appends {
            soon(self.acknowledged.recv()).await.unwrap();
        }
    }

    async fn finish(self) -> BTreeMap<AggregateId, Vec<Position>> {
        let written = soon(join_all(self.writers)).await;
        written.into_iter().map(Result::unwrap).collect()
    }
}

/// Everything acknowledged is there, nothing twice; and all who were reading have it too.
async fn check(
    journal: &dyn Journal,
    written: &BTreeMap<AggregateId, Vec<Position>>,
    followed: BTreeSet<Position>,
    delivered: BTreeSet<Position>,
) {
    for (aggregate, positions) in written {
        let stored = journal.load(aggregate, Read::Confirmed).await.unwrap();
        let stored: Vec<_> = stored.into_iter().map(|(position, _)| position).collect();
        assert_eq!(&stored, positions);
    }
    let all: BTreeSet<_> = written.values().flatten().copied().collect();
    assert_eq!(all.len(), EVENTS);
    assert_eq!(followed, all);
    assert_eq!(delivered, all);
    let mut stored = 0;
    for stream in journal.streams() {
        stored += journal.last_sequence(stream).await.unwrap();
    }
    assert_eq!(stored, all.len() as u64);
}

/// Follows until `count` events have come; none may come twice, and each in its order.
async fn follow(journal: Arc<dyn Journal>, count: usize) -> BTreeSet<Position> {
    let beginning = Positions::beginning();
    let mut tail = journal.tail(&beginning, Scope::Everything).await.unwrap();
    let mut reached = Positions::beginning();
    let mut seen = BTreeSet::new();
    while seen.len() < count {
        let position = tail.next().await.position;
        assert!(
            position.sequence > reached.get(position.stream),
            "twice: {position:?}"
        );
        reached.advance(position);
        seen.insert(position);
    }
    seen
}

/// Takes deliveries until each of `count` events has come at least once.
async fn take(journal: Arc<dyn Journal>, count: usize) -> BTreeSet<Position> {
    let spec = ConsumerSpec::events(Service::Executor, Purpose::Drive, KINDS)
        .ack_wait(Duration::from_secs(2));
    let mut deliveries = journal.consume(spec).await.unwrap();
    let mut seen = BTreeSet::new();
    while seen.len() < count {
        let delivery = deliveries.next().await;
        if let Message::Event { position, .. } = &*delivery.message {
            seen.insert(*position);
        }
        // One that is not sent, as the server is just killed, means that the message comes again.
        let _ = delivery.handle.ack().await;
    }
    deliveries.stop().await.unwrap();
    seen
}

#[tokio::test]
async fn a_server_killed_in_mid_append_loses_nothing_and_doubles_nothing() {
    killed_under_load(World::one_server(4).await, 8).await;
}

#[tokio::test]
async fn a_server_killed_in_mid_group_loses_nothing_and_doubles_nothing() {
    let world = killed_under_load(World::one_server_that_fsyncs(1).await, 48).await;
    let sizes = batches(&world).await;
    assert!(sizes.iter().sum::<usize>() >= EVENTS / 4, "{sizes:?}");
}

async fn killed_under_load(mut world: World, writers: usize) -> World {
    let journal = world.journal().await;
    let epoch = journal.epoch();
    let following = tokio::spawn(follow(world.journal().await, EVENTS));
    let taking = tokio::spawn(take(world.journal().await, EVENTS));
    let mut load = Load::start(&journal, writers);
    let World::One { server, .. } = &mut world else {
        panic!("one server was asked for");
    };
    for _ in 0..3 {
        load.acknowledged(EVENTS / 5).await;
        server.kill9().await;
        server.restart().await;
    }
    let written = load.finish().await;
    let followed = soon(following).await.unwrap();
    let delivered = soon(taking).await.unwrap();
    assert!(journal.epoch() >= epoch + 3);
    check(&*journal, &written, followed, delivered).await;
    world
}

#[tokio::test]
async fn the_leader_killed_on_three_servers_loses_nothing_and_doubles_nothing() {
    leader_killed_under_load(World::three_servers(1).await, 8).await;
}

#[tokio::test]
async fn the_leader_killed_in_mid_group_loses_nothing_and_doubles_nothing() {
    let world = leader_killed_under_load(World::three_servers_that_fsync(1).await, 48).await;
    let sizes = batches(&world).await;
    assert!(sizes.iter().sum::<usize>() >= EVENTS / 4, "{sizes:?}");
}

async fn leader_killed_under_load(mut world: World, writers: usize) -> World {
    let journal = world.journal().await;
    let following = tokio::spawn(follow(world.journal().await, EVENTS));
    let taking = tokio::spawn(take(world.journal().await, EVENTS));
    let mut load = Load::start(&journal, writers);
    let client = world.raw_client().await.unwrap();
    let answer = client
        .request("$JS.API.STREAM.INFO.CONTROL_PLANE_00", "".into())
        .await
        .unwrap();
    let info: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
    let leader = info["cluster"]["leader"].as_str().unwrap().to_owned();
    load.acknowledged(EVENTS / 4).await;
    let World::Three { cluster, .. } = &mut world else {
        panic!("three servers were asked for");
    };
    cluster.server(&leader).kill9().await;
    let written = load.finish().await;
    cluster.server(&leader).restart().await;
    let followed = soon(following).await.unwrap();
    let delivered = soon(taking).await.unwrap();
    check(&*journal, &written, followed, delivered).await;
    world
}

/// The answer to the first try is too late; the second meets what the first has stored.
#[tokio::test]
async fn an_append_whose_answer_was_lost_is_found_to_be_its_own() {
    let world = World::one_server(1).await;
    let journal = world.journal().await;
    let aggregate = execution();
    let envelope = history(&aggregate, 1).remove(0);
    let World::One { server, .. } = &world else {
        panic!("one server was asked for");
    };
    server.pause();
    let appending = tokio::spawn({
        let journal = Arc::clone(&journal);
        async move { journal.append(&envelope).await }
    });
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    server.resume();
    let position = soon(appending).await.unwrap().unwrap();
    let stored = journal.load(&aggregate, Read::Confirmed).await.unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].0, position);
    assert_eq!(journal.last_sequence(position.stream).await.unwrap(), 1);
}

#[tokio::test]
async fn timers_survive_the_server() {
    let mut world = World::one_server(1).await;
    let journal = world.journal().await;
    let aggregate = execution();
    let meanwhile = timer(&aggregate, "due while down", 1, now(), 500);
    let later = timer(&aggregate, "due later", 1, now(), 3_000);
    for armed in [&meanwhile, &later] {
        journal.arm(armed).await.unwrap();
    }
    let spec = ConsumerSpec::timers(Service::Executor);
    let mut deliveries = journal.consume(spec).await.unwrap();
    let World::One { server, .. } = &mut world else {
        panic!("one server was asked for");
    };
    server.kill9().await;
    let down = now().plus_ms(1_000).since_ms(now());
    tokio::time::sleep(Duration::from_millis(down)).await;
    server.restart().await;
    for expected in [meanwhile, later] {
        let (fired, delivery) = soon(next_timer(&mut deliveries, &aggregate)).await;
        assert_eq!(fired, expected);
        delivery.handle.ack().await.unwrap();
    }
}

/// What a takeover within two seconds depends on.
#[tokio::test]
async fn consumption_goes_on_soon_after_a_restart() {
    let mut world = World::one_server(1).await;
    let journal = world.journal().await;
    let spec = ConsumerSpec::events(
        Service::Planner,
        Purpose::Drive,
        [EventName::CancelRequested],
    );
    let mut deliveries = journal.consume(spec).await.unwrap();
    let World::One { server, .. } = &mut world else {
        panic!("one server was asked for");
    };
    for _ in 0..3 {
        server.kill9().await;
        server.restart().await;
        let aggregate = execution();
        journal.append(&history(&aggregate, 1)[0]).await.unwrap();
        let next = tokio::time::timeout(Duration::from_secs(4), deliveries.next()).await;
        let delivery = next.unwrap();
        let Message::Event { recorded, .. } = &*delivery.message else {
            panic!("not an event: {delivery:?}");
        };
        assert_eq!(recorded.subject.aggregate, aggregate);
        delivery.handle.ack().await.unwrap();
    }
}
