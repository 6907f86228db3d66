//! Logs, to standard error: one line per decision at `debug`, what an operator has to know at
//! `info` and above.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::LogFormat;

/// Starts logging. A filter that cannot be read is replaced by `info`, and that is said.
pub fn start(filter: &str, format: LogFormat) {
    let parsed = EnvFilter::try_new(filter);
    let unreadable = parsed.is_err();
    let filter = parsed.unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        // It would be told on standard error too, and a full disk there is a panic.
        .log_internal_errors(false)
        .with_ansi(stderr().is_terminal());
    // A second start in one process keeps the first.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    if unreadable {
        tracing::warn!("the log filter cannot be read; using `info`");
    }
}
