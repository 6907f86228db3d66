//! How rejections and failures are answered.

use contracts::{
    plan::Finding,
    problem::{Code, Problem},
};
use domain::{execution, skill};
use host::{engine::chain, write::WriteError};
use journal::{Unavailable, append::AppendError, history::LoadError};

/// A decider's answer that says no.
pub(crate) trait Rejected {
    fn problem(self) -> Problem;
}

impl Rejected for execution::intake::Rejection {
    fn problem(self) -> Problem {
        coded(self.code(), self.to_string()).with_findings(self.findings().to_vec())
    }
}

impl Rejected for skill::Rejection {
    fn problem(self) -> Problem {
        coded(self.code(), self.to_string())
    }
}

fn coded(code: &str, detail: String) -> Problem {
    match code.parse::<Code>() {
        Ok(code) => Problem::new(code, detail),
        Err(error) => {
            tracing::error!(%error, detail, "a rejection has no code that can be answered");
            Problem::new(Code::Internal, detail)
        }
    }
}

pub(crate) fn load(error: &LoadError) -> Problem {
    match error {
        LoadError::Unavailable(error) => unavailable(error),
        LoadError::Newer { .. } => {
            tracing::error!(reason = chain(error), "newer event: upgrade");
            Problem::new(
                Code::LogUnavailable,
                "the history holds an event that this intake is too old to read: upgrade it",
            )
        }
        LoadError::Corrupt { .. } | LoadError::Unreadable { .. } => {
            tracing::error!(reason = chain(error), "a history cannot be used");
            Problem::new(Code::ExecutionCorrupt, error.to_string())
        }
    }
}

pub(crate) fn write(error: &WriteError) -> Problem {
    match error {
        WriteError::Append(AppendError::Unavailable { .. }) => {
            tracing::warn!(reason = chain(error), "an append was not confirmed");
            // Whether it is stored is not known, so nothing else may be said.
            Problem::of(Code::LogUnavailable)
        }
        WriteError::Append(AppendError::Refused { .. }) => {
            tracing::error!(
                reason = chain(error),
                "the broker refuses to store an event"
            );
            Problem::new(
                Code::LogUnavailable,
                "the log takes no events, as when its disk is full: an operator has to act, and \
                 intake's log has the reason",
            )
        }
        WriteError::Append(_) | WriteError::Encode(_) | WriteError::Conflict { .. } => {
            tracing::error!(reason = chain(error), "an event cannot be stored");
            Problem::new(
                Code::Internal,
                "the event could not be stored; see intake's log",
            )
        }
    }
}

pub(crate) fn unavailable(error: &Unavailable) -> Problem {
    tracing::warn!(reason = chain(error), "the log cannot be reached");
    Problem::of(Code::LogUnavailable)
}

/// A finding that is not about one place in what was sent.
pub(crate) fn finding(code: &str, message: &str) -> Finding {
    Finding {
        path: String::new(),
        code: code.to_owned(),
        message: message.to_owned(),
    }
}
