//! On a real broker, as a process that is killed again and again.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use contracts::plan::Mode;
use host::config::names;
use journal::{
    Journal,
    jetstream::{ConnectOptions, InstallOptions, JetStreamJournal, install},
    layout::StreamCount,
};
use policy::shipped::default_bundle;
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;
use testkit::{
    nats::{NatsServer, ServerOptions},
    process::{Process, SAYS_ALL, binary},
};

use super::{
    story::{Story, chained, echo, faulty},
    world::{Caller, READER, principals},
};

const STREAMS: u8 = 4;

pub struct Broker {
    pub server: NatsServer,
    pub journal: Arc<dyn Journal>,
    pub directory: TempDir,
    install: InstallOptions,
}

/// Where a process that says it runs is reached.
pub async fn address(process: &Process) -> SocketAddr {
    let line = process.line("running").await;
    let (_, rest) = line.split_once("address=").unwrap();
    let address = rest.split_whitespace().next().unwrap();
    address.parse().unwrap()
}

fn options(server: &NatsServer, streams: StreamCount) -> ConnectOptions {
    ConnectOptions::new(server.url(), "intake").streams(streams)
}

impl Broker {
    pub async fn start() -> Self {
        let streams = StreamCount::try_new(STREAMS).unwrap();
        Self::with(InstallOptions::new(streams)).await
    }

    pub async fn with(wanted: InstallOptions) -> Self {
        let server = NatsServer::start(ServerOptions::default()).await;
        let options = options(&server, wanted.streams);
        install(&options, wanted.clone()).await.unwrap();
        let journal = JetStreamJournal::connect(&options).await.unwrap();
        Self {
            server,
            journal: Arc::new(journal),
            directory: tempfile::tempdir().unwrap(),
            install: wanted,
        }
    }

    /// What is not there.
    async fn install(&self) {
        let options = options(&self.server, self.install.streams);
        install(&options, self.install.clone()).await.unwrap();
    }

    fn database(&self) -> PathBuf {
        self.directory.path().join("read.db")
    }

    pub fn projector(&self, name: &str) -> Process {
        self.projector_with(name, &self.database(), &[])
    }

    pub fn projector_with(
        &self,
        name: &str,
        database: &Path,
        settings: &[(&str, String)],
    ) -> Process {
        let mut command = Command::new(binary("projector"));
        command
            .env(names::NATS_URL, self.server.url())
            .env(names::STREAMS, self.install.streams.get().to_string())
            .env(names::LOG, SAYS_ALL)
            .env(names::PRINCIPALS_FILE, principals(self.directory.path()))
            .env(
                names::DATABASE_URL,
                format!("sqlite://{}", database.display()),
            )
            .envs(settings.iter().map(|(name, value)| (name, value)));
        Process::spawn(
            name,
            command,
            &self.directory.path().join(format!("{name}.log")),
        )
    }

    /// A caller of a process that says it runs.
    pub async fn caller(process: &Process) -> Caller {
        Caller::new(address(process).await, READER)
    }

    /// Count, first and last sequence of each stream in the read model.
    async fn stored(&self) -> BTreeMap<String, (i64, i64, i64)> {
        Self::stored_in(&self.database()).await
    }

    pub async fn stored_in(database: &Path) -> BTreeMap<String, (i64, i64, i64)> {
        let url = format!("sqlite://{}", database.display());
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
            "SELECT stream, COUNT(*), MIN(sequence), MAX(sequence) FROM events GROUP BY stream",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        rows.into_iter()
            .map(|(stream, count, first, last)| (stream, (count, first, last)))
            .collect()
    }
}

#[tokio::test]
async fn killed_again_and_again_it_leaves_nothing_out_and_stores_nothing_twice() {
    let broker = Broker::start().await;
    let story = Story::new(Arc::clone(&broker.journal));
    story.activate(&default_bundle()).await;
    let mut all = Vec::new();
    for round in 0..6 {
        let projector = broker.projector(&format!("projector-{round}"));
        for (mode, steps) in [
            (Mode::Autonomous, echo()),
            (Mode::Autonomous, chained()),
            (Mode::Autonomous, faulty()),
            (Mode::Assist, echo()),
        ] {
            all.push(story.submitted(mode, &steps).await);
        }
        if round % 2 == 0 {
            // In the midst of what it reads; otherwise at whatever it is at.
            projector.line("stored").await;
        }
        projector.kill9().await;
    }
    let projector = broker.projector("projector-last");
    let caller = Broker::caller(&projector).await;
    let end = story.end().await;
    let list = caller.ok(&format!("/v1/executions?atLeast={end}")).await;
    assert_eq!(list["total"], all.len());
    for (row, id) in list["items"]
        .as_array()
        .unwrap()
        .iter()
        .zip(all.iter().rev())
    {
        assert_eq!(row["executionId"], id.to_string());
        assert_eq!(row["status"], story.status(*id).await.as_str());
    }
    projector.term();
    assert!(projector.wait(Duration::from_secs(20)).await.success());

    let stored = broker.stored().await;
    let reached: BTreeMap<String, (i64, i64, i64)> = end
        .iter()
        .map(|at| {
            let sequence = i64::try_from(at.sequence).unwrap();
            (at.stream.name(), (sequence, 1, sequence))
        })
        .collect();
    assert_eq!(stored, reached);
}

