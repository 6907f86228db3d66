//! nats-server, as a child on a port of its own choosing.

use std::{
    ffi::OsStr,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use tempfile::TempDir;

use crate::process::Process;

/// The first version with everything the log needs.
const OLDEST: (u32, u32) = (2, 12);

/// Stands for the test's own storage directory in a configuration file.
pub const DATA_DIRECTORY: &str = "@DATA@";

#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    /// More of the configuration file: users, accounts, limits. If it has a `jetstream` block,
    /// that one counts, with [`DATA_DIRECTORY`] as its `store_dir`; address and port are always
    /// the test's.
    pub config: String,
    /// Every acknowledged message is fsynced.
    pub sync_always: bool,
}

/// One nats-server with JetStream. Its data and its port stay the same over a restart.
pub struct NatsServer {
    // Dropped before the directory it writes to.
    process: Process,
    name: String,
    directory: TempDir,
    config: String,
    port: Option<u16>,
}

impl NatsServer {
    pub async fn start(options: ServerOptions) -> Self {
        let directory = temporary();
        let jetstream = if options.config.contains("jetstream") {
            String::new()
        } else {
            jetstream(options.sync_always)
        };
        let config = format!("{jetstream}{}", options.config);
        Self::launch("nats".to_owned(), directory, config).await
    }

    async fn launch(name: String, directory: TempDir, config: String) -> Self {
        let mut server = Self {
            process: spawn(&name, directory.path(), &config, None),
            name,
            directory,
            config,
            port: None,
        };
        server.ready().await;
        server
    }

    async fn ready(&mut self) {
        let line = self
            .process
            .line("Listening for client connections on")
            .await;
        let port = line.rsplit(':').next().and_then(|port| port.parse().ok());
        self.port = port;
        self.process.line("Server is ready").await;
    }

    pub fn url(&self) -> String {
        match self.port {
            Some(port) => format!("nats://127.0.0.1:{port}"),
            None => panic!("`{}` has not said its port", self.name),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Kill -9, and waits until it is gone.
    pub async fn kill9(&self) {
        self.process.kill9().await;
    }

    /// Starts it again on the same port and data, killed before or not.
    pub async fn restart(&mut self) {
        self.start_again();
        self.ready().await;
    }

    fn start_again(&mut self) {
        assert!(!self.process.is_running(), "kill `{}` first", self.name);
        self.process = spawn(&self.name, self.directory.path(), &self.config, self.port);
    }

    pub fn pause(&self) {
        self.process.pause();
    }

    pub fn resume(&self) {
        self.process.resume();
    }

    /// A client without credentials.
    pub async fn client(&self) -> async_nats::Client {
        match async_nats::connect(self.url()).await {
            Ok(client) => client,
            Err(error) => panic!("cannot connect to `{}`: {error}", self.name),
        }
    }
}

/// Servers that replicate to each other.
pub struct Cluster {
    pub servers: Vec<NatsServer>,
}

impl Cluster {
    pub async fn start(size: usize) -> Self {
        Self::start_with(size, false).await
    }

    /// As [`Self::start`]; with `sync_always` every acknowledged message is fsynced.
    pub async fn start_with(size: usize, sync_always: bool) -> Self {
        // A port that was free a moment ago may be taken by the time a server wants it.
        for _ in 0..5 {
            if let Some(cluster) = Self::try_start(size, sync_always).await {
                return cluster;
            }
        }
        panic!("five times no cluster of {size} nats-servers came up")
    }

    async fn try_start(size: usize, sync_always: bool) -> Option<Self> {
        let ports = free_ports(size);
        let routes: Vec<_> = ports
            .iter()
            .map(|port| format!("\"nats-route://127.0.0.1:{port}\""))
            .collect();
        let routes = routes.join(", ");
        let starting = ports.iter().enumerate().map(|(index, port)| {
            let name = format!("nats-{index}");
            let config = format!(
                "server_name: {name}\n{}\
                 cluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}\n",
                jetstream(sync_always)
            );
            let directory = temporary();
            NatsServer {
                process: spawn(&name, directory.path(), &config, None),
                name,
                directory,
                config,
                port: None,
            }
        });
        let mut servers: Vec<_> = starting.collect();
        for server in &mut servers {
            let line = server
                .process
                .line_or_end("Listening for client connections on")
                .await?;
            server.port = line.rsplit(':').next()?.parse().ok();
        }
        for server in &servers {
            // Each server says either that it leads or who does.
            server.process.line_or_end("metadata leader").await?;
        }
        Some(Self { servers })
    }

    /// All addresses, separated by commas.
    pub fn url(&self) -> String {
        let urls: Vec<_> = self.servers.iter().map(NatsServer::url).collect();
        urls.join(",")
    }

    pub fn server(&mut self, name: &str) -> &mut NatsServer {
        match self.servers.iter_mut().find(|server| server.name == name) {
            Some(server) => server,
            None => panic!("no server is called `{name}`"),
        }
    }
}

fn jetstream(sync_always: bool) -> String {
    let sync = if sync_always {
        ", sync_interval: always"
    } else {
        ""
    };
    format!("jetstream {{ store_dir: \"{DATA_DIRECTORY}\"{sync} }}\n")
}

fn spawn(name: &str, directory: &Path, config: &str, port: Option<u16>) -> Process {
    let file = directory.join("nats.conf");
    let data = directory.join("data");
    let config = config.replace(DATA_DIRECTORY, &data.to_string_lossy());
    if let Err(error) = fs::write(&file, config) {
        panic!("cannot write {}: {error}", file.display());
    }
    let mut command = Command::new(server_binary());
    command
        .arg("-c")
        .arg(&file)
        .args(["-a", "127.0.0.1", "-p"])
        .arg(port.map_or_else(|| "-1".to_owned(), |port| port.to_string()))
        .env("GOMEMLIMIT", "512MiB");
    Process::spawn(name, command, &directory.join("log"))
}

/// `CONTROL_PLANE_NATS_SERVER` if it is set, else the one on PATH if it is new enough, else the
/// one that `deploy/get-nats-server` obtains.
pub fn server_binary() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "tests have no host to read the environment"
        )]
        if let Some(given) = std::env::var_os("CONTROL_PLANE_NATS_SERVER") {
            return given.into();
        }
        if is_new_enough(OsStr::new("nats-server")) {
            return "nats-server".into();
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/get-nats-server");
        match Command::new(&script).output() {
            Ok(output) if output.status.success() => {
                PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
            }
            Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => panic!("cannot run {}: {error}", script.display()),
        }
    })
}

fn is_new_enough(binary: &OsStr) -> bool {
    let Ok(output) = Command::new(binary).arg("--version").output() else {
        return false;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.trim().rsplit('v').next().unwrap_or_default();
    let mut numbers = version.split('.').map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= OLDEST,
        _ => false,
    }
}

fn free_ports(count: usize) -> Vec<u16> {
    let bind = |_| match TcpListener::bind("127.0.0.1:0") {
        Ok(listener) => listener,
        Err(error) => panic!("no free port: {error}"),
    };
    // All held at once, so that they differ.
    let listeners: Vec<_> = (0..count).map(bind).collect();
    listeners
        .iter()
        .map(|listener| match listener.local_addr() {
            Ok(address) => address.port(),
            Err(error) => panic!("no free port: {error}"),
        })
        .collect()
}

fn temporary() -> TempDir {
    match tempfile::Builder::new()
        .prefix("control-plane-nats-")
        .tempdir()
    {
        Ok(directory) => directory,
        Err(error) => panic!("cannot make a temporary directory: {error}"),
    }
}
