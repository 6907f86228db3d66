//! `install`: the only creator of streams; and the broker's configuration that goes with them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use contracts::{canonical::Digest, event::Service, ids::WorkspaceId};
use host::{
    clock::{Ambient as _, System},
    config::archive,
    principals::Document,
};
use journal::{
    broker::{Durability, ServerConfig, ServerTls, User},
    jetstream::{self, ConnectOptions, InstallOptions, Installed},
    layout::StreamCount,
    permissions::{self, OPERATOR, Permissions, caller_name},
};
use serde_json::json;

use crate::{
    command::Global,
    context::{NatsTls, write_private},
    failure::Failure,
    log::refused,
    screen::{Screen, put},
};

/// The broker user that makes streams.
pub const INSTALLER: &str = "installer";
/// The broker user of a workspace's workers.
pub const WORKER: &str = "worker";
/// The broker user that hears republished events.
pub const EVENTS_READER: &str = "events-reader";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// One address of the broker or several, separated by commas
    #[arg(long, value_name = "URL")]
    nats_url: String,
    /// Who installs
    #[arg(long, default_value = INSTALLER, value_name = "NAME", requires = "nats_password_file")]
    nats_user: String,
    #[arg(long, value_name = "FILE")]
    nats_password_file: Option<PathBuf>,
    #[command(flatten)]
    nats_tls: NatsTls,
    /// Into how many streams executions are spread, for ever: 1, 2, 4, 8, 16, 32 or 64
    #[arg(long, default_value = "1", value_parser = stream_count)]
    streams: StreamCount,
    /// Copies of each stream: 1, or 3 on a cluster; as the log has them, where this is left out, and 1
    /// in a new one
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=5))]
    replicas: Option<u8>,
    /// What every server must be configured for. The broker does not tell, so this is only said
    /// again; `controlplane broker-config` writes a configuration
    #[arg(long, value_enum, default_value_t = Survives::Disk)]
    durability: Survives,
    /// Whether stored events are published again under `events.`, for subscribers that only read;
    /// as it is, where this is left out, and off in a new log
    #[arg(long, value_enum, value_name = "on|off", num_args = 0..=1, default_missing_value = "on", hide_possible_values = true)]
    republish: Option<Switch>,
    /// The principals that may ask over NATS, as intake reads them: each of their workspaces has an
    /// inbox for intents that are published
    #[arg(long, value_name = "FILE")]
    principals: Option<PathBuf>,
}

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    On,
    Off,
}

impl Switch {
    pub fn is_on(self) -> bool {
        self == Self::On
    }
}

/// What an acknowledged event survives.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Survives {
    /// Kill -9 of any process
    Process,
    /// A power cut: everything acknowledged is fsynced
    Disk,
}

impl Survives {
    pub fn durability(self) -> Durability {
        match self {
            Self::Process => Durability::Process,
            Self::Disk => Durability::Disk,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Disk => "disk",
        }
    }
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let mut options = ConnectOptions::new(&args.nats_url, &args.nats_user)
        .streams(args.streams)
        .tls(args.nats_tls.options()?);
    if let Some(file) = &args.nats_password_file {
        let password = fs::read_to_string(file).map_err(|error| {
            Failure::Usage(format!("cannot read `{}`: {error}", file.display()))
        })?;
        options = options.credentials(&args.nats_user, password.trim_end());
    }
    let asked = InstallOptions {
        replicas: args.replicas,
        republish: args.republish.map(Switch::is_on),
        inboxes: document(args.principals.as_deref())?.workspaces(),
        ..InstallOptions::new(args.streams)
    };
    let installed = install(&options, asked).await?;
    tell(global.screen(), &args, &installed);
    Ok(())
}

/// Makes the streams that are missing, and turns republishing on or off.
pub async fn install(
    options: &ConnectOptions,
    asked: InstallOptions,
) -> Result<Installed, Failure> {
    jetstream::install(options, asked).await.map_err(refused)
}

/// What was done, in words.
pub fn done(installed: &Installed) -> String {
    let Installed {
        made,
        changed,
        removed,
        replicas: _,
    } = installed;
    let parts = [("made", made), ("changed", changed), ("removed", removed)];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{what} {}", names.join(", ")))
        .collect();
    if parts.is_empty() {
        "every stream is there, as it has to be".to_owned()
    } else {
        parts.join("; ")
    }
}

