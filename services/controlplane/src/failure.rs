//! Why a command did not do what was asked. Each kind has its own exit code.

use std::{error::Error, process::ExitCode};

use contracts::{plan::Finding, problem::Code};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::screen::{Screen, plain};

/// What the exit codes mean, for `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused or failed, or differences were found
  2  wrong usage, or it cannot be decided
  3  the control plane cannot be reached";

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{}", .0.title)]
    Refused(Box<Refusal>),
    /// What was asked for has ended otherwise; it was said where it happened.
    #[error("{0}")]
    Unsuccessful(String),
    #[error("{0}")]
    Usage(String),
    #[error("{what}")]
    Unreachable {
        what: String,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Whether it is so cannot be said.
    #[error("{0}")]
    Undecided(#[source] Box<dyn Error + Send + Sync>),
    #[error("stopped before it was done")]
    Interrupted,
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// A problem as a server sent it. More tolerant than `contracts::problem::Problem`: a newer
/// server may know codes that this build does not.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    pub title: String,
    pub status: u16,
    pub detail: String,
    pub code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
}

impl Failure {
    pub fn unreachable(
        what: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Unreachable {
            what: what.into(),
            source: source.into(),
        }
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused(_) | Self::Unsuccessful(_) | Self::Interrupted | Self::Other(_) => 1,
            Self::Usage(_) | Self::Undecided(_) => 2,
            Self::Unreachable { .. } => 3,
        })
    }

    /// Says it once, on standard error.
    pub fn tell(&self, screen: Screen) {
        if screen.is_json() {
            eprintln!("{}", self.to_json());
            return;
        }
        eprintln!("{} {}", screen.alert("error:"), lines(&self.chain()));
        if let Self::Refused(refusal) = self {
            eprint!("{}", refusal.explained());
        }
    }

    fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = match self {
            // Transparent: its own chain begins below it.
            Self::Other(error) => error.source(),
            Self::Undecided(error) => error.source(),
            Self::Refused(_)
            | Self::Unsuccessful(_)
            | Self::Usage(_)
            | Self::Unreachable { .. }
            | Self::Interrupted => self.source(),
        };
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.ends_with(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        text
    }

    fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Refused(refusal) => json!({ "error": refusal.title, "problem": refusal }),
            Self::Unsuccessful(_)
            | Self::Usage(_)
            | Self::Undecided(_)
            | Self::Unreachable { .. }
            | Self::Interrupted
            | Self::Other(_) => json!({ "error": self.chain() }),
        }
    }
}

impl Refusal {
    fn explained(&self) -> String {
        let mut lines = vec![format!("  {} ({})", plain(&self.detail), plain(&self.code))];
        // A fault of the whole, such as a missing signature, is what the detail says.
        let is_said = |finding: &Finding| {
            finding.path.is_empty() && self.detail.contains(finding.message.as_str())
        };
        let unsaid = self.findings.iter().filter(|finding| !is_said(finding));
        lines.extend(found(unsaid).map(|line| format!("  {line}")));
        let advice = self.code.parse::<Code>().ok().map(Code::advice);
        if let Some(advice) = advice.filter(|advice| *advice != self.detail) {
            lines.push(format!("  {advice}"));
        }
        if let Some(trace) = &self.trace_id {
            lines.push(format!("  trace {}", plain(trace)));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

/// One line a finding, their places in a column.
pub fn found<'a>(
    findings: impl Iterator<Item = &'a Finding> + Clone,
) -> impl Iterator<Item = String> {
    let width = findings.clone().map(|finding| finding.path.chars().count());
    let width = width.max().unwrap_or(0);
    findings.map(move |finding| {
        let Finding {
            path,
            code,
            message,
        } = finding;
        let line = plain(&format!("{path:width$}  {code}: {message}"));
        line.trim_start().to_owned()
    })
}

/// A text of several lines keeps them; what is not the first is indented, so that nothing in it
/// looks like a message of its own.
fn lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(plain).collect();
    lines.join("\n  ")
}
