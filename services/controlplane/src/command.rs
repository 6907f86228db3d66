//! The command line, and which module answers it.

use std::{io, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum, builder::FalseyValueParser};
use clap_complete::Shell;
use contracts::{
    ids::WorkspaceId,
    registry::{asyncapi, catalogue, openapi},
};

use crate::{
    api::{Api, Over},
    approvals, ask, bench,
    context::{Context, DEFAULT_FILE},
    demo, execution,
    failure::{EXIT_CODES, Failure},
    inbox, install, intent, log,
    login::{self, Kept},
    policy,
    screen::{Screen, put, quoted},
    skill, trace, up, user,
};

/// Governed execution of what agents and people intend: compiled, judged, approved, run, and on
/// the record.
#[derive(Debug, Parser)]
#[command(
    name = "controlplane",
    version,
    disable_help_subcommand = true,
    after_help = EXIT_CODES
)]
pub struct CommandLine {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Where `--help` lists what every command understands.
const COMMON: &str = "Common options";

/// What every command understands.
#[derive(Debug, Args)]
pub struct Global {
    /// Print JSON, for programs
    #[arg(long, global = true, help_heading = COMMON)]
    json: bool,
    /// The control plane to talk to: a file as `up` writes it, or a name that `login` gave
    /// [default: `.control-plane/context.json` if it is there, else the one chosen last]
    #[arg(
        long,
        global = true,
        help_heading = COMMON,
        value_name = "FILE|NAME",
        env = "CONTROL_PLANE_CONTEXT",
        hide_env_values = true
    )]
    context: Option<PathBuf>,
    /// The context of this workspace at the same control plane
    #[arg(short = 'w', global = true, help_heading = COMMON, value_name = "WORKSPACE")]
    in_workspace: Option<WorkspaceId>,
    #[arg(
        long,
        global = true,
        hide = true,
        env = "XDG_CONFIG_HOME",
        hide_env = true
    )]
    config_home: Option<PathBuf>,
    #[arg(long, global = true, hide = true, env = "HOME", hide_env = true)]
    home: Option<PathBuf>,
    /// Who asks: `submitter`, `approver` or `admin` [default: whoever may, or the only one]
    #[arg(long = "as", global = true, help_heading = COMMON, value_name = "IDENTITY")]
    identity: Option<String>,
    /// How operations are asked for; live feeds are followed over HTTP in any case
    #[arg(long, global = true, help_heading = COMMON, value_enum, default_value_t, hide_possible_values = true, value_name = "http|nats")]
    over: Over,
    /// No colours; terminals only have them anyway
    #[arg(long, global = true, help_heading = COMMON, env = "NO_COLOR", value_parser = FalseyValueParser::new(), hide_env = true)]
    no_color: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a whole control plane on this machine until Ctrl-C
    Up(up::Args),
    /// Run a control plane, a worker and five intents, and tell what happens
    Demo(demo::Args),
    /// Measure what an execution takes on this machine
    Bench(Box<bench::Args>),
    /// Ask for something to be done
    #[command(subcommand)]
    Intent(intent::Command),
    /// Look at executions, vote, cancel
    #[command(subcommand)]
    Execution(execution::Command),
    /// What waits for votes, and whether yours counts
    Approvals(approvals::Args),
    /// What happened to an execution
    #[command(subcommand)]
    Trace(trace::Command),
    /// Decide everything in the log again, and say what comes out otherwise
    Replay(log::Replay),
    /// The log as it is stored, and what happens as it happens
    #[command(subcommand)]
    Events(log::Events),
    /// What was published for intake and refused
    #[command(subcommand)]
    Inbox(inbox::Command),
    /// The rules that decide
    #[command(subcommand)]
    Policy(policy::Command),
    /// What can be done, and who vouches for it
    #[command(subcommand)]
    Skill(skill::Command),
    /// Ask for any operation by its name, with its input as it is sent
    Ask(ask::Args),
    /// Who may ask for what
    #[command(subcommand)]
    User(user::Command),
    /// Keep a token for a control plane somewhere, under a name
    Login(login::Login),
    /// The control planes that `login` knows
    #[command(subcommand)]
    Context(login::Command),
    /// Make the streams of the log; the only command that does
    Install(install::Args),
    /// Print a nats-server configuration with the least each service needs
    BrokerConfig(install::BrokerConfigArgs),
    /// Print what is served, as `/openapi.json`, `/asyncapi.json` and `/v1/capabilities` have it
    Contracts { document: Document },
    /// Print a completion script
    Completion { shell: Shell },
}

/// What is published of the API.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Document {
    /// The operations over HTTP
    Openapi,
    /// What is said over NATS: operations, intents, events, calls of skills
    Asyncapi,
    /// Capabilities, operations and events, with their versions
    Capabilities,
}

/// Who asks, where, and how answers are printed.
pub struct Session {
    pub api: Api,
    pub screen: Screen,
    /// How this command was typed, for suggestions.
    pub typed: String,
}

/// Runs one command, says what went wrong, and gives the exit code.
pub async fn run(line: CommandLine) -> ExitCode {
    // Fails only where one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let CommandLine { global, command } = line;
    match Box::pin(dispatch(command, &global)).await {
        Ok(code) => code,
        Err(failure) => {
            failure.tell(global.screen());
            failure.exit_code()
        }
    }
}

