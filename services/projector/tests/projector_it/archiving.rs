//! What has left the live window is archived, through kill -9 at every stage, and nobody who reads
//! sees a difference.

use std::{path::PathBuf, process::Command, sync::Arc, time::Duration};

use contracts::{
    event::{Event, EventName},
    ids::ExecutionId,
    plan::Mode,
    position::{Position, Positions, StreamId},
    subject::AggregateId,
};
use host::config::names;
use journal::{
    archive::WindowSize,
    delivery::{ConsumerSpec, Deliveries, on_executions},
    history::Read,
    jetstream::InstallOptions,
    layout::StreamCount,
    stored::Entry,
    tail::Scope,
};
use policy::shipped::default_bundle;
use serde_json::{Value, json};
use testkit::process::{Process, binary};
use tokio::task::JoinSet;

use super::{
    broker::Broker,
    story::{Story, chained, echo, faulty},
};

const WINDOW: u64 = 16;
const LIVE: u64 = 5;

const STREAM: StreamId = StreamId::Log(0);

/// A log with some executions, and the services' consumers.
struct World {
    broker: Broker,
    story: Story,
    all: Vec<ExecutionId>,
    /// What each service has yet to see.
    unseen: Vec<(EventName, Box<dyn Deliveries>)>,
    seeing: JoinSet<()>,
}

/// What readers see.
#[derive(Debug, PartialEq)]
struct Seen {
    list: Value,
    replayed: Value,
    histories: Vec<Vec<Position>>,
}

impl World {
    async fn new() -> Self {
        let mut world = Self::unseen().await;
        world.see(|_| true);
        world
    }

    /// Where no service has seen anything yet.
    async fn unseen() -> Self {
        let broker = Broker::with(InstallOptions {
            archive_window: WindowSize::try_new(WINDOW).unwrap(),
            ..InstallOptions::new(StreamCount::ONE)
        })
        .await;
        let story = Story::new(Arc::clone(&broker.journal));
        story.activate(&default_bundle()).await;
        let mut all = vec![story.submitted(Mode::Assist, &echo()).await];
        for _ in 0..4 {
            for steps in [echo(), chained(), faulty()] {
                all.push(story.submitted(Mode::Autonomous, &steps).await);
            }
        }
        // The oldest is the one that goes on to the last.
        story.approve(all[0], "say").await;
        story.finish(all[0]).await;
        let mut unseen = Vec::new();
        for (service, purpose, event) in on_executions() {
            let spec = ConsumerSpec::events(service, purpose, [event]);
            unseen.push((event, broker.journal.consume(spec).await.unwrap()));
        }
        Self {
            broker,
            story,
            all,
            unseen,
            seeing: JoinSet::new(),
        }
    }

    /// A service sees all that is stored of an event, and what will be.
    fn see(&mut self, which: impl Fn(EventName) -> bool) {
        let (seen, unseen) = std::mem::take(&mut self.unseen)
            .into_iter()
            .partition(|(event, _)| which(*event));
        self.unseen = unseen;
        for (_, mut deliveries) in seen {
            self.seeing.spawn(async move {
                loop {
                    deliveries.next().await.handle.ack().await.unwrap();
                }
            });
        }
    }

    fn database(&self, name: &str) -> PathBuf {
        self.broker.directory.path().join(name)
    }

    /// A projector that archives.
    fn archiver(&self, name: &str, more: &[(&str, String)]) -> Process {
        let password = self.database("archiver.password");
        std::fs::write(&password, "any: this broker asks nobody").unwrap();
        let mut settings = vec![
            (
                names::ARCHIVER_PASSWORD_FILE,
                password.display().to_string(),
            ),
            (names::LIVE_EVENTS, LIVE.to_string()),
            (names::LIVE_AGE, "0s".to_owned()),
        ];
        settings.extend(more.iter().cloned());
        let database = self.database(&format!("{name}.db"));
        self.broker.projector_with(name, &database, &settings)
    }

    async fn end(&self) -> u64 {
        self.broker.journal.last_sequence(STREAM).await.unwrap()
    }

    /// Up to where a log of so many events is purged.
    fn purged_of(end: u64) -> u64 {
        (end - LIVE) / WINDOW * WINDOW
    }

