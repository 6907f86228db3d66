//! The projector in this process, and its callers.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Once},
    time::Duration,
};

use contracts::{
    event::Service, facts::ActorType, ids::WorkspaceId, registry::routing, time::Timestamp,
};
use host::{
    clock::System,
    config::{Config, LogFormat},
    engine::Host,
    health,
    http::server::{self, Bounds},
    principals::{Credential, Document, token, token_hash},
    serve::Work,
};
use journal::{Journal, layout::StreamCount, memory::MemoryJournal};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::story::{Story, workspace};
use crate::conforming::{check_answer, check_problem};

pub const READER: &str = "rita";
pub const AUDITOR: &str = "otto";
pub const NOBODY: &str = "nora";
pub const STRANGER: &str = "stan";

/// Who may see payloads of traces, and no traces.
pub const ODD: &str = "olga";

/// Who may vote, and who asks and may vote on what others ask.
pub const VOTER: &str = "ann";
pub const REQUESTER: &str = "sam";

/// Of what a process is asked by many, so that none of them is too many.
pub const CROWD: [&str; 8] = [
    "crowd-0", "crowd-1", "crowd-2", "crowd-3", "crowd-4", "crowd-5", "crowd-6", "crowd-7",
];

/// Callers: everything but payloads, payloads too, no grant, everything in another workspace.
const CALLERS: [(&str, &str, &[&str]); 7] = [
    (VOTER, "acme", &["execution.read", "execution.approve"]),
    (REQUESTER, "acme", &["execution.read", "execution.approve"]),
    (ODD, "acme", &["execution.read", "trace.payloads"]),
    (
        READER,
        "acme",
        &["execution.read", "trace.read", "policy.read", "skill.read"],
    ),
    (
        AUDITOR,
        "acme",
        &[
            "execution.read",
            "trace.read",
            "trace.payloads",
            "policy.read",
            "skill.read",
        ],
    ),
    (NOBODY, "acme", &[]),
    (
        STRANGER,
        "other",
        &[
            "execution.read",
            "trace.read",
            "trace.payloads",
            "policy.read",
            "skill.read",
        ],
    ),
];

pub struct World {
    pub journal: MemoryJournal,
    pub story: Story,
    pub directory: TempDir,
}

/// A projector that runs.
pub struct Projector {
    pub address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
    server: JoinHandle<()>,
}

impl World {
    pub fn new() -> Self {
        let journal =
            MemoryJournal::new(StreamCount::try_new(4).unwrap(), Timestamp::from_millis(0));
        Self {
            story: Story::new(Arc::new(journal.clone())),
            journal,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub fn other_workspace(&self) -> Story {
        let other: WorkspaceId = "other".parse().unwrap();
        assert_ne!(other, workspace());
        Story::of(Arc::new(self.journal.clone()), other)
    }

    pub fn database(&self) -> PathBuf {
        self.directory.path().join("data/read.db")
    }

    pub async fn projector(&self) -> Projector {
        self.projector_at(&self.database()).await.unwrap()
    }

    pub async fn projector_at(&self, database: &Path) -> anyhow::Result<Projector> {
        let journal: Arc<dyn Journal> = Arc::new(self.journal.clone());
        start(journal, database, self.directory.path()).await
    }
}

pub async fn start(
    journal: Arc<dyn Journal>,
    database: &Path,
    directory: &Path,
) -> anyhow::Result<Projector> {
    let shutdown = CancellationToken::new();
    let host = Arc::new(Host::new(
        Service::Projector,
        Arc::clone(&journal),
        Arc::new(System),
        Duration::from_secs(2),
        shutdown.clone(),
    ));
    let config = Config {
        nats_url: String::new(),
        nats_user: None,
        nats_password: None,
        nats_tls: journal::jetstream::BrokerTls::default(),
        nats_api: false,
        streams: journal.stream_count(),
        durability: journal::broker::Durability::Process,
        ack_wait: Duration::from_secs(2),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        tls: None,
        plaintext: false,
        address_file: None,
        log: String::new(),
        log_format: LogFormat::Text,
        traces: None,
        principals_file: Some(principals(directory)),
        identity_providers_file: Some(directory.join("providers.json")).filter(|it| it.exists()),
        database_url: Some(format!("sqlite://{}", database.display())),
        waiting_max: host::config::WAITING_MAX,
        archive: host::config::archive::Archive::default(),
    };
    let Work { routes, task } = projector::start(Arc::clone(&host), config).await?;
    let routes = routes.merge(health::routes(host.health.clone(), journal));
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let serving = server::serve(listener, None, routes, shutdown.clone(), Bounds::default());
    let server = tokio::spawn(serving);
    Ok(Projector {
        address,
        shutdown,
        task,
        server,
    })
}

/// What is written waits in small buffers, so that a reader that does not read is soon noticed.
fn listener() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(4096).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    socket.listen(1024).unwrap()
}

/// The token of a caller: what is random elsewhere is its name here.
pub fn token_of(name: &str) -> String {
    token(*contracts::canonical::Digest::of(name.as_bytes()).bytes())
}

pub fn principals(directory: &Path) -> PathBuf {
    let crowd = CROWD.map(|id| (id, "acme", ["execution.read"].as_slice()));
    let callers = CALLERS.into_iter().chain(crowd);
    let credentials = callers.map(|(id, workspace, grants)| Credential {
        id: id.parse().unwrap(),
        kind: ActorType::User,
        workspace: workspace.parse().unwrap(),
        roles: std::collections::BTreeSet::new(),
        grants: grants.iter().map(|grant| (*grant).to_owned()).collect(),
        token_hash: token_hash(&token_of(id)),
        not_after: None,
    });
    let document = Document {
        principals: credentials.collect(),
    };
    let path = directory.join("principals.json");
    std::fs::write(&path, serde_json::to_vec(&document).unwrap()).unwrap();
    path
}

impl Projector {
    /// A clean stop, as a signal asks for it.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
        self.server.await.unwrap();
    }