fn tell(screen: Screen, args: &Args, installed: &Installed) {
    let report = json!({
        "made": installed.made,
        "changed": installed.changed,
        "removed": installed.removed,
        "streams": args.streams.get(),
        "replicas": installed.replicas,
        "durability": args.durability,
    });
    screen.answer(&report, || {
        let made = done(installed);
        let durability = match args.durability {
            Survives::Process => "durability process: the broker's default is enough",
            Survives::Disk => {
                "durability disk: every server needs `sync_interval: always` in its `jetstream` \
                 block, and every service `CONTROL_PLANE_DURABILITY=disk` in its environment"
            }
        };
        format!("{made}\n{durability}")
    });
}

#[derive(Debug, clap::Args)]
pub struct BrokerConfigArgs {
    /// Where the passwords are kept, one file a user; missing ones are made
    #[arg(long, value_name = "DIR")]
    passwords: PathBuf,
    #[arg(long, default_value = "127.0.0.1:4222")]
    listen: String,
    /// Where the broker keeps the streams
    #[arg(long, value_name = "DIR")]
    store: String,
    #[arg(long, default_value = "1", value_parser = stream_count)]
    streams: StreamCount,
    #[arg(long, value_enum, default_value_t = Survives::Disk)]
    durability: Survives,
    /// The workspace whose skills the worker serves
    #[arg(long, default_value = "demo")]
    workspace: WorkspaceId,
    /// A name under which the worker serves, as in `entryPoint: nats:<name>`; may be repeated
    #[arg(long, value_name = "NAME")]
    serves: Vec<String>,
    /// The principals that may ask over NATS, as intake and projector read them
    #[arg(long, value_name = "FILE")]
    principals: Option<PathBuf>,
    /// The broker's certificate with its chain (PEM), as the broker finds it: with it, only
    /// encrypted connections are taken
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<String>,
    /// The key of that certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<String>,
    /// Of whose certificates every client must show one
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<String>,
    /// A user `events-reader` that may subscribe to republished events and do nothing else: to those
    /// of this workspace, or of all
    #[arg(
        long,
        value_name = "WORKSPACE",
        num_args = 0..=1,
        default_missing_value = Heard::EVERYWHERE,
        hide_default_value = true,
        value_parser = Heard::parse
    )]
    events_reader: Option<Heard>,
}

/// Prints a configuration with one user for each service and the least each needs, and an account
/// for each principal.
pub fn broker_config(args: &BrokerConfigArgs) -> Result<(), Failure> {
    fs::create_dir_all(&args.passwords)
        .with_context(|| format!("cannot make `{}`", args.passwords.display()))?;
    let passwords = Passwords(args.passwords.clone());
    let principals = document(args.principals.as_deref())?;
    let known = Known {
        principals: &principals,
        streams: args.streams,
        workspace: &args.workspace,
        serves: &args.serves,
        events_reader: args.events_reader.clone(),
    };
    let config = ServerConfig {
        listen: args.listen.clone(),
        data_directory: args.store.clone(),
        durability: args.durability.durability(),
        tls: args
            .tls_cert
            .clone()
            .zip(args.tls_key.clone())
            .map(|(cert_file, key_file)| ServerTls {
                cert_file,
                key_file,
                client_ca_file: args.tls_client_ca.clone(),
            }),
        users: users(&passwords, &known)?,
        callers: callers(&passwords, &principals)?,
    };
    put(config.render().trim_end());
    Ok(())
}

fn document(file: Option<&Path>) -> Result<Document, Failure> {
    let document = file.map(Document::read).transpose();
    Ok(document.map_err(anyhow::Error::new)?.unwrap_or_default())
}

/// The longest user whose file has its name: with `.password`, 255 bytes are what file systems take.
const FILE_NAME_BYTES_MAX: usize = 240;

/// The name of a user's password file: the user's, or its beginning and its SHA-256 where it is
/// too long. No user has `~` in its name, so no two have one file.
pub fn password_file(user: &str) -> String {
    if user.len() <= FILE_NAME_BYTES_MAX {
        return format!("{user}.password");
    }
    let beginning: String = user.chars().take(100).collect();
    let digest = Digest::of(user.as_bytes());
    format!("{beginning}~{digest}.password")
}

