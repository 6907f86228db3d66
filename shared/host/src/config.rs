//! The configuration of a service, read from the environment once, at the start.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use contracts::event::Service;
use journal::{delivery::ACK_WAIT, jetstream::ConnectOptions, layout::StreamCount};

/// What every service is told.
#[derive(Debug, Clone)]
pub struct Config {
    pub nats_url: String,
    pub nats_user: Option<String>,
    pub nats_password: Option<Secret>,
    /// Into how many streams executions are spread: as the log was installed.
    pub streams: StreamCount,
    pub ack_wait: Duration,
    /// Where health, and the API of intake and projector, are served; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Gets the address that was taken, once it answers.
    pub address_file: Option<PathBuf>,
    /// A filter as `tracing` reads it.
    pub log: String,
    pub log_format: LogFormat,
    /// Whether operations are served over NATS. The broker's users must be as `controlplane
    /// broker-config` writes them: whoever may publish on a subject is who it names.
    pub nats_api: bool,
    /// Tokens, and where the read model is kept.
    pub principals_file: Option<PathBuf>,
    pub database_url: Option<String>,
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
    pub const NATS_API: &str = "CONTROL_PLANE_NATS_API";
    pub const STREAMS: &str = "CONTROL_PLANE_STREAMS";
    pub const ACK_WAIT_MS: &str = "CONTROL_PLANE_ACK_WAIT_MS";
    pub const LISTEN: &str = "CONTROL_PLANE_LISTEN";
    pub const ADDRESS_FILE: &str = "CONTROL_PLANE_ADDRESS_FILE";
    pub const LOG: &str = "CONTROL_PLANE_LOG";
    pub const LOG_FORMAT: &str = "CONTROL_PLANE_LOG_FORMAT";
    pub const PRINCIPALS_FILE: &str = "CONTROL_PLANE_PRINCIPALS_FILE";
    pub const DATABASE_URL: &str = "CONTROL_PLANE_DATABASE_URL";
}

impl Config {
    pub fn from_env() -> Result<Self, ConfigError> {
        Ok(Self {
            nats_url: var(names::NATS_URL).unwrap_or_else(|| "nats://127.0.0.1:4222".to_owned()),
            nats_user: var(names::NATS_USER),
            nats_password: secret_file(names::NATS_PASSWORD_FILE)?,
            streams: parsed(names::STREAMS, "use 1, 2, 4, 8, 16, 32 or 64", |text| {
                StreamCount::try_new(text.parse().ok()?).ok()
            })?
            .unwrap_or(StreamCount::ONE),
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
            nats_api: parsed(names::NATS_API, "use `on` or `off`", |text| match text {
                "on" => Some(true),
                "off" => Some(false),
                _ => None,
            })?
            .unwrap_or(false),
            principals_file: var(names::PRINCIPALS_FILE).map(PathBuf::from),
            database_url: var(names::DATABASE_URL),
        })
    }
}

impl Config {
    /// How a service connects to the broker.
    pub fn connect_options(&self, service: Service) -> ConnectOptions {
        let options = ConnectOptions::new(&self.nats_url, service.as_str()).streams(self.streams);
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

fn secret_file(name: &'static str) -> Result<Option<Secret>, ConfigError> {
    let Some(path) = var(name) else {
        return Ok(None);
    };
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(Secret(text.trim_end().to_owned()))),
        Err(source) => Err(ConfigError::Unreadable { name, source }),
    }
}
