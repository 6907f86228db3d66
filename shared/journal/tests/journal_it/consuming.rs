//! Durable consumption. The log may hold events of other tests: each looks at its own.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use contracts::{
    event::{EventName, Service},
    subject::{AggregateId, Subject},
};
use journal::{
    Journal,
    delivery::{ConsumerSpec, Deliveries, Delivery, Message, Purpose},
    stored::Raw,
};

use crate::{
    appending::store_raw,
    samples::{execution, history, sealed, skill},
    world::{SHORT_ACK_WAIT, World, nothing, soon},
};

fn spec(service: Service) -> ConsumerSpec {
    let events = [
        EventName::CancelRequested,
        EventName::Paused,
        EventName::SkillDisabled,
    ];
    ConsumerSpec::events(service, Purpose::Drive, events)
}

fn aggregate_of(delivery: &Delivery) -> Option<&AggregateId> {
    match &*delivery.message {
        Message::Event { recorded, .. } => Some(&recorded.subject.aggregate),
        Message::Timer(timer) => Some(&timer.aggregate),
        Message::Letter { .. } | Message::Unreadable { .. } => None,
    }
}

fn version_of(delivery: &Delivery) -> u64 {
    match &*delivery.message {
        Message::Event { recorded, .. } => recorded.version(),
        Message::Timer(timer) => timer.version,
        Message::Letter { .. } | Message::Unreadable { .. } => 0,
    }
}

/// The next message about one of these; others are done with.
async fn next_of(deliveries: &mut Box<dyn Deliveries>, wanted: &[AggregateId]) -> Delivery {
    loop {
        let delivery = deliveries.next().await;
        match aggregate_of(&delivery) {
            Some(aggregate) if wanted.contains(aggregate) => return delivery,
            Some(_) | None => delivery.handle.ack().await.unwrap(),
        }
    }
}

async fn cancelled(journal: &dyn Journal) -> AggregateId {
    let aggregate = execution();
    let (envelope, _) = sealed(&aggregate, None, EventName::CancelRequested, "");
    journal.append(&envelope).await.unwrap();
    aggregate
}

/// Whoever asks for work has less of it waiting; what a service never asked for is not counted.
async fn what_waits_to_be_begun(world: World) {
    let journal = world.journal().await;
    let store = async |event: EventName| {
        let aggregate = execution();
        let subject = Subject {
            aggregate: aggregate.clone(),
            version: 1,
            event,
        };
        let raw = Raw {
            subject: subject.to_string(),
            headers: Vec::new(),
            payload: Bytes::from_static(b"whatever it says"),
        };
        store_raw(&world, &aggregate, raw).await;
    };
    store(EventName::IntentReceived).await;
    assert_eq!(journal.waiting().await.unwrap(), 0);
    let spec = |service| ConsumerSpec::of(service, Purpose::Drive);
    for service in [Service::Planner, Service::Executor] {
        let deliveries = journal.consume(spec(service)).await.unwrap();
        deliveries.stop().await.unwrap();
    }
    for _ in 0..3 {
        store(EventName::IntentReceived).await;
    }
    store(EventName::PlanVerified).await;
    store(EventName::CancelRequested).await;
    // Four intents, of which one was there before, and a plan.
    assert_eq!(journal.waiting().await.unwrap(), 5);
    let mut deliveries = journal.consume(spec(Service::Planner)).await.unwrap();
    for _ in 0..4 {
        soon(deliveries.next()).await.handle.ack().await.unwrap();
    }
    assert_eq!(journal.waiting().await.unwrap(), 1);
}

#[tokio::test]
async fn what_waits_to_be_begun_is_counted_in_memory() {
    what_waits_to_be_begun(World::memory(4)).await;
}

#[tokio::test]
async fn what_waits_to_be_begun_is_counted_on_a_server() {
    what_waits_to_be_begun(World::one_server(4).await).await;
}

