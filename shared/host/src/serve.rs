//! A service as a process: configuration, connection, health, work, shutdown.

use std::{future::Future, net::SocketAddr, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use axum::Router;
use contracts::event::Service;
use journal::{Journal, jetstream::JetStreamJournal};
use tokio::{net::TcpListener, signal::unix};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::System,
    config::{Config, ConfigError, LogFormat, names},
    engine::{self, Host, chain},
    health,
    http::{
        server::{self, Bounds},
        tls::Tls,
    },
    metrics, telemetry,
    trace::export,
};

/// Runs a service until it is told to stop, and says how it ended. `main` of every service.
///
/// `work` gets the host and the configuration; what it returns is served over HTTP beside the
/// health endpoints, and its future runs until shutdown.
pub async fn run<W, F>(service: Service, work: W) -> ExitCode
where
    W: FnOnce(Arc<Host>, Config) -> F,
    F: Future<Output = anyhow::Result<Work>>,
{
    match try_run(service, work).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{service} ends: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What a service does once it is set up.
pub struct Work {
    /// Its HTTP endpoints beside health.
    pub routes: Router,
    /// Runs until shutdown.
    pub task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

async fn try_run<W, F>(service: Service, work: W) -> anyhow::Result<()>
where
    W: FnOnce(Arc<Host>, Config) -> F,
    F: Future<Output = anyhow::Result<Work>>,
{
    // What is wrong with the settings is to be read too.
    let unset = |_: &ConfigError| telemetry::start("info", LogFormat::Text);
    let config = Config::from_env().inspect_err(unset)?;
    telemetry::start(&config.log, config.log_format);
    // For whom asks others over HTTPS. Fails only where one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tls = encryption(service, &config)?;
    let shutdown = CancellationToken::new();
    tokio::spawn(stop_on_signal(shutdown.clone()));

    let connected = Arc::new(connect(service, &config).await?);
    let journal: Arc<dyn Journal> = connected.clone();
    let mut host = Host::new(
        service,
        Arc::clone(&journal),
        Arc::new(System),
        config.ack_wait,
        shutdown.clone(),
    );
    host.fold_age_max = engine::fold_age_max(config.archive.live);
    let metrics = Arc::clone(&host.metrics);
    connected.tell_of_groups(move |events, fate| metrics.log.grouped(events, fate));
    let exporter = match &config.traces {
        Some(to) => {
            let resource = telemetry::resource(&host, to);
            let (tracer, exporter) = export::start(to, resource, &host.metrics)?;
            host.tracer = Some(tracer);
            Some(exporter)
        }
        None => None,
    };
    let host = Arc::new(host);
    let listen = config.listen;
    let address_file = config.address_file.clone();
    let Work { routes, mut task } = work(Arc::clone(&host), config).await?;
    let (health, log) = (host.health.clone(), Arc::clone(&journal));
    let routes = routes
        .merge(health::routes(health.clone(), Arc::clone(&log)))
        .merge(metrics::routes(Arc::clone(&host.metrics), health, log));

    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    tracing::info!(%service, %address, incarnation = %host.incarnation, "running");
    if let Some(path) = address_file {
        tell_address(&path, address)
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    let callers = server::serve(listener, tls, routes, shutdown.clone(), Bounds::default());
    let callers = tokio::spawn(callers);

    let ended = tokio::select! {
        ended = &mut task => ended?,
        () = shutdown.cancelled() => task.await?,
    };
    shutdown.cancel();
    // Callers hear what became of their requests, but for those who take too long.
    let answered = callers.await;
    journal.close().await;
    if let Some(exporter) = exporter {
        exporter.finish().await;
    }
    answered?;
    match host.failure.get() {
        Some(reason) => anyhow::bail!("{reason}"),
        None => ended,
    }
}

/// What callers' connections are encrypted with. Who takes credentials does not take them from
/// other machines in the clear, unless something else is said to encrypt them.
fn encryption(service: Service, config: &Config) -> anyhow::Result<Option<Arc<Tls>>> {
    if let Some(files) = &config.tls {
        return Ok(Some(Arc::new(Tls::load(files.clone())?)));
    }
    let takes_credentials = matches!(service, Service::Intake | Service::Projector);
    if takes_credentials && !config.listen.ip().is_loopback() {
        let (cert, key) = (names::TLS_CERT_FILE, names::TLS_KEY_FILE);
        anyhow::ensure!(
            config.plaintext,
            "`{}` is {}, and whoever is on the way could read tokens: set `{cert}` and `{key}`, or \
             set `{}` to `allow` where something else encrypts",
            names::LISTEN,
            config.listen,
            names::PLAINTEXT
        );
        tracing::warn!(
            listen = %config.listen,
            "tokens are taken WITHOUT ENCRYPTION from other machines: set `{cert}` and `{key}`, \
             unless something else encrypts"
        );
    }
    Ok(None)
}

async fn connect(service: Service, config: &Config) -> anyhow::Result<JetStreamJournal> {
    let options = config.connect_options(service);
    if options.exposes_password() {
        tracing::warn!(
            "the password for the broker is sent WITHOUT ENCRYPTION to another machine: use `tls:` \
             in `{}`",
            names::NATS_URL
        );
    }
    JetStreamJournal::connect(&options)
        .await
        .map_err(|error| anyhow::anyhow!(chain(&error)))
}

/// Whole at once, so that whoever waits for the file reads an address and not half of one.
fn tell_address(path: &std::path::Path, address: SocketAddr) -> std::io::Result<()> {
    let part = path.with_extension("part");
    std::fs::write(&part, address.to_string())?;
    std::fs::rename(part, path)
}

async fn stop_on_signal(shutdown: CancellationToken) {
    let Ok(mut terminate) = unix::signal(unix::SignalKind::terminate()) else {
        return;
    };
    let Ok(mut interrupt) = unix::signal(unix::SignalKind::interrupt()) else {
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    shutdown.cancel();
}