async fn dispatch(command: Command, global: &Global) -> Result<ExitCode, Failure> {
    match command {
        Command::Up(args) => Box::pin(up::run(args, global)).await?,
        Command::Bench(args) => Box::pin(bench::run(*args, global)).await?,
        Command::Demo(args) => Box::pin(demo::run(args, global)).await?,
        Command::Replay(args) => return log::replay(args, global).await,
        Command::Events(command) => log::events(command, global).await?,
        Command::Inbox(command) => inbox::run(command, global).await?,
        Command::Intent(command) => intent::run(command, global).await?,
        Command::Execution(command) => execution::run(command, global).await?,
        Command::Approvals(args) => approvals::run(args, global).await?,
        Command::Trace(command) => trace::run(command, global).await?,
        Command::Policy(command) => policy::run(command, global).await?,
        Command::Skill(command) => skill::run(command, global).await?,
        Command::Ask(args) => ask::run(args, global).await?,
        Command::Login(args) => login::login(args, global).await?,
        Command::Context(command) => login::run(command, global)?,
        Command::User(command) => user::run(command, global)?,
        Command::Install(args) => install::run(args, global).await?,
        Command::BrokerConfig(args) => install::broker_config(&args)?,
        Command::Contracts { document } => {
            let document = match document {
                Document::Openapi => openapi::document(),
                Document::Asyncapi => asyncapi::document(),
                Document::Capabilities => catalogue::document(),
            };
            put(&format!("{document:#}"));
        }
        Command::Completion { shell } => complete(shell),
    }
    Ok(ExitCode::SUCCESS)
}

fn complete(shell: Shell) {
    let mut command = CommandLine::command();
    clap_complete::generate(shell, &mut command, "controlplane", &mut io::stdout());
}

impl Global {
    pub fn over(&self) -> Over {
        self.over
    }

    pub fn screen(&self) -> Screen {
        Screen::new(self.json, self.no_color)
    }

    pub fn context(&self) -> Result<Context, Failure> {
        let context = Context::read(&self.context_file())?;
        match &self.in_workspace {
            Some(wanted) if *wanted != context.workspace => self.of_workspace(&context, wanted),
            Some(_) | None => Ok(context),
        }
    }

    /// Another context of the same control plane: a token is for one workspace.
    fn of_workspace(&self, context: &Context, wanted: &WorkspaceId) -> Result<Context, Failure> {
        let all = self.kept()?.all().into_iter();
        let mut found = all
            .map(|(_, other)| other)
            .filter(|other| other.url == context.url && other.workspace == *wanted);
        found.next().ok_or_else(|| {
            Failure::Usage(format!(
                "no context is of workspace `{wanted}` at `{}`: log in there with a token of that \
                 workspace",
                context.url
            ))
        })
    }

    /// Where `login` keeps contexts.
    pub fn kept(&self) -> Result<Kept, Failure> {
        let home = || self.home.as_ref().map(|home| home.join(".config"));
        let directory = self.config_home.clone().or_else(home);
        let directory = directory.ok_or_else(|| {
            Failure::Usage("nobody's home is known: set `XDG_CONFIG_HOME`".to_owned())
        })?;
        Ok(Kept::new(directory.join("controlplane")))
    }

    /// The one that is named, the one of this directory, or the one that was chosen last.
    fn context_file(&self) -> PathBuf {
        let usual = PathBuf::from(DEFAULT_FILE);
        let kept = self.kept().ok();
        match &self.context {
            Some(named) if named.exists() => named.clone(),
            Some(named) => {
                let name = named.to_str().filter(|name| login::is_name(name));
                let file = name.zip(kept).map(|(name, kept)| kept.file(name));
                file.unwrap_or_else(|| named.clone())
            }
            None if usual.exists() => usual,
            None => kept
                .and_then(|kept| Some(kept.file(&kept.chosen()?)))
                .unwrap_or(usual),
        }
    }

    pub fn write_context(&self, context: &Context) -> anyhow::Result<()> {
        let file = self.context_file();
        context
            .write(&file)
            .with_context(|| format!("cannot write `{}`", file.display()))
    }

    /// A file in the directory of the context.
    pub fn beside_context(&self, name: &str) -> PathBuf {
        self.context_file().with_file_name(name)
    }

    /// As the identity that was named, or as the one that usually does this.
    pub fn session(&self, usually: &str) -> Result<Session, Failure> {
        let context = self.context()?;
        let identity = context.asking(self.identity.as_deref(), usually)?;
        Ok(Session {
            api: Api::of(&context, identity, self.over)?,
            screen: self.screen(),
            typed: self.typed(),
        })
    }

    /// How to type another command for the same control plane.
    pub fn typed(&self) -> String {
        self.typed_for(&self.context_file())
    }

    pub fn typed_for(&self, context: &std::path::Path) -> String {
        let program = std::env::args()
            .next()
            .unwrap_or_else(|| "controlplane".to_owned());
        let usual = PathBuf::from(DEFAULT_FILE);
        let kept = self.kept().ok();
        let is_chosen = || {
            let file = kept.and_then(|kept| Some(kept.file(&kept.chosen()?)));
            !usual.exists() && file.is_some_and(|file| file == context)
        };
        let is_usual = is_chosen()
            || context == usual
            || usual.canonicalize().is_ok_and(|usual| usual == context);
        let program = quoted(&program);
        if is_usual {
            program
        } else {
            format!("{program} --context {}", quoted(&context.to_string_lossy()))
        }
    }
}
