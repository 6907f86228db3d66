//! `up`: a whole control plane on one machine. nats-server, if no other is named, and the five
//! services run as supervised children; everything they know is under one directory.
//!
//! * [`directory`]: what is kept, and that only one process uses it
//! * [`ground`]: what is settled before anything runs
//! * [`people`]: who may ask for what
//! * [`broker`]: finding nats-server, and running it
//! * [`child`]: one supervised process, and its [`sign`] that it is ready; [`services`]: the five
//! * [`gateway`]: one address for all of them
//! * [`bootstrap`]: the first policy and whom it trusts

pub mod bootstrap;
pub mod broker;
pub mod child;
pub mod directory;
pub mod gateway;
pub mod ground;
pub mod people;
pub mod services;
pub mod sign;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use anyhow::Context as _;
use contracts::{event::Service, ids::WorkspaceId};
use host::{
    config::names,
    engine::chain,
    http::tls::{self, Tls},
};
use journal::{
    jetstream::{ConnectOptions, InstallOptions},
    layout::StreamCount,
    permissions::{OPERATOR, caller_name},
};
use serde_json::{Map, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::{
    broker::Broker, child::Children, directory::Directory, ground::Ground, services::Found,
};
use crate::{
    command::Global,
    context::{BrokerUser, Context, Identity, NatsTls, absolute},
    failure::Failure,
    install::{self, EVENTS_READER, INSTALLER, Passwords, Survives, Switch, WORKER, stream_count},
    screen::{Screen, quoted},
};

pub const ANY_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where everything is kept
    #[arg(
        long,
        value_name = "DIR",
        default_value = ".control-plane",
        env = "CONTROL_PLANE_DATA",
        hide_env_values = true
    )]
    pub data: PathBuf,
    /// Use this broker instead of starting one
    #[arg(long, value_name = "URL")]
    pub nats_url: Option<String>,
    /// The passwords of that broker's users, one file each, as `broker-config` writes them
    #[arg(long, value_name = "DIR", requires = "nats_url")]
    pub nats_passwords: Option<PathBuf>,
    #[command(flatten)]
    pub nats_tls: NatsTls,
    /// The nats-server to start; else the one on PATH if it is 2.12 or newer, else it is obtained
    #[arg(
        long,
        value_name = "FILE",
        env = "CONTROL_PLANE_NATS_SERVER",
        hide_env_values = true
    )]
    pub nats_server: Option<PathBuf>,
    /// Into how many streams executions are spread, fixed at the first start [default: 1]
    #[arg(long, value_parser = stream_count)]
    pub streams: Option<StreamCount>,
    /// What an acknowledged event survives [default: process]
    #[arg(long, value_enum)]
    pub durability: Option<Survives>,
    /// Where commands and queries are answered; port 0 is any free one
    /// [default: 127.0.0.1:8080, or a free port]
    #[arg(long, value_name = "ADDRESS", value_parser = listen)]
    pub listen: Option<SocketAddr>,
    #[command(flatten)]
    pub encryption: Encryption,
    /// The workspace of the identities that are made [default: demo]
    #[arg(long)]
    pub workspace: Option<WorkspaceId>,
    /// A name under which the worker's broker user may serve, as in `entryPoint: nats:<name>`;
    /// may be repeated, and is remembered
    #[arg(long, value_name = "NAME")]
    pub serves: Vec<String>,
    /// Publish stored events again under `events.<workspace>.`, for the broker's user
    /// `events-reader`; remembered [default: off]
    #[arg(long, value_enum, value_name = "on|off", num_args = 0..=1, default_missing_value = "on", hide_possible_values = true)]
    pub republish: Option<Switch>,
    /// Trust this publisher's development key, whatever the active policy says so far
    #[arg(skip)]
    pub trust: Vec<String>,
}

/// How callers' connections are encrypted; those between processes of this machine are not.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Encryption {
    /// A certificate with its chain (PEM): with it, HTTPS is served, and nothing else
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        env = names::TLS_CERT_FILE,
        hide_env_values = true
    )]
    pub tls_cert: Option<PathBuf>,
    /// The key of that certificate
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_cert",
        env = names::TLS_KEY_FILE,
        hide_env_values = true
    )]
    pub tls_key: Option<PathBuf>,
    /// Who vouches for that certificate, for whoever asks with the context; the machine's
    /// authorities where it is left out
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_ca: Option<PathBuf>,
    /// Serve other machines without encryption, because something else encrypts
    #[arg(long, value_name = "allow", value_parser = ["allow"], env = names::PLAINTEXT, hide_env_values = true)]
    pub plaintext: Option<String>,
}

