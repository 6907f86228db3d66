//! The configuration of a service, read from the environment once, at the start.
//!
//! * [`traces`]: where spans are sent
//! * [`archive`]: what stays live of the log

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use contracts::event::Service;
use journal::{
    broker::Durability,
    delivery::ACK_WAIT,
    jetstream::{BrokerTls, ConnectOptions},
    layout::StreamCount,
};

use crate::http::tls;

use self::{archive::Archive, traces::Traces};

pub mod archive;
pub mod traces;

/// What one process of each service does in some twenty seconds: more would wait longer than anybody
/// waits, and whoever asks again is told in a moment.
pub const WAITING_MAX: u64 = 10_000;

/// What every service is told.
#[derive(Debug, Clone)]
pub struct Config {
    pub nats_url: String,
    pub nats_user: Option<String>,
    pub nats_password: Option<Secret>,
    pub nats_tls: BrokerTls,
    /// Into how many streams executions are spread: as the log was installed.
    pub streams: StreamCount,
    /// As the broker is configured. Services do not see whether it is so.
    pub durability: Durability,
    pub ack_wait: Duration,
    /// Where health, and the API of intake and projector, are served; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What callers' connections are encrypted with.
    pub tls: Option<tls::Files>,
    /// Whether credentials may be taken without encryption from other machines.
    pub plaintext: bool,
    /// Gets the address that was taken, once it answers.
    pub address_file: Option<PathBuf>,
    /// A filter as `tracing` reads it.
    pub log: String,
    pub log_format: LogFormat,
    /// Where spans are sent, if anywhere.
    pub traces: Option<Traces>,
    /// Whether operations are served over NATS. The broker's users must be as `controlplane
    /// broker-config` writes them: whoever may publish on a subject is who it names.
    pub nats_api: bool,
    /// Tokens, whose signed tokens are good too, and where the read model is kept.
    pub principals_file: Option<PathBuf>,
    pub identity_providers_file: Option<PathBuf>,
    pub database_url: Option<String>,
    /// How many executions may wait to be begun before intake takes no more.
    pub waiting_max: u64,
    /// What stays live of the log, and with which credential the projector archives the rest.
    pub archive: Archive,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// A text that is never printed.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("`{name}` is `{value}`: {expected}")]
    Invalid {
        name: &'static str,
        value: String,
        expected: &'static str,
    },
    #[error("`{given}` is set and `{missing}` is not: set both, or neither")]
    Incomplete {
        given: &'static str,
        missing: &'static str,
    },
    #[error("cannot read the file that `{name}` names")]
    Unreadable {
        name: &'static str,
        #[source]
        source: std::io::Error,
    },
}

/// The names of the settings.
pub mod names {
    pub const NATS_URL: &str = "CONTROL_PLANE_NATS_URL";
    pub const NATS_USER: &str = "CONTROL_PLANE_NATS_USER";
    /// A file that holds the password; nothing secret stands in the environment.
    pub const NATS_PASSWORD_FILE: &str = "CONTROL_PLANE_NATS_PASSWORD_FILE";
    /// Authorities (PEM) that may vouch for the broker instead of the machine's own.
    pub const NATS_CA_FILE: &str = "CONTROL_PLANE_NATS_CA_FILE";
    /// A certificate for the broker (PEM), and its key.
    pub const NATS_CERT_FILE: &str = "CONTROL_PLANE_NATS_CERT_FILE";
    pub const NATS_KEY_FILE: &str = "CONTROL_PLANE_NATS_KEY_FILE";
    pub const NATS_API: &str = "CONTROL_PLANE_NATS_API";
    pub const STREAMS: &str = "CONTROL_PLANE_STREAMS";
    /// `disk` where every server has `sync_interval: always`: appends of concurrent executions are
    /// then committed together. `process`, or nothing, where each is quick by itself.
    pub const DURABILITY: &str = "CONTROL_PLANE_DURABILITY";
    pub const ACK_WAIT_MS: &str = "CONTROL_PLANE_ACK_WAIT_MS";
    pub const LISTEN: &str = "CONTROL_PLANE_LISTEN";
    /// A certificate with its chain (PEM), and its key: with them, only HTTPS is served.
    pub const TLS_CERT_FILE: &str = "CONTROL_PLANE_TLS_CERT_FILE";
    pub const TLS_KEY_FILE: &str = "CONTROL_PLANE_TLS_KEY_FILE";
    /// Authorities (PEM) of whose certificates every caller must show one.
    pub const TLS_CLIENT_CA_FILE: &str = "CONTROL_PLANE_TLS_CLIENT_CA_FILE";
    /// `allow` where something else encrypts, such as a proxy on the same network.
    pub const PLAINTEXT: &str = "CONTROL_PLANE_PLAINTEXT";
    pub const ADDRESS_FILE: &str = "CONTROL_PLANE_ADDRESS_FILE";
    pub const LOG: &str = "CONTROL_PLANE_LOG";
    pub const LOG_FORMAT: &str = "CONTROL_PLANE_LOG_FORMAT";
    pub const PRINCIPALS_FILE: &str = "CONTROL_PLANE_PRINCIPALS_FILE";
    /// As `schemas/configuration/identity-providers.json` describes it.
    pub const IDENTITY_PROVIDERS_FILE: &str = "CONTROL_PLANE_IDENTITY_PROVIDERS_FILE";
    pub const DATABASE_URL: &str = "CONTROL_PLANE_DATABASE_URL";
    /// How many executions may wait to be begun, 10,000 where it is left out: beyond it, whoever submits
    /// is told to ask again later.
    pub const WAITING_MAX: &str = "CONTROL_PLANE_WAITING_MAX";
    /// A file that holds the password of the broker user `archiver`, for the projector.
    pub const ARCHIVER_PASSWORD_FILE: &str = "CONTROL_PLANE_ARCHIVER_PASSWORD_FILE";
    /// How many of the newest events of each stream stay live, 100,000 where it is left out, and for
    /// how long any event does: such as `90m`, `1h` (where it is left out) or `2d`, from `10m` on.
    pub const LIVE_EVENTS: &str = "CONTROL_PLANE_LIVE_EVENTS";
    pub const LIVE_AGE: &str = "CONTROL_PLANE_LIVE_AGE";
}

