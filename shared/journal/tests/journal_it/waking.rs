//! Timers.

use std::time::Duration;

use contracts::{event::Service, subject::AggregateId, time::Timestamp};
use journal::{
    delivery::{ConsumerSpec, Deliveries, Delivery, Message},
    timer::Timer,
};

use crate::{
    samples::execution,
    world::{World, nothing, soon},
};

/// Due so many milliseconds after `now`.
pub fn timer(
    aggregate: &AggregateId,
    key: &str,
    version: u64,
    now: Timestamp,
    after_ms: u64,
) -> Timer {
    Timer {
        service: Service::Executor,
        aggregate: aggregate.clone(),
        key: key.to_owned(),
        version,
        due: now.plus_ms(after_ms),
        after_ms,
        wake: None,
        stays: false,
    }
}

pub async fn next_timer(
    deliveries: &mut Box<dyn Deliveries>,
    of: &AggregateId,
) -> (Timer, Delivery) {
    loop {
        let delivery = deliveries.next().await;
        match &*delivery.message {
            Message::Timer(timer) if timer.aggregate == *of => {
                return (timer.clone(), delivery.clone());
            }
            Message::Timer(_) => delivery.handle.ack().await.unwrap(),
            other @ (Message::Event { .. }
            | Message::Letter { .. }
            | Message::Unreadable { .. }) => {
                panic!("not a timer: {other:?}")
            }
        }
    }
}

pub async fn a_timer_fires_once_and_is_gone_when_acknowledged(world: &World) {
    let journal = world.journal().await;
    let spec = ConsumerSpec::timers(Service::Executor).ack_wait(Duration::from_mins(1));
    let mut deliveries = journal.consume(spec.clone()).await.unwrap();
    let aggregate = execution();
    let armed = timer(&aggregate, "retry:charge card", 7, world.now(), 1500);
    journal.arm(&armed).await.unwrap();
    nothing(world, next_timer(&mut deliveries, &aggregate)).await;
    world.pass(Duration::from_millis(1500));
    let (fired, delivery) = soon(next_timer(&mut deliveries, &aggregate)).await;
    assert!(world.now() >= armed.due);
    assert_eq!(fired, armed);
    assert_eq!(delivery.message.id(), Some(armed.id()));
    // Not acknowledged, it comes again: here after a clean stop.
    deliveries.stop().await.unwrap();
    let mut deliveries = journal.consume(spec).await.unwrap();
    let (again, delivery) = soon(next_timer(&mut deliveries, &aggregate)).await;
    assert_eq!((again, delivery.delivered), (armed, 2));
    delivery.handle.ack().await.unwrap();
    nothing(world, next_timer(&mut deliveries, &aggregate)).await;
}

pub async fn arming_again_replaces(world: &World) {
    let journal = world.journal().await;
    let mut deliveries = journal
        .consume(ConsumerSpec::timers(Service::Executor))
        .await
        .unwrap();
    let aggregate = execution();
    let now = world.now();
    let other = timer(&aggregate, "deadline", 3, now, 600);
    let first = timer(&aggregate, "approval:pay", 3, now, 500);
    let second = timer(&aggregate, "approval:pay", 5, now, 1200);
    for armed in [&other, &first, &second] {
        journal.arm(armed).await.unwrap();
    }
    world.pass(Duration::from_millis(1200));
    for expected in [other, second] {
        let (fired, delivery) = soon(next_timer(&mut deliveries, &aggregate)).await;
        assert_eq!(fired, expected);
        delivery.handle.ack().await.unwrap();
    }
    nothing(world, next_timer(&mut deliveries, &aggregate)).await;
}

pub async fn a_timer_that_is_to_stay_is_not_put_off(world: &World) {
    let journal = world.journal().await;
    let mut deliveries = journal
        .consume(ConsumerSpec::timers(Service::Executor))
        .await
        .unwrap();
    let aggregate = execution();
    let stays = |version: u64, after_ms: u64| Timer {
        stays: true,
        ..timer(&aggregate, "left", version, world.now(), after_ms)
    };
    let first = stays(3, 600);
    for armed in [&first, &stays(4, 300), &stays(5, 60_000)] {
        journal.arm(armed).await.unwrap();
    }
    world.pass(Duration::from_millis(600));
    let (fired, delivery) = soon(next_timer(&mut deliveries, &aggregate)).await;
    assert_eq!(fired, first);
    delivery.handle.ack().await.unwrap();
    // Once it has fired another one is armed.
    let next = stays(6, 300);
    journal.arm(&next).await.unwrap();
    world.pass(Duration::from_millis(300));
    let (fired, delivery) = soon(next_timer(&mut deliveries, &aggregate)).await;
    assert_eq!(fired, next);
    delivery.handle.ack().await.unwrap();
}

pub async fn a_timer_of_the_past_fires_at_once(world: &World) {
    let journal = world.journal().await;
    let mut deliveries = journal
        .consume(ConsumerSpec::timers(Service::Executor))
        .await
        .unwrap();
    let aggregate = execution();
    let armed = timer(&aggregate, "start", 2, Timestamp::from_millis(1_000_000), 0);
    journal.arm(&armed).await.unwrap();
    let (fired, delivery) = soon(next_timer(&mut deliveries, &aggregate)).await;
    assert_eq!(fired, armed);
    delivery.handle.ack().await.unwrap();
}

/// The history that it is for may run ahead of time by an hour.
pub async fn a_timer_fires_when_so_much_time_has_passed(world: &World) {
    let journal = world.journal().await;
    let mut deliveries = journal
        .consume(ConsumerSpec::timers(Service::Executor))
        .await
        .unwrap();
    let aggregate = execution();
    let ahead = world.now().plus_ms(3_600_000);
    let armed = timer(&aggregate, "elapsed", 2, ahead, 400);
    journal.arm(&armed).await.unwrap();
    world.pass(Duration::from_millis(400));
    let (fired, delivery) = soon(next_timer(&mut deliveries, &aggregate)).await;
    assert_eq!(fired, armed);
    delivery.handle.ack().await.unwrap();
}

pub async fn a_timer_wakes_only_its_service(world: &World) {
    let journal = world.journal().await;
    let mut planner = journal
        .consume(ConsumerSpec::timers(Service::Planner))
        .await
        .unwrap();
    let mut executor = journal
        .consume(ConsumerSpec::timers(Service::Executor))
        .await
        .unwrap();
    let aggregate = execution();
    let armed = Timer {
        service: Service::Planner,
        ..timer(&aggregate, "draft", 2, world.now(), 0)
    };
    journal.arm(&armed).await.unwrap();
    let (fired, delivery) = soon(next_timer(&mut planner, &aggregate)).await;
    assert_eq!(fired, armed);
    delivery.handle.ack().await.unwrap();
    nothing(world, next_timer(&mut executor, &aggregate)).await;
}
