//! `replay` and `events`. `replay` and `events export` are the only commands that read the log itself,
//! as a broker user that can do nothing else; `events tail` follows the live feed.

use std::{fs, os::fd::AsFd as _, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use contracts::ids::{ExecutionId, WorkspaceId};
use journal::{
    Journal,
    jetstream::{ConnectError, ConnectOptions, JetStreamJournal},
    layout::StreamCount,
};

use crate::{
    command::Global,
    context::Context,
    export,
    failure::Failure,
    replay::{self, Check, Options, Progress, Report, Selection, Source, progress::Meter},
    screen::count,
    tail,
};

#[derive(Debug, clap::Args)]
pub struct Replay {
    /// One execution, and the skills and policies it was decided on
    #[arg(required_unless_present_any = ["all", "from"], conflicts_with = "all")]
    execution: Option<ExecutionId>,
    /// The whole log
    #[arg(long)]
    all: bool,
    /// Read what `events export` wrote instead of the log; the whole file where no execution is
    /// named
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Only look whether every event is there, is chained to the one before it and is legal after
    /// it; no decision is made again, so a wrong one goes unseen
    #[arg(long)]
    chain_only: bool,
    /// The workspace of the execution [default: the context's]
    #[arg(long)]
    workspace: Option<WorkspaceId>,
}

#[derive(Debug, clap::Subcommand)]
pub enum Events {
    /// Write the whole log as JSON lines, with every byte as it is stored
    Export {
        /// Where it goes; standard output where it is left out
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Follow what happens in the workspace, until Ctrl-C
    Tail(tail::Args),
}

/// 0 where everything came out as it is recorded, 1 where something differs, 2 where it cannot
/// be decided.
pub async fn replay(args: Replay, global: &Global) -> Result<ExitCode, Failure> {
    let selection = match args.execution {
        None => Selection::All,
        Some(execution) => Selection::One {
            workspace: match args.workspace {
                Some(workspace) => workspace,
                None => global.context()?.workspace,
            },
            execution,
        },
    };
    let source = match args.from {
        Some(file) => Source::File(file),
        None => Source::Journal(open(&global.context()?).await?),
    };
    let options = Options {
        check: if args.chain_only {
            Check::ChainOnly
        } else {
            Check::Everything
        },
        ..Options::default()
    };
    let mut meter = Meter::new(global.screen());
    let report = replayed(source, &selection, &options, &mut |it| meter.tell(it)).await;
    meter.clear();
    let report = report?;
    global.screen().answer(&report, || report.to_string());
    Ok(ExitCode::from(report.exit_code()))
}

pub async fn again(source: Source, selection: &Selection) -> Result<Report, Failure> {
    replayed(source, selection, &Options::default(), &mut |_| {}).await
}

async fn replayed(
    source: Source,
    selection: &Selection,
    options: &Options,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report, Failure> {
    let report = replay::run_as(source, selection, options, progress).await;
    report.map_err(|error| {
        if error.is_unreachable() {
            Failure::unreachable("cannot read the log", error)
        } else {
            Failure::Undecided(Box::new(error))
        }
    })
}

pub async fn events(command: Events, global: &Global) -> Result<(), Failure> {
    let output = match command {
        Events::Export { output } => output,
        Events::Tail(args) => return tail::run(args, global).await,
    };
    let journal = open(&global.context()?).await?;
    let exported = match &output {
        None => {
            let stdout = std::io::stdout().as_fd().try_clone_to_owned();
            let stdout = stdout.context("cannot write to standard output")?;
            let mut stdout = tokio::fs::File::from_std(stdout.into());
            export::run(journal.as_ref(), &mut stdout).await
        }
        Some(path) => {
            let mut file = tokio::fs::File::create(path)
                .await
                .with_context(|| format!("cannot write `{}`", path.display()))?;
            export::run(journal.as_ref(), &mut file).await
        }
    };
    journal.close().await;
    let exported = exported.map_err(anyhow::Error::new)?;
    if let Some(path) = output {
        global.screen().answer(&exported, || {
            let messages = count(exported.messages, "message");
            format!("wrote {messages} to {}", path.display())
        });
    }
    Ok(())
}

/// The log of a context, to be read.
pub async fn open(context: &Context) -> Result<Arc<dyn Journal>, Failure> {
    connect(&reader(context)?).await
}

/// How the broker user connects that only reads.
pub fn reader(context: &Context) -> Result<ConnectOptions, Failure> {
    let streams =
        StreamCount::try_new(context.streams).map_err(|error| Failure::Usage(error.to_string()))?;
    let name = context
        .reader
        .as_ref()
        .map_or(journal::permissions::OPERATOR, |reader| &reader.user);
    let mut options = ConnectOptions::new(&context.nats_url, name)
        .streams(streams)
        .tls(context.nats_tls.options()?);
    if let Some(reader) = &context.reader {
        let file = &reader.password_file;
        let password = fs::read_to_string(file)
            .with_context(|| format!("cannot read `{}`", file.display()))?;
        options = options.credentials(&reader.user, password.trim_end());
    }
    Ok(options)
}

pub async fn connect(options: &ConnectOptions) -> Result<Arc<dyn Journal>, Failure> {
    match JetStreamJournal::connect(options).await {
        Ok(journal) => Ok(Arc::new(journal)),
        Err(error) => Err(refused(error)),
    }
}

/// A broker that cannot be reached is told apart from one that is not as it has to be.
pub fn refused(error: ConnectError) -> Failure {
    match error {
        ConnectError::Connect { .. } => Failure::unreachable("cannot reach the log", error),
        ConnectError::TooOld { .. }
        | ConnectError::MessageLimit { .. }
        | ConnectError::Missing { .. }
        | ConnectError::StreamCount { .. }
        | ConnectError::Settings(_)
        | ConnectError::OneAccount
        | ConnectError::SharedInbox { .. }
        | ConnectError::Stream { .. } => Failure::Other(anyhow::Error::new(error)),
    }
}
