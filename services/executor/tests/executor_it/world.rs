//! A broker, the services that run executions, and the log as intake sees it.

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use contracts::{
    bundle::{Bundle, TrustedKey, TrustedPublisher},
    event::{Event, EventName, Service},
    facts::{Actor, ActorType},
    ids::{ExecutionId, WorkspaceId},
    manifest::SkillManifest,
    plan::{Mode, Start},
    position::Positions,
    record::{Cause, Recorded, seal},
    subject::AggregateId,
    time::Timestamp,
};
use domain::{
    execution::{Execution, intake},
    policy::{self, Policy},
    skill::{self, Skill},
};
use journal::{
    Journal,
    append::AppendError,
    history::Read,
    jetstream::{ConnectOptions, InstallOptions, JetStreamJournal, install},
    layout::StreamCount,
    tail::Scope,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{
    nats::{Cluster, NatsServer, ServerOptions},
    process::{Process, SAYS_ALL, binary},
};

/// How long anything may take that a test waits for; generous, since other tests share the cores.
const PATIENCE: Duration = Duration::from_secs(90);

/// Wake-ups of a process that died come again after this.
const ACK_WAIT_MS: &str = "2000";

pub struct World {
    pub servers: Vec<NatsServer>,
    pub journal: Arc<dyn Journal>,
    streams: StreamCount,
    directory: TempDir,
}

fn urls(servers: &[NatsServer]) -> String {
    let urls: Vec<String> = servers.iter().map(NatsServer::url).collect();
    urls.join(",")
}

pub fn workspace() -> WorkspaceId {
    "demo".parse().unwrap()
}

pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

pub fn actor(id: &str, grants: &[&str]) -> Actor {
    Actor {
        via: None,
        kind: ActorType::User,
        id: id.parse().unwrap(),
        grants: grants.iter().map(|grant| (*grant).to_owned()).collect(),
    }
}

pub fn approver() -> Actor {
    actor("ann", &["execution.approve"])
}

/// An intent with a draft of `steps`.
pub fn intent(steps: &Value) -> intake::Submission {
    intake::Submission {
        actor: actor("sam", &["intent.submit"]),
        channel_key: None,
        text: "run these steps".to_owned(),
        metadata: None,
        draft: Some(json!({ "steps": steps })),
        start: Start::Auto,
        mode: Mode::Autonomous,
        deadline_at: None,
    }
}

/// One each of the services that run executions.
pub struct Services {
    pub planner: Process,
    pub verifier: Process,
    pub executor: Process,
}

impl Services {
    /// Kill -9 of all of them.
    pub async fn kill9(&self) {
        for process in [&self.planner, &self.verifier, &self.executor] {
            process.kill9().await;
        }
    }
}

impl World {
    /// A world with its services, the shipped policy, and the skill `shop`.
    pub async fn running(streams: u8) -> (Self, Services) {
        let world = Self::new(streams).await;
        let services = world.services();
        world.activate(&trusting()).await;
        world.install_shop().await;
        (world, services)
    }

    pub fn services(&self) -> Services {
        Services {
            planner: self.spawn(Service::Planner, "planner"),
            verifier: self.spawn(Service::Verifier, "verifier"),
            executor: self.spawn(Service::Executor, "executor"),
        }
    }

    /// A broker with an installed log of `streams` streams.
    pub async fn new(streams: u8) -> Self {
        Self::on(
            vec![NatsServer::start(ServerOptions::default()).await],
            streams,
        )
        .await
    }

    /// Three brokers that replicate the log to each other.
    pub async fn on_three(streams: u8) -> Self {
        Self::on(Cluster::start(3).await.servers, streams).await
    }

    async fn on(servers: Vec<NatsServer>, streams: u8) -> Self {
        let wanted = InstallOptions {
            replicas: Some(u8::try_from(servers.len()).unwrap()),
            ..InstallOptions::new(StreamCount::try_new(streams).unwrap())
        };
        Self::made(servers, wanted).await
    }

    /// A broker with a log as it is told.
    pub async fn with(wanted: InstallOptions) -> Self {
        let server = NatsServer::start(ServerOptions::default()).await;
        Self::made(vec![server], wanted).await
    }

    async fn made(servers: Vec<NatsServer>, wanted: InstallOptions) -> Self {
        let streams = wanted.streams;
        let options = ConnectOptions::new(urls(&servers), "intake").streams(streams);
        install(&options, wanted).await.unwrap();
        let journal = JetStreamJournal::connect(&options).await.unwrap();
        Self {
            servers,
            journal: Arc::new(journal),
            streams,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// A service as a process; its log is kept beside the others'.
    pub fn spawn(&self, service: Service, name: &str) -> Process {
        self.spawn_with(service, name, &[])
    }

    pub fn spawn_with(&self, service: Service, name: &str, settings: &[(&str, &str)]) -> Process {
        use host::config::names;
        let mut command = Command::new(binary(service.as_str()));
        command
            .env(names::NATS_URL, urls(&self.servers))
            .env(names::STREAMS, self.streams.get().to_string())
            .env(names::ACK_WAIT_MS, ACK_WAIT_MS)
            .env(names::LOG, SAYS_ALL)
            .envs(settings.iter().copied());
        Process::spawn(
            name,
            command,
            &self.directory.path().join(format!("{name}.log")),
        )
    }

    /// A file for a process to read.
    pub fn file(&self, name: &str, text: &str) -> std::path::PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A failpoint that kills the process that reaches it, once.
    pub fn failpoint(&self, name: &str) -> Vec<(String, String)> {
        let mark = self.mark(name);
        vec![
            ("CONTROL_PLANE_FAILPOINT".to_owned(), name.to_owned()),
            (
                "CONTROL_PLANE_FAILPOINT_FILE".to_owned(),
                mark.display().to_string(),
            ),
        ]
    }

    pub fn mark(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(format!("{name}.reached"))
    }

    /// Appends what `decide` says of an execution, again after each conflict.
    pub async fn decide<E>(
        &self,
        id: ExecutionId,
        decide: impl Fn(&Execution) -> Result<Vec<Event>, E>,
    ) -> Result<(), E> {
        let aggregate = AggregateId::execution(workspace(), id);
        loop {
            let Ok(history) = self.journal.load(&aggregate, Read::Confirmed).await else {
                continue;
            };
            let state = Execution::fold(history.iter().map(|(_, recorded)| recorded));
            let events = decide(&state)?;
            if self.append(&aggregate, state.head().copied(), events).await {
                return Ok(());
            }
        }
    }

    /// False where it is to be decided again.
    async fn append(
        &self,
        aggregate: &AggregateId,
        mut head: Option<contracts::record::Head>,
        events: Vec<Event>,
    ) -> bool {
        for event in events {
            let (envelope, recorded) = seal(
                aggregate,
                head.as_ref(),
                event,
                Service::Intake,
                &Cause::default(),
                now(),
            )
            .unwrap();
            match self.journal.append(&envelope).await {
                Ok(_) => head = Some(recorded.head()),
                // While a leader is elected nobody knows whether it is stored: looked at again, and
                // asked again, as every caller has to.
                Err(AppendError::Conflict { .. } | AppendError::Unavailable { .. }) => {
                    return false;
                }
                Err(error) => panic!("cannot append: {error:?}"),
            }
        }
        true
    }

    pub async fn submit(&self, submission: &intake::Submission) -> ExecutionId {
        let id = ExecutionId::of(uuid::Uuid::now_v7());
        self.decide(id, |state| intake::submit(state, id, submission, now()))
            .await
            .unwrap();
        id
    }

    /// Approves an open block as somebody who has looked at it.
    pub async fn approve(&self, id: ExecutionId, step: &str) -> Result<(), intake::Rejection> {
        self.decide(id, |state| {
            let known = intake::existing(state, id)?;
            let ballot = intake::Ballot {
                step: step.parse().unwrap(),
                block: None,
                by: approver(),
                plan_hash: known.compiled().map(|compiled| compiled.deterministic_hash),
                inputs_digest: None,
            };
            intake::approve(known, &ballot, None, now())
        })
        .await
    }

    pub async fn cancel(&self, id: ExecutionId) {
        self.decide(id, |state| {
            intake::cancel(
                intake::existing(state, id)?,
                &approver(),
                Some("test"),
                now(),
            )
        })
        .await
        .unwrap();
    }

    /// Activates `bundle`, answered by the verifier.
    pub async fn activate(&self, bundle: &Bundle) {
        let aggregate = AggregateId::policy(workspace());
        let history = self
            .journal
            .load(&aggregate, Read::Confirmed)
            .await
            .unwrap();
        let state = Policy::fold(history.iter().map(|(_, recorded)| recorded));
        let by = actor("root", &["policy.activate"]);
        let (events, hash) = policy::request_activation(&state, bundle, &by, now()).unwrap();
        assert!(self.append(&aggregate, state.head, events).await);
        // Another may have been activated before.
        self.until_any(
            &aggregate,
            |event| matches!(event, Event::PolicyActivated(activated) if activated.hash == hash),
        )
        .await;
    }

    /// Installs the skill `shop`, signed by a key that `trusting` trusts.
    pub async fn install_shop(&self) {
        self.ask_to_install(shop(), EventName::SkillInstalled).await;
    }

    /// Asks for an installation and gives its answer, the first event of the name `answer`.
    pub async fn ask_to_install(&self, manifest: SkillManifest, answer: EventName) -> Recorded {
        let key = manifest.skill.key.parse().unwrap();
        let aggregate = AggregateId::skill(workspace(), &key);
        let install = skill::Install {
            key,
            version: manifest.skill.version.parse().unwrap(),
            artifact_digest: manifest.artifact.digest.clone(),
            manifest,
            by: actor("root", &["skill.install"]),
        };
        let history = self
            .journal
            .load(&aggregate, Read::Confirmed)
            .await
            .unwrap();
        let state = Skill::fold(history.iter().map(|(_, recorded)| recorded));
        let (events, _) = skill::request_install(&state, &install, now()).unwrap();
        assert!(self.append(&aggregate, state.head, events).await);
        self.until_in(&aggregate, answer).await
    }

    /// The history up to its last event.
    pub async fn history(&self, id: ExecutionId) -> Vec<Recorded> {
        let aggregate = AggregateId::execution(workspace(), id);
        let history = self
            .journal
            .load(&aggregate, Read::Confirmed)
            .await
            .unwrap();
        history.into_iter().map(|(_, recorded)| recorded).collect()
    }

    /// Waits for an event of the execution.
    pub async fn until(&self, id: ExecutionId, name: EventName) -> Recorded {
        self.until_in(&AggregateId::execution(workspace(), id), name)
            .await
    }

    async fn until_in(&self, aggregate: &AggregateId, name: EventName) -> Recorded {
        self.until_any(aggregate, |event| event.name() == name)
            .await
    }

    async fn until_any(
        &self,
        aggregate: &AggregateId,
        is_wanted: impl Fn(&Event) -> bool,
    ) -> Recorded {
        let scope = Scope::Aggregate(aggregate.clone());
        let mut tail = self
            .journal
            .tail(&Positions::beginning(), scope)
            .await
            .unwrap();
        let wanted = async {
            loop {
                let entry = tail.next().await;
                let recorded = entry.recorded.unwrap();
                if is_wanted(&recorded.event) {
                    return recorded;
                }
            }
        };
        if let Ok(recorded) = tokio::time::timeout(PATIENCE, wanted).await {
            return recorded;
        }
        let history = self.journal.load(aggregate, Read::Confirmed).await.unwrap();
        let history: Vec<Recorded> = history.into_iter().map(|(_, recorded)| recorded).collect();
        panic!(
            "`{aggregate}` has not what is waited for after {PATIENCE:?}: {:#?}",
            names(&history)
        );
    }

    /// Waits for the end and gives the whole history, checked.
    pub async fn finished(&self, id: ExecutionId) -> Vec<Recorded> {
        let scope = Scope::Aggregate(AggregateId::execution(workspace(), id));
        let mut tail = self
            .journal
            .tail(&Positions::beginning(), scope)
            .await
            .unwrap();
        let ended = async {
            loop {
                let recorded = tail.next().await.recorded.unwrap();
                let ends = match &recorded.event {
                    Event::PlanRejected(rejected) => rejected.is_final,
                    Event::ExecutionCompleted(_) | Event::ExecutionFailed(_) => true,
                    _ => false,
                };
                if ends {
                    return;
                }
            }
        };
        let ended = tokio::time::timeout(PATIENCE, ended).await;
        let history = self.history(id).await;
        assert!(
            ended.is_ok(),
            "no end after {PATIENCE:?}: {:#?}",
            names(&history)
        );
        check(&history);
        history
    }
}

pub fn names(history: &[Recorded]) -> Vec<String> {
    history
        .iter()
        .map(|recorded| match &recorded.event {
            Event::StepStarted(event) => format!(
                "{} {} #{}{}",
                recorded.event.name(),
                event.step_id,
                event.attempt,
                if event.takeover { " takeover" } else { "" }
            ),
            Event::StepCompleted(event) => {
                format!(
                    "{} {} #{}",
                    recorded.event.name(),
                    event.step_id,
                    event.attempt
                )
            }
            Event::StepFailed(event) => format!(
                "{} {} #{} {}",
                recorded.event.name(),
                event.step_id,
                event.attempt,
                event.error_code
            ),
            Event::ExecutionFailed(event) => {
                format!("{} {}", recorded.event.name(), event.error_code.as_str())
            }
            event => event.name().to_string(),
        })
        .collect()
}

/// What holds for every finished history: it folds, and each step has at most one end.
pub fn check(history: &[Recorded]) {
    let state = Execution::fold(history);
    assert!(
        matches!(state, Execution::Known(_)),
        "{state:?}\n{:#?}",
        names(history)
    );
    let mut ends = std::collections::BTreeSet::new();
    for recorded in history {
        if let Event::StepCompleted(event) = &recorded.event {
            assert!(
                ends.insert(event.step_id.clone()),
                "two ends: {:#?}",
                names(history)
            );
        }
    }
}

pub fn key() -> ed25519_dalek::SigningKey {
    skills::key::keygen([7; 32])
}

/// The shipped policy, trusting the publisher of `shop`.
pub fn trusting() -> Bundle {
    let mut bundle = ::policy::shipped::default_bundle();
    bundle.trust.publishers.push(TrustedPublisher {
        id: "tests".to_owned(),
        provenances: ["source".to_owned()].into(),
        keys: vec![TrustedKey {
            public_key: skills::key::public_key_text(&key().verifying_key()).unwrap(),
            ..TrustedKey::default()
        }],
        ..TrustedPublisher::default()
    });
    bundle
}

/// A skill with one action of each kind of effect, served as `shop`.
pub fn shop() -> SkillManifest {
    let action = |effect: &str, risk: &str| {
        json!({
            "input": { "type": "object" },
            "output": { "type": "object" },
            "effect": effect,
            "risk": risk,
            "retry": { "maxAttempts": 5, "backoffMs": 50, "backoffMsMax": 200 },
        })
    };
    let manifest: SkillManifest = serde_json::from_value(json!({
        "schemaVersion": "1.0.0",
        "skill": { "key": "test.shop", "version": "1.0.0", "entryPoint": "nats:shop" },
        "publisher": { "id": "tests", "provenance": "source" },
        "artifact": { "digest": "a".repeat(64) },
        "compatibility": {
            "contractsSpec": { "minVersion": "1.0.0" },
            "controlPlaneFeature": { "minVersion": "1.0.0" },
        },
        "metadata": { "actions": {
            "look": action("read", "low"),
            "refund": action("money", "medium"),
            "delete": action("irreversible", "high"),
        }},
    }))
    .unwrap();
    skills::signature::sign(&manifest, &key(), skills::signature::Validity::default()).unwrap()
}
