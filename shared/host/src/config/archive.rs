//! What of the log stays live, and with which credential the rest is archived.

use std::time::Duration;

use journal::{archive::LiveWindow, jetstream::ConnectOptions};

use super::{Config, ConfigError, Secret, names, parsed, secret_file};

/// The broker user that archives.
pub const USER: &str = "archiver";

/// Without the password, nothing is archived by this process.
#[derive(Debug, Clone)]
pub struct Archive {
    pub password: Option<Secret>,
    pub live: LiveWindow,
}

impl Default for Archive {
    fn default() -> Self {
        Self {
            password: None,
            live: LiveWindow::USUAL,
        }
    }
}

impl Archive {
    pub(super) fn from_env() -> Result<Self, ConfigError> {
        let usual = LiveWindow::USUAL;
        let events = parsed(
            names::LIVE_EVENTS,
            "use a number of events from 1 on",
            |text| text.parse().ok().filter(|events| *events > 0),
        )?;
        let age = parsed(
            names::LIVE_AGE,
            "use a time such as `90m`, `1h` or `2d`, from `10m` on",
            |text| {
                let age = time(text)?;
                LiveWindow::try_new(usual.events(), age).ok().map(|_| age)
            },
        )?;
        let events = events.unwrap_or(usual.events());
        let live = LiveWindow::try_new(events, age.unwrap_or(usual.age()));
        Ok(Self {
            password: secret_file(names::ARCHIVER_PASSWORD_FILE)?,
            // Each is good by itself, and so both are together.
            live: live.unwrap_or(usual),
        })
    }
}

impl Config {
    /// How the projector connects as the archiver, where it has the credential.
    pub fn archiver_options(&self) -> Option<(ConnectOptions, LiveWindow)> {
        let Archive { password, live } = &self.archive;
        let password = password.as_ref()?;
        let options = ConnectOptions::new(&self.nats_url, USER)
            .streams(self.streams)
            .tls(self.nats_tls.clone())
            .credentials(USER, password.reveal());
        Some((options, *live))
    }
}

/// A number and its unit: `s`, `m`, `h` or `d`.
fn time(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}