    async fn until_purged(&self, projectors: &[&Process], sequence: u64) {
        let said = format!("sequence={sequence}");
        let lines = projectors.iter().map(|it| Box::pin(it.line(&said)));
        futures::future::select_all(lines).await;
        let client = self.broker.server.client().await;
        let subject = "$JS.API.STREAM.INFO.CONTROL_PLANE_00";
        let answer = client.request(subject, "".into()).await.unwrap();
        let info: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(info["state"]["first_seq"], json!(sequence + 1));
    }

    async fn seen(&self, projector: &Process) -> Seen {
        let caller = Broker::caller(projector).await;
        let end: Positions = self.story.end().await;
        let list = caller
            .ok(&format!("/v1/executions?atLeast={end}&limit=100"))
            .await;
        let mut histories = Vec::new();
        for id in &self.all {
            let aggregate = self.story.aggregate(*id);
            let history = self.broker.journal.load(&aggregate, Read::Confirmed).await;
            let history = history.unwrap().into_iter();
            histories.push(history.map(|(position, _)| position).collect());
        }
        Seen {
            list: list["items"].clone(),
            replayed: self.replayed().await,
            histories,
        }
    }

    /// What `replay --all` says.
    async fn replayed(&self) -> Value {
        let context = self.database("context.json");
        let known = json!({
            "url": "http://127.0.0.1:1", "natsUrl": self.broker.server.url(), "workspace": "acme",
            "streams": 1, "identities": {},
        });
        std::fs::write(&context, known.to_string()).unwrap();
        let mut command = Command::new(binary("controlplane"));
        command
            .args(["replay", "--all", "--json", "--context"])
            .arg(context);
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.unwrap().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} {said}"))
    }
}

async fn killed_at(failpoint: &str) {
    let world = World::new().await;
    let plain = world.broker.projector("plain");
    plain.line("NOTHING IS ARCHIVED").await;
    let before = world.seen(&plain).await;
    assert_eq!(before.list.as_array().unwrap().len(), world.all.len());
    plain.kill9().await;

    let end = world.end().await;
    let purged = World::purged_of(end);
    assert!(purged >= 4 * WINDOW);
    let mark = world.database("reached");
    let armed = [
        ("CONTROL_PLANE_FAILPOINT", failpoint.to_owned()),
        ("CONTROL_PLANE_FAILPOINT_FILE", mark.display().to_string()),
    ];
    let doomed = world.archiver("doomed", &armed);
    let status = doomed.wait(Duration::from_mins(1)).await;
    assert!(
        !status.success() && mark.exists(),
        "it was not killed there: {status}; the binaries need `--features failpoints`"
    );
    let again = world.archiver("again", &[]);
    world.until_purged(&[&again], purged).await;
    assert_eq!(world.seen(&again).await, before);
    again.term();
    assert!(again.wait(Duration::from_secs(20)).await.success());
    // A read model that is built of what is archived, and of what is live.
    let stored = Broker::stored_in(&world.database("again.db")).await;
    let end = i64::try_from(end).unwrap();
    assert_eq!(stored["CONTROL_PLANE_00"], (end, 1, end));
}

#[tokio::test]
async fn killed_between_two_parts() {
    killed_at("archive-part-written").await;
}

#[tokio::test]
async fn killed_between_the_parts_and_their_seal() {
    killed_at("archive-parts-written").await;
}

#[tokio::test]
async fn killed_when_a_window_is_sealed() {
    killed_at("archive-sealed").await;
}

#[tokio::test]
async fn killed_when_a_window_is_verified() {
    killed_at("archive-verified").await;
}

#[tokio::test]
async fn killed_when_a_window_is_purged() {
    killed_at("archive-purged").await;
}

/// Each archives as the log grows, woken by what it reads; what is purged is never awaited.
#[tokio::test]
async fn several_projectors_archive_what_comes() {
    let world = World::new().await;
    let projectors: Vec<_> = (0..3)
        .map(|index| world.archiver(&format!("projector-{index}"), &[]))
        .collect();
    let each: Vec<_> = projectors.iter().collect();
    let before = World::purged_of(world.end().await);
    world.until_purged(&each, before).await;
    while World::purged_of(world.end().await) < before + 3 * WINDOW {
        world.story.submitted(Mode::Autonomous, &echo()).await;
    }
    let end = world.end().await;
    world.until_purged(&each, World::purged_of(end)).await;
    let mut seen = Vec::new();
    for projector in &projectors {
        seen.push(world.seen(projector).await);
    }
    assert!(seen.iter().all(|it| *it == seen[0]));
    let catalogue = world.broker.journal.last_sequence(StreamId::Catalogue);
    let events = end + catalogue.await.unwrap();
    assert_eq!(seen[0].replayed["summary"]["events"], json!(events));
    for (index, projector) in projectors.iter().enumerate() {
        let caller = Broker::caller(projector).await;
        let (status, metrics) = caller.get("/metrics").await;
        let metrics = metrics.as_str().unwrap();
        assert_eq!(status, 200);
        assert!(
            metrics.contains("control_plane_archive_failing{service=\"projector\"} 0"),
            "{index}: {metrics}"
        );
        assert_eq!(caller.get("/readyz").await.0, 200);
    }
}