#[tokio::test]
async fn it_goes_on_when_the_broker_was_away() {
    let mut broker = Broker::start().await;
    let story = Story::new(Arc::clone(&broker.journal));
    story.activate(&default_bundle()).await;
    story.submitted(Mode::Autonomous, &echo()).await;
    let projector = broker.projector("projector");
    let caller = Broker::caller(&projector).await;
    let end = story.end().await;
    assert_eq!(
        caller.ok(&format!("/v1/executions?atLeast={end}")).await["total"],
        1
    );

    broker.server.kill9().await;
    broker.server.restart().await;
    let id = story.submitted(Mode::Autonomous, &echo()).await;
    let end = story.end().await;
    let list = caller.ok(&format!("/v1/executions?atLeast={end}")).await;
    assert_eq!(list["total"], 2);
    let mut feed = caller.watch(&id.to_string(), None).await;
    assert_eq!(
        feed.all().await.len(),
        story.history(&story.aggregate(id)).await.len()
    );
}

#[tokio::test]
async fn a_read_model_of_another_broker_is_refused() {
    let (first, second) = (Broker::start().await, Broker::start().await);
    let story = Story::new(Arc::clone(&first.journal));
    story.activate(&default_bundle()).await;
    let projector = first.projector("first");
    let caller = Broker::caller(&projector).await;
    caller
        .ok(&format!("/v1/skill.list?atLeast={}", story.end().await))
        .await;
    projector.term();
    assert!(projector.wait(Duration::from_secs(20)).await.success());

    std::fs::copy(first.database(), second.database()).unwrap();
    let projector = second.projector("second");
    let ended = projector.wait(Duration::from_secs(20)).await;
    assert!(!ended.success());
    projector.line("the read model is ahead of the log").await;
}

/// What is asked while the broker is away is answered from what is there, or not at all; what is
/// watched goes on by itself.
#[tokio::test]
async fn queries_and_feeds_live_through_an_outage() {
    let mut broker = Broker::start().await;
    let story = Story::new(Arc::clone(&broker.journal));
    story.activate(&default_bundle()).await;
    let id = story.submitted(Mode::Assist, &echo()).await;
    let before = story.end().await;
    let projector = broker.projector("projector");
    let caller = Broker::caller(&projector).await;
    let list = format!("/v1/executions?atLeast={before}");
    assert_eq!(caller.ok(&list).await["total"], 1);
    let mut feed = caller.watch(&id.to_string(), None).await;
    for _ in 0..5 {
        feed.next().await.unwrap();
    }

    let get = format!("/v1/executions/{id}");
    broker.server.kill9().await;
    projector.line("the connection to the broker is lost").await;
    let (status, ready) = caller.get("/readyz").await;
    assert_eq!(status, 503);
    assert!(ready["reasons"]["log"].is_string(), "{ready}");
    assert_eq!(caller.get("/healthz").await.0, 200);
    assert_eq!(caller.ok(&list).await["total"], 1);
    Caller::refused(&caller.get(&get).await, 503, "LOG_UNAVAILABLE");
    // Under way while it comes back: each is answered, and right.
    let asked = (0..16).map(|_| caller.get(&get));
    let (answers, ()) = tokio::join!(futures::future::join_all(asked), broker.server.restart());
    for answer in &answers {
        match answer.0 {
            200 => assert_eq!(answer.1["execution"]["status"], "blocked"),
            _ => Caller::refused(answer, 503, "LOG_UNAVAILABLE"),
        }
    }

    story.approve(id, "say").await;
    story.finish(id).await;
    assert_eq!(feed.all().await.len(), 4);
    let end = story.end().await;
    let list = caller.ok(&format!("/v1/executions?atLeast={end}")).await;
    assert_eq!(list["items"][0]["status"], "completed");
    assert_eq!(caller.get("/readyz").await.0, 200);
}

/// A broker that comes back with another log, or an older one, must not be followed under the
/// numbers of the first.
#[tokio::test]
async fn a_log_that_is_another_one_after_an_outage_is_not_gone_on_with() {
    let mut broker = Broker::start().await;
    let story = Story::new(Arc::clone(&broker.journal));
    story.activate(&default_bundle()).await;
    story.submitted(Mode::Autonomous, &echo()).await;
    let projector = broker.projector("projector");
    let caller = Broker::caller(&projector).await;
    let end = story.end().await;
    caller.ok(&format!("/v1/executions?atLeast={end}")).await;
    let client = broker.server.client().await;
    for stream in broker.journal.streams() {
        let subject = format!("$JS.API.STREAM.DELETE.{}", stream.name());
        client.request(subject, "".into()).await.unwrap();
    }
    broker.install().await;
    broker.server.kill9().await;
    broker.server.restart().await;
    let ended = projector.wait(Duration::from_secs(40)).await;
    assert!(!ended.success());
    projector.line("the read model is ahead of the log").await;
}