pub async fn only_the_events_asked_for_are_delivered(world: &World) {
    let journal = world.journal().await;
    let mut deliveries = journal.consume(spec(Service::Planner)).await.unwrap();
    let aggregates = [execution(), execution(), skill()];
    let mut wanted = Vec::new();
    for aggregate in &aggregates[..2] {
        for envelope in history(aggregate, 6) {
            journal.append(&envelope).await.unwrap();
            let event = envelope.subject.event;
            if matches!(event, EventName::CancelRequested | EventName::Paused) {
                wanted.push(envelope.subject);
            }
        }
    }
    let (disabled, _) = sealed(&aggregates[2], None, EventName::SkillDisabled, "");
    journal.append(&disabled).await.unwrap();
    wanted.push(disabled.subject);
    let mut delivered = Vec::new();
    for _ in 0..wanted.len() {
        let delivery = soon(next_of(&mut deliveries, &aggregates)).await;
        let Message::Event { position, recorded } = &*delivery.message else {
            panic!("not an event: {delivery:?}");
        };
        assert_eq!(delivery.delivered, 1);
        let stored = journal
            .read(position.stream, position.sequence - 1, 1)
            .await
            .unwrap();
        assert_eq!(stored[0].recorded.as_ref().unwrap(), recorded);
        delivered.push(recorded.subject.clone());
        delivery.handle.ack().await.unwrap();
    }
    delivered.sort();
    wanted.sort();
    assert_eq!(delivered, wanted);
    nothing(world, next_of(&mut deliveries, &aggregates)).await;
}

pub async fn what_is_acknowledged_never_comes_again(world: &World) {
    let journal = world.journal().await;
    let spec = spec(Service::Planner).ack_wait(SHORT_ACK_WAIT);
    let mut deliveries = journal.consume(spec.clone()).await.unwrap();
    let aggregate = [cancelled(&*journal).await];
    let delivery = soon(next_of(&mut deliveries, &aggregate)).await;
    delivery.handle.ack().await.unwrap();
    deliveries.stop().await.unwrap();
    world.pass(SHORT_ACK_WAIT * 2);
    let mut again = world.journal().await.consume(spec).await.unwrap();
    nothing(world, next_of(&mut again, &aggregate)).await;
}

pub async fn what_is_not_acknowledged_comes_again_after_a_while(world: &World) {
    let journal = world.journal().await;
    let spec = spec(Service::Verifier).ack_wait(SHORT_ACK_WAIT);
    let mut crashed = journal.consume(spec.clone()).await.unwrap();
    let aggregate = [cancelled(&*journal).await];
    let first = soon(next_of(&mut crashed, &aggregate)).await;
    assert_eq!(first.delivered, 1);
    drop(crashed);
    let mut deliveries = world.journal().await.consume(spec).await.unwrap();
    nothing(world, next_of(&mut deliveries, &aggregate)).await;
    world.pass(SHORT_ACK_WAIT);
    let second = soon(next_of(&mut deliveries, &aggregate)).await;
    assert_eq!(second.delivered, 2);
    assert_eq!(second.message.id(), first.message.id());
    if let World::Memory(memory) = world {
        memory.lose_acks(1);
        second.handle.ack().await.unwrap();
        world.pass(SHORT_ACK_WAIT);
        let third = soon(next_of(&mut deliveries, &aggregate)).await;
        assert_eq!(third.delivered, 3);
    }
    second.handle.ack().await.unwrap();
}

pub async fn work_in_progress_does_not_come_again(world: &World) {
    let journal = world.journal().await;
    let spec = spec(Service::Executor).ack_wait(SHORT_ACK_WAIT);
    let mut deliveries = journal.consume(spec).await.unwrap();
    let aggregate = [cancelled(&*journal).await];
    let first = soon(next_of(&mut deliveries, &aggregate)).await;
    for _ in 0..4 {
        world.pass(SHORT_ACK_WAIT / 2);
        first.handle.in_progress().await.unwrap();
        // Two waits together are longer than the acknowledgement may take.
        let next = next_of(&mut deliveries, &aggregate);
        if matches!(world, World::Memory(_)) {
            nothing(world, next).await;
        } else {
            let waited = tokio::time::timeout(SHORT_ACK_WAIT / 2, next).await;
            assert!(waited.is_err(), "came again: {waited:?}");
        }
    }
    first.handle.ack().await.unwrap();
}

pub async fn what_is_given_back_comes_again_after_its_delay(world: &World) {
    let delay = Duration::from_millis(700);
    let journal = world.journal().await;
    let mut deliveries = journal.consume(spec(Service::Planner)).await.unwrap();
    let aggregate = [cancelled(&*journal).await];
    let first = soon(next_of(&mut deliveries, &aggregate)).await;
    first.handle.retry_later(delay).await.unwrap();
    nothing(world, next_of(&mut deliveries, &aggregate)).await;
    world.pass(delay);
    let second = soon(next_of(&mut deliveries, &aggregate)).await;
    assert_eq!(second.delivered, 2);
    second.handle.ack().await.unwrap();
}

