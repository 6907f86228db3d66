//! Replay: decides everything once more, and says what comes out otherwise than it is recorded.
//!
//! Each event is derived from the fold of those before it, at its own time, on the catalogue that
//! it names; what came from outside (a submit, a vote, a worker's result) is put to the same
//! deciders again. What they give must be byte for byte what is stored.
//!
//! [`Check::ChainOnly`] makes no decision again: it looks whether every event is there, follows from
//! the bytes of the one before it, and is legal after it.
//!
//! Deliberately absent: side effects, and any way to repair a log.
//!
//! * [`report`], [`findings`]: what was found, and the exit code
//! * [`lanes`], [`walk`], [`histories`]: along every aggregate, many of them side by side
//! * [`integrity`], [`diff`]: the headers and the payload of an event
//! * [`execution`], [`asked`], [`executor`], [`installed`]: the deciders, by what they decide
//! * [`past`], [`moment`], [`derived`]: what decisions were made on, when, and what they come to
//! * [`source`], [`progress`]: where the log is read from, and how far
//!
//! What it cannot see: a history that was forged whole, so that every event follows from the ones
//! before it, and a tail that was cut off. Signed checkpoints show those. And facts that were too
//! old, where the clock of the service or the broker's says otherwise: replay raises no alarm over
//! a clock that was wrong. In an export the broker's times are not under the chain of hashes.

use std::{path::PathBuf, sync::Arc};

use contracts::{
    ids::{ExecutionId, WorkspaceId},
    subject::{AggregateId, AggregateKind},
};
use host::judge::Judge;
use journal::{Journal, Unavailable, tail::TailError};

use crate::export::{ExportError, InvalidLine};

mod asked;
mod derived;
mod diff;
mod execution;
mod executor;
mod findings;
mod histories;
mod installed;
mod integrity;
mod lanes;
mod moment;
mod past;
pub mod progress;
pub mod report;
mod source;
mod walk;

use findings::Findings;
pub use report::Report;

/// Where the log is read from.
pub enum Source {
    Journal(Arc<dyn Journal>),
    /// What `events export` wrote.
    File(PathBuf),
}

/// What is replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    All,
    /// One execution, and the skills and policies of its workspace and the shared ones.
    One {
        workspace: WorkspaceId,
        execution: ExecutionId,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("there is no execution `{execution}` in workspace `{workspace}`")]
    NotFound {
        workspace: WorkspaceId,
        execution: ExecutionId,
    },
    #[error("cannot read the log")]
    Log(#[source] ExportError),
    #[error("cannot follow the execution")]
    Tail(#[from] TailError),
    #[error("cannot read `{}`", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{}` is not an export of the log: write one with `events export`", path.display())]
    NotAnExport { path: PathBuf },
    #[error("line {line} of `{}` cannot be read: {reason}", path.display())]
    Line {
        path: PathBuf,
        line: u64,
        reason: BadLine,
    },
    #[error(
        "`{}` is cut off: `{stream}` stops at {reached}, and was exported up to {end}",
        path.display()
    )]
    CutOff {
        path: PathBuf,
        stream: String,
        reached: u64,
        end: u64,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum BadLine {
    #[error("it is longer than {0} bytes")]
    TooLong(u64),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Invalid(#[from] InvalidLine),
    #[error("its sequence does not follow")]
    Order,
    #[error("the catalogue stands before everything else")]
    CatalogueFirst,
}

impl ReplayError {
    /// Whether the broker did not answer; everything else lies in what was asked for.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Log(ExportError::Read(_) | ExportError::Tail(TailError::Unavailable(_)))
            | Self::Tail(TailError::Unavailable(_)) => true,
            Self::Log(_)
            | Self::Tail(TailError::BeyondEnd { .. })
            | Self::NotFound { .. }
            | Self::File { .. }
            | Self::NotAnExport { .. }
            | Self::Line { .. }
            | Self::CutOff { .. } => false,
        }
    }
}

impl From<ExportError> for ReplayError {
    fn from(error: ExportError) -> Self {
        Self::Log(error)
    }
}

impl From<Unavailable> for ReplayError {
    fn from(error: Unavailable) -> Self {
        Self::Log(error.into())
    }
}

impl Selection {
    fn takes(&self, aggregate: &AggregateId) -> bool {
        match self {
            Self::All => true,
            Self::One {
                workspace,
                execution,
            } => {
                let owner = aggregate.workspace();
                match aggregate.kind() {
                    AggregateKind::Execution | AggregateKind::Incident => {
                        owner == workspace && aggregate.execution_id() == Some(*execution)
                    }
                    AggregateKind::Skill
                    | AggregateKind::Policy
                    | AggregateKind::Hold
                    | AggregateKind::Schedule => owner == workspace || owner.is_global(),
                }
            }
        }
    }
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Check {
    /// Everything, and every decision is made again.
    #[default]
    Everything,
    /// Whether every event is there, is chained to the one before it and is legal after it.
    ChainOnly,
}

/// How it is done.
#[derive(Clone)]
pub struct Options {
    pub check: Check,
    /// Bundles that may be loaded already.
    pub judge: Arc<Judge>,
    /// Among how many threads the aggregates are divided. With 0, nothing leaves the thread of who
    /// asks: for a world whose time stands still while nothing is waited for.
    pub threads: usize,
}

/// More than these would wait for the broker.
const THREADS_MAX: usize = 16;

impl Default for Options {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            check: Check::default(),
            judge: Arc::default(),
            threads: cores.min(THREADS_MAX),
        }
    }
}

/// How far it is. Of one execution it is not known before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub done: u64,
    pub of: u64,
}

/// Replays what is selected of the log as it stands now.
pub async fn run(source: Source, selection: &Selection) -> Result<Report, ReplayError> {
    run_as(source, selection, &Options::default(), &mut |_| {}).await
}

/// As [`run`], on the thread of who asks, with bundles that may be loaded already.
pub async fn run_with(
    source: Source,
    selection: &Selection,
    judge: Arc<Judge>,
) -> Result<Report, ReplayError> {
    let options = Options {
        check: Check::Everything,
        judge,
        threads: 0,
    };
    run_as(source, selection, &options, &mut |_| {}).await
}

/// As [`run`], and tells how far it is.
pub async fn run_as(
    source: Source,
    selection: &Selection,
    options: &Options,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report, ReplayError> {
    let whole = *selection == Selection::All || matches!(source, Source::File(_));
    let threads = match selection {
        Selection::All => options.threads,
        // It is one aggregate.
        Selection::One { .. } => 0,
    };
    let first = walk::Walk::new(selection, options.check, Arc::clone(&options.judge));
    let mut lanes = lanes::Lanes::new(first, whole, threads);
    match source {
        Source::Journal(journal) => {
            source::journal(&journal, selection, &mut lanes, progress).await?;
        }
        Source::File(path) => source::file(&path, &mut lanes, progress).await?,
    }
    let report = Findings::report(lanes.finish().await, options.check);
    match selection {
        Selection::One {
            workspace,
            execution,
        } if report.summary.executions == 0 => Err(ReplayError::NotFound {
            workspace: workspace.clone(),
            execution: *execution,
        }),
        Selection::One { .. } | Selection::All => Ok(report),
    }
}