impl Encryption {
    fn load(&self, listen: Option<SocketAddr>) -> Result<Option<Arc<Tls>>, Failure> {
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            let files = tls::Files {
                cert: cert.clone(),
                key: key.clone(),
                client_ca: None,
            };
            let tls = Tls::load(files).map_err(|error| Failure::Usage(chain(&error)))?;
            return Ok(Some(Arc::new(tls)));
        }
        match listen {
            Some(listen) if !listen.ip().is_loopback() && self.plaintext.is_none() => {
                Err(Failure::Usage(format!(
                    "whoever is on the way to {listen} could read tokens: give `--tls-cert` and \
                     `--tls-key`, or `--plaintext allow` where something else encrypts"
                )))
            }
            Some(_) | None => Ok(None),
        }
    }
}

/// A control plane that is up.
pub struct Plane {
    pub context: Context,
    /// Where the broker's users find their passwords; nothing where it asks nobody.
    pub passwords: Option<Passwords>,
    /// Where each service shows its metrics.
    pub metrics: BTreeMap<Service, String>,
}

/// Cancelled by the first signal to stop; the second one is in a hurry.
#[derive(Clone, Default)]
pub struct Stop {
    asked: CancellationToken,
    hurry: CancellationToken,
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let screen = global.screen();
    let directory = Directory::open(&args.data)?;
    let stop = Stop::on_signals()?;
    let mut children = Children::new(screen, stop.hurry.clone());
    let ended = async {
        let plane = stop
            .unless(Box::pin(start(&directory, &args, screen, &mut children)))
            .await?;
        tell(screen, &directory, &plane, global);
        stop.wait().await;
        Ok(())
    }
    .await;
    finish(&directory, screen, children).await;
    ended
}

/// Brings everything up. What was started when this fails is among `children`.
pub async fn start(
    directory: &Directory,
    args: &Args,
    screen: Screen,
    children: &mut Children,
) -> Result<Plane, Failure> {
    let ground = Ground::settle(directory, args, screen).await?;
    let broker = match &args.nats_url {
        Some(url) => Broker {
            url: url.clone(),
            passwords: args.nats_passwords.clone().map(Passwords),
            replicas: None,
            is_ours: false,
        },
        None => broker::start(&ground, children).await?,
    };
    start_on(ground, broker, children).await
}

/// As [`start`], on a broker that runs.
pub async fn start_on(
    ground: Ground<'_>,
    broker: Broker,
    children: &mut Children,
) -> Result<Plane, Failure> {
    let Ground {
        directory,
        args,
        screen,
        settings,
        nats_tls,
        encryption,
        listener,
        mut people,
        principals,
    } = ground;
    let Broker {
        url: nats_url,
        passwords,
        replicas,
        is_ours,
    } = broker;
    let streams = settings.stream_count()?;
    let tls = nats_tls.options()?;
    let installer = options(&nats_url, INSTALLER, streams, passwords.as_ref())?.tls(tls.clone());
    let asked = InstallOptions {
        replicas,
        // What is on in a log of others stays as they have it.
        republish: if is_ours {
            Some(settings.republish)
        } else {
            args.republish.map(Switch::is_on)
        },
        inboxes: principals.workspaces(),
        ..InstallOptions::new(streams)
    };
    let log = install::install(&installer, asked).await?;
    screen.note("log", &install::done(&log));
    if settings.republish {
        let text =
            format!("stored events are published under `events.`, for the user `{EVENTS_READER}`");
        screen.note("republish", &text);
    }

    if let Some(passwords) = &passwords {
        known_to_broker(&mut people, &settings.workspace, passwords);
    }
    let Found { behind, all } = services::start(
        &services::Wanted {
            directory,
            nats_url: &nats_url,
            nats_tls: &nats_tls,
            streams,
            durability: settings.durability,
            passwords: passwords.as_ref(),
            knows_callers: is_ours,
        },
        children,
    )
    .await?;
    screen.note(
        "services",
        "intake, planner, verifier, executor and projector are ready",
    );

    let address = listener.local_addr().context("cannot tell the address")?;
    let scheme = encryption.as_ref().map_or("http", |_| "https");
    children.start_task(|stop| gateway::serve(listener, encryption, behind, stop));

    let context = Context {
        url: format!("{scheme}://{}", reached(address)),
        queries_url: None,
        nats_url,
        ca_file: absolute(args.encryption.tls_ca.as_deref())?,
        nats_tls,
        workspace: settings.workspace.clone(),
        streams: streams.get(),
        identities: people,
        reader: passwords.as_ref().map(|known| broker_user(OPERATOR, known)),
        worker: passwords.as_ref().and_then(worker_user),
        keys: Some(directory.keys()),
    };
    let reader = options(&context.nats_url, OPERATOR, streams, passwords.as_ref())?.tls(tls);
    bootstrap::policy(directory, &context, &reader, &args.trust, screen).await?;
    context
        .write(&directory.context())
        .context("cannot write the context")?;
    children.keep_up()?;
    Ok(Plane {
        context,
        passwords,
        metrics: all
            .into_iter()
            .map(|(service, address)| (service, format!("http://{address}/metrics")))
            .collect(),
    })
}