pub async fn a_clean_stop_gives_everything_back_at_once(world: &World) {
    let journal = world.journal().await;
    // Long enough that only giving back can explain what comes.
    let spec = spec(Service::Verifier).ack_wait(Duration::from_mins(1));
    let mut stopped = journal.consume(spec.clone()).await.unwrap();
    let mut aggregates = Vec::new();
    for _ in 0..20 {
        aggregates.push(cancelled(&*journal).await);
    }
    let held = soon(next_of(&mut stopped, &aggregates)).await;
    let done = soon(next_of(&mut stopped, &aggregates)).await;
    done.handle.ack().await.unwrap();
    soon(stopped.stop()).await.unwrap();
    let mut deliveries = world.journal().await.consume(spec).await.unwrap();
    let mut again = BTreeMap::new();
    for _ in 0..19 {
        let delivery = soon(next_of(&mut deliveries, &aggregates)).await;
        again.insert(aggregate_of(&delivery).unwrap().clone(), delivery.delivered);
        delivery.handle.ack().await.unwrap();
    }
    assert_eq!(again.len(), 19);
    assert_eq!(again[aggregate_of(&held).unwrap()], 2);
    assert!(!again.contains_key(aggregate_of(&done).unwrap()));
}

pub async fn a_consumer_says_what_it_holds_and_what_is_left(world: &World) {
    let journal = world.journal().await;
    let mut deliveries = journal.consume(spec(Service::Planner)).await.unwrap();
    let unanswered = deliveries.unanswered();
    let aggregates = [cancelled(&*journal).await, cancelled(&*journal).await];
    let first = soon(next_of(&mut deliveries, &aggregates)).await;
    assert!(unanswered() >= 1);
    let second = soon(next_of(&mut deliveries, &aggregates)).await;
    let pending = match world {
        World::Memory(_) => None,
        World::One { .. } | World::Three { .. } => Some(0),
    };
    assert_eq!(second.pending, pending);
    // What others have left is done with.
    nothing(world, next_of(&mut deliveries, &[])).await;
    assert_eq!(unanswered(), 2);
    first.handle.ack().await.unwrap();
    assert_eq!(unanswered(), 1);
    // Answered again, or given up: it is not held.
    first.handle.ack().await.unwrap();
    second.handle.retry_later(Duration::ZERO).await.unwrap();
    let again = soon(next_of(&mut deliveries, &aggregates)).await;
    assert_eq!(unanswered(), 1);
    again.handle.ack().await.unwrap();
    assert_eq!(unanswered(), 0);
}

pub async fn two_processes_share_the_work(world: &World) {
    let journal = world.journal().await;
    let mut one = world
        .journal()
        .await
        .consume(spec(Service::Executor))
        .await
        .unwrap();
    let mut two = world
        .journal()
        .await
        .consume(spec(Service::Executor))
        .await
        .unwrap();
    let aggregate = execution();
    let events = history(&aggregate, 120);
    journal.append_all(&events).await.unwrap();
    let mut versions = Vec::new();
    let wanted = [aggregate];
    for _ in 0..40 {
        let delivery = tokio::select! {
            delivery = soon(next_of(&mut one, &wanted)) => delivery,
            delivery = soon(next_of(&mut two, &wanted)) => delivery,
        };
        versions.push(version_of(&delivery));
        delivery.handle.ack().await.unwrap();
    }
    versions.sort_unstable();
    versions.dedup();
    assert_eq!(versions.len(), 40);
    nothing(world, next_of(&mut one, &wanted)).await;
    nothing(world, next_of(&mut two, &wanted)).await;
}

pub async fn an_undecodable_message_is_delivered_as_such(world: &World) {
    let journal = world.journal().await;
    let mut deliveries = journal.consume(spec(Service::Planner)).await.unwrap();
    let aggregate = execution();
    let (envelope, _) = sealed(&aggregate, None, EventName::Paused, "");
    let raw = Raw {
        payload: Bytes::from_static(b"\xc1 never used"),
        ..Raw::from(&envelope)
    };
    store_raw(world, &aggregate, raw.clone()).await;
    loop {
        let delivery = soon(deliveries.next()).await;
        delivery.handle.ack().await.unwrap();
        if let Message::Unreadable {
            raw: stored,
            error,
            position,
        } = &*delivery.message
            && stored.subject == raw.subject
        {
            assert_eq!(*stored, raw);
            assert!(!error.is_newer());
            assert!(position.is_some());
            return;
        }
    }
}
