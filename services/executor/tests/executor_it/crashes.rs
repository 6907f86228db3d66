//! Kill -9 at the worst moments: nothing is lost, doubled, or stuck.

use std::time::Duration;

use contracts::event::{EventName, Service};
use serde_json::json;

use super::{
    worker::Worker,
    world::{World, intent, names, trusting},
};

fn settings(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

/// What came of an execution whose service was killed on the way.
struct Survived {
    names: Vec<String>,
    /// How often each key was called.
    counts: Vec<usize>,
    /// What the process said that was started in the place of the killed one.
    said: Vec<String>,
}

impl Survived {
    fn calls(&self) -> usize {
        self.counts.iter().sum()
    }

    fn took_over(&self) -> bool {
        self.names
            .contains(&"execution.step.started first #2 takeover".to_owned())
    }

    /// Whether a message came again that the killed process had not acknowledged.
    fn was_redelivered(&self) -> bool {
        self.said.iter().any(|line| {
            line.contains("woken") && line.contains("delivered=") && !line.contains("delivered=1")
        })
    }

    fn armed(&self) -> bool {
        self.said
            .iter()
            .any(|line| line.contains("armed") && line.contains("elapsed-wait"))
    }
}

/// Runs one execution whose `service` is killed at `failpoint` and started again.
async fn killed_at(service: Service, failpoint: &str) -> Survived {
    killed_with_wait(service, failpoint, 2500).await
}

/// The same, with a step between the two effects that waits for `wait_ms`.
async fn killed_with_wait(service: Service, failpoint: &str, wait_ms: u64) -> Survived {
    let world = World::new(1).await;
    let mut others = Vec::new();
    for other in [Service::Planner, Service::Verifier, Service::Executor] {
        if other != service {
            others.push(world.spawn(other, other.as_str()));
        }
    }
    // The policy and the skill are answered before anything is killed.
    let answering = world.spawn(Service::Verifier, "answering");
    world.activate(&trusting()).await;
    world.install_shop().await;
    answering.kill9().await;
    let worker = Worker::serve(&world.journal, Duration::from_millis(100)).await;
    let armed = world.failpoint(failpoint);
    let doomed = world.spawn_with(service, "doomed", &settings(&armed));
    let id = world
        .submit(&intent(&json!([
            { "id": "first", "uses": "test.shop/look", "with": { "n": 1 } },
            { "id": "wait", "uses": "core.wait/wait", "needs": ["first"], "with": { "ms": wait_ms } },
            { "id": "second", "uses": "test.shop/look", "needs": ["wait"], "with": { "n": 2 } },
        ])))
        .await;
    let status = doomed.wait(Duration::from_mins(1)).await;
    assert!(
        !status.success() && world.mark(failpoint).exists(),
        "it was not killed there: {status}; the binaries need `--features failpoints`"
    );
    let again = world.spawn(service, "again");
    let names = names(&world.finished(id).await);
    assert_eq!(names.last().unwrap(), "execution.completed");
    Survived {
        names,
        counts: worker.counts(),
        said: again.output(),
    }
}

#[tokio::test]
async fn the_executor_dies_before_a_start_is_stored() {
    let survived = killed_at(Service::Executor, "before-started-stored").await;
    assert!(survived.was_redelivered(), "{:#?}", survived.said);
    assert!(!survived.took_over(), "{:#?}", survived.names);
    assert_eq!(survived.counts, [1, 1]);
}

#[tokio::test]
async fn the_executor_dies_after_a_start_is_stored() {
    let survived = killed_at(Service::Executor, "after-started-stored").await;
    assert!(survived.took_over(), "{:#?}", survived.names);
    assert_eq!(survived.counts, [1, 1]);
}

#[tokio::test]
async fn the_executor_dies_before_a_dispatch() {
    let survived = killed_at(Service::Executor, "before-dispatch").await;
    assert!(survived.took_over(), "{:#?}", survived.names);
    assert_eq!(survived.counts, [1, 1]);
}

#[tokio::test]
async fn the_executor_dies_after_a_dispatch() {
    let survived = killed_at(Service::Executor, "after-dispatch").await;
    assert!(survived.took_over(), "{:#?}", survived.names);
    // The effect happened and its end was not stored: the same key is called again.
    assert_eq!(survived.counts.len(), 2);
    assert_eq!(survived.calls(), 3);
}

#[tokio::test]
async fn the_executor_dies_before_an_end_is_stored() {
    let survived = killed_at(Service::Executor, "before-end-stored").await;
    assert!(survived.took_over(), "{:#?}", survived.names);
    assert_eq!(survived.counts.len(), 2);
    assert_eq!(survived.calls(), 3);
}

#[tokio::test]
async fn the_executor_dies_after_an_end_is_stored() {
    let survived = killed_at(Service::Executor, "after-end-stored").await;
    assert!(survived.was_redelivered(), "{:#?}", survived.said);
    assert!(!survived.took_over(), "{:#?}", survived.names);
    assert_eq!(survived.counts, [1, 1]);
}

#[tokio::test]
async fn the_executor_dies_before_a_timer_is_armed() {
    // So long that it is still worth a timer when the wake-up comes again.
    let survived = killed_with_wait(Service::Executor, "before-timer-armed", 6500).await;
    assert!(survived.was_redelivered(), "{:#?}", survived.said);
    assert!(survived.armed(), "{:#?}", survived.said);
    assert_eq!(survived.counts, [1, 1]);
}

#[tokio::test]
async fn the_executor_dies_after_a_timer_is_armed() {
    // So long that it is still worth a timer when the wake-up comes again.
    let survived = killed_with_wait(Service::Executor, "after-timer-armed", 6500).await;
    assert!(survived.was_redelivered(), "{:#?}", survived.said);
    assert!(survived.armed(), "{:#?}", survived.said);
    assert_eq!(survived.counts, [1, 1]);
}

#[tokio::test]
async fn the_executor_dies_before_it_acknowledges() {
    let survived = killed_at(Service::Executor, "before-acknowledge").await;
    assert!(survived.was_redelivered(), "{:#?}", survived.said);
    assert_eq!(survived.counts, [1, 1]);
}

#[tokio::test]
async fn the_planner_dies_after_its_append() {
    let survived = killed_at(Service::Planner, "appended").await;
    assert!(survived.was_redelivered(), "{:#?}", survived.said);
    assert_eq!(survived.counts, [1, 1]);
}

#[tokio::test]
async fn the_verifier_dies_after_its_append() {
    let survived = killed_at(Service::Verifier, "appended").await;
    assert!(survived.was_redelivered(), "{:#?}", survived.said);
    assert_eq!(survived.counts, [1, 1]);
}

#[tokio::test]
async fn a_wait_that_came_due_while_everything_was_down_goes_on_once() {
    let mut world = World::new(1).await;
    let services = world.services();
    world.activate(&trusting()).await;
    let id = world
        .submit(&intent(&json!([
            { "id": "wait", "uses": "core.wait/wait", "with": { "ms": 4000 } },
            { "id": "say", "uses": "core.echo/echo", "needs": ["wait"], "with": {} },
        ])))
        .await;
    world.until(id, EventName::StepStarted).await;
    services.kill9().await;
    world.servers[0].kill9().await;
    // The instant has to pass; nothing can be waited for while nothing runs.
    tokio::time::sleep(Duration::from_millis(4500)).await;
    world.servers[0].restart().await;
    let _executor = world.spawn(Service::Executor, "executor again");
    let history = world.finished(id).await;
    assert_eq!(
        names(&history)[4..],
        [
            "execution.step.started wait #1",
            "execution.step.completed wait #1",
            "execution.step.started say #1",
            "execution.step.completed say #1",
            "execution.completed",
        ]
    );
}

#[tokio::test]
async fn an_approval_that_expires_while_everything_is_down_ends_the_run_once() {
    let mut world = World::new(1).await;
    let services = world.services();
    world.activate(&expiring_soon()).await;
    world.install_shop().await;
    let id = world
        .submit(&intent(&json!([
            { "id": "pay", "uses": "test.shop/refund", "with": { "order": "7" } },
        ])))
        .await;
    world.until(id, EventName::StepBlocked).await;
    services.kill9().await;
    world.servers[0].kill9().await;
    tokio::time::sleep(Duration::from_millis(3500)).await;
    world.servers[0].restart().await;
    let _executor = world.spawn(Service::Executor, "executor again");
    let history = world.finished(id).await;
    assert_eq!(
        names(&history).last().unwrap(),
        "execution.failed APPROVAL_EXPIRED"
    );
}

/// Every step needs a human within three seconds.
fn expiring_soon() -> contracts::bundle::Bundle {
    let mut bundle = trusting();
    bundle.policies = [(
        "approve.cedar".to_owned(),
        r#"@id("ask") @expires("3s") @reason("a human looks at it")
permit(principal, action == Action::"runAssisted", resource);"#
            .to_owned(),
    )]
    .into();
    bundle
}

/// Three hundred executions while every process is killed in turn, the broker too, and two
/// executors share the work.
#[tokio::test]
async fn three_hundred_executions_survive_kills_of_everything() {
    const EXECUTIONS: usize = 300;
    let mut world = World::new(4).await;
    let mut processes: Vec<(Service, testkit::process::Process)> = [
        Service::Planner,
        Service::Verifier,
        Service::Executor,
        Service::Executor,
    ]
    .into_iter()
    .enumerate()
    .map(|(n, service)| (service, world.spawn(service, &format!("{service}-{n}"))))
    .collect();
    world.activate(&trusting()).await;
    world.install_shop().await;
    let worker = Worker::serve(&world.journal, Duration::from_millis(20)).await;
    let mut ids = Vec::new();
    for n in 0..EXECUTIONS {
        let draft = json!([
            { "id": "a", "uses": "test.shop/look", "with": { "n": n } },
            { "id": "b", "uses": "core.echo/echo", "with": { "n": { "$from": "/steps/a/output/with/n" } } },
            { "id": "c", "uses": "test.shop/look", "needs": ["b"], "with": { "n": n } },
        ]);
        ids.push(world.submit(&intent(&draft)).await);
        if n % 50 == 25 {
            let victim = (n / 50) % 5;
            if victim == 4 {
                world.servers[0].kill9().await;
                world.servers[0].restart().await;
            } else {
                let (service, process) = &processes[victim];
                process.kill9().await;
                let service = *service;
                processes[victim] = (service, world.spawn(service, &format!("{service}-at-{n}")));
            }
        }
    }
    for id in &ids {
        let history = world.finished(*id).await;
        assert_eq!(
            names(&history).last().unwrap(),
            "execution.completed",
            "{:#?}",
            names(&history)
        );
    }
    let counts = worker.counts();
    assert_eq!(
        counts.len(),
        EXECUTIONS * 2,
        "each step has a key of its own"
    );
    let repeated: usize = counts.iter().map(|count| count - 1).sum();
    println!("{repeated} calls beyond one per key");
}

/// Without kills, a worker that does not deduplicate sees each key once, with two executors.
#[tokio::test]
async fn without_kills_each_key_is_called_once() {
    let world = World::new(4).await;
    let _services = [
        world.spawn(Service::Planner, "planner"),
        world.spawn(Service::Verifier, "verifier"),
        world.spawn(Service::Executor, "executor-1"),
        world.spawn(Service::Executor, "executor-2"),
    ];
    world.activate(&trusting()).await;
    world.install_shop().await;
    let worker = Worker::serve(&world.journal, Duration::from_millis(20)).await;
    let mut ids = Vec::new();
    for n in 0..100 {
        let draft = json!([
            { "id": "a", "uses": "test.shop/look", "with": { "n": n } },
            { "id": "b", "uses": "test.shop/look", "with": { "n": { "$from": "/steps/a/output/with/n" } } },
        ]);
        ids.push(world.submit(&intent(&draft)).await);
    }
    for id in ids {
        world.finished(id).await;
    }
    let counts = worker.counts();
    assert_eq!(counts.len(), 200);
    assert!(counts.iter().all(|count| *count == 1), "{counts:?}");
}

/// An executor stands still past the takeover and comes back: it changes nothing that the other
/// one did.
#[tokio::test]
async fn a_paused_executor_comes_back_after_the_takeover() {
    let (world, services) = World::running(1).await;
    let worker = Worker::serve(&world.journal, Duration::from_secs(1)).await;
    let id = world
        .submit(&intent(&json!([
            { "id": "first", "uses": "test.shop/look", "with": { "n": 1 } },
            { "id": "second", "uses": "test.shop/look", "needs": ["first"], "with": { "n": 2 } },
            { "id": "third", "uses": "test.shop/look", "needs": ["second"], "with": { "n": 3 } },
        ])))
        .await;
    world.until(id, EventName::StepStarted).await;
    services.executor.pause();
    let other = world.spawn(Service::Executor, "other");
    other.line("takeover=true").await;
    services.executor.resume();
    let history = world.finished(id).await;
    let names = names(&history);
    assert_eq!(names.last().unwrap(), "execution.completed");
    assert!(
        names.contains(&"execution.step.started first #2 takeover".to_owned()),
        "{names:#?}"
    );
    // Only what was under way when it stood still is called again.
    assert_eq!(worker.counts().len(), 3);
    assert!(
        worker.counts().iter().sum::<usize>() <= 4,
        "{:?} {names:#?}",
        worker.counts()
    );
}

/// Three brokers, each killed in turn under load: leaders change, and everything finishes.
#[tokio::test]
async fn on_three_brokers_executions_survive_the_kill_of_each() {
    const EXECUTIONS: usize = 90;
    let mut world = World::on_three(4).await;
    let _services = [
        world.spawn(Service::Planner, "planner"),
        world.spawn(Service::Verifier, "verifier"),
        world.spawn(Service::Executor, "executor-1"),
        world.spawn(Service::Executor, "executor-2"),
    ];
    world.activate(&trusting()).await;
    world.install_shop().await;
    let worker = Worker::serve(&world.journal, Duration::from_millis(20)).await;
    let mut ids = Vec::new();
    for n in 0..EXECUTIONS {
        let draft = json!([
            { "id": "a", "uses": "test.shop/look", "with": { "n": n } },
            { "id": "b", "uses": "test.shop/look", "with": { "n": { "$from": "/steps/a/output/with/n" } } },
        ]);
        ids.push(world.submit(&intent(&draft)).await);
        if n % 30 == 15 {
            let victim = &mut world.servers[n / 30];
            victim.kill9().await;
            victim.restart().await;
        }
    }
    for id in &ids {
        let history = world.finished(*id).await;
        assert_eq!(
            names(&history).last().unwrap(),
            "execution.completed",
            "{:#?}",
            names(&history)
        );
    }
    assert_eq!(worker.counts().len(), EXECUTIONS * 2);
}

/// A wait is no process's, so its dead owner does not make a live one let go of the wake-up.
#[tokio::test]
async fn a_wait_that_a_dead_process_started_does_not_unsettle_who_takes_over() {
    let (world, services) = World::running(1).await;
    let worker = Worker::serve(&world.journal, Duration::from_secs(5)).await;
    let id = world
        .submit(&intent(&json!([
            { "id": "nap", "uses": "core.wait/wait", "with": { "ms": 1500 } },
            { "id": "look", "uses": "test.shop/look", "with": {} },
        ])))
        .await;
    services.executor.line("step=look").await;
    services.executor.kill9().await;
    let _again = world.spawn(Service::Executor, "again");
    let _other = world.spawn(Service::Executor, "other");
    let history = world.finished(id).await;
    let names = names(&history);
    assert_eq!(names.last().unwrap(), "execution.completed");
    let takeovers = names
        .iter()
        .filter(|name| name.contains("takeover"))
        .count();
    assert_eq!(takeovers, 1, "{names:#?}");
    // The killed process may or may not have sent its call.
    assert_eq!(worker.counts().len(), 1);
    assert!(worker.counts()[0] <= 2, "{:?}", worker.counts());
}
