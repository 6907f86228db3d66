//! Intake on a log. The other services are their deciders, driven by the loop that the real ones
//! use; what the executor would dispatch is not.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use contracts::{
    canonical::Digest,
    event::{Event, Service},
    ids::{ExecutionId, WorkspaceId},
    position::Positions,
    record::{Cause, Recorded, seal},
    registry::Kind,
    subject::{AggregateId, AggregateKind},
    time::Timestamp,
};
use domain::{
    execution::{
        Execution, planning,
        running::{self, Context},
    },
    policy::Policy,
    skill::Skill,
};
use host::{
    aggregate,
    clock::{Ambient as _, System},
    config::WAITING_MAX,
    engine::{self, Handle, Host},
    http::{
        door::{Door, Limits},
        server::{self, Bounds},
    },
    judge::Judge,
    micro,
    principals::{self, Credential, Document, Principals},
    trouble::Trouble,
    wake::Wake,
};
use journal::{
    Journal,
    broker::{Durability, ServerConfig, ServerTls, User},
    delivery::{ConsumerSpec, wakes},
    history::Read,
    jetstream::{ConnectOptions, InstallOptions, JetStreamJournal, install},
    layout::StreamCount,
    memory::MemoryJournal,
    permissions::{self, Permissions},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::nats::{DATA_DIRECTORY, NatsServer, ServerOptions};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::caller::{self, Answer};

pub const WORKSPACE: &str = "acme";
/// Where only `eve` is.
pub const ELSEWHERE: &str = "elsewhere";

/// Who may ask in every name, and shares the account of the services.
pub const NEIGHBOUR: &str = "neighbour";

/// Long enough for a busy machine, and short enough to wait for where nobody answers.
pub const OUTCOME_WITHIN: Duration = Duration::from_secs(8);

pub struct World {
    pub address: SocketAddr,
    pub journal: Arc<dyn Journal>,
    pub principals_file: PathBuf,
    pub shutdown: CancellationToken,
    _directory: TempDir,
    pub broker: Option<NatsServer>,
}

/// Which of the other services are there.
#[derive(Clone, Copy, PartialEq)]
pub enum Others {
    All,
    None,
}

/// How intake is set up, and beside whom.
#[derive(Clone, Copy)]
struct Settings {
    others: Others,
    limits: Limits,
    bounds: Bounds,
    outcome_within: Duration,
    over_nats: bool,
    waiting_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            others: Others::All,
            limits: Limits::default(),
            bounds: Bounds::default(),
            outcome_within: OUTCOME_WITHIN,
            over_nats: true,
            waiting_max: WAITING_MAX,
        }
    }
}

impl Settings {
    fn alone() -> Self {
        Self {
            others: Others::None,
            outcome_within: Duration::from_millis(300),
            ..Self::default()
        }
    }
}

impl World {
    /// On a log in memory.
    pub async fn new() -> Self {
        Self::on(&memory()).await
    }

    pub async fn limited(limits: Limits) -> Self {
        let settings = Settings {
            limits,
            ..Settings::default()
        };
        Self::with(&each(&memory()), settings).await
    }

    pub async fn where_few_may_wait(waiting_max: u64) -> Self {
        let settings = Settings {
            waiting_max,
            ..Settings::alone()
        };
        Self::with(&each(&memory()), settings).await
    }

    pub async fn bounded(bounds: Bounds) -> Self {
        let settings = Settings {
            bounds,
            ..Settings::alone()
        };
        Self::with(&each(&memory()), settings).await
    }

    pub async fn on(log: &MemoryJournal) -> Self {
        Self::with(&each(log), Settings::default()).await
    }

    /// Nobody but intake is there.
    pub async fn alone() -> Self {
        Self::alone_on(&memory()).await
    }

    pub async fn alone_on(log: &MemoryJournal) -> Self {
        Self::with(&each(log), Settings::alone()).await
    }