/// Nothing is purged that a service has yet to see, and all of it when it has.
#[tokio::test]
async fn what_a_service_has_yet_to_see_stays_live() {
    let mut world = World::unseen().await;
    let projector = world.archiver("projector", &[]);
    projector.line("a consumer holds up the purge").await;
    let purged = World::purged_of(world.end().await);
    let everywhere = [
        EventName::IntentReceived,
        EventName::PlanCompiled,
        EventName::PlanVerified,
    ];
    world.see(|event| !everywhere.contains(&event));
    for next in everywhere {
        assert!(!says(&projector, "archived and purged"));
        world.see(|event| event == next);
    }
    world.until_purged(&[&projector], purged).await;
}

fn says(process: &Process, text: &str) -> bool {
    process.output().iter().any(|line| line.contains(text))
}

/// Somebody wrote to the archive. Nothing is sealed over it, nothing is purged, somebody is told, and
/// everything else goes on.
#[tokio::test]
async fn an_archive_that_says_otherwise_is_an_incident_and_stops_nothing_else() {
    let world = World::new().await;
    let aggregate = world.story.aggregate(world.all[1]);
    let part = aggregate
        .prefix()
        .replacen("controlPlane.", "cp.archive.", 1);
    let client = world.broker.server.client().await;
    let answer = client
        .request(format!("{part}.1"), "something else".into())
        .await;
    let answer: Value = serde_json::from_slice(&answer.unwrap().payload).unwrap();
    assert!(answer.get("error").is_none(), "{answer}");
    let before = world.end().await;
    let projector = world.archiver("projector", &[]);
    let said = projector.line("nothing more of the stream is purged").await;
    assert!(said.contains(&format!("{part}.1")), "{said}");
    let incidents = AggregateId::incident(aggregate.workspace().clone(), aggregate.id());
    let (beginning, scope) = (Positions::beginning(), Scope::Aggregate(incidents));
    let mut tail = world.broker.journal.tail(&beginning, scope).await.unwrap();
    let raised = tokio::time::timeout(Duration::from_secs(30), tail.next()).await;
    let Entry {
        position, recorded, ..
    } = raised.unwrap();
    let recorded = recorded.unwrap();
    assert_eq!(position.sequence, before + 1);
    let Event::IncidentRaised(raised) = &recorded.event else {
        panic!("{recorded:#?}");
    };
    assert_eq!(raised.code, "LOG_FORKED");
    let caller = Broker::caller(&projector).await;
    let (_, metrics) = caller.get("/metrics").await;
    let failing = "control_plane_archive_failing{service=\"projector\"} 1";
    assert!(metrics.as_str().unwrap().contains(failing), "{metrics}");
    assert_eq!(caller.get("/readyz").await.0, 200);
    let end = world.story.end().await;
    let list = caller.ok(&format!("/v1/executions?atLeast={end}")).await;
    assert_eq!(list["total"], json!(world.all.len()));
    assert!(!says(&projector, "archived and purged"));
}

#[tokio::test]
async fn a_live_window_that_makes_no_sense_is_refused() {
    let broker = Broker::start().await;
    for (name, value) in [
        (names::LIVE_AGE, "soon"),
        (names::LIVE_AGE, "1y"),
        (names::LIVE_EVENTS, "0"),
    ] {
        let database = broker.directory.path().join("refused.db");
        let projector = broker.projector_with("refused", &database, &[(name, value.to_owned())]);
        let ended = projector.wait(Duration::from_secs(20)).await;
        assert!(!ended.success());
        projector.line(&format!("`{name}` is `{value}`")).await;
    }
}
