//! Clocks that are wrong and processes that stand still: no alarm is raised over them.

use contracts::{event::Service, ids::ExecutionId, plan::Status};

use crate::{
    cases,
    copies::Copy,
    documents::bundle,
    worker::Worker,
    world::{Pause, World},
};

const HOUR_MS: i64 = 60 * 60 * 1000;

/// Everyone who decides on an execution.
const SERVICES: [Service; 4] = [
    Service::Intake,
    Service::Planner,
    Service::Verifier,
    Service::Executor,
];

async fn policy_changes(world: &mut World) {
    for large in [10, 20] {
        let mut other = bundle();
        other
            .thresholds
            .insert("large_amount_minor".to_owned(), large);
        world.activate(other).await;
    }
}

async fn looks_up(world: &mut World, number: u128) -> ExecutionId {
    let draft = cases::lookups_draft(2);
    let id = world.submit(number, "look up", Some(draft)).await;
    world.rest(id, Worker::idle()).await;
    id
}

async fn is_looked_up(world: &mut World, id: ExecutionId) {
    let worker = Worker::idle().answers("l0", cases::found());
    world.rest(id, worker.answers("l1", cases::found())).await;
    let state = world.execution(id).await;
    assert_eq!(state.status(), Some(Status::Completed));
}

/// No alarm; and one by the services' clocks alone, or the case would show nothing.
async fn check(world: &World) {
    let copy = Copy::of(&world.journal).await;
    let report = copy.replay().await;
    assert_eq!(report.exit_code(), 0, "{report}");
    let report = copy.without_stored_times().replay().await;
    assert_eq!(report.exit_code(), 1, "{report}");
}

#[tokio::test]
async fn the_executors_clock_is_an_hour_ahead_and_the_policy_changes_soon_after() {
    let mut world = World::new(1).await;
    world.step_clock(Service::Executor, HOUR_MS);
    let id = looks_up(&mut world, 1).await;
    policy_changes(&mut world).await;
    is_looked_up(&mut world, id).await;
    looks_up(&mut world, 2).await;
    check(&world).await;
}

#[tokio::test]
async fn all_clocks_go_back_an_hour_after_the_policy_has_changed() {
    let mut world = World::new(1).await;
    policy_changes(&mut world).await;
    for service in SERVICES {
        world.step_clock(service, -HOUR_MS);
    }
    let id = looks_up(&mut world, 1).await;
    is_looked_up(&mut world, id).await;
    check(&world).await;
}

#[tokio::test]
async fn the_policy_changes_by_a_clock_an_hour_back() {
    let mut world = World::new(1).await;
    // What stands before in an aggregate is not gone behind by any clock.
    world.pass(2 * HOUR_MS.unsigned_abs());
    let id = looks_up(&mut world, 1).await;
    is_looked_up(&mut world, id).await;
    world.step_clock(Service::Intake, -HOUR_MS);
    world.step_clock(Service::Verifier, -HOUR_MS);
    policy_changes(&mut world).await;
    check(&world).await;
}

/// Its `ce-time` is early enough; that the broker stored it late is no matter.
#[tokio::test]
async fn a_service_stands_still_for_two_minutes_before_it_appends() {
    let mut world = World::new(1).await;
    let id = stands_still(&mut world, Pause::BeforeAppending).await;
    is_looked_up(&mut world, id).await;
    let report = Copy::of(&world.journal).await.replay().await;
    assert_eq!(report.exit_code(), 0, "{report}");
}

#[tokio::test]
async fn a_service_stands_still_for_two_minutes_while_it_asks_for_its_facts() {
    let mut world = World::new(1).await;
    let id = stands_still(&mut world, Pause::BeforeDeciding).await;
    is_looked_up(&mut world, id).await;
    check(&world).await;
}

#[tokio::test]
async fn a_service_whose_clock_is_an_hour_ahead_stands_still_as_well() {
    let mut world = World::new(1).await;
    world.step_clock(Service::Executor, HOUR_MS);
    let id = stands_still(&mut world, Pause::BeforeAppending).await;
    is_looked_up(&mut world, id).await;
    check(&world).await;
}

/// The verifier, then the executor; the next verdict, and a start.
async fn stands_still(world: &mut World, pause: Pause) -> ExecutionId {
    let draft = Some(cases::lookups_draft(2));
    let id = world.submit(1, "look up", draft).await;
    // Planned.
    world
        .decide_with_pause(id, pause, async |_: &mut World| {})
        .await;
    for _ in 0..4 {
        world
            .decide_with_pause(id, pause, async |world: &mut World| {
                policy_changes(world).await;
                world.pass(120_000);
            })
            .await;
    }
    id
}

/// The request for a draft does not name the catalogue that it was decided on.
#[tokio::test]
async fn a_decision_that_names_no_catalogue_is_found_at_the_brokers_time() {
    let mut world = World::new(1).await;
    world.disable_skill().await;
    world.step_clock(Service::Planner, HOUR_MS);
    let id = world.submit(1, "refund order A-1", None).await;
    world.rest(id, Worker::idle()).await;
    let state = world.execution(id).await;
    assert_eq!(state.status(), Some(Status::AwaitingDraft));
    world.install("1.0.1").await;
    for _ in 0..9 {
        policy_changes(&mut world).await;
    }
    check(&world).await;
}