    /// On a real broker, where each service may do what is its own and no more.
    pub async fn on_broker() -> Self {
        let broker = broker().await;
        let mut journals = Journals::new();
        for service in Service::ALL {
            let options = options_of(&broker, service.as_str());
            let journal = JetStreamJournal::connect(&options).await.unwrap();
            journals.insert(service, Arc::new(journal));
        }
        let settings = Settings {
            // There the binary does it.
            over_nats: false,
            ..Settings::default()
        };
        let mut world = Self::with(&journals, settings).await;
        world.broker = Some(broker);
        world
    }

    async fn with(journals: &Journals, settings: Settings) -> Self {
        let shutdown = CancellationToken::new();
        let directory = tempfile::tempdir().unwrap();
        let principals_file = directory.path().join("principals.json");
        std::fs::write(&principals_file, serde_json::to_vec(&everybody()).unwrap()).unwrap();
        let principals = Principals::load(Some(&principals_file)).unwrap();
        let host = |service| host(service, &journals[&service], &shutdown);
        let door = Door::new(principals, settings.limits, Arc::new(System));
        let routes = intake::routes(
            host(Service::Intake),
            Arc::clone(&door),
            settings.outcome_within,
            settings.waiting_max,
        );
        if settings.over_nats {
            let journal = Arc::clone(&journals[&Service::Intake]);
            let commands = Kind::Command;
            let intake = host(Service::Intake);
            let serving = micro::open(intake, journal, door, routes.clone(), commands).await;
            tokio::spawn(serving.unwrap());
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(server::serve(
            listener,
            None,
            routes,
            shutdown.clone(),
            settings.bounds,
        ));
        if settings.others == Others::All {
            for service in [Service::Planner, Service::Verifier, Service::Executor] {
                let purposes = wakes(service).iter();
                let specs = purposes.map(|(purpose, _)| ConsumerSpec::of(service, *purpose));
                let specs = specs.collect();
                let handler = Arc::new(Other {
                    service,
                    judge: Judge::default(),
                });
                tokio::spawn(engine::run(host(service), specs, handler));
            }
        }
        Self {
            address,
            journal: Arc::clone(&journals[&Service::Projector]),
            principals_file,
            shutdown,
            _directory: directory,
            broker: None,
        }
    }

    /// `who` asks, with a header or two.
    pub async fn ask_with(
        &self,
        who: &str,
        operation: &str,
        input: &Value,
        headers: &[(&str, &str)],
    ) -> Answer {
        let bearer = format!("Bearer {}", token(who));
        let mut all = vec![
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        all.extend_from_slice(headers);
        let path = format!("/v1/{operation}");
        let body = serde_json::to_vec(input).unwrap();
        let answer = caller::post(self.address, &path, &all, &body).await;
        caller::check_registered(operation, &answer);
        answer
    }

    pub async fn ask(&self, who: &str, operation: &str, input: &Value) -> Answer {
        self.ask_with(who, operation, input, &[]).await
    }

    pub async fn history(&self, execution: &str) -> Vec<Recorded> {
        let id: ExecutionId = execution.parse().unwrap();
        let aggregate = AggregateId::execution(WORKSPACE.parse().unwrap(), id);
        let loaded = self
            .journal
            .load(&aggregate, Read::Confirmed)
            .await
            .unwrap();
        loaded.into_iter().map(|(_, recorded)| recorded).collect()
    }

    pub async fn names(&self, execution: &str) -> Vec<String> {
        let history = self.history(execution).await;
        history
            .iter()
            .map(|recorded| recorded.event.name().to_string())
            .collect()
    }

    /// Waits until `is_so` of the execution, and gives its fold.
    pub async fn until(&self, execution: &str, is_so: impl Fn(&Execution) -> bool) -> Execution {
        let id: ExecutionId = execution.parse().unwrap();
        let aggregate = AggregateId::execution(WORKSPACE.parse().unwrap(), id);
        let scope = journal::tail::Scope::Aggregate(aggregate);
        let mut tail = self
            .journal
            .tail(&Positions::beginning(), scope)
            .await
            .unwrap();
        let mut state = Execution::NeverReceived;
        let waiting = async {
            while !is_so(&state) {
                state = state.clone().evolve(&tail.next().await.recorded.unwrap());
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), waiting).await;
        assert!(waited.is_ok(), "{state:#?}");
        state
    }

    /// Stores an event as another service would.
    pub async fn store(&self, service: Service, execution: &str, event: impl Into<Event>) {
        let id: ExecutionId = execution.parse().unwrap();
        let aggregate = AggregateId::execution(WORKSPACE.parse().unwrap(), id);
        let loaded = aggregate::confirmed::<Execution>(self.journal.as_ref(), &aggregate).await;
        let state = loaded.unwrap().state;
        let (envelope, _) = seal(
            &aggregate,
            state.head(),
            event.into(),
            service,
            &Cause::default(),
            System.now(),
        )
        .unwrap();
        self.journal.append(&envelope).await.unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// What each service sees of one log.
type Journals = BTreeMap<Service, Arc<dyn Journal>>;

pub fn memory() -> MemoryJournal {
    MemoryJournal::new(StreamCount::ONE, System.now())
}

fn each(log: &MemoryJournal) -> Journals {
    let journal: Arc<dyn Journal> = Arc::new(log.clone());
    Service::ALL
        .map(|service| (service, Arc::clone(&journal)))
        .into()
}

async fn broker() -> NatsServer {
    let server = broker_with(None).await;
    install_on(&options_of(&server, "installer")).await;
    server
}

/// Makes the log's streams, and the inbox of [`WORKSPACE`].
pub async fn install_on(options: &ConnectOptions) {
    install_with(options, [WORKSPACE.parse().unwrap()].into()).await;
}

pub async fn install_with(options: &ConnectOptions, inboxes: BTreeSet<WorkspaceId>) {
    let wanted = InstallOptions {
        inboxes,
        ..InstallOptions::new(StreamCount::ONE)
    };
    install(options, wanted).await.unwrap();
}

/// Where each service and each principal may do what is its own, and no stream is made yet.
pub async fn broker_with(tls: Option<ServerTls>) -> NatsServer {
    let user = |name: &str, permissions| User {
        name: name.to_owned(),
        password: format!("{name}-password"),
        permissions,
    };
    let inboxes = everybody().workspaces();
    let services = Service::ALL.map(|service| {
        let permissions = permissions::for_service(service, StreamCount::ONE, &inboxes);
        user(service.as_str(), permissions)
    });
    let installer = user("installer", permissions::installer("installer"));
    let operator = user("operator", permissions::reader(StreamCount::ONE));
    let neighbour = user(
        &format!("{WORKSPACE}.{NEIGHBOUR}"),
        Permissions {
            publish: vec!["cp.api.>".to_owned()],
            subscribe: Vec::new(),
            allow_responses: false,
        },
    );
    let callers = everybody().principals.into_iter().map(|held| {
        let name = permissions::caller_name(&held.workspace, &held.id);
        User::caller(&held.workspace, &held.id, format!("{name}-password"))
    });
    let config = ServerConfig {
        listen: "127.0.0.1:-1".to_owned(),
        data_directory: DATA_DIRECTORY.to_owned(),
        durability: Durability::Process,
        tls,
        users: services
            .into_iter()
            .chain([installer, operator, neighbour])
            .collect(),
        callers: callers.collect(),
    };
    let options = ServerOptions {
        config: config.render(),
        sync_always: false,
    };
    NatsServer::start(options).await
}

pub fn options_of(server: &NatsServer, user: &str) -> ConnectOptions {
    ConnectOptions::new(server.url(), user).credentials(user, format!("{user}-password"))
}

fn host(service: Service, journal: &Arc<dyn Journal>, shutdown: &CancellationToken) -> Arc<Host> {
    Arc::new(Host::new(
        service,
        Arc::clone(journal),
        Arc::new(System),
        Duration::from_secs(15),
        shutdown.clone(),
    ))
}

/// The token of a principal: not random, because it guards nothing.
pub fn token(who: &str) -> String {
    principals::token(*Digest::of(who.as_bytes()).bytes())
}

pub fn credential(who: &str, kind: &str, workspace: &str, grants: &[&str]) -> Credential {
    serde_json::from_value(json!({
        "id": who,
        "type": kind,
        "workspace": workspace,
        "grants": grants,
        "tokenHash": principals::token_hash(&token(who)),
    }))
    .unwrap()
}

const COMMANDS: [&str; 8] = [
    "intent.submit",
    "plan.compile",
    "plan.verify",
    "execution.start",
    "execution.cancel",
    "skill.install",
    "skill.disable",
    "policy.activate",
];

/// `sam` may all but vote, `ada` and `bob` vote, `proxy` acts for others, `bot` is an agent,
/// `llm` only drafts, `guest` may nothing, `eve` is elsewhere, `old` has expired.
pub fn everybody() -> Document {
    let mut old = credential("old", "user", WORKSPACE, &COMMANDS);
    old.not_after = Some(Timestamp::from_millis(1_000_000));
    let everything: Vec<&str> = COMMANDS.into_iter().chain(["execution.approve"]).collect();
    Document {
        principals: vec![
            credential("sam", "user", WORKSPACE, &COMMANDS),
            credential("ada", "user", WORKSPACE, &["execution.approve"]),
            credential("bob", "user", WORKSPACE, &["execution.approve"]),
            credential(
                "proxy",
                "service",
                WORKSPACE,
                &[
                    "act-as",
                    "intent.submit",
                    "execution.approve",
                    "execution.cancel",
                ],
            ),
            credential("bot", "agent", WORKSPACE, &everything),
            credential("llm", "service", WORKSPACE, &["plan.draft"]),
            credential("guest", "user", WORKSPACE, &[]),
            credential("eve", "user", ELSEWHERE, &everything),
            old,
        ],
    }
}

/// Instants are in milliseconds: within one, the same request makes the same bytes, and the log
/// cannot tell the second from a repeated append.
pub async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(2)).await;
}

struct Other {
    service: Service,
    judge: Judge,
}

#[async_trait]
impl Handle for Other {
    async fn handle(&self, host: &Host, wake: Wake, received: Instant) -> Result<(), Trouble> {
        let judge = &self.judge;
        let workspace = wake.aggregate.workspace();
        let nothing = |_: &Execution| Vec::new();
        match (self.service, wake.aggregate.kind()) {
            (Service::Planner, _) => {
                engine::settle(host, &wake, received, planning::decide, nothing).await
            }
            (Service::Executor, _) => {
                let decide = |state: &Execution, catalogue: &_, now| {
                    running::drive(
                        state,
                        &Context {
                            now,
                            owner: host.incarnation,
                            fresh: &BTreeSet::new(),
                            under_way: &|_, _| true,
                            overdue: &|_, _| false,
                            catalogue,
                            token_hash: &|step, _| Digest::of(step.as_str().as_bytes()),
                        },
                    )
                };
                engine::settle(host, &wake, received, decide, nothing).await
            }
            (_, AggregateKind::Skill) => {
                let decide = |state: &Skill, catalogue: &_, now| {
                    judge.skill(workspace, state, catalogue, now)
                };
                engine::settle(host, &wake, received, decide, |_| Vec::new()).await
            }
            (_, AggregateKind::Policy) => {
                let decide = |state: &Policy, _: &_, now| judge.policy(state, now);
                engine::settle(host, &wake, received, decide, |_| Vec::new()).await
            }
            (_, _) => {
                let decide =
                    |state: &Execution, catalogue: &_, now| judge.execution(state, catalogue, now);
                engine::settle(host, &wake, received, decide, nothing).await
            }
        }
    }
}