/// Passwords, each in a file of its own that only its owner may read.
#[derive(Debug, Clone)]
pub struct Passwords(pub PathBuf);

impl Passwords {
    pub fn file(&self, user: &str) -> PathBuf {
        self.0.join(password_file(user))
    }

    /// As it is kept, or a new one.
    pub fn of(&self, user: &str) -> anyhow::Result<String> {
        let file = self.file(user);
        match fs::read_to_string(&file) {
            Ok(text) => Ok(text.trim_end().to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let password = random_text();
                write_private(&file, password.as_bytes())
                    .with_context(|| format!("cannot write `{}`", file.display()))?;
                Ok(password)
            }
            Err(error) => {
                Err(anyhow::Error::new(error).context(format!("cannot read `{}`", file.display())))
            }
        }
    }
}

/// 32 random bytes in hexadecimal.
pub fn random_text() -> String {
    Digest::from_bytes(System.random_bytes()).to_string()
}

/// Whose events are heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Everywhere,
    In(WorkspaceId),
}

impl Heard {
    /// No workspace is called so.
    const EVERYWHERE: &'static str = "*";

    fn parse(text: &str) -> Result<Self, String> {
        if text == Self::EVERYWHERE {
            return Ok(Self::Everywhere);
        }
        let workspace = text.parse::<WorkspaceId>();
        workspace.map(Self::In).map_err(|error| error.to_string())
    }

    fn workspace(&self) -> Option<&WorkspaceId> {
        match self {
            Self::Everywhere => None,
            Self::In(workspace) => Some(workspace),
        }
    }
}

/// Whom the broker is to know.
pub struct Known<'a> {
    pub streams: StreamCount,
    pub principals: &'a Document,
    /// Whose skills the workers serve, under these names.
    pub workspace: &'a WorkspaceId,
    pub serves: &'a [String],
    /// Whether someone may subscribe to republished events, and to those of which workspace.
    pub events_reader: Option<Heard>,
}

/// One user for each service, one for the workers of a workspace, one who installs, one who archives,
/// and one who reads.
pub fn users(passwords: &Passwords, known: &Known<'_>) -> anyhow::Result<Vec<User>> {
    let streams = known.streams;
    let serves = known.serves.iter().map(String::as_str);
    let worker = permissions::worker(known.workspace, serves);
    let inboxes = known.principals.workspaces();
    let mut allowed: BTreeMap<String, Permissions> = Service::ALL
        .into_iter()
        .map(|service| {
            (
                service.to_string(),
                permissions::for_service(service, streams, &inboxes),
            )
        })
        .collect();
    allowed.insert(INSTALLER.to_owned(), permissions::installer(INSTALLER));
    allowed.insert(OPERATOR.to_owned(), permissions::reader(streams));
    allowed.insert(WORKER.to_owned(), worker);
    let archiver = permissions::archiver(archive::USER, streams);
    allowed.insert(archive::USER.to_owned(), archiver);
    if let Some(heard) = &known.events_reader {
        let reader = permissions::events_reader(heard.workspace());
        allowed.insert(EVENTS_READER.to_owned(), reader);
    }
    allowed
        .into_iter()
        .map(|(name, permissions)| {
            Ok(User {
                password: passwords.of(&name)?,
                name,
                permissions,
            })
        })
        .collect()
}

/// Each principal, in an account of its own.
pub fn callers(passwords: &Passwords, principals: &Document) -> anyhow::Result<Vec<User>> {
    let mut named: BTreeMap<String, User> = BTreeMap::new();
    // One may hold several credentials.
    for held in &principals.principals {
        let name = caller_name(&held.workspace, &held.id);
        let password = passwords.of(&name)?;
        named.insert(name, User::caller(&held.workspace, &held.id, password));
    }
    Ok(named.into_values().collect())
}

pub fn stream_count(text: &str) -> Result<StreamCount, String> {
    let count: u8 = text
        .parse()
        .map_err(|_| "use 1, 2, 4, 8, 16, 32 or 64".to_owned())?;
    StreamCount::try_new(count).map_err(|error| error.to_string())
}