    /// Waits until it ends by itself.
    pub async fn wait(&mut self) -> anyhow::Result<()> {
        (&mut self.task).await.unwrap()
    }

    pub fn caller(&self, name: &'static str) -> Caller {
        Caller::new(self.address, name)
    }
}

/// Someone with a credential.
pub struct Caller {
    client: reqwest::Client,
    base: String,
    token: String,
}

/// To be shared where there are many callers: each one made reads the machine's certificates.
pub fn client() -> reqwest::Client {
    static TLS: Once = Once::new();
    TLS.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::new()
}

impl Caller {
    pub fn new(address: SocketAddr, name: &str) -> Self {
        Self::of(client(), address, name)
    }

    pub fn of(client: reqwest::Client, address: SocketAddr, name: &str) -> Self {
        Self {
            client,
            base: format!("http://{address}"),
            token: token_of(name),
        }
    }

    pub fn with_token(address: SocketAddr, token: String) -> Self {
        Self {
            client: client(),
            base: format!("http://{address}"),
            token,
        }
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let request = self
            .client
            .get(format!("{}{path}", self.base))
            .bearer_auth(&self.token);
        answer(request.send().await.unwrap()).await
    }

    pub async fn post(&self, operation: &str, input: &Value) -> (u16, Value) {
        let url = format!("{}/v1/{operation}", self.base);
        let request = self.client.post(url).bearer_auth(&self.token).json(input);
        let (status, body) = answer(request.send().await.unwrap()).await;
        match routing::operation(operation) {
            Some(operation) if status == 200 => check_answer(operation, &body),
            Some(_) | None => check_problem(&body),
        }
        (status, body)
    }

    /// With the `ETag` of an answer that is at hand.
    pub async fn revalidate(&self, path: &str, tag: &str) -> reqwest::Response {
        let request = self.client.get(format!("{}{path}", self.base));
        let request = request.bearer_auth(&self.token);
        request.header("If-None-Match", tag).send().await.unwrap()
    }

    pub async fn ok(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body:#}");
        body
    }

    #[track_caller]
    pub fn refused((status, body): &(u16, Value), expected: u16, code: &str) {
        assert_eq!(
            (*status, body["code"].as_str()),
            (expected, Some(code)),
            "{body:#}"
        );
    }

    /// Opens the feed of an execution.
    pub async fn watch(&self, id: &str, after: Option<&str>) -> Feed {
        self.open(&format!("/v1/executions/{id}/events"), after)
            .await
    }

    /// Opens a feed.
    pub async fn open(&self, path: &str, after: Option<&str>) -> Feed {
        self.try_open(path, after).await.unwrap()
    }

    /// Nothing where nobody listens.
    pub async fn try_open(&self, path: &str, after: Option<&str>) -> Option<Feed> {
        let url = format!("{}{path}", self.base);
        let mut request = self.client.get(url).bearer_auth(&self.token);
        if let Some(after) = after {
            request = request.header("Last-Event-ID", after);
        }
        Some(Feed {
            response: request.send().await.ok()?,
            read: String::new(),
            at: None,
        })
    }
}

async fn answer(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

/// Server-sent events as they come.
pub struct Feed {
    pub response: reqwest::Response,
    read: String,
    /// The id that was read last.
    pub at: Option<String>,
}

impl Feed {
    /// The id and the event; nothing once the feed is over, or broken.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((id, event)) = self.block() {
                if let Some(id) = id {
                    self.at = Some(id);
                }
                if let Some(event) = event {
                    return Some((self.at.clone().unwrap(), event));
                }
                continue;
            }
            let chunk = self.response.chunk().await.ok()??;
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Reads until the feed has said where it begins.
    pub async fn begun(&mut self) -> String {
        while self.at.is_none() {
            if let Some((id, _)) = self.block() {
                self.at = id;
                continue;
            }
            let chunk = self.response.chunk().await.unwrap().unwrap();
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        self.at.clone().unwrap()
    }

    /// What stands before the next empty line.
    fn block(&mut self) -> Option<(Option<String>, Option<Value>)> {
        let (block, rest) = self.read.split_once("\n\n")?;
        let (block, rest) = (block.to_owned(), rest.to_owned());
        self.read = rest;
        let fields: BTreeMap<&str, &str> = block
            .lines()
            .filter_map(|line| line.split_once(": "))
            .collect();
        let event = fields
            .get("data")
            .map(|data| serde_json::from_str(data).unwrap());
        Some((fields.get("id").map(|id| (*id).to_owned()), event))
    }

    /// So many events.
    pub async fn some(&mut self, count: usize) -> Vec<(String, Value)> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.next().await.unwrap());
        }
        events
    }

    pub async fn all(&mut self) -> Vec<(String, Value)> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}