impl Config {
    pub fn from_env() -> Result<Self, ConfigError> {
        Ok(Self {
            nats_url: var(names::NATS_URL).unwrap_or_else(|| "nats://127.0.0.1:4222".to_owned()),
            nats_user: var(names::NATS_USER),
            nats_password: secret_file(names::NATS_PASSWORD_FILE)?,
            nats_tls: BrokerTls {
                ca_file: var(names::NATS_CA_FILE).map(PathBuf::from),
                client: pair(names::NATS_CERT_FILE, names::NATS_KEY_FILE)?,
            },
            streams: parsed(names::STREAMS, "use 1, 2, 4, 8, 16, 32 or 64", |text| {
                StreamCount::try_new(text.parse().ok()?).ok()
            })?
            .unwrap_or(StreamCount::ONE),
            durability: parsed(
                names::DURABILITY,
                "use `process` or `disk`",
                |text| match text {
                    "process" => Some(Durability::Process),
                    "disk" => Some(Durability::Disk),
                    _ => None,
                },
            )?
            .unwrap_or(Durability::Process),
            ack_wait: parsed(
                names::ACK_WAIT_MS,
                "use milliseconds from 1000 on",
                |text| {
                    let ms = text.parse().ok().filter(|ms| *ms >= 1000)?;
                    Some(Duration::from_millis(ms))
                },
            )?
            .unwrap_or(ACK_WAIT),
            listen: parsed(
                names::LISTEN,
                "use an address such as `127.0.0.1:8080`",
                |text| text.parse().ok(),
            )?
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
            tls: tls_files()?,
            plaintext: parsed(names::PLAINTEXT, "use `allow`, or leave it out", |text| {
                (text == "allow").then_some(true)
            })?
            .unwrap_or(false),
            address_file: var(names::ADDRESS_FILE).map(PathBuf::from),
            log: var(names::LOG).unwrap_or_else(|| "info".to_owned()),
            log_format: parsed(
                names::LOG_FORMAT,
                "use `text` or `json`",
                |text| match text {
                    "text" => Some(LogFormat::Text),
                    "json" => Some(LogFormat::Json),
                    _ => None,
                },
            )?
            .unwrap_or(LogFormat::Text),
            traces: Traces::from_env()?,
            nats_api: parsed(names::NATS_API, "use `on` or `off`", |text| match text {
                "on" => Some(true),
                "off" => Some(false),
                _ => None,
            })?
            .unwrap_or(false),
            principals_file: var(names::PRINCIPALS_FILE).map(PathBuf::from),
            identity_providers_file: var(names::IDENTITY_PROVIDERS_FILE).map(PathBuf::from),
            database_url: var(names::DATABASE_URL),
            waiting_max: parsed(
                names::WAITING_MAX,
                "use a number of executions from 1 on",
                |text| text.parse().ok().filter(|max| *max > 0),
            )?
            .unwrap_or(WAITING_MAX),
            archive: Archive::from_env()?,
        })
    }
}

impl Config {
    /// How a service connects to the broker.
    pub fn connect_options(&self, service: Service) -> ConnectOptions {
        let options = ConnectOptions::new(&self.nats_url, service.as_str())
            .streams(self.streams)
            .durability(self.durability)
            .tls(self.nats_tls.clone());
        match (&self.nats_user, &self.nats_password) {
            (Some(user), Some(password)) => options.credentials(user, password.reveal()),
            (Some(_) | None, _) => options,
        }
    }

    /// How it connects for operations over NATS, where they are served.
    pub fn api_options(&self, service: Service) -> Option<ConnectOptions> {
        self.nats_api.then(|| self.connect_options(service))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the environment is read here and nowhere else"
)]
fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn parsed<T>(
    name: &'static str,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, ConfigError> {
    match var(name) {
        None => Ok(None),
        Some(value) => match parse(&value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(ConfigError::Invalid {
                name,
                value,
                expected,
            }),
        },
    }
}

fn tls_files() -> Result<Option<tls::Files>, ConfigError> {
    let client_ca = var(names::TLS_CLIENT_CA_FILE).map(PathBuf::from);
    match pair(names::TLS_CERT_FILE, names::TLS_KEY_FILE)? {
        Some((cert, key)) => Ok(Some(tls::Files {
            cert,
            key,
            client_ca,
        })),
        None if client_ca.is_some() => Err(ConfigError::Incomplete {
            given: names::TLS_CLIENT_CA_FILE,
            missing: names::TLS_CERT_FILE,
        }),
        None => Ok(None),
    }
}

/// Two files that are of use together only.
fn pair(
    first: &'static str,
    second: &'static str,
) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
    let incomplete = |given, missing| Err(ConfigError::Incomplete { given, missing });
    match (var(first), var(second)) {
        (None, None) => Ok(None),
        (Some(one), Some(other)) => Ok(Some((one.into(), other.into()))),
        (Some(_), None) => incomplete(first, second),
        (None, Some(_)) => incomplete(second, first),
    }
}

fn secret_file(name: &'static str) -> Result<Option<Secret>, ConfigError> {
    let Some(path) = var(name) else {
        return Ok(None);
    };
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(Secret(text.trim_end().to_owned()))),
        Err(source) => Err(ConfigError::Unreadable { name, source }),
    }
}
