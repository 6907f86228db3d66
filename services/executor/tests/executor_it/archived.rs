//! A writer that stood still while all that it knows was archived and purged. The guard of what it
//! would append passes again, and it appends nothing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use contracts::{
    event::Service,
    ids::ExecutionId,
    record::{Cause, seal},
    subject::AggregateId,
    time::Timestamp,
};
use domain::execution::{Execution, intake, planning};
use host::{
    clock::{Ambient as _, System},
    config::names,
    engine::{self, Host},
    wake::Wake,
};
use journal::{
    Journal, archive::WindowSize, delivery::Message, history::Read, jetstream::InstallOptions,
    layout::StreamCount, memory::MemoryJournal,
};
use serde_json::json;
use testkit::process::Process;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::world::{World, intent, names as names_of, trusting, workspace};

const WINDOW: u64 = 16;

/// Longer than anything takes that is decided without standing still, even on a busy machine.
const LIVE_AGE: &str = "20s";

fn settings() -> Vec<(&'static str, &'static str)> {
    vec![(names::LIVE_EVENTS, "1"), (names::LIVE_AGE, LIVE_AGE)]
}

fn archiver(world: &World) -> Process {
    let password = world.file("password", "any: this broker asks nobody");
    let principals = world.file("principals.json", r#"{"principals":[]}"#);
    let database = format!("sqlite://{}", world.mark("read.db").display());
    let mut settings = settings();
    let (password, principals) = (
        password.display().to_string(),
        principals.display().to_string(),
    );
    settings.extend([
        (names::ARCHIVER_PASSWORD_FILE, password.as_str()),
        (names::PRINCIPALS_FILE, principals.as_str()),
        (names::DATABASE_URL, database.as_str()),
    ]);
    world.spawn_with(Service::Projector, "projector", &settings)
}

/// A log with small windows, and the services on it.
struct Running {
    world: World,
    processes: BTreeMap<Service, Process>,
}

impl Running {
    async fn new() -> Self {
        let world = World::with(InstallOptions {
            archive_window: WindowSize::try_new(WINDOW).unwrap(),
            ..InstallOptions::new(StreamCount::ONE)
        })
        .await;
        let mut running = Self {
            world,
            processes: BTreeMap::new(),
        };
        for service in [Service::Planner, Service::Verifier, Service::Executor] {
            running.start(service, service.as_str());
        }
        running.world.activate(&trusting()).await;
        running
    }

    fn start(&mut self, service: Service, name: &str) {
        let process = self.world.spawn_with(service, name, &settings());
        self.processes.insert(service, process);
    }

    async fn submit(&self) -> ExecutionId {
        let say = json!([{ "id": "say", "uses": "core.echo/echo", "with": {} }]);
        self.world.submit(&intent(&say)).await
    }

    /// Whoever `stopped` is, another one of its service takes over what it holds of an execution, all
    /// of it is archived and purged, and then it goes on.
    async fn goes_on_when_all_is_archived(
        mut self,
        service: Service,
        stopped: Process,
        id: ExecutionId,
    ) {
        self.start(service, "again");
        let history = self.world.finished(id).await;
        let (journal, aggregate) = (
            Arc::clone(&self.world.journal),
            AggregateId::execution(workspace(), id),
        );
        let stored = journal.load(&aggregate, Read::Confirmed).await.unwrap();
        let last = stored.last().unwrap().0;
        let target = last.sequence.div_ceil(WINDOW) * WINDOW;
        while journal.last_sequence(last.stream).await.unwrap() <= target {
            let other = self.submit().await;
            self.world.finished(other).await;
        }
        let projector = archiver(&self.world);
        projector.line(&format!("sequence={target}")).await;
        assert!(journal.is_archived(&aggregate).await.unwrap());

        let before = journal.last_sequence(last.stream).await.unwrap();
        assert!(stopped.is_running());
        stopped.resume();
        // What it holds is answered before it ends.
        let other = self.submit().await;
        self.world.finished(other).await;
        stopped.term();
        assert!(stopped.wait(Duration::from_secs(30)).await.success());
        let again = journal.load(&aggregate, Read::Confirmed).await.unwrap();
        assert_eq!(again, stored);
        let entries = journal.read(last.stream, before, 1000).await.unwrap();
        let of_it = entries
            .iter()
            .filter(|entry| entry.raw.subject.starts_with(aggregate.prefix()));
        assert_eq!(of_it.count(), 0, "{:#?}", names_of(&history));
    }
}

/// It has decided, and appends when it goes on.
async fn stands_still_before_it_appends(service: Service) {
    let mut running = Running::new().await;
    // Gone, so that the one that is to stand still is the one to decide.
    running.processes.remove(&service).unwrap().kill9().await;
    let armed = running.world.failpoint("before-append");
    let mut stopping = settings();
    stopping.extend(
        armed
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    stopping.push(("CONTROL_PLANE_FAILPOINT_STOPS", "on"));
    let stopped = running.world.spawn_with(service, "stopped", &stopping);
    let id = running.submit().await;
    stopped.line("stands still").await;
    running
        .goes_on_when_all_is_archived(service, stopped, id)
        .await;
}

#[tokio::test]
async fn a_planner_that_stood_still_plans_nothing_of_what_is_archived() {
    stands_still_before_it_appends(Service::Planner).await;
}

#[tokio::test]
async fn a_verifier_that_stood_still_judges_nothing_of_what_is_archived() {
    stands_still_before_it_appends(Service::Verifier).await;
}

#[tokio::test]
async fn an_executor_that_stood_still_starts_nothing_of_what_is_archived() {
    stands_still_before_it_appends(Service::Executor).await;
}

/// How long ago a delivery was received, and its event was stored.
async fn delivered_late(received_ago: Duration, stored_ago_ms: i64) {
    let now = System.now();
    let stored_at = Timestamp::from_millis(now.as_millis() - stored_ago_ms);
    let memory = MemoryJournal::new(StreamCount::ONE, now);
    let journal: Arc<dyn Journal> = Arc::new(memory.clone());
    let ack_wait = Duration::from_secs(2);
    let shutdown = CancellationToken::new();
    let host = Host::new(
        Service::Planner,
        Arc::clone(&journal),
        Arc::new(System),
        ack_wait,
        shutdown,
    );
    let id = ExecutionId::of(uuid::Uuid::now_v7());
    let aggregate = AggregateId::execution(workspace(), id);
    let say = json!([{ "id": "say", "uses": "core.echo/echo", "with": {} }]);
    let received = intake::submit(&Execution::NeverReceived, id, &intent(&say), stored_at);
    let received = received.unwrap().remove(0);
    let cause = Cause::default();
    let (envelope, first) = seal(
        &aggregate,
        None,
        received,
        Service::Intake,
        &cause,
        stored_at,
    )
    .unwrap();
    let position = journal.append(&envelope).await.unwrap();
    let wake = Wake::of(&Message::Event {
        position,
        recorded: first,
    })
    .unwrap();
    let settle = |received| {
        engine::settle::<Execution, _, _>(&host, &wake, received, planning::decide, |_| Vec::new())
    };
    settle(Instant::now()).await.unwrap();
    let planned = journal.load(&aggregate, Read::Confirmed).await.unwrap();
    assert!(planned.len() > 1);
    let (other, _) = seal(
        &AggregateId::execution(workspace(), ExecutionId::of(uuid::Uuid::now_v7())),
        None,
        planned[0].1.event.clone(),
        Service::Intake,
        &cause,
        now,
    )
    .unwrap();
    journal.append(&other).await.unwrap();
    let end = journal.last_sequence(position.stream).await.unwrap();
    assert_eq!(memory.archive(position.stream, end), end - 1);

    settle(Instant::now().checked_sub(received_ago).unwrap())
        .await
        .unwrap();
    assert_eq!(journal.last_sequence(position.stream).await.unwrap(), end);
    let again = journal.load(&aggregate, Read::Confirmed).await.unwrap();
    assert_eq!(again, planned);
}

/// Its first event is the whole history of an execution only for who has just been given it.
#[tokio::test]
async fn an_intent_that_waited_in_a_planner_is_not_planned_again() {
    delivered_late(Duration::from_mins(5), 0).await;
}

#[tokio::test]
async fn an_intent_that_waited_before_a_planner_is_not_planned_again() {
    let minutes = Duration::from_mins(11).as_millis();
    delivered_late(Duration::ZERO, i64::try_from(minutes).unwrap()).await;
}