/// A broker of one's own may know nobody but the services.
fn known_to_broker(
    people: &mut BTreeMap<String, Identity>,
    workspace: &WorkspaceId,
    passwords: &Passwords,
) {
    for identity in people.values_mut() {
        let user = broker_user(&caller_name(workspace, &identity.id), passwords);
        identity.broker = Some(user).filter(|user| user.password_file.exists());
    }
}

pub fn broker_user(name: &str, passwords: &Passwords) -> BrokerUser {
    BrokerUser {
        user: name.to_owned(),
        password_file: passwords.file(name),
    }
}

/// Whoever runs a broker of its own may have no such user.
fn worker_user(passwords: &Passwords) -> Option<BrokerUser> {
    Some(broker_user(WORKER, passwords)).filter(|worker| worker.password_file.exists())
}

/// Stops everything: the services first, so that they can give back what they hold.
pub async fn finish(directory: &Directory, screen: Screen, children: Children) {
    // Its addresses may be someone else's by the next time that it is read.
    let _ = std::fs::remove_file(directory.context());
    if !children.is_empty() {
        let text = "services first, then the broker; Ctrl-C again kills what is left";
        screen.note("stopping", text);
        children.stop().await;
        screen.note("stopped", "no process is left");
    }
}

/// How a broker user of ours connects.
pub fn options(
    url: &str,
    user: &str,
    streams: StreamCount,
    passwords: Option<&Passwords>,
) -> Result<ConnectOptions, Failure> {
    let options = ConnectOptions::new(url, user).streams(streams);
    Ok(match passwords {
        Some(passwords) => options.credentials(user, passwords.of(user)?),
        None => options,
    })
}

fn tell(screen: Screen, directory: &Directory, plane: &Plane, global: &Global) {
    let context = &plane.context;
    let metrics = plane.metrics.iter();
    let report = json!({
        "topic": "up",
        "context": directory.context(),
        "url": context.url,
        "natsUrl": context.nats_url,
        "metrics": metrics
            .map(|(service, url)| (service.to_string(), json!(url)))
            .collect::<Map<_, _>>(),
        "workspace": context.workspace,
        "identities": context.identities.values().map(|identity| &identity.id).collect::<Vec<_>>(),
    });
    let typed = global.typed_for(&directory.context());
    screen.answer(&report, || {
        let submit = format!(
            "{typed} intent submit \"Say hello\" --draft {} --watch",
            quoted(&directory.example().to_string_lossy())
        );
        format!(
            "\n{up}\n  {url}\n  metrics of all five: see {targets}\n\n\
             Two identities of workspace `{workspace}` (their tokens are in {context}):\n  \
             submitter  asks for things\n  \
             approver   votes on what the submitter asked for\n\n\
             Next, in another terminal:\n  {submit}\n  {typed} execution list\n\nCtrl-C stops it.",
            up = screen.good("The control plane is up."),
            url = context.url,
            targets = directory.targets().display(),
            workspace = context.workspace,
            context = directory.context().display(),
        )
    });
}

impl Stop {
    /// Ctrl-C, termination, and the end of the terminal.
    pub fn on_signals() -> Result<Self, Failure> {
        let stop = Self::default();
        for kind in [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ] {
            let mut signals = signal(kind).context("cannot listen for signals")?;
            let stop = stop.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    if stop.asked.is_cancelled() {
                        stop.hurry.cancel();
                    }
                    stop.asked.cancel();
                }
            });
        }
        Ok(stop)
    }

    pub async fn wait(&self) {
        self.asked.cancelled().await;
    }

    /// In a hurry, everything is killed.
    pub fn hurry(&self) -> CancellationToken {
        self.hurry.clone()
    }

    /// The work's outcome, unless it is to stop before.
    pub async fn unless<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.asked.cancelled() => Err(Failure::Interrupted),
            outcome = work => outcome,
        }
    }
}

/// Where this machine reaches what listens there.
fn reached(address: SocketAddr) -> SocketAddr {
    let here: IpAddr = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(here, address.port())
}

/// An address, or a port of this machine.
fn listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    text.parse()
        .map_err(|_| "use an address such as `127.0.0.1:8080`, or a port".to_owned())
}
